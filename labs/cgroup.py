"""The cgroup of a lab, and one of each host: who belongs to it, and the end of all of them.

Everything a lab runs is born in its cgroup and cannot leave it, so nobody needs to remember process numbers.
"""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from podnet.labs.error import LabError
from podnet.labs.wait import until

CGROUPS = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """Return the hierarchies that a systemd manages: the unified one first, then on a hybrid machine its named one."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    if (CGROUPS / "unified/cgroup.controllers").exists():
        return [CGROUPS / "unified", CGROUPS / "systemd"]
    raise LabError(f"no cgroup version 2 is mounted at {CGROUPS} or {CGROUPS}/unified, which labs need: mount one")


@dataclass(frozen=True)
class Cgroup:
    """One group, in all hierarchies."""

    name: str

    def __truediv__(self, child: str) -> "Cgroup":
        """Return the group of that name below this one."""
        return Cgroup(f"{self.name}/{child}")

    @property
    def paths(self) -> list[Path]:
        """Its directories, that of the unified hierarchy first."""
        return [hierarchy / self.name for hierarchy in hierarchies()]

    def exists(self) -> bool:
        """Whether anything of it is there."""
        return any(path.exists() for path in self.paths)

    def entering(self, command: Sequence[str]) -> list[str]:
        """Make the group; return a command that enters it and becomes `command`."""
        for path in self.paths:
            path.mkdir(parents=True, exist_ok=True)
        enter = " && ".join(f"echo 0 > {path}/cgroup.procs" for path in self.paths)
        return ["sh", "-c", f'{enter} && exec "$@"', "sh", *command]

    def pids(self) -> list[int]:
        """Everyone in the group and in those below it."""
        found: list[int] = []
        for directory, _, _ in os.walk(self.paths[0]):
            try:
                found += map(int, Path(directory, "cgroup.procs").read_text().split())
            except OSError as error:  # a group may go while we read it: then nobody is in it
                if error.errno not in (errno.ENOENT, errno.ENODEV):
                    raise
        return found

    def init(self) -> int | None:
        """Return the first process of the outermost pid namespace that was made in this group."""
        numbers = {pid: own_numbers(pid) for pid in self.pids()}
        inits = [pid for pid, own in numbers.items() if own[-1:] == [1]]
        return min(inits, key=lambda pid: len(numbers[pid]), default=None)

    def supervised(self) -> bool:
        """Whether someone from outside of that pid namespace is here too."""
        init = self.init()
        depth = len(own_numbers(init)) if init else 0
        return any(0 < len(own_numbers(pid)) < depth for pid in self.pids())

    def remove(self) -> None:
        """End everyone in the group, at once and for good, then remove it and those below it."""
        kill = self.paths[0] / "cgroup.kill"
        if kill.exists():
            kill.write_text("1")
            until(lambda: not self.pids(), 20, f"some process of {self.paths[0]} does not die: see its cgroup.procs")
        for path in self.paths:
            until(lambda path=path: rmdir(path), 10, f"{path} cannot be removed: see who is in it")  # type: ignore[misc]  # mypy cannot infer a lambda's default


def own_numbers(pid: int) -> list[int]:
    """Return the process's number in our pid namespace, then in each one inside; nothing if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return next(
        ([int(word) for word in line.split()[1:]] for line in status.splitlines() if line.startswith("NSpid:")), []
    )


def rmdir(top: Path) -> bool:
    """Remove a tree of cgroups; False while the kernel still holds one that is dying."""
    for directory, _, _ in os.walk(top, topdown=False):
        try:
            Path(directory).rmdir()
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOENT):
                raise
    return not top.exists()
