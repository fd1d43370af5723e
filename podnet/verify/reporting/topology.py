"""The cluster as a picture: nodes with their devices on a ring, and what was seen between each two of them.

Here is decided what stands where; the template draws it.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from podnet.cluster import Cluster, Node
from podnet.marks import Marks
from podnet.pods import netns
from podnet.state import Device, State, Veth
from podnet.verify.mesh.matrix import ISOLATED, Cell, by_node, cells
from podnet.verify.mesh.probe import WAY
from podnet.verify.mesh.reach import Mesh
from podnet.verify.numbers import Numbers

LINE = 16  # pixels from one line of text to the next
LETTER = 7.3  # pixels that a letter of the template's font takes
MARGIN = 12
ROOM = 12 * MARGIN  # between boxes, for what is written there
PODS = 4
"""Pods of which a node's box shows the address; others are counted."""
LABELLED = 4
"""Nodes between which there is room to write how packets cross."""

OK, BROKEN, NOT_JOINED, UNTRIED = "ok", "broken", "isolated", "untried"


@dataclass(frozen=True)
class Box:
    """A node: its name, what it holds, and what is wrong with it."""

    name: str
    lines: tuple[str, ...]
    faults: tuple[str, ...] = ()

    @property
    def width(self) -> float:
        return 2 * MARGIN + LETTER * max(map(len, [self.name, *self.lines]))

    @property
    def height(self) -> float:
        return 2 * MARGIN + LINE * (1 + len(self.lines))


@dataclass(frozen=True)
class Placed:
    """A box and the place of its middle."""

    box: Box
    x: float
    y: float

    @property
    def left(self) -> float:
        return self.x - self.box.width / 2

    @property
    def top(self) -> float:
        return self.y - self.box.height / 2


@dataclass(frozen=True)
class Edge:
    """One direction between two nodes, drawn from the first one to the middle: how it fares, and why."""

    source: str
    target: str
    state: str
    label: str
    faults: tuple[str, ...]
    back: str
    """How the other direction fares."""
    wrapped: bool
    ends: tuple[float, float, float, float]


@dataclass(frozen=True)
class Label:
    """What stands in the middle between two nodes."""

    x: float
    y: float
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """All of it, and how large it is."""

    width: float
    height: float
    boxes: tuple[Placed, ...]
    edges: tuple[Edge, ...]
    labels: tuple[Label, ...]
    crossings: Mapping[str, int]
    """How packets cross, and between how many pairs of nodes."""


def box(node: Node, marks: Marks, have: State | None, faults: Sequence[str]) -> Box:
    """Say what a node holds, of our things and its uplink; of a node that told nothing, what the inventory says."""
    return Box(node.name, tuple(_devices(node, marks, have)) + tuple(_pods(node, marks, have)), tuple(faults))


def _devices(node: Node, marks: Marks, have: State | None) -> list[str]:
    if have is None:
        return [f"{node.uplink} {node.address}"]
    links = {link.dev: link for link in have.links}
    ours = [
        f"{link.dev} {_addresses(have, link.dev)}{link.KIND} MTU {link.mtu}"
        for _, link in sorted(links.items())
        if isinstance(link, Device) and not isinstance(link, Veth) and link.alias == marks.alias
    ]
    uplink = links.get(node.uplink)
    seen = f"{_addresses(have, node.uplink)}MTU {uplink.mtu}" if uplink else "is missing"
    return [f"{node.uplink} {seen}", *ours]


def _addresses(have: State, dev: str) -> str:
    return "".join(f"{item.address} " for item in sorted(have.addresses, key=str) if item.dev == dev)


def _pods(node: Node, marks: Marks, have: State | None) -> list[str]:
    lines = []
    for pod in node.pods[:PODS]:
        inside = have.pods.get(netns(pod, marks)) if have else None
        mtu = "".join(f" MTU {link.mtu}" for link in inside.links if link.dev == "eth0") if inside else ""
        lines.append(f"{pod.name} {pod.address}{mtu}")
    more = len(node.pods) - len(lines)
    return [*lines, f"and {more} more pods"] if more else lines


def crossing(cluster: Cluster, numbers: Numbers, node: Node, peer: Node) -> str:
    """Say how packets of two nodes' pods cross the underlay."""
    if numbers.across is None:
        return "not joined"
    if numbers.elsewhere:
        return "on a wire of the pods' own"
    wrapping = numbers.wire(node, peer)
    if wrapping is None:
        return "as they are"
    return f"{wrapping.outer(cluster)}, {wrapping.overhead} bytes more"


def picture(cluster: Cluster, numbers: Numbers, boxes: Sequence[Box], mesh: Mesh | None) -> Picture:
    """Put the nodes on a ring that is just large enough, and a line between each two that have pods."""
    placed = _ring(boxes)
    at = {each.box.name: each for each in placed}
    seen = by_node(cells(mesh)) if mesh else {}
    way = _way(mesh) if mesh else {}
    nodes = [node for node in cluster.nodes if node.name in at and node.pods]
    edges = []
    labels = []
    crossings: Counter[str] = Counter()
    for a, b in itertools.combinations(nodes, 2):
        middle = ((at[a.name].x + at[b.name].x) / 2, (at[a.name].y + at[b.name].y) / 2)
        label = crossing(cluster, numbers, a, b)
        crossings[label] += 1
        pairs = ((a.name, b.name), (b.name, a.name))
        judged = [_judged(seen.get(pair), way.get(pair, ())) for pair in pairs]
        for (source, target), (state, faults), (back, _) in zip(pairs, judged, judged[::-1], strict=True):
            ends = (at[source].x, at[source].y, *middle)
            edges.append(Edge(source, target, state, label, faults, back, bool(numbers.wire(a, b)), ends))
        if len(boxes) <= LABELLED:
            labels.append(Label(*middle, tuple(label.split(", "))))
    edges.sort(key=lambda edge: edge.state == BROKEN)  # drawn last, on top
    width = max(each.x + each.box.width / 2 for each in placed) + MARGIN
    height = max(each.y + each.box.height / 2 for each in placed) + MARGIN
    return Picture(width, height, tuple(placed), tuple(edges), tuple(labels), crossings)


def _ring(boxes: Sequence[Box]) -> list[Placed]:
    """Stand the boxes on an ellipse, the first one on top, so far apart that none covers another."""
    wide, high = max(each.width for each in boxes), max(each.height for each in boxes)
    turns = [2 * math.pi * number / len(boxes) - math.pi / 2 for number in range(len(boxes))]
    corners = [(math.cos(turn), math.sin(turn)) for turn in turns]
    apart = 1.0 if len(boxes) == 1 else max(_boxes(a, b) for a, b in itertools.combinations(corners, 2))
    room = ROOM if len(boxes) <= LABELLED else MARGIN
    a, b = apart * (wide + room), apart * (high + room)
    left, top = min(x for x, _ in corners) * a - wide / 2, min(y for _, y in corners) * b - high / 2
    return [
        Placed(each, x * a - left + MARGIN, y * b - top + MARGIN) for each, (x, y) in zip(boxes, corners, strict=True)
    ]


def _boxes(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Say how many boxes the ring's half axes must measure so that these two do not meet: beside or below suffices."""
    return 1 / max(abs(a[0] - b[0]), abs(a[1] - b[1]))


def _judged(cell: Cell | None, way: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    if cell is None:
        return (BROKEN, way) if way else (UNTRIED, ())
    if cell.bad or way:
        return BROKEN, cell.faults + way
    return NOT_JOINED if cell.sign == ISOLATED else OK, ()


def _way(mesh: Mesh) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Collect what nodes themselves have found wrong on the way to others."""
    found = {(reply.source, reply.target.partition("/")[0]): mesh.fault(reply) for reply in mesh.all(WAY)}
    return {pair: (fault,) for pair, fault in found.items() if fault}
