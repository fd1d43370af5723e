"""Whether KVM works here, found out by booting: a /dev/kvm that opens may yet run no kernel to its first word."""

import subprocess
from pathlib import Path

from podnet.labs import initramfs

DEVICE = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SPEAKS_WITHIN = 5.0  # a kernel that runs does so in one second, in emulation in two


def works(qemu: tuple[str, ...], kernel: Path, initrd: Path) -> bool:
    """Boot the VMs' kernel by KVM; the answer is kept beside the kernel until this machine boots."""
    if not DEVICE.exists():
        return False
    kept = kernel.with_name("kvm")
    boot = BOOT_ID.read_text().strip()
    if not kept.exists() or kept.read_text().split()[0] != boot:
        kept.write_text(f"{boot} {'works' if speaks(command(qemu, kernel, initrd)) else 'fails'}\n")
    return kept.read_text().split()[1] == "works"


def command(qemu: tuple[str, ...], kernel: Path, initrd: Path) -> list[str]:
    """Return what boots the kernel without a disk, on standard output."""
    return [
        *(*qemu, "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"),
        *("-M", "q35", "-accel", "kvm", "-cpu", "host", "-m", "256"),
        *("-kernel", str(kernel), "-initrd", str(initrd), "-append", "console=ttyS0 quiet"),
    ]


def speaks(words: list[str]) -> bool:
    """Whether the initramfs says its word in time."""
    try:
        done = subprocess.run(words, check=False, capture_output=True, timeout=SPEAKS_WITHIN)
    except subprocess.TimeoutExpired as late:  # it waits for a disk that it has not
        return initramfs.MARK.encode() in (late.stdout or b"")
    return initramfs.MARK.encode() in done.stdout
