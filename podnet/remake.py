"""What must go before it can be right: the devices that the kernel cannot mend, and what it takes along with them.

We would like to repair one attribute and keep the rest; the kernel drops a device's neighbours when its MAC changes,
and everything on a device that must be made anew; hence what it drops is planned as missing, although it was seen.
"""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from podnet.diff import diff
from podnet.state import (
    Address,
    Device,
    FdbEntry,
    Ipvlan,
    Item,
    Link,
    Macvlan,
    Neighbour,
    Nic,
    Offload,
    Port,
    Route,
    State,
    Sysctl,
    Veth,
    WgPeer,
    newborn,
)
from podnet.support import device_of

HOST = ""

Place: TypeAlias = tuple[str, str]
"""Where a device is: its namespace, HOST or a pod's, and its name there."""


def located(state: State) -> Iterator[tuple[Place, Link]]:
    """Go through all devices, the host's and the pods'."""
    yield from (((HOST, link.dev), link) for link in state.links)
    yield from (((netns, link.dev), link) for netns, pod in state.pods.items() for link in pod.links)


def to_remake(want: State, ours: State, broken: set[str]) -> set[Place]:
    """Name the devices that must go first: wrong in what the kernel does not change, or in the way of what is wanted.

    The two ends of a cable go together, so one of them is named.
    """
    wanted, seen = dict(located(want)), dict(located(ours))
    remade = {place for place, link in seen.items() if isinstance(link, Veth) and link.netns in broken}
    going = ours.pods.keys() - want.pods.keys()
    # The kernel lets no wire carry both macvlan and ipvlan devices.
    remade |= {
        place for place, link in seen.items() if place[0] in going and rivals(link) & {*map(wire, wanted.values())}
    }
    # A device of ours that somebody renamed still takes what the kernel gives out only once: a VNI and port.
    claims = {(type(link), link.claim) for link in want.links if isinstance(link, Device) and link.claim}
    remade |= {
        (HOST, link.dev)
        for link in ours.links
        if (HOST, link.dev) not in wanted and isinstance(link, Device) and (type(link), link.claim) in claims
    }
    # What a run that was cut had not named yet.
    remade |= {(netns, newborn(dev)) for netns, dev in wanted if netns != HOST} & seen.keys()
    for place, link in wanted.items():
        match link, seen.get(place):
            case Veth(netns=str(netns)), old if netns in want.pods:
                whole = isinstance(old, Veth) and old.netns == netns and type(seen.get((netns, link.peer))) is Nic
                if not whole:
                    remade |= _in_the_way(place, seen) | _in_the_way((netns, link.peer), seen)
            case Device(), Nic() if place[0] != HOST:
                remade |= _in_the_way(place, seen)
            case Device() as new, Device() as old:
                if type(new) is not type(old) or _fixed(new) != _fixed(old):
                    remade.add(place)
            case _:
                pass
    return remade - other_ends(remade, ours)


def rivals(link: Link) -> set[tuple[type[Link], str | None]]:
    """Name the kind of devices that the kernel does not let stand beside this one, and on what."""
    match link:
        case Macvlan():
            return {(Ipvlan, link.lower)}
        case Ipvlan():
            return {(Macvlan, link.lower)}
        case _:
            return set()


def wire(link: Link) -> tuple[type[Link], str | None]:
    """Say of which kind a device is, and on what it stands."""
    return type(link), getattr(link, "lower", None)


def _in_the_way(place: Place, seen: Mapping[Place, Link]) -> set[Place]:
    """Name what occupies a place: a device, or the cable of ours whose end it is."""
    netns, _ = place
    cables = {other for other, link in seen.items() if isinstance(link, Veth) and link.netns == netns and netns != HOST}
    return cables | ({place} & seen.keys() if not cables else set())


def other_ends(places: set[Place], ours: State) -> set[Place]:
    """Name what the kernel removes along with the ends of cables."""
    seen = dict(located(ours))
    cables = (link for place in places if isinstance(link := seen.get(place), Veth))
    return {(cable.netns, cable.peer) for cable in cables if cable.netns}


def _fixed(link: Device) -> tuple[object, ...]:
    return tuple(getattr(link, name) for name in link.FIXED)


def after_flush(want: State, ours: State, remake: set[str]) -> State:
    """Leave out of what was seen all that the kernel will have dropped when its turn comes."""
    links = diff(want.links, ours.links)
    gone = remake | {link.dev for link in links.remove}
    remac = {new.dev for old, new in links.change if getattr(old, "mac", None) != getattr(new, "mac", None)}
    # The kernel may take a device's last address, and with it all routes, along with one that is removed.
    addresses = diff(want.addresses, ours.addresses)
    readdressed = {item.dev for item in addresses.remove}
    readdressed |= {new.dev for old, new in addresses.change if old.scope != new.scope}

    def stays(item: Item) -> bool:
        match item:
            case Link():
                return item.dev not in remake
            case Neighbour():
                return item.dev not in gone | remac and not (item.dev in readdressed and item in want.neighbours)
            case Route():
                return item.dev not in gone and not (item.dev in readdressed and item in want.routes)
            case Address() | Port() | FdbEntry() | WgPeer():
                return item.dev not in gone
            case Offload():
                return item.dev not in gone or item.on  # as a new device has it
            case Sysctl():
                return device_of(item.path) not in gone
            case _:
                return True

    return ours.only(stays)
