"""A segment of a VM lab: a process of its own that passes frames between QEMUs, see podnet/labs/switch.py.

Its sockets are files: this machine's network stack knows nothing of the segment.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from podnet.labs.cgroup import Cgroup
from podnet.labs.wait import until

STARTS_WITHIN = 10.0


@dataclass(frozen=True)
class Segment:
    """One segment, and where the sockets of its NICs are."""

    name: str
    cgroup: Cgroup
    sockets: tuple[Path, ...]

    @property
    def runs(self) -> bool:
        """Whether frames are passed on."""
        return bool(self.cgroup.pids())

    def start(self, log: Path) -> None:
        """Start it; return when every socket is there."""
        self.cgroup.remove()
        for socket in self.sockets:
            socket.unlink(missing_ok=True)
        with log.open("ab") as said:
            subprocess.Popen(
                self.cgroup.entering([sys.executable, "-P", "-m", "podnet.labs.switch", *map(str, self.sockets)]),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        why = f"{self.name} did not start: {log} says why"
        until(lambda: all(socket.exists() for socket in self.sockets), STARTS_WITHIN, why)
