"""One VM of a lab: its command line, as a value; its disk; its start and end."""

import shlex
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from podnet.labs import access, disk
from podnet.labs.cgroup import Cgroup
from podnet.labs.error import LabError
from podnet.labs.home import Home
from podnet.labs.plan import Machine, Nic
from podnet.labs.qemu import Qemu
from podnet.labs.wait import until

MEMORY = 512  # MB
OPENS_WITHIN = 20.0
SPARE = "eth1"
MANAGEMENT = "52:55:0a:00:02:0f"  # of mgmt0: slirp gives each VM a network of its own, so all may have the same
KERNEL = (
    *("root=/dev/vda", "rw", "console=ttyS0", "quiet", "mitigations=off", "audit=0", "panic=1", "net.ifnames=0"),
    "cryptomgr.notests",  # half a second of a boot in emulation
)


@dataclass(frozen=True)
class Vm:
    """A machine of the plan as a QEMU runs it."""

    home: Home
    machine: Machine
    mtu: int
    port: int
    image: Path
    qemu: Qemu

    @property
    def name(self) -> str:
        """Its name in the plan."""
        return self.machine.name

    @property
    def cgroup(self) -> Cgroup:
        """The group that its QEMU is in, alone."""
        return self.home.cgroup / self.name

    @property
    def disk(self) -> Path:
        """What it has written; the rest is in the image."""
        return self.home.path / self.name / "disk.qcow2"

    @property
    def ear(self) -> Path:
        """The socket of its second serial port."""
        return access.control(self.home) / f"{self.name}.ear"

    @property
    def qmp(self) -> Path:
        """The socket by which its QEMU is asked."""
        return access.control(self.home) / f"{self.name}.qmp"

    @property
    def runs(self) -> bool:
        """Whether there is a QEMU."""
        return bool(self.cgroup.pids())

    @property
    def spare(self) -> str | None:
        """The MAC of a node's second NIC, which has virtual functions."""
        return spare(self.machine.nics[0]) if self.machine.gateway and self.qemu.has_igb else None

    @property
    def hardware(self) -> list[str]:
        """The machine as it sees itself: a snapshot fits where this is the same."""
        cpu = {"kvm": "host", "tcg": "qemu64,+rdrand"}[self.qemu.accel]
        nics = [
            word
            for nic in self.machine.nics
            for word in ("-device", f"virtio-net-pci,netdev={nic.dev},mac={nic.mac},romfile=")
        ]
        spare = [
            *("-device", "pcie-root-port,id=root1,chassis=1,slot=1"),
            *("-device", f"igb,netdev={SPARE},mac={self.spare},bus=root1,romfile="),
        ]
        return [
            *("-nodefaults", "-no-user-config", "-display", "none"),
            *("-M", "q35", "-accel", self.qemu.accel, "-cpu", cpu, "-smp", "1", "-m", str(MEMORY)),
            *("-device", "virtio-blk-pci,drive=disk"),
            *nics,  # the kernel names them in this order
            *("-device", f"virtio-net-pci,netdev=mgmt0,mac={MANAGEMENT},romfile="),
            *(spare if self.spare else ()),
            *("-device", "isa-serial,chardev=console", "-device", "isa-serial,chardev=ear"),
            *("-append", " ".join([*KERNEL, *self.identity])),
        ]

    @property
    def identity(self) -> list[str]:
        """What its kernel is told: systemd reads it at every boot."""
        names = {nic.dev: nic.mac for nic in self.machine.nics} | {"mgmt0": MANAGEMENT}
        names |= {SPARE: self.spare} if self.spare else {}
        return [
            f"systemd.hostname={self.name}",
            f"systemd.machine_id={uuid.uuid5(uuid.NAMESPACE_DNS, self.name).hex}",
            *(f"ifname={dev}:{mac}" for dev, mac in names.items()),
            *(
                f"ip={nic.address.ip}::{self.machine.gateway or ''}:{nic.address.netmask}::{nic.dev}:off:{self.mtu}"
                for nic in self.machine.nics
            ),
        ]

    @property
    def places(self) -> list[str]:
        """What its devices lead to on this machine."""
        wires = {nic.dev: socket(self.home, nic, nic.dev) for nic in self.machine.nics}
        if self.spare:
            wires[SPARE] = socket(self.home, self.machine.nics[0], SPARE)
        again = self.qemu.reconnect
        return [
            *("-kernel", str(self.image / disk.KERNEL), "-initrd", str(self.image / disk.INITRD)),
            # What the guest has synced is to survive the end of QEMU, so no cache=unsafe.
            *("-drive", f"if=none,id=disk,file={escaped(self.disk)},format=qcow2,cache=writeback,discard=unmap"),
            *("-netdev", f"user,id=mgmt0,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22"),
            *(
                word
                for dev, path in wires.items()
                for word in ("-netdev", f"stream,id={dev},server=off,addr.type=unix,addr.path={escaped(path)}{again}")
            ),
            *("-chardev", f"file,id=console,path={escaped(self.home.console(self.name))},append=on"),
            *("-chardev", f"socket,id=ear,path={escaped(self.ear)},server=on,wait=off"),
            *("-qmp", f"unix:{escaped(self.qmp)},server=on,wait=off"),
        ]

    def start(self, holder: int, *more: str) -> None:
        """Start it, on the disk that is there; return when it can be talked to."""
        self.stop()
        log = self.home.path / self.name / "qemu.log"
        with log.open("wb") as said:
            subprocess.Popen(
                self.cgroup.entering([*self.qemu.command, *self.hardware, *self.places, *more]),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                pass_fds=[holder],
            )
        why = f"{self.name}: QEMU did not start within {OPENS_WITHIN:.0f} s: see {log}"
        until(lambda: self.qmp.exists() or (bool(log.read_text()) and not self.runs), OPENS_WITHIN, why)
        if not self.qmp.exists():
            raise LabError(f"{self.name}: QEMU ended: {log.read_text().strip()}")

    def stop(self) -> None:
        """Cut its power; its disk stays."""
        self.cgroup.remove()
        for path in (self.ear, self.qmp):
            path.unlink(missing_ok=True)

    def new_disk(self, template: Path) -> None:
        """Give it a copy of a disk, whole or not at all."""
        draft = self.disk.with_suffix(".new")
        shutil.copyfile(template, draft)
        draft.replace(self.disk)

    def script(self, names: str) -> str:
        """Return what makes it this host and no other, and starts its sshd."""
        key = self.home.host_key(self.name)
        files = {
            "/etc/hostname": f"{self.name}\n",
            "/etc/hosts": names,
            "/etc/ssh/authorized_keys": self.home.key.with_suffix(".pub").read_text(),
            "/etc/ssh/ssh_host_ed25519_key": key.read_text(),
            "/etc/ssh/ssh_host_ed25519_key.pub": key.with_suffix(".pub").read_text(),
        }
        router = "echo net.ipv4.ip_forward=1 >/etc/sysctl.d/router.conf\nsysctl -q -p /etc/sysctl.d/router.conf\n"
        return "".join(
            [
                "set -e\ntouch /etc/ssh/ssh_host_ed25519_key\nchmod 600 /etc/ssh/ssh_host_ed25519_key\n",
                *(f"printf %s {shlex.quote(text)} >{file}\n" for file, text in files.items()),
                router if len(self.machine.nics) > 1 else "",
                "sync\nsystemctl start ssh\n",
            ]
        )


def spare(nic: Nic) -> str:
    """Return the MAC of the NIC beside this one."""
    return "02:56:" + nic.address.ip.packed.hex(":")


def socket(home: Home, nic: Nic, dev: str) -> Path:
    """Return where the segment has the socket for a device beside or at this NIC."""
    return access.control(home) / f"{nic.segment}-{nic.port}-{dev}"


def escaped(path: Path) -> str:
    """Return a path as a value among QEMU's options, which commas separate."""
    return str(path).replace(",", ",,")
