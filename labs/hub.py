"""A segment of a VM lab: a QEMU without a machine, which passes every frame on to all that are plugged in.

Its sockets are files: this machine's network stack knows nothing of the segment.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from podnet.labs.cgroup import Cgroup
from podnet.labs.qemu import Qemu
from podnet.labs.wait import until

STARTS_WITHIN = 10.0


@dataclass(frozen=True)
class Hub:
    """One segment, and where the sockets of its NICs are."""

    segment: str
    cgroup: Cgroup
    sockets: tuple[Path, ...]

    @property
    def runs(self) -> bool:
        """Whether frames are passed on."""
        return bool(self.cgroup.pids())

    def command(self, qemu: Qemu) -> list[str]:
        """The QEMU that is the segment."""
        ports = [
            word
            for number, socket in enumerate(self.sockets)
            for word in (
                *("-netdev", f"stream,id=s{number},server=on,addr.type=unix,addr.path={socket}"),
                *("-netdev", f"hubport,id=h{number},hubid=0,netdev=s{number}"),
            )
        ]
        return [*qemu.command, "-M", "none", "-nodefaults", "-no-user-config", "-display", "none", *ports]

    def start(self, qemu: Qemu, log: Path, holder: int) -> None:
        """Start it; return when every socket is there."""
        self.cgroup.remove()
        for socket in self.sockets:
            socket.unlink(missing_ok=True)
        with log.open("ab") as said:
            subprocess.Popen(
                self.cgroup.entering(self.command(qemu)),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                pass_fds=[holder],
            )
        why = f"{self.segment} did not start: {log} says why"
        until(lambda: all(socket.exists() for socket in self.sockets), STARTS_WITHIN, why)
