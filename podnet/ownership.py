"""Whose is what: by its mark, or because it stands in the very place of what is wanted."""

from dataclasses import replace

from podnet import marks
from podnet.marks import FIRST, Marks
from podnet.state import (
    TABLES,
    Address,
    Bridge,
    Chain,
    Device,
    FdbEntry,
    File,
    FouPort,
    Ipip,
    Item,
    Link,
    Neighbour,
    Offload,
    Opening,
    Port,
    Reservation,
    Route,
    Rule,
    State,
    Symlink,
    Sysctl,
    Vf,
    WgPeer,
)


def known_to(have: State, mine: Marks) -> State:
    """Leave out what bears another cluster's mark, and would otherwise be known for ours by its name."""
    pods = {netns: pod for netns, pod in have.pods.items() if marks.of(marks.ANY_NETNS, netns) == mine}
    return replace(have, pods=pods)


def others(have: State, mine: Marks) -> set[Marks]:
    """Name the other clusters that this host forwards for: settings that they share with us are theirs as well.

    They are known by their devices on the host and by their chains. One whose pods stand on a wire by themselves has
    neither, and needs no setting.
    """
    aliases = (marks.of(marks.ANY_ALIAS, link.alias) for link in have.links if isinstance(link, Device))
    chains = (marks.of(marks.ANY_CHAIN, chain.chain) for chain in have.chains)
    return {other for other in (*aliases, *chains) if other} - {mine}


def clusters(have: State) -> set[Marks]:
    """Name all clusters of which the host bears a mark."""
    aliases = [
        *(link.alias for link in have.links if isinstance(link, Device)),
        *(opening.comment for opening in have.openings),
        *have.keys,
    ]
    found = {marks.of(marks.ANY_ALIAS, alias) for alias in aliases}
    found |= {marks.of(marks.ANY_NETNS, netns) for netns in have.pods}
    found |= {marks.of(marks.ANY_CHAIN, chain.chain) for chain in have.chains}
    found |= {marks.of_file(item.path) for item in have.files if _says_so(item)}
    return {mine for mine in found if mine}


def of_flannels(have: State) -> Marks:
    """Say whose the subnet.env in flannel's place is: the first cluster's, if no other's own name leads there."""
    links = (item for item in have.files if isinstance(item, Symlink) and marks.leads_to_flannels(item.path, item.to))
    return next((owner for link in links if (owner := marks.of_file(link.path))), FIRST)


def owned(want: State, have: State, mine: Marks = FIRST) -> State:
    """Keep of `have` what is ours by its mark, or stands in the very place of what is wanted.

    A bridge is a place where strangers may plug in and route to, and give it addresses of their own networks; any
    other device of ours is ours with all that is on it.
    """
    keys = {table: {item.key for item in getattr(want, table) if getattr(have, table)} for table in TABLES}
    links = {link.dev: link for link in have.links if _marked(link, mine) or link.key in keys["links"]}
    alone = {dev for dev, link in links.items() if not isinstance(link, Bridge)}
    subnets = {(item.dev, item.address.network) for item in want.addresses}
    proto = mine.proto
    vacant = keys["routes"] - {route.key for route in have.routes if route.proto == proto}
    ports = {link.fou for link in links.values() if isinstance(link, Ipip)}
    here = marked(have, mine)

    def ours(item: Item) -> bool:  # noqa: PLR0912  # one branch per kind
        match item:
            case Link() | Port() | FdbEntry() | WgPeer() | Offload():
                return item.dev in links
            case Address():
                return item.dev in alone or any(
                    item.dev == dev and item.address.ip in subnet for dev, subnet in subnets
                )
            case Neighbour():
                return item.key in keys["neighbours"] or (item.dev in alone and item.permanent)
            case FouPort():
                return item.key in keys["fous"] or item.port in ports
            case Route():
                return item.proto == proto or item.key in vacant or (item.dev in alone and item.proto != "kernel")
            case Sysctl():
                return item.key in keys["sysctls"]
            case Vf():
                return item.key in keys["vfs"]
            case Chain():
                return item.chain.startswith(mine.chains)
            case Opening():
                return item.comment == mine.alias
            case File():
                named = (of_flannels(have) if item.path == marks.FLANNELS else marks.of_file(item.path)) == mine
                unmarkable = here and named and marks.of_place(item.path) == marks.SUBNET_ENV
                return item.key in keys["files"] or (named and item.marked) or unmarkable
            case Symlink():
                return marks.of_file(item.path) == mine
            case Reservation():
                # One that names nobody is what a cut left between making the file and writing it, of whosever address.
                half = not item.container and (item.key in keys["reservations"] or not want.reservations)
                return item.network == mine.alias and (half or marks.of(marks.ANY_NETNS, item.container) == mine)
            case Rule():
                return False

    return have.only(ours)


def marked(have: State, mine: Marks = FIRST) -> bool:
    """Say whether the host bears any mark of ours: podnet has been here."""
    return bool(
        (have.saved and not others(have, mine))
        or mine.alias in have.keys
        or any(marks.of(marks.ANY_NETNS, netns) == mine for netns in have.pods)
        or any(_marked(link, mine) for link in have.links)
        or any(route.proto == mine.proto for route in have.routes)
        or any(chain.chain.startswith(mine.chains) for chain in have.chains)
        or any(opening.comment == mine.alias for opening in have.openings)
        or any(_says_so(item) and marks.of_file(item.path) == mine for item in have.files)
    )


def _marked(link: Link, mine: Marks) -> bool:
    return isinstance(link, Device) and link.alias == mine.alias


def _says_so(item: File | Symlink) -> bool:
    """Say whether a file bears the mark of the cluster after which it is named; what is in flannel's place cannot."""
    return isinstance(item, File) and item.marked and item.path != marks.FLANNELS
