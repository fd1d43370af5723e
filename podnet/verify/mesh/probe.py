"""Pings from every pod of a node: one remote command a node does all of them, and what came back.

ping(8) knows one destination a process. One process that pings all would save little: starting a ping costs half a
millisecond (512 of them, to a pod behind one router, took 0.28 s one after the other, 0.31 s by 16 shells side by side
and 0.36 s as 8 waves of 64), and ping is what a host has. So the command starts shells, at most ABREAST, each of which
pings some of the addresses one after the other. Side by side they matter where replies are slow or do not come.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from podnet.cluster import Cluster, Node, Pod

HEADERS = 20 + 8  # IPv4 and ICMP: what ping adds to its payload
DEADLINE = 3  # seconds: ping repeats every second until the first reply or then
BUDGET = 60  # seconds after which a host begins no more pings: replies that do not come must end some time
ABREAST = 64  # shells that ping at once on one host
MARK = "==ping=="
HOST = "==host=="
NEEDED = 'if ! command -v ping >/dev/null; then echo "ping is needed: install iputils-ping" >&2; exit 1; fi'
"""What a script begins with that pings: `ip netns exec` ends with 1 where it finds no ping, as ping does for a loss."""
SMALL, LARGEST, LARGER, WAY = "small", "largest", "larger", "way"
"""The sizes: ping's own; what a pod may send in one piece; one byte more; one byte more, sent by the node itself."""
LATE = "late"
REPLY = re.compile(r"bytes from .* ttl=(\d+) time=([\d.]+) ms")
FROM_ROUTER = re.compile(r"From (\S+) .*Frag needed and DF set \(mtu = (\d+)\)")
FROM_HERE = re.compile(r"local error: message too long, mtu=(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Refusal:
    """Who would not let a packet pass that was too long, and up to which size it would.

    `router` is the address of a router that said so; without one it was the sender's own kernel, for its own device
    or, `remembered`, for what a router had said before.
    """

    mtu: int
    router: str = ""
    remembered: bool = False


@dataclass(frozen=True)
class Reply:
    """What one pod saw of another; with the size WAY, a node of a pod.

    `ttl` and `ms` are None if nothing came back; `said` is ping's own text. `own` is the MTU of the sender's device.
    Without `tried` no ping was sent: for the other sizes because none of the small ones was answered, else because
    the host's time was up.
    """

    source: str
    target: str
    ttl: int | None
    ms: float | None
    said: str
    size: str = SMALL
    own: int = 0
    tried: bool = True

    @property
    def reached(self) -> bool:
        """Say whether a reply came."""
        return self.ttl is not None

    @property
    def refusal(self) -> Refusal | None:
        """Say who refused the packet for its size, if that is what ping was told."""
        if found := FROM_ROUTER.search(self.said):
            return Refusal(int(found[2]), router=found[1])
        if found := FROM_HERE.search(self.said):
            # A node has several devices: which one refuses is only known by its MTU.
            return Refusal(int(found[1]), remembered=self.size != WAY and int(found[1]) < self.own)
        return None

    @property
    def why(self) -> str:
        """Say in a few words why no reply came: an error that ping was told of, or how many packets it lost."""
        lines = [line for line in self.said.splitlines() if line]
        told = [line for line in lines if "error" in line or "From " in line or "unreachable" in line]
        counted = [line for line in lines if "packets transmitted" in line]
        return (told or counted or lines or ["ping said nothing"])[0]


@dataclass(frozen=True)
class Sizes:
    """The largest packet that a pod may send, and for some pods, by their labels, that the node lets pass to them."""

    largest: int
    way: Mapping[str, int]


def label(node: Node, pod: Pod) -> str:
    """Name a pod in the whole cluster."""
    return f"{node.name}/{pod.name}"


def script(
    enter: str,
    node: Node,
    targets: Iterable[Node],
    sizes: Sizes,
    sampled: Mapping[IPv4Address, Sequence[IPv4Address]] | None = None,
) -> str:
    """Spell the pings from all pods of `node`, and those of the node itself.

    `enter` is how the pods' namespaces are entered: podnet.verify.entering.

    Each pod pings all pods of `targets`, or what `sampled` has for its address. Addresses that all pods ping are said
    once, and none with what all begin with: ssh takes the script as one word, and the kernel no word longer than
    128 KiB.
    """
    places = {label(target, pod): pod.address for target in targets for pod in target.pods}
    addresses = [*places.values()]
    prefix = _common(addresses)
    most = len(addresses) if sampled is None else max(map(len, sampled.values()), default=0)
    together = max(1, ABREAST // max(1, most))
    shells = ABREAST // max(1, min(together, len(node.pods)))
    each = {pod.name: '"$@"' for pod in node.pods}
    if sampled is not None:
        each = {pod.name: _dealt(_short(prefix, sampled.get(pod.address, ())), shells) for pod in node.pods}
    pods = _waited([f"within {name} {lists} &" for name, lists in each.items()], together)
    to_all = _dealt(_short(prefix, addresses), shells) if sampled is None else ""
    way = [f"{places[name]}/{largest + 1 - HEADERS}" for name, largest in sizes.way.items()]
    return f"""{NEEDED}
read -r kernel </proc/sys/kernel/osrelease
echo "{HOST} $kernel"
read -r now rest </proc/uptime
export prefix={prefix} end=$((${{now%%.*}} + {BUDGET}))
try='{TRY}'
inside='{_inside(sizes.largest)}'
{enter}
within() {{ pod=$1; shift; enter $pod sh -c "$try$inside" $pod "$@"; }}
set -- {to_all}
{pods}
prefix='' sh -c "$try"'{OUTSIDE}' - {_dealt(way, ABREAST)}"""


TRY = f"""
try() {{
  for again in $tries; do
    said=$(ping -n -c 1 "$@" $prefix$to 2>&1) && rc=0 || rc=$?
    case $said in *rror*|*"From "*|*"bytes from "*) break ;; esac
  done
  printf "{MARK} %s %s %s %s\\n%s\\n" $0 $prefix$to $size $mtu "$said"
}}
"""
"""One ping. What it says is printed at once, so that two that end together never mix.

An error may get lost: on a busy host ping was seen, once in some thousand times, to say neither that its packet was
refused nor that it was answered. Most likely its socket, which hears all replies of its namespace, was full of others'.
Who expects an error tries again.
"""

TO_BE_REFUSED = "-W 1 -i 0.01 -M do"
"""Options for what is refused at once: else ping would wait a second before it ends."""


def _inside(largest: int) -> str:
    """Spell what a shell does inside a pod: more than a small packet is sent only where that is answered."""
    # Not asked of /sys, which stays the host's own where only the network is the pod's.
    return f"""mtu=0
if own=$(ip -o link show dev eth0 2>/dev/null); then own=${{own#* mtu }}; mtu=${{own%% *}}; fi
for list; do
  for to in $list; do
    read -r now rest </proc/uptime
    if [ ${{now%%.*}} -ge $end ]; then echo "{MARK} $0 $prefix$to {LATE} $mtu"; continue; fi
    size={SMALL} tries=1; try -w {DEADLINE}
    if [ $rc != 0 ]; then continue; fi
    size={LARGEST}; try -w {DEADLINE} -M do -s {largest - HEADERS}
    size={LARGER} tries="1 2 3"; try {TO_BE_REFUSED} -s {largest + 1 - HEADERS}
  done &
done
wait
"""


OUTSIDE = f"""mtu=0 size={WAY} tries="1 2 3"
for list; do
  for both in $list; do
    to=${{both%%/*}}
    try {TO_BE_REFUSED} -s ${{both#*/}}
  done &
done
wait
"""
"""What the node does in its own name: addresses come with the payload to send."""


def _common(addresses: Iterable[IPv4Address]) -> str:
    """Return the octets with which all begin, and their dots."""
    octets = zip(*(str(address).split(".") for address in addresses), strict=True)
    same = [column[0] for column in itertools.takewhile(lambda column: len(set(column)) == 1, octets)]
    return "".join(f"{octet}." for octet in same[:3])


def _short(prefix: str, addresses: Iterable[IPv4Address]) -> list[str]:
    return [str(address).removeprefix(prefix) for address in addresses]


def _dealt(words: Sequence[str], shells: int) -> str:
    """Deal words out to shells, as one argument for each."""
    return " ".join(f"'{' '.join(words[start::shells])}'" for start in range(min(shells, len(words))))


def _waited(lines: Sequence[str], together: int) -> str:
    """Wait whenever so many lines have been begun."""
    parts = [lines[start : start + together] for start in range(0, len(lines), together)]
    return "\n".join("\n".join([*part, "wait"]) for part in parts)


def kernel(output: str) -> str:
    """Read which kernel the host says that it runs."""
    return output.partition(HOST)[2].partition("\n")[0].strip()


def parse(cluster: Cluster, node: Node, output: str) -> list[Reply]:
    """Read what `script` printed on `node`, of all sizes, in the inventory's order."""
    names = {str(pod.address): label(peer, pod) for peer in cluster.nodes for pod in peer.pods}
    sources = {pod.name: label(node, pod) for pod in node.pods} | {"-": node.name}
    found = {
        (reply.source, reply.target, reply.size): reply
        for source, target, size, mtu, said in _answers(output)
        for reply in [Reply(sources[source], names[target], *_measured(said), said, size, int(mtu))]
    }
    return [
        reply
        for source, target in itertools.product(sources.values(), names.values())
        for reply in _of_pair({size: found.get((source, target, size)) for size in (SMALL, LARGEST, LARGER, WAY, LATE)})
    ]


def _of_pair(sizes: Mapping[str, Reply | None]) -> Iterator[Reply]:
    """Tell of one pair what was tried, and what was not."""
    if late := sizes[LATE]:
        why = f"no ping was sent, since others without an answer had taken the host's {BUDGET} s"
        yield from (replace(late, size=size, said=why, tried=False) for size in (SMALL, LARGEST, LARGER))
        return
    yield from (reply for reply in sizes.values() if reply)
    if (small := sizes[SMALL]) and not small.reached:
        why = f"not even a small packet was answered: {small.why}"
        yield from (replace(small, size=size, said=why, tried=False) for size in (LARGEST, LARGER))


def _answers(output: str) -> Iterator[tuple[str, str, str, str, str]]:
    for answer in output.split(MARK)[1:]:
        head, _, said = answer.partition("\n")
        source, target, size, mtu = head.split()
        yield source, target, size, mtu, said.strip()


def _measured(said: str) -> tuple[int | None, float | None]:
    found = REPLY.search(said)
    return (int(found[1]), float(found[2])) if found else (None, None)
