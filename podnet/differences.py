"""The difference between two states in sentences: what verification says, in the words of ip(8)."""

from collections.abc import Iterator, Mapping

from podnet import spell
from podnet.diff import Diff
from podnet.plan import compare
from podnet.state import Chain, Item, State

NOUNS = {
    "links": "link",
    "ports": "bridge port",
    "addresses": "address",
    "neighbours": "neighbour",
    "fdb": "FDB entry",
    "sysctls": "sysctl",
    "chains": "firewall chain",
    "routes": "route",
}


def differences(want: State, have: State) -> list[str]:
    """Say what is missing, wrong and extra of all that is ours, pods included; an empty list if nothing is."""
    return [*_tables(compare(want, have)), *_pods(want.pods, have.pods), *_leftovers(want, have)]


def _tables(tables: Mapping[str, Diff[Item]]) -> Iterator[str]:
    for table, diff in tables.items():
        noun = NOUNS[table]
        for item in diff.add:
            yield f"missing {noun}: {words(item)}"
        for have, want in diff.change:
            yield f"wrong {noun}: {words(have)}; it should be: {words(want)}"
        for item in diff.remove:
            yield f"extra {noun}: {words(item)}"


def _pods(want: Mapping[str, State], have: Mapping[str, State]) -> Iterator[str]:
    for netns in sorted(want.keys() | have.keys()):
        if netns not in have:
            yield f"missing pod: namespace {netns}"
        elif netns not in want:
            yield f"extra pod: namespace {netns}"
        elif not have[netns].links:
            yield f"wrong pod: {netns} is a name without a namespace"
        else:
            yield from (f"pod {netns}: {sentence}" for sentence in _tables(compare(want[netns], have[netns])))


def _leftovers(want: State, have: State) -> Iterator[str]:
    """Settings that we changed once and that nobody wants from us any more."""
    if have.saved and not want.sysctls:
        yield f"extra noted settings: {', '.join(sorted(old.path for old in have.saved))} were not given back"


def words(item: Item) -> str:
    """Describe an item by the lines that would make it, which a reader can look up and type."""
    match item:
        case Chain():
            place = f"jumped to at {', '.join(map(str, item.jumps)) or 'no place'} of {item.hook or 'no chain'}"
            return f"{item.table} {item.chain}, {place}, with the rules {list(item.rules)}"
        case _:
            up = "" if getattr(item, "up", True) else " (down)"
            return "; ".join(spell.add(item)) + up + ("" if getattr(item, "permanent", True) else " (not permanent)")
