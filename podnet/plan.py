"""From two states to what must be done: whose is what, what the kernel takes along, and what was before.

`plan` is where the kernel's habits are known. We would like to repair one attribute and keep the rest; the kernel
drops a device's neighbours when its MAC changes, and everything on a device that must be made anew; hence what it
drops is planned as missing, although it was seen.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from podnet.diff import Diff, diff
from podnet.state import (
    ALIAS,
    CHAIN_PREFIX,
    PROTO,
    TABLES,
    Address,
    Bridge,
    Chain,
    Device,
    FdbEntry,
    Item,
    Link,
    Neighbour,
    Nic,
    Port,
    Route,
    State,
    Sysctl,
    Veth,
)

FORWARD_ALL = "net/ipv4/ip_forward"
"""Writing another value here overwrites every interface's own `forwarding` (kernel, devinet_sysctl_forward)."""

SMALLEST_IPV6_MTU = 1280  # RFC 8200 section 5

MODULES = {"net/bridge/": "br_netfilter"}
"""Settings that exist only once a module is loaded. Modules of device kinds are loaded by the kernel itself."""

NEW_NETNS = State(links=frozenset({Nic("lo", 65536, "00:00:00:00:00:00", up=False)}))
"""What the kernel gives a network namespace at its birth."""


@dataclass(frozen=True)
class Plan:
    """What one network namespace needs.

    `remake` are devices to delete first, because the kernel cannot change what is wrong with them; `make` and
    `drop` are pods' namespaces. Of the values that sysctls had before us, `noted` are written down on the host,
    `saved` have to be before the first change, `keep` remain so at the end, `restore` are given back.
    """

    want: State
    tables: Mapping[str, Diff[Item]]
    remake: tuple[str, ...] = ()
    make: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    pods: Mapping[str, "Plan"] = field(default_factory=dict)
    noted: frozenset[Sysctl] = frozenset()
    saved: frozenset[Sysctl] = frozenset()
    restore: frozenset[Sysctl] = frozenset()
    keep: frozenset[Sysctl] = frozenset()


def plan(want: State, have: State) -> Plan:
    """Plan the way from `have` to `want`, touching nothing that is not ours."""
    want = supported(want, have)
    ours = owned(want, have)
    broken = {netns for netns in want.pods.keys() & have.pods.keys() if _broken(netns, want, ours)}
    remake = _remade(want, ours, broken)
    tables = _diffs(want, owned(want, _after_flush(want, ours, remake)))
    saved = have.saved | _first_touched(want, have, tables)
    keep = frozenset(old for old in saved if _governed(old, want))
    return Plan(
        want=want,
        tables=tables,
        remake=tuple(sorted(remake)),
        make=tuple(sorted(want.pods.keys() - have.pods.keys() | broken)),
        drop=tuple(sorted(have.pods.keys() - want.pods.keys() | broken)),
        pods={netns: _pod(netns, want, have, remake, broken) for netns in sorted(want.pods)},
        noted=have.saved,
        saved=saved,
        restore=_given_back(saved - keep, have),
        keep=keep,
    )


def plan_table(table: str, want: Iterable[Item], have: Iterable[Item]) -> Plan:
    """Plan one table alone, for deploys that decide themselves whose is what."""
    tables = {**dict.fromkeys(TABLES, Diff()), table: diff(want, have)}
    filled: dict[str, Any] = {table: frozenset(want)}
    return Plan(State(**filled), tables)


def compare(want: State, have: State) -> dict[str, Diff[Item]]:
    """Compare table by table what is ours: missing, wrong, extra. Pods are compared one by one, by the caller."""
    want = supported(want, have)
    return _diffs(want, owned(want, have))


def _diffs(want: State, ours: State) -> dict[str, Diff[Item]]:
    return {table: diff(getattr(want, table), getattr(ours, table)) for table in TABLES}


def supported(want: State, have: State) -> State:
    """Leave out IPv6 settings where there is no IPv6, and nothing that they could protect from.

    That is so on a host without it, and on a device whose MTU is too small for it.
    """
    present = any(seen.path.startswith("net/ipv6/") for seen in have.sysctls)
    too_small: set[str | None] = {link.dev for link in want.links if link.mtu < SMALLEST_IPV6_MTU}

    def has_place(item: Item) -> bool:
        if not isinstance(item, Sysctl) or not item.path.startswith("net/ipv6/"):
            return True
        return present and _device(item.path) not in too_small

    return want.only(has_place)


def owned(want: State, have: State) -> State:
    """Keep of `have` what is ours by its mark, or stands in the very place of what is wanted.

    A bridge is a place where strangers may plug in and route to, and give it addresses of their own networks; any
    other device of ours is ours with all that is on it.
    """
    keys = {table: {item.key for item in getattr(want, table)} for table in TABLES}
    links = {link.dev: link for link in have.links if _marked(link) or link.key in keys["links"]}
    alone = {dev for dev, link in links.items() if not isinstance(link, Bridge)}
    subnets = {(item.dev, item.address.network) for item in want.addresses}
    present = {route.key for route in have.routes if route.proto == PROTO}

    def ours(item: Item) -> bool:
        match item:
            case Link() | Port() | FdbEntry():
                return item.dev in links
            case Address():
                return item.dev in alone or any(
                    item.dev == dev and item.address.ip in subnet for dev, subnet in subnets
                )
            case Neighbour():
                return item.key in keys["neighbours"] or (item.dev in alone and item.permanent)
            case Route():
                in_our_place = item.key in keys["routes"] - present
                return item.proto == PROTO or in_our_place or (item.dev in alone and item.proto != "kernel")
            case Sysctl():
                return item.key in keys["sysctls"]
            case Chain():
                return item.chain.startswith(CHAIN_PREFIX)

    return have.only(ours)


def marked(have: State) -> bool:
    """Say whether the host bears any mark of ours: podnet has been here."""
    return bool(
        have.saved
        or have.pods
        or any(_marked(link) for link in have.links)
        or any(route.proto == PROTO for route in have.routes)
        or any(chain.chain.startswith(CHAIN_PREFIX) for chain in have.chains)
    )


def _marked(link: Link) -> bool:
    return isinstance(link, Device) and link.alias == ALIAS


def _broken(netns: str, want: State, ours: State) -> bool:
    """Say whether the namespace cannot be used: unreadable, or its `eth0` hangs on another cable than ours."""
    pod = ours.pods[netns]
    cables = [link for link in want.links if isinstance(link, Veth) and link.netns == netns]
    loose = any(_has(pod, cable.peer) and not _leads_to(netns, cable, ours) for cable in cables)
    return not pod.links or loose


def _remade(want: State, ours: State, broken: set[str]) -> set[str]:
    """Name the devices that are wrong in something that the kernel does not change in place."""
    seen = {link.dev: link for link in ours.links}
    remade = {link.dev for link in ours.links if isinstance(link, Veth) and link.netns in broken}
    # A device of ours that somebody renamed still takes what the kernel gives out only once: a VNI and port.
    wanted = {link.dev for link in want.links}
    claims = {(type(link), *_fixed(link)) for link in want.links if isinstance(link, Device) and link.FIXED}
    remade |= {link.dev for link in ours.links if link.dev not in wanted and (type(link), *_fixed(link)) in claims}
    for link in want.links:
        match seen.get(link.dev), link:
            case Veth(), Veth(netns=str(netns)):
                loose = netns in want.pods and not _has(ours.pods.get(netns, State()), link.peer)
                if loose or not _leads_to(netns, link, ours):
                    remade.add(link.dev)
            case Device() as old, Device():
                if _fixed(old) != _fixed(link):
                    remade.add(link.dev)
    return remade


def _fixed(link: Link) -> tuple[object, ...]:
    return tuple(getattr(link, name) for name in link.FIXED) if isinstance(link, Device) else ()


def _leads_to(netns: str, cable: Veth, ours: State) -> bool:
    return any(link.dev == cable.dev and isinstance(link, Veth) and link.netns == netns for link in ours.links)


def _has(state: State, dev: str) -> bool:
    return any(link.dev == dev for link in state.links)


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
            case Address() | Port() | FdbEntry():
                return item.dev not in gone
            case Sysctl():
                return _device(item.path) not in gone
            case _:
                return True

    return ours.only(stays)


def _pod(netns: str, want: State, have: State, remake: set[str], broken: set[str]) -> Plan:
    """Plan inside a pod. A new namespace holds nothing; a new cable's end nothing of the old one."""
    inside = NEW_NETNS if netns in broken else have.pods.get(netns, NEW_NETNS)
    peers = {link.peer for link in want.links if isinstance(link, Veth) and link.netns == netns and link.dev in remake}
    return plan(want.pods[netns], inside.only(lambda item: getattr(item, "dev", None) not in peers))


def _first_touched(want: State, have: State, tables: Mapping[str, Diff[Item]]) -> frozenset[Sysctl]:
    """Name the values that are about to change for the first time, on devices that stay when we go."""
    now = {seen.path: seen for seen in have.sysctls}
    noted = {old.path for old in have.saved}
    own = {link.dev for link in want.links | owned(want, have).links}
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
    """Name the device that a setting belongs to: net/FAMILY/conf/DEVICE/NAME."""
    parts = path.split("/")
    return parts[3] if parts[2:3] == ["conf"] else None


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
