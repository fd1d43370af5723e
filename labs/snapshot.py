"""A VM as it was after its first boot, before it was told whose it is: the next one like it need not boot.

Snapshots stand in the image that they belong to, and go with it. No key of any lab is in them.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from podnet.labs import qmp
from podnet.labs.vm import Vm

KEPT = 24  # about 150 MB each


@dataclass(frozen=True)
class Snapshot:
    """The memory and the disk of a VM."""

    vm: Vm

    @property
    def path(self) -> Path:
        """Where it is or will be: elsewhere for another image, QEMU, machine or identity."""
        like = repr((self.vm.qemu.version, self.vm.hardware))
        return self.vm.image / "snapshots" / f"{self.vm.name}-{hashlib.sha256(like.encode()).hexdigest()[:12]}"

    @property
    def memory(self) -> Path:
        """What `-incoming` is given."""
        return self.path / "memory"

    @property
    def disk(self) -> Path:
        """The disk that belongs to the memory."""
        return self.path / "disk.qcow2"

    async def take(self) -> None:
        """Make it from a running VM, which then goes on."""
        draft = self.path.with_name(f"{self.path.name}.{self.vm.home.tag}")
        self.discard(draft)
        draft.mkdir(parents=True)
        async with qmp.connected(self.vm.qmp) as asked:
            await asked.save(draft / self.memory.name)
            shutil.copyfile(self.vm.disk, draft / self.disk.name)
            await asked.ask("cont")
        self.discard(self.path)
        draft.rename(self.path)
        self.sweep()

    def discard(self, path: Path) -> None:
        """Remove one."""
        if path.exists():
            shutil.rmtree(path)

    def sweep(self) -> None:
        """Keep the newest ones only."""
        newest = sorted(self.path.parent.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in newest[KEPT:]:
            self.discard(old)
