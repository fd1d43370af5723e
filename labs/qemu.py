"""Which QEMU runs the VMs: this machine's own, or a newer one that Debian has for it."""

from dataclasses import dataclass
from pathlib import Path

from podnet.labs import backport, disk, kvm

RECONNECTS = {(9, 2): ",reconnect-ms=500", (8, 0): ",reconnect=1", (0,): ""}  # since which version it is said how


@dataclass(frozen=True)
class Qemu:
    """A QEMU and how it runs code: by "kvm" or "tcg"."""

    command: tuple[str, ...]
    version: str
    accel: str

    @property
    def reconnect(self) -> str:
        """The option that plugs a NIC in again once its segment is back; nothing where there is none."""
        return next(option for since, option in RECONNECTS.items() if backport.numbers(self.version) >= since)

    @property
    def has_igb(self) -> bool:
        """Whether it has a NIC with virtual functions."""
        return backport.numbers(self.version) >= backport.IGB_SINCE


def found(image: Path) -> Qemu:
    """Return the one that an image brings along, if it does, else the machine's own."""
    unpacked = image / disk.QEMU
    command: tuple[str, ...] = (backport.SYSTEM,)
    if unpacked.exists():
        share = unpacked / "usr/share"
        modules = next(unpacked.glob("usr/lib/*/qemu"))  # else it would load those of the machine's own QEMU
        command = ("env", f"QEMU_MODULE_DIR={modules}", str(unpacked / "usr/bin" / backport.SYSTEM))
        command += ("-L", str(share / "qemu"), "-L", str(share / "seabios"))
    accel = "kvm" if kvm.works(command, image / disk.KERNEL, image / disk.INITRD) else "tcg"
    return Qemu(command, backport.version(command), accel)
