"""The image of a VM: a disk, and what QEMU starts from it."""

import shutil
import subprocess
from pathlib import Path

from podnet.labs import backport, initramfs, vmlinux

PACKING = (initramfs.MODULES, initramfs.TOOLS, initramfs.INIT, "3")
SIZE = "3G"  # sparse
# What no VM of a lab has: 300 of the 400 MB of modules, and documents.
PRUNED = (
    *("sound", "drivers/gpu", "drivers/media", "drivers/staging", "drivers/infiniband", "drivers/iio"),
    *("drivers/scsi", "drivers/usb", "drivers/hwmon", "drivers/input", "drivers/net/wireless", "drivers/isdn"),
    *("net/wireless", "net/mac80211", "net/bluetooth", "drivers/bluetooth"),  # networkd would load the first of them
    *("fs/xfs", "fs/btrfs", "fs/ocfs2", "fs/gfs2", "fs/ceph", "fs/nfs", "fs/smb", "fs/f2fs"),
)
DOCUMENTS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")

DISK, OVERLAY, KERNEL, INITRD, QEMU = "disk.raw", "overlay.qcow2", "vmlinux", "initrd", "qemu"


def pack(draft: Path, final: Path) -> Path:
    """Turn the tree draft/root into an image, which will be at `final`; return where it is now."""
    root, image = draft / "root", draft / "image"
    image.mkdir()
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    (image / KERNEL).write_bytes(vmlinux.unpacked(kernel.read_bytes()))
    (image / INITRD).write_bytes(initramfs.make(root))
    prune(root)
    run("truncate", f"--size={SIZE}", image / DISK)
    run("mke2fs", "-q", "-t", "ext4", "-d", root, image / DISK)
    # A VM's own disk begins as a copy of this one, which refers to the other by the place where it will be.
    run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", final / DISK, image / OVERLAY, SIZE)
    backport.unpack(draft, image / QEMU)
    return image


def prune(root: Path) -> None:
    """Remove what nobody needs from the tree."""
    (modules,) = (root / "lib/modules").iterdir()
    for directory in (*(modules / "kernel" / name for name in PRUNED), *(root / name for name in DOCUMENTS)):
        shutil.rmtree(directory)
    for left in (root / "boot").iterdir():
        left.unlink()
    run("depmod", "--basedir", root, modules.name)


def run(*words: str | Path) -> None:
    """Run a command that makes the image."""
    subprocess.run(words, check=True)
