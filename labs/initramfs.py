"""What a VM's kernel starts from: half a dozen modules, and a shell that mounts the disk and steps aside.

Debian's own initrd does the same in three seconds more.
"""

import stat
from pathlib import Path

MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
TOOLS = ("sh", "insmod", "mount", "run-init", "sleep")
MARK = "podnet: the kernel runs"
DISK = "/dev/vda"

INIT = f"""\
#!/bin/sh
PATH=/bin
echo "{MARK}"
mount -t devtmpfs dev /dev
for module in /modules/*; do
    insmod "$module"
done
until [ -e {DISK} ]; do
    sleep 0.1
done
mount -t ext4 {DISK} /root
exec run-init -c /dev/console /root /sbin/init
"""


def make(root: Path, disk: str = DISK) -> bytes:
    """Return an initramfs of what is in this root, as a cpio archive; `disk` is where it will find a root to mount."""
    (modules,) = (root / "lib/modules").iterdir()
    klibc = root / "usr/lib/klibc/bin"
    (loader,) = (root / "usr/lib").glob("klibc-*.so")
    entries = [
        *(entry(name, stat.S_IFDIR | 0o755) for name in ("bin", "dev", "lib", "modules", "root")),
        entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        entry("init", stat.S_IFREG | 0o755, INIT.replace(DISK, disk).encode()),
        entry(f"lib/{loader.name}", stat.S_IFREG | 0o755, loader.read_bytes()),
        *(entry(f"bin/{tool}", stat.S_IFREG | 0o755, (klibc / tool).read_bytes()) for tool in TOOLS),
        *(
            entry(f"modules/{number:02}-{Path(module).name}", stat.S_IFREG | 0o644, (modules / module).read_bytes())
            for number, module in enumerate(in_order((modules / "modules.dep").read_text()))
        ),
        entry("TRAILER!!!", 0),
    ]
    return b"".join(entries)


def in_order(dependencies: str) -> list[str]:
    """Return the files of the modules that we insert, each after those that it needs."""
    needs = {file: needed.split() for file, needed in (line.split(":") for line in dependencies.splitlines())}
    files = {Path(file).name.removesuffix(".ko").replace("-", "_"): file for file in needs}
    wanted = [file for name in MODULES for file in (*reversed(needs[files[name]]), files[name])]
    return list(dict.fromkeys(wanted))


def entry(name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """Return one file as cpio's "newc" has it."""
    path = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return padded(header + path) + padded(content)


def padded(content: bytes) -> bytes:
    """Fill up to the next multiple of four."""
    return content + b"\0" * (-len(content) % 4)
