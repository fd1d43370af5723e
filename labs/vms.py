"""A lab of VMs: `up` and its like, where hosts are QEMUs and segments are hubs."""

import asyncio
import hashlib
import shlex
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import NoReturn

from podnet.labs import access, backport, ear, host, image, qemu, recipe
from podnet.labs import vm as machines
from podnet.labs.disk import OVERLAY
from podnet.labs.error import LabError
from podnet.labs.home import Home
from podnet.labs.hub import Hub
from podnet.labs.plan import Lab, Machine
from podnet.labs.process import become
from podnet.labs.snapshot import Snapshot
from podnet.labs.vm import Vm
from podnet.labs.wait import until

TOOLS = ("mmdebstrap", "mke2fs", "qemu-img", backport.SYSTEM, "unshare", "setpriv", "ssh", "ssh-keygen")
MOST = 8
BOOTS_WITHIN = 600.0  # four at once take 30 s, and five times that where others use the processors
RESTORED_WITHIN = 15.0
AT_ONCE = 4
LOOK_EVERY = 0.1
TAIL = 15
SETTLED = """\
systemctl is-system-running --wait
until ip -4 addr show dev eth0 | grep -q inet; do sleep 0.1; done
sync
"""


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
        for hub in hubs(home, lab):
            if not hub.runs:
                hub.start(chosen, home.log, holder)
        vms = [Vm(home, machine, lab.mtu, ports[machine.name], path, chosen) for machine in lab.machines]
        asyncio.run(Booting(access.names(lab), holder).all_of(vms))


def remove_surplus(home: Home, lab: Lab, ports: dict[str, int]) -> None:
    """Remove the hosts that the lab has and should not have."""
    for name in sorted(ports.keys() - {machine.name for machine in lab.machines}):
        (home.cgroup / name).remove()
        if (home.path / name).exists():
            shutil.rmtree(home.path / name)
        print(f"{name} is removed")


def hubs(home: Home, lab: Lab) -> list[Hub]:
    """Return the segments, with room for every host that may come."""
    most = Lab(lab.name, MOST, lab.segments, lab.mtu)
    nics = [nic for machine in most.machines for nic in machine.nics]
    return [
        Hub(
            segment,
            home.cgroup / segment,
            tuple(
                machines.socket(home, nic, dev)
                for nic in nics
                if nic.segment == segment
                for dev in dict.fromkeys((nic.dev, machines.SPARE))
            ),
        )
        for segment in most.networks
    ]


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


@dataclass(frozen=True)
class Booting:
    """One `up`: what all its VMs are told, and the descriptor that keeps their image."""

    names: str
    holder: int

    async def all_of(self, vms: list[Vm]) -> None:
        """Bring all up, a few at a time; tell of all that fail."""
        turn = asyncio.Semaphore(AT_ONCE)
        ends = await asyncio.gather(*(self.one(vm, turn) for vm in vms), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, LabError):
                raise end
        if failed := [str(end) for end in ends if end]:
            raise LabError("\n".join(failed))

    async def one(self, vm: Vm, turn: asyncio.Semaphore) -> None:
        """See one VM come up, whatever state it is in."""
        async with turn:
            start = time.monotonic()
            try:
                async with asyncio.timeout(BOOTS_WITHIN):
                    if await self.settle(vm):
                        print(f"{vm.name} is up ({time.monotonic() - start:.1f} s)", flush=True)
            except (TimeoutError, OSError, LabError) as error:
                raise LabError(complaint(vm, error)) from error

    async def settle(self, vm: Vm) -> bool:
        """Start the VM unless it runs, tell it what it has not been told; return whether it was not up before."""
        told, script = vm.home.path / vm.name / "told", vm.script(self.names)
        mark = hashlib.sha256(script.encode()).hexdigest()
        if vm.runs and told.exists():
            if host.greets(vm.port) and told.read_text() == mark:
                return False
        else:
            await self.start(vm, anew=not told.exists() or not vm.disk.exists())
        was_up = vm.runs and host.greets(vm.port)
        # A VM that was restored believes that it is still the day of its snapshot.
        await ear.tell(vm.ear, f"date --set=@{time.time():.2f}\n{script}")
        told.write_text(mark)
        while not await asyncio.to_thread(host.greets, vm.port):  # noqa: ASYNC110  # nothing there sets an Event
            await asyncio.sleep(LOOK_EVERY)
        return not was_up

    async def start(self, vm: Vm, *, anew: bool) -> None:
        """Start a VM: on its disk, or `anew` from a snapshot, or if there is none from the image, and make one."""
        vm.stop()
        snapshot = Snapshot(vm)
        if not anew:
            vm.start(self.holder)
        elif not await self.restored(vm, snapshot):
            print(f"{vm.name} boots", flush=True)
            vm.new_disk(vm.image / OVERLAY)
            vm.start(self.holder)
            await ear.tell(vm.ear, SETTLED)
            await snapshot.take()

    async def restored(self, vm: Vm, snapshot: Snapshot) -> bool:
        """Whether the VM goes on from its snapshot; one that does not answer is of no use to anybody."""
        if not snapshot.memory.exists():
            return False
        vm.new_disk(snapshot.disk)
        try:
            async with asyncio.timeout(RESTORED_WITHIN):
                vm.start(self.holder, "-incoming", f"file:{snapshot.memory}")
                await ear.tell(vm.ear, "true")
        except (TimeoutError, OSError, LabError) as error:
            why = str(error) or f"it did not answer within {RESTORED_WITHIN:.0f} s"
            print(f"{vm.name} cannot go on from its snapshot: {why}")
            vm.stop()
            snapshot.discard(snapshot.path)
            return False
        return True


def complaint(vm: Vm, error: Exception) -> str:
    """Say what is known of a VM that did not come up."""
    why = str(error) or f"it did not answer within {BOOTS_WITHIN:.0f} s"
    console = vm.home.console(vm.name)
    said = console.read_text(errors="replace").splitlines()[-TAIL:] if console.exists() else []
    return "\n".join([f"{vm.name}: {why}; {console} ends with:", *said])


def states(home: Home, lab: Lab, ports: dict[str, int]) -> dict[str, str]:
    """Say how each host fares."""
    torn = {hub.segment for hub in hubs(home, lab) if not hub.runs}
    return {machine.name: state(home, machine, ports.get(machine.name), torn) for machine in lab.machines}


def state(home: Home, machine: Machine, port: int | None, torn: set[str]) -> str:
    """Say how a host fares; anything but "up" is mended by `up`."""
    if not (home.cgroup / machine.name).pids():
        return "stopped"
    if cut := torn & {nic.segment for nic in machine.nics}:
        return f"cut off: {min(cut)} was killed"
    return "up" if port and host.greets(port) else "starting"


def execute(home: Home, name: str, command: list[str]) -> NoReturn:
    """Become a command in a host, by way of its sshd."""
    become(["ssh", "-F", str(home.ssh_config), name, shlex.join(command)])


def reboot(home: Home, name: str, lock: int, *, hard: bool) -> None:
    """Have a host boot, or if `hard` cut its power first; return when it has."""
    before = boot_id(home, name)
    if hard:
        (home.cgroup / name).remove()
        bring_up(home, lock)
    else:
        asked(home, name, "systemctl", "reboot")
    until(
        lambda: boot_id(home, name) not in {before, ""},
        BOOTS_WITHIN,
        f"{name} did not come back within {BOOTS_WITHIN:.0f} s: see {home.console(name)}",
    )


def boot_id(home: Home, name: str) -> str:
    """Return what changes with every boot of a host; nothing while it does not answer."""
    return asked(home, name, "cat", "/proc/sys/kernel/random/boot_id")


def asked(home: Home, name: str, *command: str) -> str:
    """Return what a command prints on a host, if it answers."""
    words = ["ssh", "-F", str(home.ssh_config), "-o", "ConnectTimeout=5", name, *command]
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip()
