"""How fast a cluster converges, by the number of hosts, and what others take for the same.

`make bench` runs it (benchmarks/__main__.py) on labs of SIZES container hosts, one after the other, in the mode vxlan.
A round goes through all ways in turn, each from hosts that hold nothing, and through podnet's later applies: one that
finds a host that is new, one that finds nothing to do, one that finds an entry gone. Figures are medians of ROUNDS
rounds, whole commands from their start to their end; what is slow is measured once. A round before them is watched:
what each way's processes hold (not those of the slow ones), how many commands each host's sshd is asked for, and that
podnet then finds nothing to mend.

All hosts share this machine's processors with the controller: real ones do their own part by themselves. Hence ratios
say more than seconds.
"""

import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.giving import give
from benchmarks.running import Command, Cost, run
from benchmarks.ways import ANSIBLE, FLOOR, PODNET, PYTHON, WAYS, Place, Way, masters, podnet
from podnet.labs import limits
from podnet.verify import inventory
from tests.lab.at import At

SIZES = (3, 8, 16, 32)
ROUNDS = 5
SLOW_UP_TO = 16
AIMED_AT = 16
LOOP = "Ansible, a command per entry"
AGAIN_AT_MOST, BEST_AT_LEAST, LOOP_AT_LEAST, MEMORY_UNDER = 0.8, 6, 60, 150
AGAIN = "podnet, no change"
JOINED = "podnet, a peer added"
DAMAGED = "podnet, an entry damaged"
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
PYTHON_PARTS = [f".{PYTHON}", "./usr/lib/python3.11", "./lib/*/libexpat.so*", "./usr/lib/*/libffi.so*"]
"""Of Debian's Python: what Ansible needs on hosts. A lab's have none."""


@dataclass
class Found:
    """What was measured on labs of one size, by the ways' names."""

    size: int
    costs: dict[str, list[Cost]] = field(default_factory=lambda: defaultdict(list))
    commands: dict[str, int] = field(default_factory=dict)

    def median(self, name: str, what: str = "seconds") -> float:
        """Return the median of all rounds but, if there are others, the one in which it was watched."""
        costs = self.costs[name]
        return statistics.median(float(getattr(cost, what)) for cost in costs[1:] or costs)

    @property
    def floor(self) -> float:
        return self.median(FLOOR.name)


@contextmanager
def room(hosts: int) -> Iterator[None]:
    """Have the kernel allow so many hosts' systemds on this machine meanwhile."""
    before = INOTIFY.read_text()
    wanted = limits.instances() + limits.LEFT_FREE + hosts * limits.TAKEN_BY_A_HOST
    if int(before) < wanted:
        print(f"{INOTIFY} is {before.strip()}, and {wanted} until this is over", file=sys.stderr)
        INOTIFY.write_text(str(wanted))
    try:
        yield
    finally:
        INOTIFY.write_text(before)


@contextmanager
def place(size: int) -> Iterator[Place]:
    """Make a lab whose hosts hold nothing, and all that the ways are given."""
    at = At("bench")
    try:
        at.up("--hosts", str(size))
        with tempfile.TemporaryDirectory() as folder:
            hosts = tuple(f"node{number}" for number in range(1, size + 1))
            found = Place(at, hosts, Path(folder))
            if ANSIBLE.exists():
                give(at, hosts, ["python3.11-minimal", "libpython3.11-stdlib"], PYTHON_PARTS)
            at.into("vxlan")  # modules are loaded, and tables of iptables' are there, from now on
            reset(found)
            found.fill()
            (found.folder / "hosts").parent.mkdir(exist_ok=True)
            said = inventory.load(at.inventory)
            inventory.write(found.folder / "fewer.py", {host: said[host] for host in hosts[:-1]})
            yield found
    finally:
        at.down()


def reset(place: Place) -> None:
    """Take everything away."""
    applied = place.at.apply("deploys/teardown.py")
    if applied.code:
        sys.exit(applied.log)


def asked(place: Place) -> dict[str, int]:
    """Count the commands and subsystems that each host's sshd was asked for."""
    count = "journalctl --unit ssh --output cat | grep -c 'Starting session: ' || test $? = 1"
    return {host: int(place.at.sh(host, count)) for host in place.hosts}


def measure(found: Found, place: Place, name: str, commands: list[Command], *, once: bool = False) -> None:
    """Run a way, and see in the first round that it has done it; to watch what is run `once` would slow it down."""
    first = not found.costs[name]
    before = asked(place) if first else {}
    cost = run(commands, after=lambda: masters(place), watched=first and not once)
    found.costs[name].append(cost)
    print(f"  {name}: {cost.seconds:.2f} s", file=sys.stderr)
    if first:
        found.commands[name] = max(count - before[host] for host, count in asked(place).items())
        again = place.at.apply()
        if again.code or again.changed:
            sys.exit(f"after {name!r} podnet finds something to do on {', '.join(sorted(again.changed))}:\n{again.log}")


def round_of(found: Found, place: Place, number: int) -> None:
    """Go through all ways once, and through podnet's later applies."""
    for way in WAYS:
        if _wanted(way, found.size, number):
            reset(place)
            measure(found, place, way.name, way.commands(place), once=way.slow)
    reset(place)
    place.at.into("vxlan", inventory=place.folder / "fewer.py")
    measure(found, place, JOINED, podnet(place))
    measure(found, place, AGAIN, podnet(place))
    place.at.sh(
        "node1",
        "ip neigh del $(ip -4 neigh show dev flannel.1 nud permanent | head -n 1 | cut -d' ' -f1) dev flannel.1",
    )
    measure(found, place, DAMAGED, podnet(place))


def _wanted(way: Way, size: int, number: int) -> bool:
    if "Ansible" in way.name and not ANSIBLE.exists():
        return False
    return not way.slow or (number == 1 and size <= SLOW_UP_TO)


def measured(size: int, rounds: int = ROUNDS) -> Found:
    """Measure on a lab of so many hosts."""
    found = Found(size)
    with room(size), place(size) as lab:
        for number in range(1, rounds + 2):
            print(f"{size} hosts: round {number} of {rounds + 1}", file=sys.stderr)
            round_of(found, lab, number)
    return found


def names(found: list[Found]) -> list[str]:
    """Name the ways in the order of the tables."""
    order = [PODNET.name, AGAIN, JOINED, DAMAGED, *(way.name for way in WAYS if way != PODNET)]
    return [name for name in order if any(name in one.costs for one in found)]


def table(titles: list[str], rows: list[list[str]]) -> list[str]:
    """Write a table."""
    return [f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows)]


def ratios(found: list[Found]) -> list[str]:
    """Write what each way takes, as a multiple of the floor, and in seconds."""
    rows = [[name, *(_ratio(one, name) for one in found)] for name in names(found)]
    return table(["", *(f"{one.size} hosts" for one in found)], rows)


def _ratio(found: Found, name: str) -> str:
    if name not in found.costs:
        return ""
    seconds = found.median(name)
    return f"{seconds / found.floor:.2f} ({seconds:.2f} s)"


def burdens(found: Found) -> list[str]:
    """Write what each way costs the controller and the hosts."""
    rows = [
        [
            name,
            f"{found.median(name):.2f}",
            f"{found.median(name, 'processor'):.2f}",
            f"{memory:.0f}" if (memory := found.costs[name][0].memory) else "",
            str(found.commands[name]),
            f"{min(cost.traffic for cost in found.costs[name]) / 1000:.0f}",
        ]
        for name in names([found])
    ]
    titles = [f"{found.size} hosts", "Seconds", "Of the processor", "Peak MB", "Commands per host", "kB, both ways"]
    return table(titles, rows)


def targets(found: list[Found]) -> Iterator[str]:
    """Say of each target whether it is met, from AIMED_AT hosts on, and how far from it."""
    for one in found:
        first, again = one.median(PODNET.name), one.median(AGAIN)
        limit = AGAIN_AT_MOST
        said = [
            _aimed(one, f"first apply {first / one.floor:.2f} x the floor", "at most 1", met=first <= one.floor),
            _aimed(
                one, f"no change {again / first:.2f} x the first apply", f"at most {limit}", met=again <= limit * first
            ),
        ]
        ansible = [one.median(way.name) for way in WAYS if "Ansible" in way.name and way.name in one.costs]
        if ansible:
            best, limit = min(ansible) / first, BEST_AT_LEAST
            said.append(
                _aimed(one, f"Ansible's best way {best:.1f} x podnet's", f"at least {limit}", met=best >= limit)
            )
        if LOOP in one.costs:
            loop, limit = one.median(LOOP) / first, LOOP_AT_LEAST
            said.append(_aimed(one, f"its loop {loop:.0f} x", f"at least {limit}", met=loop >= limit))
        memory, limit = one.costs[PODNET.name][0].memory, MEMORY_UNDER
        said.append(_aimed(one, f"controller {memory:.0f} MB", f"under {limit}", met=memory < limit))
        yield f"- {one.size} hosts: {'; '.join(said)}."


def _aimed(one: Found, seen: str, target: str, *, met: bool) -> str:
    return f"{seen} ({target}: {'met' if met else 'missed'})" if one.size >= AIMED_AT else seen
