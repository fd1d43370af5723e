"""What on a host itself stands in the way: found in its tables, before anything is changed on it."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Interface, IPv4Network

from podnet import nics, renumbering
from podnet.allotment import containers
from podnet.attachments import KEPT
from podnet.cluster import Cluster, Node
from podnet.marks import (
    ANY_ALIAS,
    ANY_NETNS,
    CONFLIST,
    FIRST,
    FLANNELS,
    STORE,
    SUBNET_ENV,
    Marks,
    leads_to_flannels,
    of,
    of_place,
)
from podnet.ownership import marked, of_flannels, owned
from podnet.remake import rivals, wire
from podnet.state import Address, Bridge, Device, File, Link, Reservation, State, Symlink, Wireguard

TOLD = 5
"""Processes of a pod that are named."""
DETACH = "those of `cni_pods` by deploys/pods_cni.py, once the inventory names none, others by cni.detach"
HOST_ROUTE = 32  # bits of a prefix that is a single address
PACKAGES = {"wg": "wireguard-tools", "ethtool": "ethtool"}
"""Tools that only some modes need, and the packages that hold them."""


def obstacles(  # noqa: PLR0913  # a cluster, or what is left to say where there is none
    want: State, have: State, cluster: Cluster | None, name: str, mine: Marks = FIRST, *, cut_off: bool = False
) -> list[str]:
    """Say why this host cannot become `want`: what it lacks, and what of a stranger's is in the way.

    Without a cluster, `mine` says whose things are to become that. With `cut_off`, here or as the host's data,
    containers that others have put beside our pods, or run in them, may lose their network.
    """
    mine = cluster.marks if cluster else mine
    cut_off = cut_off or (cluster is not None and cluster.node(name).cut_off)
    found = [*_lacking(have), *_strange_devices(want, have, mine), *_claims(want, have, mine)]
    found += [*_rivals(want, have, mine), *_strange_routes(want, have, mine)]
    found += (claimed := [*_subnet_env(want, have, mine)])
    found += strange_files(want.files, have.files, known=bool(claimed) or marked(have, mine))
    found += () if cut_off else [*_attached(want, have, mine), *_running(want, have, mine)]
    found += _kept_on(want, have, mine)
    found += nics.obstacles(want, have, mine, cluster.node(name).uplink if cluster else None)
    if cluster is not None:
        found += [
            *_underlay(cluster, cluster.node(name), want, have),
            *_overlaps(cluster, cluster.node(name), want, have),
        ]
        full = [*_exhausted(cluster.node(name), want, have)]
        # Pods whose addresses are nobody's wish would have got others, had there been any.
        if cluster.node(name).fixed or not full:
            found += taken(want.reservations, have.reservations, name)
        found += full
        found += renumbering.moves(cluster.node(name), have, mine)
        found += _same_marks(have, mine)
    return found


def _lacking(have: State) -> Iterator[str]:
    """Find kinds of devices that the kernel does not have: `have.lacks` was asked for those that are wanted."""
    for tool in sorted(have.lacks & PACKAGES.keys()):
        yield f"the mode needs {tool} on this host: install the package {PACKAGES[tool]}"
    for kind in sorted(have.lacks - PACKAGES.keys()):
        yield (
            f"this kernel lacks the module {kind}, which the mode needs; install the package that holds it (on Debian "
            "linux-image-amd64, on Ubuntu linux-modules-extra for this kernel), or choose another mode"
        )


def _same_marks(have: State, mine: Marks) -> Iterator[str]:
    """There are fewer protocol numbers than VNIs: the routes of two clusters must not look alike."""
    aliases = {link.alias for link in have.links if isinstance(link, Device)}
    others = {other.vni for alias in aliases if (other := of(ANY_ALIAS, alias)) and other != mine}
    for vni in sorted(vni for vni in others if Marks(vni).proto == mine.proto):
        yield (
            f"`vni` {mine.vni} marks its routes with protocol {mine.proto}, as does the cluster with VNI {vni} on this "
            "host; choose another `vni`"
        )


def _strange_devices(want: State, have: State, mine: Marks) -> Iterator[str]:
    """Find devices of our names that are not ours.

    On a host that bears a mark of ours, a device without the mark is ours, damaged. On any other it is a stranger's,
    unless it has our MAC or key: then a run was cut between making the device and marking it.
    """
    seen = {link.dev: link for link in have.links}
    known = marked(have, mine)
    for link in want.links:
        other = seen.get(link.dev)
        if other is None:
            continue
        kind = type(link).__name__.lower()
        strange = not known and _token(other) != _token(link)
        if type(other) is not type(link) or strange:
            what = "on a host where nothing else is podnet's" if strange else f"and is no {kind}"
            yield (
                f"the device {link.dev} exists {what}; podnet needs the name: rename the device or remove it "
                f"(ip link del {link.dev})"
            )


def _token(link: Link) -> object:
    return link.public if isinstance(link, Wireguard) else getattr(link, "mac", None)


def _claims(want: State, have: State, mine: Marks) -> Iterator[str]:
    """Find strangers that have what the kernel gives out only once: a VNI per port, the ends of an ipip tunnel."""
    ours = {link.dev for link in owned(want, have, mine).links}
    others = [link for link in have.links if isinstance(link, Device) and link.claim and link.dev not in ours]
    for link in want.links:
        for other in others:
            if isinstance(link, Device) and (type(link), link.claim) == (type(other), other.claim):
                what = ", ".join(f"{name} {value or 'any'}" for name, value in zip(link.CLAIM, link.claim, strict=True))
                yield (
                    f"the device {other.dev} already has {what}, which {link.dev} needs; remove it (ip link del "
                    f"{other.dev}), or change that in the inventory"
                )


def _rivals(want: State, have: State, mine: Marks) -> Iterator[str]:
    """Find strangers, and other clusters' pods, on a wire that the kernel does not let them share with ours."""
    spaces = [("this host", have.links - owned(want, have, mine).links)]
    spaces += [(netns, pod.links) for netns, pod in sorted(have.pods.items()) if of(ANY_NETNS, netns) != mine]
    wires = {wire(link) for pod in want.pods.values() for link in pod.links}
    for place, links in spaces:
        for other in sorted(links, key=lambda link: link.dev):
            for kind, lower in sorted(rivals(other) & wires, key=repr):
                yield (
                    f"{other.dev} in {place} is a device of the kind {type(other).__name__.lower()} on {lower}, beside "
                    f"which the kernel allows no {kind.__name__.lower()}; remove it or choose another mode"
                )


def _strange_routes(want: State, have: State, mine: Marks) -> Iterator[str]:
    """Find routes where ours belong. As with devices: on a host that bears our marks they are damage."""
    keys = {route.key for route in want.routes}
    strange = [] if marked(have, mine) else [route for route in have.routes if route.key in keys]
    for route in sorted(strange, key=lambda route: route.key):
        yield (
            f"there is a route to {route.to} (proto {route.proto}) on a host where nothing is podnet's, which needs "
            f"its place; remove it (ip route del {route.to}) or choose another `pod_subnet`"
        )


def _subnet_env(want: State, have: State, mine: Marks) -> Iterator[str]:
    """Say that another cluster has the one subnet.env in which flannel's tools look."""
    other = of_flannels(have)
    there = FLANNELS in {item.path for item in have.files} and marked(have, FIRST)
    if FLANNELS in {item.path for item in want.files} and other != mine and (other != FIRST or there):
        yield (
            f"{FLANNELS} is that of the cluster with VNI {other.vni}, and flannel's tools look for one there; give "
            "`subnet_env: False` to a cluster whose `vni` is not 1: then its file bears its number"
        )


def strange_files(want: Iterable[File | Symlink], have: Iterable[File | Symlink], *, known: bool) -> Iterator[str]:
    """Find files where ours belong. What they hold would be lost, so that they are nowhere taken for damage.

    But for flannel's subnet.env, which cannot bear a mark: on a host that is `known` to bear ours it is podnet's.
    """
    seen = {item.path: item for item in have}
    for item in sorted(want, key=lambda item: item.key):
        other = seen.get(item.path)
        strange = isinstance(other, File) and not other.marked
        if isinstance(other, Symlink) and leads_to_flannels(other.path, other.to):
            continue
        if strange and of_place(item.path) == SUBNET_ENV:
            if not known:
                yield (
                    f"{item.path} is there, and nothing else of podnet's: flannel seems to run on this host; stop it, "
                    "and remove what it has made and that file"
                )
            continue
        if other is not None and (strange or type(other) is not type(item)):
            yield (
                f"{item.path} is somebody else's, and podnet needs its place; move it away, or, if it was podnet's and "
                "somebody changed its first line, remove it"
            )


def _attached(want: State, have: State, mine: Marks) -> Iterator[str]:
    """Find containers that a runtime has put beside our pods, where what they hang on is to go.

    By the plugin bridge they are ports of our bridge; by ptp their cables hold an address of the node's subnet, which
    is known by its blackhole route.
    """
    ours = owned(want, have, mine)
    devices = {link.dev for link in ours.links}
    bridges = {link.dev for link in ours.links if isinstance(link, Bridge)} - {link.dev for link in want.links}
    hanging = {(port.bridge, port.dev) for port in have.ports if port.bridge in bridges}
    if any(_moves_away(item, want) for item in containers(have.reservations) if item.network == mine.alias):
        stay = {link.dev for link in ours.links if isinstance(link, Bridge)} - bridges
        hanging |= {(f"the subnet of {port.bridge}", port.dev) for port in have.ports if port.bridge in stay}
    hanging |= {(f"the way to {subnet}", item.dev) for item, subnet in _losing_their_way(want, have, ours)}
    gone: dict[str, list[str]] = {}
    for what, dev in sorted(hanging):
        if dev not in devices:
            gone.setdefault(what, []).append(dev)
    whose, first = ", which podnet did not make: somebody's containers or VMs", "remove those"
    if _kept(have, mine):
        whose = ": what podnet has attached, or somebody's containers or VMs"
        first = f"detach the former ({DETACH}) and remove the latter"
    for what, devs in gone.items():
        yield (
            f"{what} would be removed, and {', '.join(devs)} would be cut off{whose}; {first} first, or say "
            "`cut_off: True` as data of this host"
        )


def _kept_on(want: State, have: State, mine: Marks) -> Iterator[str]:
    """Find what podnet has attached, where the list goes by which it did: nobody would be left to detach it."""
    kept = _kept(have, mine)
    if kept and mine.place(CONFLIST) not in {item.path for item in want.files}:
        yield (
            f"podnet has attached what is kept in {KEPT}: {', '.join(kept)}; detach that first: {DETACH} (docs/cni.md)"
        )


def _kept(have: State, mine: Marks) -> list[str]:
    """Name the folders of what podnet has attached to this cluster's network."""
    names = (path.removeprefix(f"{KEPT}/") for path in have.folders if path.startswith(f"{KEPT}/"))
    return sorted(name for name in names if of(ANY_NETNS, name) == mine)


def _losing_their_way(want: State, have: State, ours: State) -> Iterator[tuple[Address, IPv4Network]]:
    """Find addresses that the plugin ptp has given to cables in a subnet of the node's which is to go."""
    subnets = {route.to for route in ours.routes - want.routes if route.kind == "blackhole"}
    for item in have.addresses:
        if item.address.network.prefixlen == HOST_ROUTE:
            yield from ((item, subnet) for subnet in subnets if item.address.ip in subnet)


def _running(want: State, have: State, mine: Marks) -> Iterator[str]:
    """Find pods that are to go while somebody runs in them: podnet itself leaves no process there.

    The kernel would let them run on, in a namespace without a name and without a way out.
    """
    for netns, processes in sorted(have.running.items()):
        if of(ANY_NETNS, netns) == mine and netns not in want.pods:
            more = f" and {len(processes) - TOLD} more" if len(processes) > TOLD else ""
            yield (
                f"the pod {netns} would be removed, and {', '.join(processes[:TOLD])}{more} would be cut off, which "
                f"podnet did not start: somebody's container or server; end that first (ip netns pids {netns}), or say "
                "`cut_off: True` as data of this host"
            )


def _moves_away(reserved: Reservation, want: State) -> bool:
    """Say whether a host that has become `want` has no address in the subnet that a container's is from."""
    return not any(reserved.address in item.address.network for item in want.addresses)


def taken(want: Iterable[Reservation], have: Iterable[Reservation], name: str) -> Iterator[str]:
    """Find containers that have an address which a pod of this host is to have."""
    theirs = {item.key: item.container for item in containers(have)}
    lost = sorted((item for item in want if item.key in theirs), key=lambda item: item.key)
    if lost:
        told = [f"{item.address} ({item.container}) is the container {theirs[item.key]}'s" for item in lost]
        yield (
            f"{name}: pods are to have addresses that containers have: {', '.join(told)}; remove these containers, or "
            "give the pods other addresses in `pods`; should a container be no more, remove the file of that address "
            f"in {STORE}/{lost[0].network}"
        )


def _exhausted(me: Node, want: State, have: State) -> Iterator[str]:
    """Say that another address would not help, where containers and pods need more than there are."""
    others = {item.address for item in containers(have.reservations) if me.gives(item.address)}
    if others and len(others) + len(want.reservations) > me.room:
        yield (
            f"{me.name}: its `pod_subnet` {me.pod_subnet} is exhausted: of its {me.room} addresses containers have "
            f"{len(others)}, and {len(want.reservations)} are for pods; remove containers, or ask for fewer `pods`"
        )


def _underlay(cluster: Cluster, me: Node, want: State, have: State) -> Iterator[str]:
    if me.uplink in {link.dev for link in want.links}:
        yield f"`uplink` {me.uplink} is a device that podnet makes; name the one that leads to other hosts"
        return
    mtus = {link.dev: link.mtu for link in have.links}
    if me.uplink not in mtus:
        yield f"`uplink` {me.uplink} is no device of this host, which has {', '.join(sorted(mtus))}; name the right one"
        return
    held = sorted(item.address for item in have.addresses if item.dev == me.uplink)
    if me.address not in held:
        there = ", ".join(map(str, held)) or "no IPv4 address"
        yield f"`address` {me.address} is not on {me.uplink}, which has {there}; correct one of the two"
    if mtus[me.uplink] < cluster.underlay_mtu:
        whence = " (Backend.MTU in `net_conf`, or group data, or else 1500)" if cluster.mode else ""
        yield (
            f"`underlay_mtu` is {cluster.underlay_mtu}{whence}, but {me.uplink} has an MTU of {mtus[me.uplink]}; lower "
            "the one for the whole cluster, or raise the other"
        )


def _overlaps(cluster: Cluster, me: Node, want: State, have: State) -> Iterator[str]:
    """A stranger's network inside the pods' would take their packets, docker0's for example.

    The CNI plugin ptp gives the gateway's address to the host's end of each container's cable. Where that is another
    one now, the container is what `_attached` is about.
    """
    ours = owned(want, have, cluster.marks)
    devices = {link.dev for link in ours.links}
    gateways = {IPv4Interface(me.gateway.ip), *(item.address for item, _ in _losing_their_way(want, have, ours))}
    for item in sorted(have.addresses, key=lambda item: item.key):
        if item.dev not in devices and item.address not in gateways and item.address.network.overlaps(cluster.network):
            yield (
                f"`network` {cluster.network} overlaps {item.address} of the device {item.dev}, which is not podnet's; "
                "choose another network for one of them"
            )
