"""A lab of VMs: `up` and its like, where hosts are QEMUs and segments are switches between them."""

import asyncio
import shlex
import shutil
import socket
import subprocess

from podnet.labs import access, backport, booting, host, image, qemu, recipe
from podnet.labs import vm as machines
from podnet.labs.error import LabError
from podnet.labs.home import Home
from podnet.labs.plan import Lab, Machine
from podnet.labs.qemu import Qemu
from podnet.labs.segment import Segment
from podnet.labs.vm import Vm
from podnet.labs.wait import until

TOOLS = ("mmdebstrap", "mke2fs", "qemu-img", backport.SYSTEM, "unshare", "setpriv", "ssh", "ssh-keygen")
MOST = 8


def check(home: Home, lab: Lab) -> None:
    """Refuse what this machine has no room for."""
    if lab.hosts > MOST:
        raise LabError(f"--hosts {lab.hosts} is too many VMs for lab {home.name}: give a number from 1 to {MOST}")


def bring_up(home: Home, lock: int) -> None:
    """Bring the lab to the shape that its directory says."""
    del lock  # no child of ours works on the lab after our end
    lab, ports = home.load()
    remove_surplus(home, lab, ports)
    with image.held(recipe.VM) as (path, holder):
        chosen = qemu.found(path)
        alive = {machine.name for machine in lab.machines if (home.cgroup / machine.name).pids()}
        ports = {
            machine.name: ports[machine.name] if machine.name in alive else free(ports.get(machine.name, 0))
            for machine in lab.machines
        }
        home.save(lab, ports)
        access.write(home, lab, ports)
        plug(home, lab, chosen)
        vms = [Vm(home, machine, lab.mtu, ports[machine.name], path, chosen) for machine in lab.machines]
        asyncio.run(booting.Booting(access.names(lab), holder).all_of(vms))


def remove_surplus(home: Home, lab: Lab, ports: dict[str, int]) -> None:
    """Remove the hosts that the lab has and should not have."""
    for name in sorted(ports.keys() - {machine.name for machine in lab.machines}):
        (home.cgroup / name).remove()
        if (home.path / name).exists():
            shutil.rmtree(home.path / name)
        print(f"{name} is removed")


def segments(home: Home, lab: Lab) -> list[Segment]:
    """Return the segments, with room for every host that may come."""
    most = Lab(lab.name, MOST, lab.segments, lab.mtu)
    nics = [nic for machine in most.machines for nic in machine.nics]
    return [
        Segment(
            name,
            home.cgroup / name,
            tuple(
                machines.socket(home, nic, dev)
                for nic in nics
                if nic.segment == name
                for dev in dict.fromkeys((nic.dev, machines.SPARE))
            ),
        )
        for name in most.networks
    ]


def plug(home: Home, lab: Lab, chosen: Qemu) -> None:
    """Start the segments that do not run."""
    for segment in segments(home, lab):
        if not segment.runs:
            segment.start(home.log)
            if not chosen.reconnect:  # its NICs stay unplugged until they are made anew
                for machine in lab.machines:
                    (home.cgroup / machine.name).remove()


def free(wanted: int) -> int:
    """Return that port of 127.0.0.1 if nobody has it, else another."""
    for port in (wanted, 0):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:  # somebody has it
                continue
            return int(sock.getsockname()[1])
    raise LabError("no port of 127.0.0.1 is free")


def states(home: Home, lab: Lab, ports: dict[str, int]) -> dict[str, str]:
    """Say how each host fares."""
    torn = {segment.name for segment in segments(home, lab) if not segment.runs}
    return {machine.name: state(home, machine, ports.get(machine.name), torn) for machine in lab.machines}


def state(home: Home, machine: Machine, port: int | None, torn: set[str]) -> str:
    """Say how a host fares; anything but "up" is mended by `up`."""
    if not (home.cgroup / machine.name).pids():
        return "stopped"
    if cut := torn & {nic.segment for nic in machine.nics}:
        return f"cut off: {min(cut)} was killed"
    return "up" if port and host.greets(port) else "starting"


def inside(home: Home, name: str, command: list[str]) -> list[str]:
    """Return what runs a command in a host, by way of its sshd.

    The connection is kept for the next one, as a new one takes an emulated processor half a second; not for long, and
    not for other users of ssh_config, who may want to see the host key checked.
    """
    shared = [f"ControlPath={access.control(home)}/{name}.exec", "ControlMaster=auto", "ControlPersist=20"]
    alive = ["ServerAliveInterval=5", "ServerAliveCountMax=2"]
    options = [word for option in (*shared, *alive) for word in ("-o", option)]
    ssh = ["ssh", "-F", str(home.ssh_config), *options, name, shlex.join(command)]
    return (home.cgroup / "exec").entering(ssh)


def reboot(home: Home, names: list[str], lock: int, *, hard: bool) -> None:
    """Have hosts boot, or if `hard` cut their power first; return when they have."""
    before = {name: boot_id(home, name) for name in names}
    for name in names:
        if hard:
            (home.cgroup / name).remove()
        else:
            asked(home, name, "systemctl", "reboot")
    if hard:
        bring_up(home, lock)
    until(
        lambda: all(boot_id(home, name) not in {before[name], ""} for name in names),
        booting.BOOTS_WITHIN,
        f"{', '.join(names)} did not all come back within {booting.BOOTS_WITHIN:.0f} s: see "
        f"{', '.join(str(home.console(name)) for name in names)}",
    )


def boot_id(home: Home, name: str) -> str:
    """Return what changes with every boot of a host; nothing while it does not answer."""
    return asked(home, name, "cat", "/proc/sys/kernel/random/boot_id")


def asked(home: Home, name: str, *command: str) -> str:
    """Return what a command prints on a host, if it answers."""
    # A host that goes down in the middle of an answer never ends the connection: nobody is there to say so.
    patience = ["-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=2"]
    words = ["ssh", "-F", str(home.ssh_config), *patience, name, *command]
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip()
