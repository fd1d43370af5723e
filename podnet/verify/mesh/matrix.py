"""Every pod against every pod as a table: what a terminal and a page show of the mesh."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from podnet.verify.mesh.probe import LARGER, LARGEST, SMALL, WAY, Reply
from podnet.verify.mesh.reach import Mesh

GAP = " "
FULL = 12
"""Pods of which a terminal shows TTL and round trip; of more, a sign for each pair."""
ROWS = 48
"""Rows that a terminal shows; of more, nodes take the place of pods, and rows without a fault are left out."""

RIGHT, ISOLATED, LOST, TTL, REPLY, SIZE, LATE, UNTRIED = ".", "-", "X", "T", "R", "S", "?", " "
SIGNS = {
    RIGHT: "as the mode says",
    ISOLATED: "no reply, as the mode says",
    LOST: "no reply",
    TTL: "a wrong TTL",
    REPLY: "a reply where none may come",
    SIZE: "packets are cut off at a wrong size",
    LATE: "not tried, for lack of time",
    UNTRIED: "not in the sample",
}
FINE = {RIGHT, ISOLATED, UNTRIED}


@dataclass(frozen=True)
class Cell:
    """A pair: its sign, what was measured, and what is wrong with it."""

    sign: str
    text: str
    faults: tuple[str, ...] = ()

    @property
    def bad(self) -> bool:
        """Say whether it is to stand out."""
        return self.sign not in FINE


Line = list[tuple[str, bool]]
"""Pieces of text, and whether each is to stand out."""
Cells = Mapping[tuple[str, str], Cell]


def cells(mesh: Mesh) -> dict[tuple[str, str], Cell]:
    """Judge every pair that was tried, by the names of its two pods."""
    pairs: dict[tuple[str, str], list[Reply]] = {}
    for size in (SMALL, LARGEST, LARGER):
        for reply in mesh.all(size):
            pairs.setdefault((reply.source, reply.target), []).append(reply)
    return {pair: _cell(mesh, replies) for pair, replies in pairs.items()}


def _cell(mesh: Mesh, replies: Sequence[Reply]) -> Cell:
    small = replies[0]
    wrong = [(reply.size, fault) for reply in replies if (fault := mesh.fault(reply))]
    # A packet of another size that was never sent says nothing of its own.
    faults = tuple(fault for size, fault in wrong if size == SMALL or small.reached)
    measured = "" if small.ms is None else f"{small.ttl} {small.ms:.2f}"
    if not small.tried:
        return Cell(LATE, "LATE", faults)
    if not faults:
        return Cell(RIGHT, measured) if small.reached else Cell(ISOLATED, "-")
    if not small.reached:
        return Cell(LOST, "LOST", faults)
    if wrong[0][0] != SMALL:
        return Cell(SIZE, f"{small.ttl} SIZE", faults)
    sign = TTL if mesh.numbers.ttl(small.source, small.target) else REPLY
    return Cell(sign, f"{measured}!", faults)


def by_node(found: Cells) -> dict[tuple[str, str], Cell]:
    """Put together what was tried from one node to another: the first bad sign stands for all."""
    nodes: dict[tuple[str, str], list[Cell]] = {}
    for (source, target), cell in found.items():
        nodes.setdefault((_node(source), _node(target)), []).append(cell)
    return {pair: _together(tried) for pair, tried in nodes.items()}


def _together(tried: Sequence[Cell]) -> Cell:
    bad = [cell for cell in tried if cell.bad]
    faults = tuple(fault for cell in bad for fault in cell.faults)
    return Cell((bad or tried)[0].sign, f"{len(bad)} of {len(tried)}", faults)


def _node(name: str) -> str:
    return name.partition("/")[0]


def table(mesh: Mesh, width: int) -> Iterator[Line]:
    """Show TTL and round trip of each pair, or, of a larger mesh, a sign; what does not fit beside follows below."""
    pods = [f"{node.name}/{pod.name}" for node in mesh.nodes for pod in node.pods]
    found = cells(mesh)
    if len(pods) <= FULL:
        yield from _full(found, pods, width)
        return
    if len(pods) <= ROWS:
        yield from _signs(found, pods, width)
    else:
        yield from _signs(by_node(found), [node.name for node in mesh.nodes if node.pods], width)
    used = [sign for sign in SIGNS if any(cell.sign == sign for cell in found.values())]
    yield [("; ".join(f"{sign} {SIGNS[sign]}" for sign in used), False)]
    yield [(_measured(mesh), False)]


def _full(found: Cells, pods: Sequence[str], width: int) -> Iterator[Line]:
    first = max(map(len, pods), default=0)
    wide = max(map(len, [*pods, *(cell.text for cell in found.values())]), default=0)
    fit = max(1, (width - first) // (wide + len(GAP)))
    for start in range(0, len(pods), fit):
        part = pods[start : start + fit]
        yield [(GAP.join([" " * first, *(column.ljust(wide) for column in part)]).rstrip(), False)]
        for row in pods:
            line = [(row.ljust(first), False)]
            for column in part:
                cell = found.get((row, column), Cell(UNTRIED, ""))
                line += [(GAP, False), (cell.text, cell.bad), (" " * (wide - len(cell.text)), False)]
            yield _trimmed(line)


def _trimmed(line: Line) -> Line:
    while line and not line[-1][0].strip():
        line.pop()
    return line


def _signs(found: Cells, names: Sequence[str], width: int) -> Iterator[Line]:
    """Print a sign for each pair, in columns that stand together by node and bear its number."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_node(name), []).append(name)
    numbers = {node: str(number) for number, node in enumerate(groups, start=1)}
    digits = max(map(len, numbers.values()), default=0)
    first = digits + len(GAP) + max(map(len, names), default=0)
    wide = max([digits, *map(len, groups.values())])
    fit = max(1, (width - first) // (wide + len(GAP)))
    bad = {source for (source, _), cell in found.items() if cell.bad}
    rows = [row for row in names if len(names) <= ROWS or row in bad]
    for start in range(0, len(groups), fit):
        part = [*groups][start : start + fit]
        yield [(GAP.join([" " * first, *(numbers[node].ljust(wide) for node in part)]).rstrip(), False)]
        for row in rows:
            line = [(f"{numbers[_node(row)]:>{digits}}{GAP}{row}".ljust(first), False)]
            for node in part:
                line.append((GAP, False))
                line += [_sign(found.get((row, column))) for column in groups[node]]
                line.append((" " * (wide - len(groups[node])), False))
            yield _trimmed(line)
    if len(rows) < len(names):
        yield [(f"{len(names) - len(rows)} more rows have no fault", False)]


def _sign(cell: Cell | None) -> tuple[str, bool]:
    return (cell.sign, cell.bad) if cell else (UNTRIED, False)


def _measured(mesh: Mesh) -> str:
    """Count the TTLs, and say between what the round trips lie."""
    small = mesh.all(SMALL)
    ttls = Counter(reply.ttl for reply in small if reply.ttl is not None)
    times = sorted(reply.ms for reply in small if reply.ms is not None)
    if not times:
        return "no reply at all"
    counted = ", ".join(f"TTL {ttl}: {count} pairs" for ttl, count in ttls.most_common())
    middle = statistics.median(times)
    return f"{counted}; round trip {times[0]:.2f} to {times[-1]:.2f} ms, half of them below {middle:.2f}"


def refusals(mesh: Mesh) -> Iterator[str]:
    """Say who refuses packets of one byte more, when pods send them and when nodes do."""
    largest = next(iter(mesh.sizes.values())).largest
    pods = Counter(mesh.by(reply.refusal) for reply in mesh.all(LARGER) if reply.refusal)
    for by, count in pods.most_common():
        yield f"{largest + 1} bytes from a pod are refused by {by}: {count} pairs"
    ways = Counter(reply.refusal.mtu for reply in mesh.all(WAY) if reply.refusal)
    for mtu, count in ways.most_common():
        yield (
            f"{mtu + 1} bytes are refused on the way itself, whose device is asked by its node: "
            f"MTU {mtu}, {count} pairs of nodes"
        )
