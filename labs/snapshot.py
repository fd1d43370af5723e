"""A VM as it was after its first boot, before it was told whose it is: the next one like it need not boot.

Snapshots stand in the image that they belong to, and go with it. No key of any lab is in them.
"""

import hashlib
import shlex
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
        """The memory, and what the devices hold."""
        return self.path / "memory"

    @property
    def disk(self) -> Path:
        """The disk that belongs to the memory."""
        return self.path / "disk.qcow2"

    @property
    def incoming(self) -> tuple[str, str]:
        """What has a QEMU go on from it."""
        return "-incoming", f"exec:cat {shlex.quote(str(self.memory))}"

    async def take(self) -> None:
        """Make it from a running VM, which then goes on."""
        draft = self.path.with_name(f"{self.path.name}.{self.vm.home.tag}")
        self.discard(draft)
        draft.mkdir(parents=True)
        try:
            async with qmp.connected(self.vm.qmp) as asked:
                await asked.save(draft / self.memory.name)
                shutil.copyfile(self.vm.disk, draft / self.disk.name)
                await asked.ask("cont")
            if not self.path.exists():  # a lab of the same shape may have been quicker
                draft.rename(self.path)
        finally:
            self.discard(draft)
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
