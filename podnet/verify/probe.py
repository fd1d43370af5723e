"""Pings from every pod of a node to every pod: one remote command a node, and what came back.

ping(8) knows one destination a process, so the command starts one for each, side by side; what must not grow with
the number of pairs is the number of commands and the time that the slowest of them takes.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from podnet.cluster import Cluster, Node, Pod

HEADERS = 20 + 8  # IPv4 and ICMP: what ping adds to its payload
DEADLINE = 3  # seconds: ping repeats every second until the first reply or then
ABREAST = 64  # pings at once on one host
MARK = "==ping=="
T = TypeVar("T")
REPLY = re.compile(r"bytes from .* ttl=(\d+) time=([\d.]+) ms")


@dataclass(frozen=True)
class Reply:
    """What one pod saw of another. `ttl` and `ms` are None if nothing came back; `said` is ping's own text."""

    source: str
    target: str
    ttl: int | None
    ms: float | None
    said: str

    @property
    def reached(self) -> bool:
        """Say whether a reply came."""
        return self.ttl is not None

    @property
    def why(self) -> str:
        """Say in a few words why no reply came: an error that ping was told of, or how many packets it lost."""
        lines = [line for line in self.said.splitlines() if line]
        told = [line for line in lines if "error" in line or "From " in line or "unreachable" in line]
        counted = [line for line in lines if "packets transmitted" in line]
        return (told or counted or lines or ["ping said nothing"])[0]


def label(node: Node, pod: Pod) -> str:
    """Name a pod in the whole cluster."""
    return f"{node.name}/{pod.name}"


def script(enter: str, node: Node, targets: Iterable[Node], size: int | None = None, deadline: int = DEADLINE) -> str:
    """Spell the pings from all pods of `node`; `size` in bytes on the wire, not to be fragmented.

    `enter` is how the pods' namespaces are entered: podnet.verify.entering.

    The addresses are said once, whatever the number of pods: ssh takes the script as one word, and the kernel no
    word longer than 128 KiB.
    """
    options = f"-n -c 1 -w {deadline}" + (f" -M do -s {size - HEADERS}" if size else "")
    addresses = [str(pod.address) for target in targets for pod in target.pods]
    waves = "\n".join(_wave(options, part) for part in _parts(addresses, ABREAST))
    together = max(1, ABREAST // max(1, len(addresses)))
    rounds = " ".join(f"'{' '.join(pod.name for pod in part)}'" for part in _parts(node.pods, together))
    return f"""if ! command -v ping >/dev/null; then echo "ping is needed: install iputils-ping" >&2; exit 1; fi
{enter}
waves='{waves}'
for round in {rounds or "''"}; do
  for pod in $round; do enter $pod sh -c "$waves" $pod & done
  wait
done"""


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _wave(options: str, addresses: Iterable[str]) -> str:
    """Ping some addresses side by side. Each answer is printed at once, so that two never mix."""
    return f"""for to in {" ".join(addresses)}; do
  {{ said=$(ping {options} "$to" 2>&1) && rc=0 || rc=$?; printf "{MARK} %s %s %s\\n%s\\n" "$0" "$to" "$rc" "$said"; }} &
done
wait"""


def parse(cluster: Cluster, node: Node, output: str) -> list[Reply]:
    """Read what `script` printed on `node`."""
    names = {str(pod.address): label(peer, pod) for peer in cluster.nodes for pod in peer.pods}
    sources = {pod.name: label(node, pod) for pod in node.pods}
    found = {
        (sources[source], names[target]): Reply(sources[source], names[target], *_measured(said), said=said)
        for source, target, said in _answers(output)
    }
    # They come back in any order; they are told in the inventory's.
    return [found[pair] for pair in itertools.product(sources.values(), names.values()) if pair in found]


def _answers(output: str) -> Iterator[tuple[str, str, str]]:
    for answer in output.split(MARK)[1:]:
        head, _, said = answer.partition("\n")
        source, target, _ = head.split()
        yield source, target, said.strip()


def _measured(said: str) -> tuple[int | None, float | None]:
    found = REPLY.search(said)
    return (int(found[1]), float(found[2])) if found else (None, None)
