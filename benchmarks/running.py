"""Running commands and knowing what it has cost this machine: time, processor, memory, and what went to the hosts."""

import ctypes
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
TRAFFIC = Path("/sys/class/net/lo/statistics/tx_bytes")
"""Hosts of a lab are reached by 127.0.0.1: what goes there and back is counted here, together."""
BETWEEN_LOOKS = 0.02
SUBREAPER = 36  # linux/prctl.h, PR_SET_CHILD_SUBREAPER


@dataclass(frozen=True)
class Command:
    """What is run: words, what they are given on standard input, and further environment."""

    words: Sequence[str | Path]
    given: Path = Path(os.devnull)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock and of the processor, and bytes to the hosts and back; megabytes, if they were watched."""

    seconds: float
    processor: float
    traffic: int
    memory: float = 0.0


def machine() -> str:
    """Describe what all this runs on."""
    model = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return (
        f"{model.partition(': ')[2]}, {os.cpu_count()} processors, {memory:.0f} GB, Linux {platform.release()}, Python "
        f"{platform.python_version()}; load of the last quarter of an hour, this run's own included, "
        f"{os.getloadavg()[2]:.1f}."
    )


@contextmanager
def adopting() -> Iterator[None]:
    """Let what commands leave behind become our children, such as ssh's masters: their cost is the commands'."""
    _adopts(1)
    try:
        yield
    finally:
        _adopts(0)


def _adopts(yes: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(SUBREAPER, yes, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def run(commands: Sequence[Command], *, after: Callable[[], Sequence[Command]] = tuple, watched: bool = False) -> Cost:
    """Run commands at once, and those that they call for after them, which are not timed.

    Whatever fails ends everything, with its words.
    """
    memory = Memory()
    with tempfile.TemporaryFile("w+") as said, adopting():
        before, sent = processor(), int(TRAFFIC.read_text())
        start = time.monotonic()
        running = [_start(command, said.fileno()) for command in commands]
        if watched:
            memory.start()
        codes = [process.wait() for process in running]
        seconds = time.monotonic() - start
        traffic = int(TRAFFIC.read_text()) - sent
        memory.stop()
        if any(codes):
            said.seek(0)
            sys.exit(f"{commands[codes.index(max(codes))].words} ended with {max(codes)}:\n{said.read()[-4000:]}")
        for command in after():
            _start(command, said.fileno()).wait()
        _reap()
    return Cost(seconds, processor() - before, traffic, memory.peak)


def _start(command: Command, said: int) -> subprocess.Popen[bytes]:
    with command.given.open() as given:
        return subprocess.Popen(
            [str(word) for word in command.words],
            stdin=given,
            stdout=said,
            stderr=said,
            env={**os.environ, **command.environment},
        )


def processor() -> float:
    """Return what our children have used of the processor, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _reap() -> None:
    """Wait for what has been adopted, so that its cost is counted."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


class Memory:
    """The most that all our descendants have held together: what they share is counted once (PSS)."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.peak = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def start(self) -> None:
        """Look, again and again."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        if self._thread.ident:
            self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(BETWEEN_LOOKS):
            self.peak = max(self.peak, sum(map(_held, _descendants(os.getpid()))))


def _descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(") ")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
    found = [root]
    for process in found:  # grows while it is gone through
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]


def _held(process: int) -> float:
    try:
        lines = (PROC / str(process) / "smaps_rollup").read_text().splitlines()
    except OSError:  # as above
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
