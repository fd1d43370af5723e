"""The box: the recipe of labs as Vagrant wants it, for those who have no Debian box in reach, and for our own tests.

Beside the other images lies one file, made once, which `vagrant box add` takes.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

from podnet.labs import disk, image, initramfs, recipe
from podnet.labs.error import LabError
from podnet.labs.recipe import Form

NAME = "podnet/bookworm"
USER = "vagrant"
GIBIBYTES = 3  # sparse
SECTOR = 512
BEGINS_AT = 2048  # the sector at which the one partition begins; GRUB lies before it
METADATA = {"provider": "libvirt", "format": "qcow2", "virtual_size": GIBIBYTES}
GRUB = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "linux", "boot")
GRUB_CONFIG = """\
linux (hd0,msdos1)/boot/vmlinuz root=/dev/vda1 rw net.ifnames=0 console=ttyS0 quiet mitigations=off audit=0 panic=1
initrd (hd0,msdos1)/boot/initrd
boot
"""

# Vagrant writes the underlay's address into ifupdown's file, as in Debian's own boxes.
FILES = {
    "etc/machine-id": recipe.FILES["etc/machine-id"],
    "etc/systemd/journald.conf.d/podnet.conf": recipe.FILES["etc/systemd/journald.conf.d/podnet.conf"],
    "etc/systemd/system.conf.d/podnet.conf": recipe.FILES["etc/systemd/system.conf.d/podnet.conf"],
    "etc/modprobe.d/podnet.conf": recipe.VM_FILES["etc/modprobe.d/podnet.conf"],
    "etc/ssh/sshd_config.d/podnet.conf": """\
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
UsePAM no
UseDNS no
""",
    # Every machine has a key of its own, which it makes when it boots for the first time.
    "etc/systemd/system/ssh.service.d/podnet.conf": """\
[Service]
ExecStartPre=
ExecStartPre=sh -c 'test -s "$$0" || ssh-keygen -q -t ed25519 -N "" -f "$$0"' /etc/ssh/ssh_host_ed25519_key
""",
    "etc/sudoers.d/vagrant": f"{USER} ALL=(ALL) NOPASSWD: ALL\n",
    "etc/network/interfaces": "auto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet dhcp\n",
    "etc/hostname": f"{recipe.SUITE}\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/fstab": "/dev/vda1 / ext4 defaults 0 1\n",
}

BOX = Form(
    "vagrant",
    (*recipe.PACKAGES, "linux-image-amd64", "klibc-utils", "ifupdown", "isc-dhcp-client"),
    FILES,
    (
        f"useradd --create-home --shell /bin/bash --user-group --password '*' {USER}",
        "sh -c 'rm -f /etc/ssh/ssh_host_*'",
        "rm -f /usr/lib/udev/hwdb.bin",
    ),
    recipe.VM.masked,
)


def main() -> None:
    """Make the box if it is not there, and say how it is used."""
    print(f"vagrant box add --name {NAME} {made()} && export PODNET_VAGRANT_BOX={NAME}")


def path() -> Path:
    """Return where the box of today's recipe is, or will be."""
    what = repr((BOX, disk.PACKING, disk.PRUNED, METADATA, GRUB_MODULES, GRUB_CONFIG, "1"))
    return image.cache() / f"{recipe.SUITE}-{BOX.name}-{hashlib.sha256(what.encode()).hexdigest()[:12]}.box"


def made() -> Path:
    """Return the box, which is made if it is not there."""
    with image.locked() as lock:
        for older in image.cache().glob(f"{recipe.SUITE}-{BOX.name}-*.box"):
            if older != path():
                older.unlink()
        if not path().exists():
            build(lock)
    return path()


def build(lock: int) -> None:
    """Make the box under another name; only when it is whole does it get its own."""
    start = time.monotonic()
    key = insecure_key()
    draft = image.cache() / "draft"
    if draft.exists():
        shutil.rmtree(draft)
    (draft / "tmp").mkdir(parents=True)
    print(f"making the box {path()}", flush=True)
    image.mmdebstrap(BOX, draft, lock)
    image.finish(BOX, draft / "root")
    let_in(draft / "root", key)
    pack(draft).rename(path())
    shutil.rmtree(draft)
    print(f"the box is made ({time.monotonic() - start:.0f} s)", flush=True)


def insecure_key() -> str:
    """Return the public key that Vagrant itself tries first; at its first `up` a machine gets one of its own."""
    listed = subprocess.run(["dpkg", "-L", "vagrant"], check=False, capture_output=True, text=True).stdout
    found = re.search(r"^/.*/keys/vagrant\.pub$", listed, re.MULTILINE)
    if not found:
        raise LabError("the Debian package vagrant is not installed: `./setup packages-vagrant.txt` does so")
    return Path(found[0]).read_text()


def let_in(root: Path, key: str) -> None:
    """Let the user in by this key; the files are the user's own, since Vagrant replaces the key."""
    home = root / "home" / USER
    owner = home.stat()
    ssh = home / ".ssh"
    ssh.mkdir(mode=0o700)
    (ssh / "authorized_keys").write_text(key)
    for mine in (ssh, ssh / "authorized_keys"):
        os.chown(mine, owner.st_uid, owner.st_gid)


def pack(draft: Path) -> Path:
    """Turn the tree draft/root into a disk that boots by itself, and that into a box; return where it is."""
    root, raw, packed = draft / "root", draft / "disk.raw", draft / "box.img"
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    loaded = {"vmlinuz": kernel.read_bytes(), "initrd": initramfs.make(root, disk="/dev/vda1")}
    disk.prune(root)
    for name, content in loaded.items():
        (root / "boot" / name).write_bytes(content)
    disk.run("truncate", f"--size={GIBIBYTES}G", raw)
    subprocess.run(["sfdisk", "--quiet", raw], input=f"start={BEGINS_AT}, type=83, bootable", text=True, check=True)
    room = f"{GIBIBYTES * 1024 * 1024 - BEGINS_AT * SECTOR // 1024}k"
    disk.run("mke2fs", "-q", "-F", "-t", "ext4", "-d", root, "-E", f"offset={BEGINS_AT * SECTOR}", raw, room)
    make_bootable(draft, raw)
    disk.run("qemu-img", "convert", "-c", "-O", "qcow2", raw, packed)
    return archive(draft / "made.box", {"metadata.json": json.dumps(METADATA).encode()}, packed)


def make_bootable(draft: Path, raw: Path) -> None:
    """Write GRUB before the partition; the partition table, in the end of the first sector, stays."""
    config, core = draft / "grub.cfg", draft / "core.img"
    config.write_text(GRUB_CONFIG)
    disk.run(
        *("grub-mkimage", "-O", "i386-pc", "-p", "(hd0,msdos1)/boot", "-c", config, "-o", core),
        *GRUB_MODULES,
    )
    code, rest = (GRUB / "boot.img").read_bytes()[:440], core.read_bytes()
    if len(rest) > (BEGINS_AT - 1) * SECTOR:
        raise LabError(f"GRUB has {len(rest)} bytes, too many for the {BEGINS_AT} sectors before the partition")
    with raw.open("r+b") as written:
        written.write(code)
        written.seek(SECTOR)
        written.write(rest)


def archive(made: Path, texts: Mapping[str, bytes], packed: Path) -> Path:
    """Put a box's files into one."""
    with tarfile.open(made, "w") as box:
        for name, text in texts.items():
            (made.parent / name).write_bytes(text)
            box.add(made.parent / name, name)
        box.add(packed, packed.name)
    return made


if __name__ == "__main__":
    main()
