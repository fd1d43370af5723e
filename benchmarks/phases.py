"""Where the time of an apply goes: its phases, and what each costs the controller's processor and the hosts'.

`make bench` runs it on a lab of HOSTS hosts: the floor, podnet's first apply and one that finds nothing to do, ROUNDS
times in turn. The controller's share is pyinfra's process (benchmarks/watched.py), the hosts' is that of their lab's
cgroup. What is neither, and no other process of this machine, is waiting.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.converge import place, reset, room, table
from benchmarks.running import Command, processor, run
from benchmarks.ways import FLOOR, PODNET, Place, openssh, podnet
from podnet.facts import node
from podnet.labs.home import named
from podnet.operations.writing import script

HOSTS = 16
ROUNDS = 5
PHASES = {
    "start": "Python starts, pyinfra and podnet are imported",
    "inventory": "the inventory is read and checked",
    "connections": "connections are made",
    "wanted": "what each host should hold is computed",
    "hosts": "hosts are read, compared and written to",
    "end": "the end",
}
ALL = "all"
AGAIN = "podnet, no change"


@dataclass(frozen=True)
class Phase:
    """What a phase has taken: seconds, of the clock, of the controller's processor, of the hosts'."""

    name: str
    seconds: float
    controller: float
    hosts: float


def phases(said: Mapping[str, Any]) -> list[Phase]:
    """Read what a watched run has noted: its phases, the parts of one, which are the controller's alone, and all."""
    marks, parts = said["marks"], said["parts"]
    found = [Phase(PHASES[a[0]], b[1] - a[1], b[2] - a[2], b[3] - a[3]) for a, b in pairwise(marks)]
    inside = [Phase(f"— of that, {name}", 0.0, used, 0.0) for name, used in parts.items()]
    cut = next(number for number, phase in enumerate(found, 1) if phase.name == PHASES["hosts"])
    whole = Phase(ALL, *(after - before for before, after in zip(marks[0][1:], marks[-1][1:], strict=True)))
    return [*found[:cut], *inside, *found[cut:], whole]


def stat(place: Place) -> Path:
    """Name the file in which the kernel counts what a lab's hosts use of the processor."""
    return named(place.at.name).cgroup.paths[0] / "cpu.stat"


def used(file: Path) -> float:
    """Return what they have used, in seconds."""
    return int(dict(line.split() for line in file.read_text().splitlines())["usage_usec"]) / 1e6


def floor(place: Place) -> list[Phase]:
    """Send finished batches by OpenSSH, and see what that costs."""
    before = used(stat(place))
    cost = run(openssh(place))
    return [Phase(ALL, cost.seconds, cost.processor, used(stat(place)) - before)]


def watched(place: Place) -> list[Phase]:
    """Run podnet's apply, watched."""
    (apply,) = podnet(place)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.json")
        # The clock goes on for all processes alike (CLOCK_MONOTONIC).
        begin: list[str | Path] = [sys.executable, "-m", "benchmarks.watched", stat(place), str(time.monotonic()), out]
        run([Command([*begin, *apply.words[1:]])])
        return phases(json.loads(out.read_text()))


def on_a_host(place: Place) -> dict[str, float]:
    """Say what one host's processor has to do, without sshd; what its systemd does meanwhile apart from the rest."""
    host = place.hosts[0]
    want, _ = place.at.wanted(host)
    read = node.script(**node.asked(want))
    tasks = {
        "reading a host that holds nothing": read,
        "carrying out the first apply": script(place.at.todo(host, "vxlan")),
        "reading a host that holds everything": read,
    }
    found = {}
    for task, sent in tasks.items():
        before, others = processor(), used(stat(place))
        place.at.sh(host, sent)
        found[task] = processor() - before
        found[f"systemd meanwhile ({task})"] = used(stat(place)) - others
    return found


@dataclass
class Found:
    """All rounds, by what was run; and what a host's own processor had to do in each."""

    runs: dict[str, list[list[Phase]]]
    host: list[dict[str, float]]


def measured(size: int = HOSTS, rounds: int = ROUNDS) -> Found:
    """Measure on a lab of so many hosts."""
    found = Found({FLOOR.name: [], PODNET.name: [], AGAIN: []}, [])
    with room(size), place(size) as lab:
        for number in range(1, rounds + 1):
            print(f"phases on {size} hosts: round {number} of {rounds}", file=sys.stderr)
            reset(lab)
            found.runs[FLOOR.name].append(floor(lab))
            reset(lab)
            found.host.append(on_a_host(lab))
            reset(lab)
            found.runs[PODNET.name].append(watched(lab))
            found.runs[AGAIN].append(watched(lab))
    return found


def medians(runs: list[list[Phase]]) -> list[Phase]:
    """Take the median of each number of each phase."""
    return [
        Phase(
            same[0].name,
            *(statistics.median(getattr(one, what) for one in same) for what in ("seconds", "controller", "hosts")),
        )
        for same in zip(*runs, strict=True)
    ]


def rows(found: Found) -> Iterator[str]:
    """Write the tables."""
    for name, runs in found.runs.items():
        lines = [[phase.name, *map(_told, (phase.seconds, phase.controller, phase.hosts))] for phase in medians(runs)]
        yield from (*table([name, "Seconds", "Controller's processor, s", "Hosts' processors, s"], lines), "")
    each = {task: statistics.median(one[task] for one in found.host) for task in found.host[0]}
    lines = [[task, f"{seconds * 1000:.0f}"] for task, seconds in each.items()]
    yield from table(["One host's processor, without sshd", "ms"], lines)


def _told(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds else ""


def verdict(found: Found) -> str:
    """Say in a sentence where the time goes, beside the floor."""
    (least,) = medians(found.runs[FLOOR.name])
    *parts, whole = medians(found.runs[PODNET.name])
    busy = (whole.controller + whole.hosts) / (whole.seconds * (os.cpu_count() or 1))
    dearest = sorted(parts, key=lambda part: part.controller + part.hosts, reverse=True)[:2]
    most = " and ".join(f"{part.name} ({part.controller:.2f} + {part.hosts:.2f} s)" for part in dearest)
    return (
        f"The first apply takes {whole.seconds / least.seconds:.2f} times as long as the floor, on processors that are "
        f"busy with it for {busy:.0%} of the time. It costs the controller {whole.controller:.2f} s of them and the "
        f"hosts {whole.hosts:.2f} s; the floor costs {least.controller:.2f} s and {least.hosts:.2f} s. Most of it are "
        f"two phases, the controller's share and the hosts': {most}."
    )
