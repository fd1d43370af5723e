"""What a VM has been told since its disk was made, so that it is told again only what is new."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from podnet.labs.vm import Vm


@dataclass(frozen=True)
class Told:
    """A note beside the VM's disk: of which image that is, and of the last script. The script itself has keys in it."""

    vm: Vm

    @property
    def path(self) -> Path:
        """Where the note is."""
        return self.vm.home.path / self.vm.name / "told"

    @property
    def words(self) -> list[str]:
        """The note; empty words if there is none, as with a VM whose `up` was cut."""
        return self.path.read_text().split() if self.path.exists() else ["", ""]

    @property
    def image(self) -> str:
        """The image that the disk is of."""
        return self.words[0]

    def same(self, script: str) -> bool:
        """Whether the VM was told this."""
        return self.words[1] == digest(script)

    def write(self, script: str) -> None:
        """Note that it was."""
        self.path.write_text(f"{self.vm.image.name} {digest(script)}\n")


def digest(script: str) -> str:
    """Return what tells one script from another."""
    return hashlib.sha256(script.encode()).hexdigest()
