"""How fast pods talk in each mode: beside the bare underlay, and beside the same mode set up by hand.

`make bench` runs it, and `make throughput` alone, on a lab of two containers, and on one of two VMs for what
containers lack. All modes come in turn, ROUNDS times. Each time five numbers are taken of four paths, one right after
the other: the bare underlay between the two hosts, pods as podnet has connected them, the bare underlay again, pods
that were connected by hand (benchmarks/hand.py). What the two bare ones differ by is noise: what podnet's and the
hand-made ones differ by is compared with that.

In a lab there is no wire: all is work of this machine's processors, so each step of a node weighs more than on hardware
with cores to spare. Ratios say more than rates.
"""

import json
import math
import re
import signal
import statistics
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from benchmarks import hand, plot
from benchmarks.converge import table
from benchmarks.giving import give
from benchmarks.running import machine
from podnet.verify.numbers import NUMBERS
from tests.lab.at import CLONE, At
from tests.lab.by_hand import Shells

ROUNDS = {"containers": 3, "VMs": 2}
ALSO_ON_VMS = "vxlan"
"""Measured on both, to compare the two."""
SECONDS = 1
NODES = {"node1": "192.168.56.11", "node2": "192.168.56.12"}
IPERF = ("./usr/bin/iperf3", "./usr/lib/*/libiperf.so*", "./usr/lib/*/libsctp.so*")
STAT = Path("/proc/stat")
TICK = 0.01
"""Seconds; what /proc/stat counts in (USER_HZ)."""
SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received, .*time (\d+)ms")
PAGE = CLONE / "docs" / "throughput-figures.md"

HEAD = """# How fast pods talk

`make bench` makes labs of two hosts, measures, and writes this page and its pictures; `make throughput` writes no
other. Modes are compared in [comparison.md](comparison.md).

{machine}

Each number is taken of the bare underlay, of pods as podnet connects them, of the bare underlay again, and of pods that
were connected by hand with `ip`, in flannel's way ([benchmarks/hand.py](../benchmarks/hand.py)), one right after the
other, in {containers} rounds through all modes on containers and {vms} on VMs. The pods are on two hosts, but for
bridge and veth_pair, which join those of one host only. Streams are TCP of iperf3, of {seconds} s; the round trip is
that of pings, each of which is sent when the last one is answered, for {seconds} s. Processor time is what this whole
machine was busy (/proc/stat), both ends and the measuring programs included: for a megabyte of the one stream, and for
a packet of the pings. No wire and no network card takes part: each step of a node costs throughput that it would not on
hardware with cores to spare. VMs are emulated: their numbers say something only beside each other. sriov is not
measured: its pods have NICs of their own, and a lab's are QEMU's.

"""


@dataclass(frozen=True)
class Reading:
    """What is measured of a path: Gbit/s of 1 stream and of 8, and microseconds."""

    one: float
    eight: float
    round_trip: float
    a_megabyte: float
    a_packet: float


TITLES = {
    "one": "1 stream",
    "eight": "8 streams",
    "round_trip": "Round trip",
    "a_megabyte": "Processor, a MB",
    "a_packet": "Processor, a packet",
}
UNITS = ("Gbit/s", "Gbit/s", "µs", "µs", "µs")


@dataclass(frozen=True)
class Round:
    """The four readings of a mode that belong together."""

    bare: Reading
    podnet: Reading
    again: Reading
    by_hand: Reading


Found = dict[str, list[Round]]
"""By mode; nothing where this kernel lacks what the mode needs."""


@dataclass(frozen=True)
class Line:
    """From where to where: a namespace of node1; the host that answers, its namespace, and the address there."""

    netns: str
    host: str
    there: str
    address: str


BARE = Line("", "node2", "", NODES["node2"])


def lines(mode: str) -> tuple[Line, Line]:
    """Return where podnet's pods talk, and those that were connected by hand: across hosts if the mode joins any."""
    one, two = (hand.Side(number, address) for number, address in enumerate(NODES.values(), 1))
    if NUMBERS[mode].across is None:
        return Line("podnet-pod1", "node1", "podnet-pod2", "10.244.1.3"), Line("pod", "node1", "pod2", one.second)
    return Line("podnet-pod1", "node2", "podnet-pod1", "10.244.2.2"), Line("pod", "node2", "pod", two.pod)


def entering(netns: str) -> str:
    """Spell how a command is run in a namespace, if one is named."""
    return f"ip netns exec {netns} " if netns else ""


@contextmanager
def answering(shells: Shells, line: Line) -> Iterator[None]:
    """Have iperf3 listen at the far end."""
    enter = entering(line.there)
    heard = f"{enter}ss -Hltn sport = :5201 | grep -q ."
    shells.sh(
        line.host,
        f"{enter}iperf3 --server --daemon --pidfile /run/iperf3.pid\n"
        f"timeout 10 sh -c 'until {heard}; do sleep 0.02; done'",
    )
    try:
        yield
    finally:
        # The file ends in a zero byte.
        shells.sh(line.host, "kill $(tr -d '\\0' </run/iperf3.pid); rm -f /run/iperf3.pid")


def busy() -> float:
    """Return for how many seconds this machine's processors have been busy."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, STAT.read_text().split("\n", maxsplit=1)[0].split()[1:])
    return (user + nice + system + irq + softirq) * TICK


def stream(shells: Shells, line: Line, count: int) -> tuple[float, float]:
    """Send so many streams at once; return Gbit/s as received, and microseconds of the processors for a megabyte."""
    before = busy()
    said = shells.sh(
        "node1", f"{entering(line.netns)}iperf3 --json --client {line.address} --time {SECONDS} --parallel {count}"
    )
    used = busy() - before
    received = json.loads(said)["end"]["sum_received"]
    return received["bits_per_second"] / 1e9, used / (received["bytes"] / 1e6) * 1e6


def pings(shells: Shells, line: Line) -> tuple[float, float]:
    """Ping for a while; return what a round trip takes, and what a packet costs the processors, in microseconds.

    ping says whole microseconds of each, and a round trip takes two: all together are divided by their number.
    """
    before = busy()
    said = shells.sh("node1", f"{entering(line.netns)}ping -n -q -A -w {SECONDS} {line.address}")
    used = busy() - before
    _, answered, milliseconds = map(int, SUMMARY.findall(said)[0])
    return milliseconds / answered * 1000, used / (2 * answered) * 1e6


def read(shells: Shells, line: Line) -> Reading:
    """Take all numbers of one path."""
    with answering(shells, line):
        one, a_megabyte = stream(shells, line, 1)
        eight, _ = stream(shells, line, 8)
    round_trip, a_packet = pings(shells, line)
    return Reading(one, eight, round_trip, a_megabyte, a_packet)


@dataclass
class Bench:
    """A lab of two hosts, and who sits at them."""

    at: At
    shells: Shells

    def both(self, script: str) -> None:
        for host in NODES:
            self.shells.sh(host, script)

    def bare(self) -> Reading:
        """Measure hosts that hold nothing."""
        self.both(hand.FORGET)
        return read(self.shells, BARE)

    def podnet(self, mode: str) -> Reading | None:
        """Measure podnet's pods; None if this kernel lacks what they need."""
        applied = self.at.apply(f"deploys/{mode}.py")
        if applied.code != 0 and "this kernel lacks" in applied.log:
            return None
        if applied.code != 0:
            sys.exit(applied.log)
        reading = read(self.shells, lines(mode)[0])
        self.at.into("teardown")
        return reading

    def by_hand(self, mode: str) -> Reading:
        """Measure pods that are connected by hand."""
        publics = [self.shells.sh(host, hand.MAKE_KEY).strip() for host in NODES]
        one, two = (
            hand.Side(number, address, public)
            for number, (address, public) in enumerate(zip(NODES.values(), publics, strict=True), 1)
        )
        self.shells.sh("node1", hand.SET_UP[mode](one, two))
        self.shells.sh("node2", hand.SET_UP[mode](two, one))
        return read(self.shells, lines(mode)[1])

    def round(self, mode: str) -> Iterator[Round]:
        """Take the four readings of a mode, if this kernel has it."""
        bare = self.bare()
        if podnet := self.podnet(mode):
            yield Round(bare, podnet, self.bare(), self.by_hand(mode))


def measured(kind: str, modes: Iterable[str], rounds: int, *options: str) -> Found:
    """Make a lab of that kind and measure modes on it."""
    at = At(f"speed-{kind.lower()}")
    found: Found = {mode: [] for mode in modes}
    try:
        at.up("--hosts", "2", *options)
        give(at, NODES, ["iperf3"], IPERF)
        shells = Shells(at)
        bench = Bench(at, shells)
        for number in range(1, rounds + 1):
            for mode, seen in found.items():
                if number == 1 or seen:
                    print(f"{kind}, round {number} of {rounds}: {mode}", file=sys.stderr)
                    seen.extend(bench.round(mode))
        shells.close()
    finally:
        at.down()
    return found


def everywhere() -> dict[str, Found]:
    """Measure on containers, and on VMs what they lack."""
    modes = [mode for mode, numbers in NUMBERS.items() if not numbers.elsewhere]
    containers = measured("containers", modes, ROUNDS["containers"])
    rest = [mode for mode, rounds in containers.items() if not rounds]
    return {"containers": containers, "VMs": measured("VMs", [ALSO_ON_VMS, *rest], ROUNDS["VMs"], "--vms")}


def ratios(rounds: Iterable[Round], above: str, below: str, what: str) -> list[float]:
    """Divide what is above by what is below, round by round."""
    return [getattr(getattr(one, above), what) / getattr(getattr(one, below), what) for one in rounds]


def noise(found: Found, what: str) -> list[float]:
    """Divide bare underlays, in all rounds of all modes."""
    return ratios((one for rounds in found.values() for one in rounds), "again", "bare", what)


def told(values: list[float]) -> str:
    """Write the median, and the lowest and the highest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def beside(found: Found, above: str, below: str) -> list[str]:
    """Write a row of ratios for every mode, and one of the bare underlay's to itself."""
    rows = [
        [mode, *(told(ratios(rounds, above, below, what)) for what in TITLES)]
        for mode, rounds in found.items()
        if rounds
    ]
    return table(
        ["", *TITLES.values()], [*rows, ["noise: bare to bare", *(told(noise(found, what)) for what in TITLES)]]
    )


def explained(found: Found, what: str, count: int) -> tuple[float, float]:
    """Say how far the median of so many ratios may lie from 1 by noise alone: three standard errors.

    By how much two readings of one thing differ is known from the bare underlay's, of all modes. More of them tell that
    better, and allow no more. 1.25 is sqrt(pi / 2), by which a median's error exceeds a mean's.
    """
    spread = statistics.pstdev(map(math.log, noise(found, what)), 0)
    error = 3 * math.sqrt(math.pi / 2) * spread / math.sqrt(count)
    return math.exp(-error), math.exp(error)


def verdict(found: Found) -> str:
    """Say which medians lie further from 1 than noise explains."""
    other = []
    for what, title in TITLES.items():
        for mode, rounds in found.items():
            if rounds:
                low, high = explained(found, what, len(rounds))
                middle = statistics.median(ratios(rounds, "podnet", "by_hand", what))
                other += (
                    [] if low <= middle <= high else [f"{mode}, {title}: {middle:.2f}, noise {low:.2f} to {high:.2f}"]
                )
    if not other:
        return "Equal within noise: no median is further from 1 than three standard errors, which bare to bare gives."
    return "Further from 1 than three standard errors, which bare to bare gives: " + "; ".join(other) + "."


def absolute(found: Found) -> str:
    """Say what the bare underlay does."""
    bare = [reading for rounds in found.values() for one in rounds for reading in (one.bare, one.again)]
    medians = (statistics.median(getattr(one, each.name) for one in bare) for each in fields(Reading))
    words = (f"{title} {value:,.2f} {unit}" for title, value, unit in zip(_titles(), medians, UNITS, strict=True))
    return f"The bare underlay, medians: {'; '.join(words)}."


def _titles() -> Iterator[str]:
    return (TITLES[each.name] for each in fields(Reading))


def part(kind: str, found: Found) -> Iterator[str]:
    """Write the part about labs of one kind."""
    yield from (f"## {kind[0].upper()}{kind[1:]}", "", absolute(found))
    lacking = [mode for mode, rounds in found.items() if not rounds]
    if lacking:
        yield f"This machine's kernel lacks what {', '.join(lacking)} need; VMs have it."
    yield from ("", "podnet's pods, as multiples of the bare underlay: median, lowest and highest.", "")
    yield from (*beside(found, "podnet", "bare"), "")
    yield from (f"![{name} beside the bare underlay]({name}-{kind.lower()}.svg)" for name in PICTURES)
    yield ""
    yield from ("podnet's pods, as multiples of those set up by hand.", "")
    yield from (*beside(found, "podnet", "by_hand"), "", verdict(found), "")


PICTURES = {"throughput": ("one", "eight"), "latency": ("round_trip", "a_packet")}


def picture(found: Found, title: str, numbers: Iterable[str]) -> str:
    """Draw each mode's numbers as multiples of the bare underlay's."""
    groups = {
        mode: {
            f"{TITLES[what]}, {who}": ratios(rounds, *pair, what)
            for what in numbers
            for who, pair in {"podnet": ("podnet", "bare"), "by hand": ("by_hand", "again")}.items()
        }
        for mode, rounds in found.items()
        if rounds
    }
    return plot.bars(f"{title}; the bare underlay is 1", groups)


def write(found: dict[str, Found]) -> list[str]:
    """Write the page and its pictures; return what it says."""
    said = [line for kind, each in found.items() for line in part(kind, each)]
    for kind, each in found.items():
        for name, numbers in PICTURES.items():
            drawn = picture(each, f"{kind}, {name}", numbers)
            PAGE.with_name(f"{name}-{kind.lower()}.svg").write_text(drawn)
    head = HEAD.format(machine=machine(), containers=ROUNDS["containers"], vms=ROUNDS["VMs"], seconds=SECONDS)
    PAGE.write_text(head + "\n".join(said))
    return said


if __name__ == "__main__":
    # Who is told to end takes labs away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    print("\n".join(write(everywhere())))
