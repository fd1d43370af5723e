"""The difference between two states in sentences: what verification says, in the words of ip(8)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace

from podnet import nics, spell
from podnet.diff import Diff
from podnet.firewall import IPTABLES, NFT, Line, in_iptables, in_nft
from podnet.marks import ANY_NETNS, FIRST, Marks, of, private_key
from podnet.ownership import others
from podnet.plan import compare
from podnet.state import (
    Chain,
    FdbEntry,
    File,
    FouPort,
    Item,
    Jump,
    Loan,
    Neighbour,
    Opening,
    Reservation,
    Route,
    Rule,
    State,
    Symlink,
    Sysctl,
    Vf,
    WgPeer,
    Wireguard,
)

NOUNS = {
    "links": "link",
    "vfs": "VF",
    "ports": "bridge port",
    "addresses": "address",
    "neighbours": "neighbour",
    "fdb": "FDB entry",
    "fous": "FOU port",
    "offloads": "checksum offload",
    "peers": "WireGuard peer",
    "sysctls": "sysctl",
    "chains": "firewall chain",
    "openings": "rules in another's firewall chain",
    "routes": "route",
    "files": "file",
    "reservations": "reserved address",
}


def differences(want: State, have: State, mine: Marks = FIRST) -> list[str]:
    """Say what is missing, wrong and extra of all that is ours, pods included; an empty list if nothing is."""
    want = nics.placed(want, have, mine)
    pods = {netns: pod for netns, pod in have.pods.items() if of(ANY_NETNS, netns) == mine}
    return [*_tables(compare(want, have, mine)), *_pods(want.pods, pods, mine), *_leftovers(want, have, mine)]


def _tables(tables: Mapping[str, Diff[Item]]) -> Iterator[str]:
    for table, diff in tables.items():
        noun = NOUNS[table]
        for item in diff.add:
            yield f"missing {noun}: {words(item)}"
        for have, want in diff.change:
            yield f"wrong {noun}: {place(want)}: {'; '.join(unlike(have, want))}"
        for item in diff.remove:
            yield f"extra {noun}: {words(item)}"


def _pods(want: Mapping[str, State], have: Mapping[str, State], mine: Marks) -> Iterator[str]:
    for netns in sorted(want.keys() | have.keys()):
        if netns not in have:
            yield f"missing pod: namespace {netns}"
        elif netns not in want:
            yield f"extra pod: namespace {netns}"
        elif not have[netns].links:
            yield f"wrong pod: {netns} is a name without a namespace"
        else:
            yield from (f"pod {netns}: {sentence}" for sentence in _tables(compare(want[netns], have[netns], mine)))


def _leftovers(want: State, have: State, mine: Marks) -> Iterator[str]:
    """Settings that we changed once, and that neither we want nor another cluster of this host; and a needless key."""
    if mine.alias in have.keys and not any(isinstance(link, Wireguard) for link in want.links):
        yield f"extra private key: {private_key(mine.alias)} belongs to no device"
    if have.saved and not want.sysctls and not others(have, mine):
        yield f"extra noted settings: {', '.join(sorted(old.path for old in have.saved))} were not given back"


def place(item: Item) -> str:
    """Name what the kernel allows only one of."""
    match item:
        case Route():
            return str(item.to)
        case Neighbour():
            return f"{item.to} dev {item.dev}"
        case FdbEntry():
            return f"{item.mac} dev {item.dev}"
        case Vf():
            return f"{item.nic}, which is {item.pf} vf {item.index}"
        case Rule():
            return f"priority {item.priority}"
        case FouPort():
            return str(item.port)
        case Sysctl() | File() | Symlink():
            return item.path
        case WgPeer():
            return f"{item.public} dev {item.dev}"
        case Reservation():
            return f"{item.address} of the CNI network {item.network}"
        case Chain():
            return f"{'' if item.by == IPTABLES else f'{item.by} '}{item.table} {item.chain}"
        case Opening():
            return f"nft {item.family} {item.table} {item.chain}"
        case _:
            return item.dev


def unlike(have: Item, want: Item) -> Iterator[str]:
    """Say field by field what is and what should be."""
    if type(have) is not type(want):
        yield f"it is a {type(have).__name__.lower()}, and should be a {type(want).__name__.lower()}"
        return
    for field in fields(want):
        seen, wanted = getattr(have, field.name), getattr(want, field.name)
        if field.compare and seen != wanted:
            in_words = in_iptables if isinstance(want, Chain) and want.by != NFT else in_nft
            yield f"{field.name} is {_told(seen, in_words)}, and should be {_told(wanted, in_words)}"


def _told(value: object, in_words: Callable[[Line], str] = in_nft) -> str:
    match value:
        case bool():
            return "on" if value else "off"
        case None | "" | ():
            return "none"
        case tuple():
            return ", ".join(
                " ".join(map(str, part)).strip() if isinstance(part, Jump) else repr(in_words(part)) for part in value
            )
        case _:
            return str(value)


def words(item: Item) -> str:
    """Describe an item by the lines that would make it, which a reader can look up and type."""
    match item:
        case File():
            return place(item)
        case Symlink():
            return f"{place(item)} to {item.to}"
        case Reservation():
            return f"{place(item)} for {item.container}"
        case Chain():
            return f"{place(item)} with {len(item.rules)} rules, jumped to from {_told(item.jumps)}"
        case WgPeer():
            return f"{spell.add(replace(item, options=()))[0]} dev {item.dev}"
        case Loan():
            return f"{item.dev}, the NIC {item.nic}{f' ({item.at})' if item.at else ''}"
        case _:
            return "; ".join(spell.add(item))
