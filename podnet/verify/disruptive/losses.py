"""Packets lost while hosts are being changed: pods ping each other without a pause, and what did not come back counts.

Each host runs a handful of pings of its own, whatever the number of pods and peers: one remote command starts them and
returns when all have had a reply, one ends and counts them.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from podnet import pods
from podnet.cluster import Node, Pod
from podnet.marks import Marks
from podnet.verify.fleet import Fleet
from podnet.verify.mesh.probe import label
from podnet.verify.numbers import Numbers

INTERVAL = 0.01  # seconds
LONGEST = 600  # seconds: what nobody ends ends then
FIRST = 100  # times 0.1 s to wait for every ping's first reply
BURST = 100  # packets, of a second: a ping that did not run for a while sends at once what it has missed
LAST = 250  # times 0.02 s to wait for every ping's last reply
MARK = "==losses=="
SENT = re.compile(r"(\d+) packets transmitted")
SLOWEST = re.compile(r"^rtt \S+ = [\d.]+/[\d.]+/([\d.]+)/", re.MULTILINE)
NUMBER = re.compile(r"^icmp_seq=(\d+)$", re.MULTILINE)


class NotCountedError(Exception):
    """A host did not ping, or did not tell what came of it."""


@dataclass(frozen=True)
class Pair:
    """A pod that pings, and one that is pinged."""

    source: str
    netns: str
    target: str
    to: Pod

    @property
    def crosses(self) -> bool:
        """Say whether it is of two nodes."""
        return self.source.partition("/")[0] != self.target.partition("/")[0]


@dataclass(frozen=True)
class Loss:
    """What became of one pair's packets: how many were lost, how many of them in a row, how many at the end."""

    pair: Pair
    sent: int
    lost: int
    in_a_row: int
    at_the_end: int

    def __str__(self) -> str:
        """Say it as a failure would."""
        pause = f", up to {self.in_a_row * INTERVAL:.2f} s without any" if self.in_a_row > 1 else ""
        return f"{self.pair.source} -> {self.pair.target}: {self.lost} of {self.sent} packets lost{pause}"


def pairs(marks: Marks, nodes: Sequence[Node], numbers: Numbers) -> dict[str, list[Pair]]:
    """Choose for every node whom to ping: a pod on the next node and one of its own, where the mode connects them."""
    return {node.name: list(_of(marks, node, nodes, numbers)) for node in nodes if node.pods}


def _of(marks: Marks, node: Node, nodes: Sequence[Node], numbers: Numbers) -> Iterator[Pair]:
    ring = [peer for peer in nodes if peer.pods]
    after = ring[(ring.index(node) + 1) % len(ring)]
    source, *others = node.pods
    own = pods.netns(source, marks)
    if after is not node and numbers.across:
        yield Pair(label(node, source), own, label(after, after.pods[0]), after.pods[0])
    if others and numbers.same_node:
        yield Pair(label(node, source), own, label(node, others[0]), others[0])


class Pings:
    """Pings that go on until they are counted."""

    def __init__(self, fleet: Fleet, nodes: Iterable[Node], numbers: Numbers) -> None:
        """Start them; NotCountedError if one of them has no reply even before anything is changed."""
        self.pairs = {name: found for name, found in pairs(fleet.cluster.marks, [*nodes], numbers).items() if found}
        self.fleet = fleet.only(self.pairs)
        self.folders: dict[str, str] = {}
        answers = self.fleet.run_all(lambda node: start(self.pairs[node.name]))
        self.folders = {name: answer.printed.strip() for name, answer in answers.items() if not answer.problem}
        if problems := [answer.problem for answer in answers.values() if answer.problem]:
            self.end()
            raise NotCountedError("; ".join(problems))

    def end(self) -> list[Loss]:
        """End all pings, and count; nothing if that was done already. NotCountedError if a host does not tell."""
        folders, self.folders = self.folders, {}
        answers = self.fleet.only(folders).run_all(lambda node: stop(folders[node.name]))
        if problems := [answer.problem for answer in answers.values() if answer.problem]:
            raise NotCountedError("; ".join(problems))
        return [loss for name, answer in answers.items() for loss in parse(self.pairs[name], answer.printed)]


def start(wanted: Sequence[Pair]) -> str:
    """Spell: begin to ping, wait for a first reply to each, and print the folder that knows of it.

    The first packet may find no neighbour yet; what is lost before the first reply is not counted. With a deadline of
    its own (`-w`) ping would end at the first ICMP error, which a host sends while it is being changed.
    """
    files = " ".join(map(str, range(len(wanted))))
    pings = "\n".join(
        f"timeout -s INT {LONGEST} ip netns exec {pair.netns} ping -n -i {INTERVAL} {pair.to.address} "
        f">>{i} 2>&1 </dev/null &\n"
        "echo $! >>pids"
        for i, pair in enumerate(wanted)
    )
    return f"""set -eu
folder=$(mktemp -d)
cd "$folder"
touch {files}
{pings}
tries=0
for said in {files}; do
  until grep -q 'bytes from' $said; do
    tries=$((tries + 1))
    if [ $tries = {FIRST} ]; then
      echo "no reply to a ping before anything was changed: $(tail -n 1 $said)" >&2
      kill $(cat pids)
      rm -r "$folder"
      exit 1
    fi
    sleep 0.1
  done
done
echo "$folder"
"""


def stop(folder: str) -> str:
    """Spell: end the pings in that folder, and print of each the numbers of its replies, and its own summary.

    Before that each may have one more reply, if it has any soon: whoever just hears others again may be a moment late.
    """
    return f"""set -eu
cd {folder}
tries=0
for said in [0-9]*; do
  heard=$(grep -c 'bytes from' $said)
  until [ $(grep -c 'bytes from' $said) -gt $heard ] || [ $tries = {LAST} ]; do tries=$((tries + 1)); sleep 0.02; done
done
kill -INT $(cat pids)
for pid in $(cat pids); do while kill -0 $pid 2>/dev/null; do sleep 0.02; done; done
for said in [0-9]*; do
  echo '{MARK}'
  grep 'bytes from' "$said" | grep -o 'icmp_seq=[0-9]*'
  grep -E 'packets transmitted|^rtt ' "$said"
done
rm -r {folder}
"""


def parse(wanted: Sequence[Pair], output: str) -> list[Loss]:
    """Read what `stop` printed; NotCountedError unless it is whole."""
    _, *parts = output.split(MARK)
    if len(parts) != len(wanted):
        raise NotCountedError(f"{len(parts)} pings were counted, of {len(wanted)}")
    return [_counted(pair, part) for pair, part in zip(wanted, parts, strict=True)]


def _counted(pair: Pair, said: str) -> Loss:
    sent, slowest = SENT.search(said), SLOWEST.search(said)
    numbers = sorted({int(number) for number in NUMBER.findall(said)})
    if not (sent and slowest and numbers):
        raise NotCountedError(f"{pair.source} -> {pair.target}: ping told neither what it sent nor what came back")
    gaps = [b - a - 1 for a, b in itertools.pairwise(numbers)]
    last = int(sent[1]) - numbers[-1]
    # The last replies may still have been on their way: ping was told to end right after one that it had heard.
    on_their_way = 1 + ceil(float(slowest[1]) / 1000 / INTERVAL)
    gaps.append(last if last > on_their_way else 0)
    return Loss(pair, int(sent[1]), sum(gaps), max(gaps), gaps[-1])
