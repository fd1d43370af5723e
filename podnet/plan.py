"""From two states to what must be done: whose is what, what the kernel takes along, and what was before.

`plan` is where the kernel's habits are known. We would like to repair one attribute and keep the rest; the kernel
drops a device's neighbours when its MAC changes, and everything on a device that must be made anew; hence what it
drops is planned as missing, although it was seen.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from podnet import marks, nics
from podnet.diff import Diff, diff
from podnet.forwarding import fitted
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
    Ipvlan,
    Item,
    Link,
    Loan,
    Macvlan,
    Neighbour,
    Nic,
    Offload,
    Opening,
    Port,
    Route,
    Rule,
    State,
    Symlink,
    Sysctl,
    Veth,
    Vf,
    WgPeer,
    Wireguard,
    newborn,
)

FORWARD_ALL = "net/ipv4/ip_forward"
"""Writing another value here overwrites every interface's own `forwarding` (kernel, devinet_sysctl_forward)."""

FORWARD_DEFAULT = "net/ipv4/conf/default/forwarding"
"""What a device is born with, also one that only comes from another namespace."""

SMALLEST_IPV6_MTU = 1280  # RFC 8200 section 5

MODULES = {"net/bridge/": "br_netfilter"}
"""Settings that exist only once a module is loaded. Modules of device kinds are loaded by the kernel itself; what else
must be is told by `State.unloaded`."""

NEW_NETNS = State(links=frozenset({Nic("lo", 65536, "00:00:00:00:00:00", up=False)}))
"""What the kernel gives a network namespace at its birth."""

SOFTWARE = ("/etc/systemd", "/etc/modules-load.d", "/etc/sysctl.d", "/etc/NetworkManager")
"""Folders that belong to a program: where it is not installed, nobody reads our file, hence none is written."""

SYSTEMD, NETWORKD = "/run/systemd/system", "/run/systemd/netif"
"""Folders that are there while the program runs."""

HOST = ""
Place: TypeAlias = tuple[str, str]
"""Where a device is: its namespace, HOST or a pod's, and its name there."""


@dataclass(frozen=True)
class Plan:
    """What one network namespace needs.

    `remake` are devices to delete first, because the kernel cannot change what is wrong with them; `make` and
    `drop` are pods' namespaces, `load` modules. `taken` are NICs that leave a pod, `returned` those that the host then
    has as they were. Of the values that sysctls had before us, `noted` are written down on the host, `saved` have to be
    before the first change, `keep` remain so at the end, `restore` are given back. `running` are the
    programs that must be told when their files change, `forget` is the mark whose private key nobody needs any more.
    """

    want: State
    tables: Mapping[str, Diff[Item]]
    remake: tuple[str, ...] = ()
    make: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    load: tuple[str, ...] = ()
    taken: tuple[Loan, ...] = ()
    returned: tuple[Loan, ...] = ()
    pods: Mapping[str, "Plan"] = field(default_factory=dict)
    noted: frozenset[Sysctl] = frozenset()
    saved: frozenset[Sysctl] = frozenset()
    restore: frozenset[Sysctl] = frozenset()
    keep: frozenset[Sysctl] = frozenset()
    running: frozenset[str] = frozenset()
    forget: str = ""


def plan(want: State, have: State, mine: Marks = FIRST) -> Plan:
    """Plan the way from `have` to `want`, touching nothing that does not bear the marks `mine`."""
    shared = others(have, mine)
    have = _of(have, mine)
    want = nics.placed(supported(want, have), have, mine)
    returned = nics.returning(want, have, mine)
    have = _after_moves(want, have, returned)
    ours = owned(want, have, mine)
    broken = {netns for netns in want.pods.keys() & have.pods.keys() if not have.pods[netns].links}
    lent = {place: link for place, link in _places(ours) if isinstance(link, Loan)}
    remade = _remade(want, ours, broken) | _moving(want, have, lent, returned)
    gone = remade | _other_ends(remade, ours)
    tables = _tables_of(HOST, want, have, gone, mine)
    saved = have.saved | _first_touched(want, have, ours, tables)
    keep = saved if shared else frozenset(old for old in saved if _governed(old, want))
    return Plan(
        want=want,
        tables=tables,
        remake=_devices(remade - lent.keys(), HOST),
        returned=tuple(loan for _, loan in returned),
        make=tuple(sorted(want.pods.keys() - have.pods.keys() | broken)),
        drop=tuple(sorted(have.pods.keys() - want.pods.keys() | broken)),
        pods={
            netns: Plan(
                pod,
                _tables_of(netns, pod, inside, gone, mine),
                remake=_devices(remade - lent.keys(), netns),
                taken=tuple(nics.remembered(lent[netns, dev], have) for dev in _devices(remade & lent.keys(), netns)),
            )
            for netns, pod, inside in _pods(want, have, broken, remade)
        },
        load=tuple(sorted(have.unloaded)) if want.fous else (),
        noted=have.saved,
        saved=saved,
        restore=_given_back(saved - keep, have),
        keep=keep,
        running=have.folders & {SYSTEMD, NETWORKD},
        forget=mine.alias if mine.alias in have.keys and not any(isinstance(x, Wireguard) for x in want.links) else "",
    )


def _moving(want: State, have: State, lent: Mapping[Place, Loan], returned: list[tuple[Place, Loan]]) -> set[Place]:
    """Name the loans that end or begin anew: those in a place that is not theirs, or on a VF with another MAC.

    We would like to give a VF its MAC in place; its driver stops until it is reset when the PF sets another; hence it
    is taken out, which resets it.
    """
    homes = {link.nic: (netns, link.dev) for netns, pod in want.pods.items() for link in nics.lent(pod)}
    macs = {vf.nic: vf.mac for vf in want.vfs}
    stopped = {vf.nic for vf in have.vfs if macs.get(vf.nic, vf.mac) != vf.mac}
    moving = {place for place, loan in lent.items() if loan.nic in stopped or homes.get(loan.nic, place) != place}
    return moving | {place for place, _ in returned}


def _after_moves(want: State, have: State, returned: list[tuple[Place, Loan]]) -> State:
    """Say which settings of devices there will be: those of NICs that leave go, those of NICs that return are new."""
    leaving = {link.at for pod in want.pods.values() for link in nics.lent(pod)}
    default = next((item.value for item in have.sysctls if item.path == FORWARD_DEFAULT), None)
    names = {loan.before.dev for _, loan in returned if loan.before}
    born = {Sysctl(f"net/ipv4/conf/{name}/forwarding", default) for name in names if default is not None}
    present = {item for item in have.sysctls if _device(item.path) not in leaving | names}
    return replace(have, sysctls=frozenset(present | born))


def _pods(want: State, have: State, broken: set[str], remade: set[Place]) -> Iterator[tuple[str, State, State]]:
    """Go through the wanted pods, each with what it holds now; a namespace that is made (anew) is born empty.

    Those that go are among them if a device of theirs is in the way of another's: the rest goes with the namespace.
    """
    going = {netns for netns, _ in remade} - want.pods.keys() - {HOST}
    for netns in sorted(want.pods.keys() | going):
        inside = NEW_NETNS if netns in broken else have.pods.get(netns, NEW_NETNS)
        yield (netns, State(), State()) if netns in going else (netns, supported(want.pods[netns], inside), inside)


def _tables_of(netns: str, want: State, have: State, gone: set[Place], mine: Marks) -> dict[str, Diff[Item]]:
    devices = set(_devices(gone, netns))
    return _diffs(want, _after_flush(want, owned(want, have, mine), devices))


def _devices(places: set[Place], netns: str) -> tuple[str, ...]:
    return tuple(sorted(dev for space, dev in places if space == netns))


def plan_table(table: str, want: Iterable[Item], have: Iterable[Item]) -> Plan:
    """Plan one table alone, for deploys that decide themselves whose is what."""
    tables = {**dict.fromkeys(TABLES, Diff()), table: diff(want, have)}
    filled: dict[str, Any] = {table: frozenset(want)}
    return Plan(State(**filled), tables)


def compare(want: State, have: State, mine: Marks = FIRST) -> dict[str, Diff[Item]]:
    """Compare table by table what is ours: missing, wrong, extra. Pods are compared one by one, by the caller."""
    want = supported(want, have)
    return _diffs(want, owned(want, _of(have, mine), mine))


def _of(have: State, mine: Marks) -> State:
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


def _diffs(want: State, ours: State) -> dict[str, Diff[Item]]:
    return {table: diff(getattr(want, table), getattr(ours, table)) for table in TABLES}


def supported(want: State, have: State) -> State:
    """Say what is wanted as this host can have it: chains by its own firewall, and settings that it has.

    Left out are settings that are not there, where nothing is there either that they could protect from:
    IPv6's on a host without it, and on a device whose MTU is too small for it; br_netfilter's being off where it is
    not loaded. In the same way leave out files for programs that are not there, and to leave the checksums alone where
    nobody can tell.
    """
    told = {offload.dev for offload in have.offloads}
    paths = {seen.path for seen in have.sysctls}
    present = any(path.startswith("net/ipv6/") for path in paths)
    too_small: set[str | None] = {link.dev for link in want.links if link.mtu < SMALLEST_IPV6_MTU}

    def has_place(item: Item) -> bool:
        if isinstance(item, File | Symlink):
            return not any(item.path.startswith(f"{root}/") for root in set(SOFTWARE) - have.folders)
        if isinstance(item, Offload):
            return not item.on or item.dev in told
        if isinstance(item, Sysctl) and item.value == "0" and item.path.startswith(tuple(MODULES)):
            return item.path in paths
        if not isinstance(item, Sysctl) or not item.path.startswith("net/ipv6/"):
            return True
        return present and _device(item.path) not in too_small

    return fitted(want.only(has_place), have.firewall)


def owned(want: State, have: State, mine: Marks = FIRST) -> State:
    """Keep of `have` what is ours by its mark, or stands in the very place of what is wanted.

    A bridge is a place where strangers may plug in and route to, and give it addresses of their own networks; any
    other device of ours is ours with all that is on it.
    """
    keys = {table: {item.key for item in getattr(want, table)} for table in TABLES}
    links = {link.dev: link for link in have.links if _marked(link, mine) or link.key in keys["links"]}
    alone = {dev for dev, link in links.items() if not isinstance(link, Bridge)}
    subnets = {(item.dev, item.address.network) for item in want.addresses}
    present = {route.key for route in have.routes if route.proto == mine.proto}
    ports = {link.fou for link in links.values() if isinstance(link, Ipip)}

    def ours(item: Item) -> bool:
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
                in_our_place = item.key in keys["routes"] - present
                return item.proto == mine.proto or in_our_place or (item.dev in alone and item.proto != "kernel")
            case Sysctl():
                return item.key in keys["sysctls"]
            case Vf():
                return item.key in keys["vfs"]
            case Chain():
                return item.chain.startswith(mine.chains)
            case Opening():
                return item.comment == mine.alias
            case File():
                return item.key in keys["files"] or (marks.of_file(item.path) == mine and item.marked)
            case Symlink():
                return marks.of_file(item.path) == mine
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
        or any(isinstance(f, File) and f.marked and marks.of_file(f.path) == mine for f in have.files)
    )


def _marked(link: Link, mine: Marks) -> bool:
    return isinstance(link, Device) and link.alias == mine.alias


def _places(state: State) -> Iterator[tuple[Place, Link]]:
    """Go through all devices, the host's and the pods'."""
    yield from (((HOST, link.dev), link) for link in state.links)
    yield from (((netns, link.dev), link) for netns, pod in state.pods.items() for link in pod.links)


def _remade(want: State, ours: State, broken: set[str]) -> set[Place]:
    """Name the devices that must go first: wrong in what the kernel does not change, or in the way of what is wanted.

    The two ends of a cable go together, so one of them is named.
    """
    wanted, seen = dict(_places(want)), dict(_places(ours))
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
    return remade - _other_ends(remade, ours)


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


def _other_ends(places: set[Place], ours: State) -> set[Place]:
    """Name what the kernel removes along with the ends of cables."""
    seen = dict(_places(ours))
    cables = (link for place in places if isinstance(link := seen.get(place), Veth))
    return {(cable.netns, cable.peer) for cable in cables if cable.netns}


def _fixed(link: Device) -> tuple[object, ...]:
    return tuple(getattr(link, name) for name in link.FIXED)


def _after_flush(want: State, ours: State, remake: set[str]) -> State:
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
                return _device(item.path) not in gone
            case _:
                return True

    return ours.only(stays)


def _first_touched(want: State, have: State, ours: State, tables: Mapping[str, Diff[Item]]) -> frozenset[Sysctl]:
    """Name the values that are about to change for the first time, on devices that stay when we go."""
    now = {seen.path: seen for seen in have.sysctls}
    noted = {old.path for old in have.saved}
    own = {link.dev for link in want.links | ours.links}
    touched = {new.path for _, new in tables["sysctls"].change if isinstance(new, Sysctl)}
    if FORWARD_ALL in touched - noted:
        touched |= {path for path in now if _is_forwarding(path)}
    # A setting that comes into being with its module is 1 at once; before, it was as if it were 0.
    born = {
        new.path for new in tables["sysctls"].add if isinstance(new, Sysctl) and new.path.startswith(tuple(MODULES))
    }
    before = {Sysctl(path, "0") for path in born - noted}
    return frozenset({now[path] for path in touched - noted if _device(path) not in own} | before)


def _given_back(old: frozenset[Sysctl], have: State) -> frozenset[Sysctl]:
    """Choose the values to write back: those that differ now, and those that writing ip_forward overwrites."""
    now = {seen.path: seen for seen in have.sysctls}
    differ = {value for value in old if value.path in now and now[value.path] != value}
    if any(value.path == FORWARD_ALL for value in differ):
        differ |= {value for value in old if value.path in now and _is_forwarding(value.path)}
    return frozenset(differ)


def _governed(old: Sysctl, want: State) -> bool:
    """Say whether the value is still ours to decide: wanted, or overwritten along with what is wanted."""
    wanted = {item.path for item in want.sysctls}
    return old.path in wanted or (_is_forwarding(old.path) and FORWARD_ALL in wanted)


def _is_forwarding(path: str) -> bool:
    return path.startswith("net/ipv4/conf/") and path.endswith("/forwarding")


def _device(path: str) -> str | None:
    """Name the device that a setting belongs to: net/FAMILY/conf/DEVICE/NAME, or neigh in place of conf."""
    parts = path.split("/")
    return parts[3] if parts[2:3] in (["conf"], ["neigh"]) else None


def summary(plan: Plan) -> str:
    """Count what a plan does, table by table: made, mended, removed."""
    counts = {table: (len(d.add), len(d.change), len(d.remove)) for table, d in plan.tables.items()}
    mended = [
        netns for netns, pod in plan.pods.items() if netns not in plan.make and any(map(any, pod.tables.values()))
    ]
    counts["pods"] = (len(plan.make), len(mended), len(set(plan.drop) - set(plan.make)))
    counts["settings given back"] = (0, len(plan.restore), 0)
    words = (
        f"{table} {' '.join(f'{sign}{n}' for sign, n in zip('+~-', numbers, strict=True) if n)}"
        for table, numbers in counts.items()
        if any(numbers)
    )
    return ", ".join(words) or "what is noted down"
