"""Every pod against every pod as a table."""

from collections.abc import Iterable, Iterator

from podnet.verify.probe import Reply

GAP = " "


def table(replies: Iterable[Reply], width: int) -> Iterator[str]:
    """Print TTL and round trip of each pair, or `lost`; columns that do not fit side by side follow below."""
    cells = {(reply.source, reply.target): _cell(reply) for reply in replies}
    rows = list(dict.fromkeys(source for source, _ in cells))
    columns = list(dict.fromkeys([*rows, *(target for _, target in cells)]))
    first = max(map(len, rows))
    wide = max(map(len, [*columns, *cells.values()]))
    fit = max(1, (width - first) // (wide + len(GAP)))
    for start in range(0, len(columns), fit):
        part = columns[start : start + fit]
        yield GAP.join([" " * first, *(column.ljust(wide) for column in part)]).rstrip()
        for row in rows:
            yield GAP.join([row.ljust(first), *(cells.get((row, column), "").ljust(wide) for column in part)]).rstrip()


def _cell(reply: Reply) -> str:
    if reply.ms is None:
        return "lost"
    return f"{reply.ttl} {reply.ms:.2f}"
