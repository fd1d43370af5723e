"""Which devices' counters rise when pods ping each other: a burst is sent, and ip(8) is asked before and after it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from podnet import pods
from podnet.cluster import Cluster, Node, Pod
from podnet.verify.mesh.probe import NEEDED, label
from podnet.verify.numbers import Numbers

BURST = 100  # pings
STRAY = BURST // 2
"""ARP and the like: fewer packets than these are nobody's burst."""
MARK = "==counters=="
RECEIVED = re.compile(r"packets transmitted, (\d+) received")

Place = tuple[str, str]
"""A device: the network namespace, empty for the host's own, and its name."""


def named(place: Place) -> str:
    """Name a device as one would look for it."""
    netns, dev = place
    return f"{dev} in {netns}" if netns else dev


@dataclass(frozen=True)
class Device:
    """A device of ours, or the uplink, and the packets that it has counted. `below`: the index of its other end."""

    place: Place
    kind: str
    index: int
    below: int | None
    rx: int
    tx: int

    def __str__(self) -> str:
        """Name it as one would look for it."""
        return named(self.place)


@dataclass(frozen=True)
class Burst:
    """The pings of one pod to another."""

    node: Node
    pod: Pod
    peer: Node
    to: Pod

    def __str__(self) -> str:
        """Name the pair."""
        return f"{label(self.node, self.pod)} -> {label(self.peer, self.to)}"


def across(nodes: Iterable[Node]) -> list[Burst]:
    """Let each node's first pod ping the next node's, so that every node sends and receives."""
    ring = [node for node in nodes if node.pods]
    pairs = zip(ring, [*ring[1:], *ring[:1]], strict=True) if len(ring) > 1 else ()
    return [Burst(node, node.pods[0], peer, peer.pods[0]) for node, peer in pairs]


def within(nodes: Iterable[Node]) -> list[Burst]:
    """Let each node's first pod ping its last."""
    return [Burst(node, node.pods[0], node, node.pods[-1]) for node in nodes if len(node.pods) > 1]


def script(cluster: Cluster, node: Node) -> str:
    """Spell: print the counters of the host and of its pods."""
    inside = [pods.netns(pod, cluster.marks) for pod in node.pods]
    lines = [f"echo '{MARK} {netns}'\nip -n {netns} -j -s -d link show" for netns in inside]
    return "\n".join(["set -eu", f"echo '{MARK}'", "ip -j -s -d link show", *lines])


def sending(cluster: Cluster, bursts: Iterable[Burst], node: Node) -> str:
    """Spell a node's bursts. A ping that is lost is no failure here: the counters say where it went."""
    pings = [
        f"ip netns exec {pods.netns(burst.pod, cluster.marks)} "
        f"ping -n -q -c {BURST} -i 0.002 -W 1 {burst.to.address} || test $? = 1"
        for burst in bursts
        if burst.node == node
    ]
    return "\n".join(["set -eu", *([NEEDED] if pings else []), *pings])


def answered(said: str) -> list[int]:
    """Read how many pings of each burst came back."""
    return [int(found[1]) for found in RECEIVED.finditer(said)]


def parse(cluster: Cluster, node: Node, printed: str) -> dict[Place, Device]:
    """Read what `script` printed: of the host what bears our mark, and its uplink; of pods their `eth0`."""
    found: dict[Place, Device] = {}
    for chunk in printed.split(MARK)[1:]:
        netns, _, text = chunk.partition("\n")
        netns = netns.strip()
        for entry in json.loads(text):
            name = entry["ifname"]
            if name == "eth0" if netns else name == node.uplink or entry.get("ifalias") == cluster.marks.alias:
                found[netns, name] = _device((netns, name), entry)
    return found


def _device(place: Place, entry: dict[str, Any]) -> Device:
    counted = entry["stats64"]
    return Device(
        place,
        entry.get("linkinfo", {}).get("info_kind", ""),
        entry["ifindex"],
        entry.get("link_index"),
        counted["rx"]["packets"],
        counted["tx"]["packets"],
    )


def way(burst: Burst, node: Node, have: Mapping[Place, Device], cluster: Cluster, numbers: Numbers) -> set[Place]:
    """Say which devices of a node a burst passes, by what the mode promises of their kinds."""
    inside = _inside(burst, node, cluster)
    ours = _ours(node, have)
    # An index says which device only together with a namespace: the other end may be in another pod. Both must agree.
    cables = {(have[place].below, have[place].index) for place in inside & have.keys()}
    passed = {device.place for device in ours if device.kind == "veth" and (device.index, device.below) in cables}
    passed |= {device.place for device in ours if device.kind in _kinds(burst, node, numbers)}
    return inside | passed | _uplink(burst, node, numbers)


def absent(burst: Burst, node: Node, have: Mapping[Place, Device], cluster: Cluster, numbers: Numbers) -> Iterator[str]:
    """Say what should be on a burst's way and is not there, which hence counts nothing."""
    needed = _inside(burst, node, cluster) | _uplink(burst, node, numbers)
    for place in sorted(needed - have.keys()):
        yield f"expected {named(place)} to count packets, saw no such device"
    there = {device.kind for device in _ours(node, have)}
    for kind in sorted(_kinds(burst, node, numbers) - there):
        yield f"expected a device of the kind {kind} to count packets, saw none of ours"


def _inside(burst: Burst, node: Node, cluster: Cluster) -> set[Place]:
    """Name the pods' own ends on this node; of a pod that asks itself, it is the loopback, which is not counted."""
    if (burst.node, burst.pod) == (burst.peer, burst.to):
        return set()
    ends = [pod for home, pod in ((burst.node, burst.pod), (burst.peer, burst.to)) if home == node]
    return {(pods.netns(pod, cluster.marks), "eth0") for pod in ends}


def _ours(node: Node, have: Mapping[Place, Device]) -> list[Device]:
    return [device for device in have.values() if not device.place[0] and device.place[1] != node.uplink]


def _leaves(burst: Burst, node: Node) -> bool:
    """Say whether packets leave this node, or enter it."""
    return burst.node != burst.peer and node in {burst.node, burst.peer}


def _kinds(burst: Burst, node: Node, numbers: Numbers) -> set[str]:
    """Name the kinds of devices that packets pass which leave a node or enter it."""
    wrapping = numbers.wire(burst.node, burst.peer)
    return {numbers.switch, wrapping.kind if wrapping else ""} - {""} if _leaves(burst, node) else set()


def _uplink(burst: Burst, node: Node, numbers: Numbers) -> set[Place]:
    return {("", node.uplink)} if numbers.on_uplink and _leaves(burst, node) else set()


def itself(nodes: Iterable[Node]) -> list[Burst]:
    """Let each node's first pod ping itself: it takes as long, and passes no device but the pod's loopback."""
    return [Burst(node, node.pods[0], node, node.pods[0]) for node in nodes if node.pods]


@dataclass(frozen=True)
class Rise:
    """How much a device was to rise, in packets each way, and how much it has. `uplink`: others use it too.

    `busy`: the larger of its rises in as long a time without bursts.
    """

    device: Device
    uplink: bool
    wanted: int
    rx: int
    tx: int
    busy: int = 0

    @property
    def lacks(self) -> bool:
        """Say whether packets are missing."""
        return min(self.rx, self.tx) < self.wanted

    def fault(self) -> str | None:
        """Say what is wrong. Where somebody else's packets pass, too, one can only say what was carried at least."""
        shared = self.uplink or self.busy >= STRAY
        for way, seen in (("rx", self.rx), ("tx", self.tx)):
            if seen < self.wanted:
                return f"expected the {way} counter of {self.device} to rise by {self.wanted} packets, saw {seen}"
            if seen >= self.wanted + STRAY and not shared:
                wanted = f"to rise by {self.wanted} packets" if self.wanted else "not to rise, as it is on no way"
                return f"expected the {way} counter of {self.device} {wanted}, saw {seen}"
        return None


def rises(
    node: Node,
    before: Mapping[Place, Device],
    after: Mapping[Place, Device],
    ways: Iterable[set[Place]],
    busy: Mapping[Place, int],
) -> Iterator[Rise]:
    """Compare two readings of a node, between which there was a burst on each of the ways."""
    passed = list(ways)
    for place in sorted(after.keys() & before.keys()):
        device, earlier = after[place], before[place]
        wanted = BURST * sum(1 for way in passed if place in way)
        rise = (device.rx - earlier.rx, device.tx - earlier.tx)
        yield Rise(device, place == ("", node.uplink), wanted, *rise, busy.get(place, 0))
