"""One host of a running lab: its overlay, its nspawn, its state."""

import os
import socket
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from podnet.labs import underlay
from podnet.labs.cgroup import Cgroup
from podnet.labs.home import Home
from podnet.labs.keeper import IMAGE, NETNS, RUN
from podnet.labs.plan import Machine

BANNER_WITHIN = 2.0


def state(cgroup: Cgroup, port: int | None) -> str:
    """Say how the host in this cgroup fares; anything but "up" is mended by starting it again."""
    if not cgroup.init():
        return "stopped"
    if not cgroup.supervised():
        return "broken: its systemd-nspawn was killed"
    return "up" if port and greets(port) else "starting"


def greets(port: int) -> bool:
    """Whether an sshd answers at this port of the machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), BANNER_WITHIN) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


@dataclass(frozen=True)
class Host:
    """A machine of the plan, seen from inside of the lab's namespaces."""

    home: Home
    machine: Machine
    port: int

    @property
    def name(self) -> str:
        """Its name in the plan."""
        return self.machine.name

    @property
    def cgroup(self) -> Cgroup:
        """The group that its nspawn and its systemd are in: two systemds cannot share one."""
        return self.home.cgroup / self.name

    @property
    def root(self) -> Path:
        """Its file system."""
        return RUN / self.name / "root"

    @property
    def state(self) -> str:
        """How it fares."""
        return state(self.cgroup, self.port)

    def start(self, mtu: int, names: str) -> None:
        """Start it, on the files it had before, in a new network namespace. It then boots by itself.

        A reboot from inside only stops it: were nspawn to go on by itself, the host would find the routes and links
        of its former life, which no real machine does.
        """
        stop(self.home, self.name, [nic.port for nic in self.machine.nics])
        underlay.plug(self.machine, mtu)
        mount(self.name)
        self.furnish(names)
        with self.home.console(self.name).open("ab") as console:
            subprocess.Popen(
                self.cgroup.entering(self.nspawn),
                # Without it nspawn has /proc/sys read-only; with "yes" the machine's own kernel.* would be open.
                env={**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    @property
    def nspawn(self) -> list[str]:
        """The command that is the host."""
        return [
            *("systemd-nspawn", "--quiet", "--boot", "--settings=no", f"--directory={self.root}"),
            # Neither asks the machine's systemd, which may not be there, nor is stopped by it.
            *("--register=no", "--keep-unit", f"--machine={self.name}"),
            # nspawn takes CAP_NET_ADMIN away from who is handed a namespace: `ip link add` would be refused.
            *(f"--network-namespace-path={NETNS / self.name}", "--capability=CAP_NET_ADMIN"),
            *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
            # A console that its systemd can open: else nobody hears why a host does not boot.
            "--console=read-only",
        ]

    def furnish(self, names: str) -> None:
        """Give it what makes it this host and no other."""
        etc = self.root / "etc"
        etc.joinpath("hostname").write_text(f"{self.name}\n")
        etc.joinpath("hosts").write_text(names)
        if not etc.joinpath("machine-id").read_text():
            etc.joinpath("machine-id").write_text(f"{uuid.uuid4().hex}\n")
        ssh = etc / "ssh"
        ssh.joinpath("authorized_keys").write_bytes(self.home.key.with_suffix(".pub").read_bytes())
        key = self.home.host_key(self.name)
        ssh.joinpath(key.name).touch(mode=0o600)
        for half in (key, key.with_suffix(".pub")):
            ssh.joinpath(half.name).write_bytes(half.read_bytes())
        if len(self.machine.nics) > 1:
            etc.joinpath("sysctl.d/router.conf").write_text("net.ipv4.ip_forward = 1\n")


def mount(name: str) -> None:
    """Lay the host's own files over the image."""
    layers = RUN / name
    for layer in ("upper", "work", "root"):
        (layers / layer).mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={IMAGE},upperdir={layers}/upper,workdir={layers}/work"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", layers / "root"], check=True)


def stop(home: Home, name: str, ports: list[str]) -> None:
    """End the host at once, and remove its wires; its files stay."""
    (home.cgroup / name).remove()
    underlay.unplug(name, ports)
    root = RUN / name / "root"
    if root.is_mount():
        subprocess.run(["umount", root], check=True)
