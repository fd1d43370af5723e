"""The way from a node to its peers' pods: uplink, tunnel, route, next hop, then neighbour and FDB entry, or key."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import TypeAlias

from podnet.cluster import Node
from podnet.state import FdbEntry, Ipip, Link, Route, State, Vxlan, WgPeer, Wireguard
from podnet.verify.strangers.scene import Finding, Scene, Teller, Tunnel, listed, lookup

UNICAST = "unicast"
FLOOD = "00:00:00:00:00:00"
"""The MAC of an FDB entry that is for all frames whose MAC is not known."""


def devices(scene: Scene, node: Node) -> Iterator[Finding]:
    """Look at what the node's packets leave by: the uplink, and the tunnel's end."""
    seen, tell = scene.seen[node.name], Teller(node.name, "link")
    look = f"ip addr show dev {node.uplink}"
    uplink = seen.link(node.uplink)
    if uplink is None:
        names = ", ".join(sorted(link.dev for link in seen.have.links))
        yield tell.fault(f"expected the uplink {node.uplink}, saw only {names}", "ip link")
        return
    if not uplink.up:
        yield tell.fault(f"the uplink {node.uplink} is down", look)
    if uplink.mtu < scene.cluster.underlay_mtu:
        least = scene.cluster.underlay_mtu
        yield tell.fault(f"{node.uplink} has MTU {uplink.mtu}, and `underlay_mtu` says {least}", look)
    if node.ip not in seen.held(node.uplink):
        there = ", ".join(map(str, seen.held(node.uplink))) or "none"
        yield tell.fault(f"expected the address {node.ip} on {node.uplink}, saw {there}", look)
    yield from _tunnel(scene, node, tell)
    for port in sorted(scene.wants[node.name].fous - seen.have.fous, key=lambda port: port.key):
        says = f"expected UDP port {port.port} to be unwrapped as IP protocol {port.ipproto}, saw no such port"
        yield Teller(node.name, "FOU port").fault(says, "ip fou show")


def _tunnel(scene: Scene, node: Node, tell: Teller) -> Iterator[Finding]:
    want, seen = scene.wanted_tunnel(node), scene.tunnel(node)
    if want is None:
        return
    if seen is None:
        used = any(route.dev == want.dev for route in scene.wants[node.name].routes)
        says = f"expected a device of kind {want.KIND}, saw none"
        yield (tell.fault if used else tell.difference)(says, f"ip -d link show type {want.KIND}")
        return
    look = f"ip -d link show dev {seen.dev}"
    if not seen.up:
        yield tell.fault(f"{seen.dev} is down", look)
    for name, essential in ESSENTIAL[type(want)].items():
        wanted, has = getattr(want, name), getattr(seen, name)
        if wanted != has:
            told = tell.fault if essential(node, has) else tell.difference
            yield told(f"{seen.dev} has {_named(name, has)}; expected {_named(name, wanted)}", look)
    yield from _tunnels_mtu(scene, node, seen, tell)


def _named(name: str, value: object) -> str:
    name = name if name.islower() and name not in {"vni", "fou"} else name.upper()
    return f"no {name}" if value in {None, ()} else f"{name} {value}"


def _always(_: Node, __: object) -> bool:
    return True


def _never(_: Node, __: object) -> bool:
    return False


def _another(_: Node, has: object) -> bool:
    """The kernel finds an address by itself where none is said."""
    return has is not None


Essential: TypeAlias = Callable[[Node, object], bool]

ESSENTIAL: Mapping[type[Link], Mapping[str, Essential]] = {
    Vxlan: {
        "vni": _always,
        "port": _always,
        "local": _another,
        "lower": _another,
        "group": _never,
        "learning": _never,
        "options": _never,
    },
    Ipip: {
        "local": _another,
        "remote": _always,
        "fou": _always,
        "ttl": _never,
        "pmtudisc": _never,
        "options": _never,
    },
    Wireguard: {"port": _never},
}
"""What of a tunnel's attributes must be as computed for packets to arrive; what a tunnel may have otherwise is told."""


def _tunnels_mtu(scene: Scene, node: Node, seen: Tunnel, tell: Teller) -> Iterator[Finding]:
    look = f"ip link show dev {seen.dev}"
    wrappings = [scene.numbers.wire(node, peer) for peer in scene.cluster.peers(node)]
    overhead = max((wrapping.overhead for wrapping in wrappings if wrapping), default=0)
    most = scene.cluster.underlay_mtu - overhead
    usual = scene.cluster.underlay_mtu - scene.numbers.less
    others = {name: far.mtu for name, far in scene.tunnels.items() if name != node.name}
    if seen.mtu > most:
        says = f"{seen.dev} has MTU {seen.mtu}; wrapped in {overhead} bytes no more than {most} fit the underlay"
        yield tell.fault(says, look)
    elif others and seen.mtu not in others.values():
        theirs = ", ".join(f"{name} has {mtu}" for name, mtu in sorted(others.items()))
        yield tell.fault(f"{seen.dev} has MTU {seen.mtu}, while {theirs}: all ends of a tunnel need the same", look)
    elif seen.mtu != usual:
        yield tell.difference(f"{seen.dev} has MTU {seen.mtu}; podnet would give it {usual}", look)


def ways(scene: Scene, node: Node) -> Iterator[Finding]:
    """Follow the way from the node to the pods of each peer: route, next hop, neighbour, FDB entry or key."""
    for peer in scene.cluster.peers(node):
        yield from dict.fromkeys(_way(scene, node, peer))
    if scene.routes(node):
        yield from _strays(scene, node)


def _way(scene: Scene, node: Node, peer: Node) -> Iterator[Finding]:
    want, have = scene.wants[node.name], scene.seen[node.name].have
    tell = Teller(node.name, "route")
    chosen: dict[Route | None, list[IPv4Address]] = defaultdict(list)
    inside = {route.to.network_address for route in have.routes if route.to.subnet_of(peer.pod_subnet)}
    for to in sorted({*(pod.address for pod in peer.pods), peer.gateway.ip, *inside}):
        chosen[lookup(have.routes, to)].append(to)
    wanted = lookup(want.routes, peer.gateway.ip)
    if wanted is None or not wanted.to.prefixlen:
        return
    for found, targets in chosen.items():
        look = f"ip route get {targets[0]}"
        if found is None or not found.to.prefixlen:
            some = peer.pod_subnet if peer.gateway.ip in targets else ", ".join(map(str, targets))
            takes = "the default route takes its packets" if found else "saw none"
            yield tell.fault(f"expected a route to {peer.name}'s {some} by {_by(scene, node, wanted)}, {takes}", look)
        elif found.kind != wanted.kind:
            yield tell.fault(f"{found.to}, which is {peer.name}'s, is {found.kind}; expected {wanted.kind}", look)
        elif found.kind != UNICAST:
            continue  # it is to lead nowhere, and does
        elif found.dev is None:
            yield tell.difference(f"{found.to} of {peer.name} has several next hops, which are not followed", look)
        else:
            yield from _leads(scene, node, peer, wanted, found)


def _by(scene: Scene, node: Node, wanted: Route) -> str:
    """Name the device by which a wanted route leads, as this host has it."""
    tunnel, want = scene.tunnel(node), scene.wanted_tunnel(node)
    if want is None or wanted.dev != want.dev:
        return str(wanted.dev)
    return tunnel.dev if tunnel else f"a device of kind {want.KIND}"


def _leads(scene: Scene, node: Node, peer: Node, wanted: Route, found: Route) -> Iterator[Finding]:
    """Compare a route by device and next hop; in what else it is otherwise is only told."""
    tell, look = Teller(node.name, "route"), f"ip -d route show {found.to}"
    by = _by(scene, node, wanted)
    if found.dev != by:
        yield tell.fault(f"{found.to} of {peer.name} leads by {found.dev}; expected by {by}", look)
        return
    tunnel = scene.tunnel(node) if wanted.dev != node.uplink else None
    if wanted.via == peer.ip and found.via != peer.ip:
        saw = found.via or "no next hop"
        yield tell.fault(f"{found.to} of {peer.name} leads by {found.dev} via {saw}; expected via {peer.ip}", look)
    elif isinstance(tunnel, Vxlan):
        yield from _resolved(scene, node, peer, tunnel, found)
    elif isinstance(tunnel, Wireguard):
        yield from _keyed(scene, node, peer, tunnel)
    if found.to != wanted.to:
        yield tell.difference(f"a route to {peer.name}'s pods is to {found.to}; podnet's is to {wanted.to}", look)
    for name in ("proto", "metric", "onlink", "options"):
        saw, usual = getattr(found, name), getattr(wanted, name)
        if saw != usual:
            says = f"routes to peers have {_words(name, saw)}; podnet's have {_words(name, usual)}"
            yield tell.difference(says, f"ip -d route show dev {found.dev}")


def _words(name: str, value: object) -> str:
    match value:
        case bool():
            return name if value else f"no {name}"
        case tuple():
            return " ".join(map(str, value)) or "no metrics"
        case _:
            return f"{name} {value}"


def _resolved(scene: Scene, node: Node, peer: Node, tunnel: Vxlan, route: Route) -> Iterator[Finding]:
    """Ask what the kernel asks for a frame's sake: the MAC of the next hop, and behind which host it is."""
    have, far = scene.seen[node.name].have, scene.tunnel(peer)
    dev, hop = tunnel.dev, route.via
    if hop is None:
        says = f"{route.to} of {peer.name} has no next hop: {dev} would ask every pod's address by ARP"
        yield Teller(node.name, "route").fault(says, f"ip -d route show {route.to}")
        return
    held = _ends(scene, peer)
    others = (each for each in scene.cluster.peers(node) if each != peer)
    other = next((each for each in others if hop in _ends(scene, each)), None)
    if other and hop not in held:
        says = (
            f"{route.to} of {peer.name} has the next hop {hop}, which is {other.name}'s; expected one of {peer.name}'s"
        )
        yield Teller(node.name, "route").fault(says, f"ip -d route show {route.to}")
        return
    if far and hop not in held:
        says = f"the next hop {hop} to {peer.name} is no address of its {far.dev}, which has {listed(held)}"
        yield Teller(node.name, "route").difference(says, f"ip addr show dev {far.dev} on {peer.name}")
    tell, look = Teller(node.name, "neighbour"), f"ip neigh show {hop} dev {dev}"
    known = next((item for item in have.neighbours if (item.dev, item.to) == (dev, hop)), None)
    if known is None or known.mac is None:
        yield tell.fault(f"expected the MAC of {hop} ({peer.name}) on {dev}, saw none", look)
        return
    if isinstance(far, Vxlan) and known.mac != far.mac:
        says = f"{hop} on {dev} is said to have the MAC {known.mac}; {peer.name}'s {far.dev} has {far.mac}"
        yield tell.fault(says, f"{look}; on {peer.name}: ip link show dev {far.dev}")
    if not known.permanent:
        yield tell.difference(f"{hop} on {dev} is not permanent: it can be lost", look)
    yield from _delivered(node, peer, tunnel, known.mac, have)


def _delivered(node: Node, peer: Node, tunnel: Vxlan, mac: str, have: State) -> Iterator[Finding]:
    tell, look = Teller(node.name, "FDB"), f"bridge fdb show dev {tunnel.dev}"
    entries = [item for item in have.fdb if item.dev == tunnel.dev and item.mac == mac]
    flooded = any(item.dev == tunnel.dev and item.mac == FLOOD and _host(item) == str(peer.ip) for item in have.fdb)
    if not entries and flooded:
        yield tell.difference(f"{mac} ({peer.name}) is not on {tunnel.dev}: what is for it is sent to everybody", look)
    elif not entries:
        yield tell.fault(f"expected the MAC {mac} ({peer.name}) on {tunnel.dev}, dst {peer.ip}; saw none", look)
    for entry in sorted(entries, key=lambda entry: entry.to):
        if _host(entry) != str(peer.ip):
            says = f"{mac} ({peer.name}) on {tunnel.dev} has dst {entry.to}; expected dst {peer.ip}"
            yield tell.fault(says, look)
        elif not entry.permanent:
            yield tell.difference(f"{mac} ({peer.name}) on {tunnel.dev} is not permanent: it can be lost", look)


def _host(entry: FdbEntry) -> str:
    return entry.to.split()[0]


def _keyed(scene: Scene, node: Node, peer: Node, tunnel: Wireguard) -> Iterator[Finding]:
    """Ask for whom packets to the peer's pods are encrypted, and where these are sent."""
    tell, look = Teller(node.name, "WireGuard peer"), f"wg show {tunnel.dev}"
    far = scene.tunnel(peer)
    known = [item for item in scene.seen[node.name].have.peers if item.dev == tunnel.dev and _for(item, peer)]
    if not known:
        yield tell.fault(f"expected a peer of {tunnel.dev} whose allowed ips have {peer.pod_subnet}, saw none", look)
        return
    (item, *_) = known
    if isinstance(far, Wireguard) and item.public != far.public:
        says = f"{peer.pod_subnet} is encrypted for {item.public}; the key of {peer.name}'s {far.dev} is {far.public}"
        yield tell.fault(says, f"{look}; on {peer.name}: wg show {far.dev} public-key")
    if isinstance(far, Wireguard) and item.endpoint != (there := f"{peer.ip}:{far.port}"):
        yield tell.fault(f"the endpoint of {peer.name} is {item.endpoint or 'not known'}; expected {there}", look)


def _for(item: WgPeer, peer: Node) -> bool:
    return any(":" not in allowed and peer.pod_subnet.subnet_of(IPv4Network(allowed)) for allowed in item.allowed)


def _strays(scene: Scene, node: Node) -> Iterator[Finding]:
    """Find what leads into the pod network, but to nobody whom the inventory names; and what is left over."""
    have, tunnel = scene.seen[node.name].have, scene.tunnel(node)
    tell = Teller(node.name, "route")
    hops = {owner: {owner.ip, *_ends(scene, owner)} for owner in scene.cluster.peers(node)}
    for route in sorted(have.routes, key=lambda route: route.key):
        ours = route.to.subnet_of(scene.cluster.network) and route.to != scene.cluster.network
        if not ours or route.via is None or any(route.to.overlaps(each.pod_subnet) for each in scene.cluster.nodes):
            continue
        look = f"ip -d route show {route.to}"
        owner = next((peer for peer, known in hops.items() if route.via in known or route.via in peer.pod_subnet), None)
        if owner:
            yield tell.difference(f"{route.to} leads to {owner.name} too, beside {owner.pod_subnet}", look)
        else:
            says = f"{route.to} via {route.via} dev {route.dev} leads to no node of the inventory: a stale peer"
            yield tell.fault(says, look)
    if isinstance(tunnel, Vxlan):
        yield from _left_over(node, tunnel, have)


def _ends(scene: Scene, peer: Node) -> list[IPv4Address]:
    tunnel = scene.tunnel(peer)
    return scene.seen[peer.name].held(tunnel.dev) if tunnel else []


def _left_over(node: Node, tunnel: Vxlan, have: State) -> Iterator[Finding]:
    hops = {route.via for route in have.routes if route.dev == tunnel.dev}
    known = [item for item in have.neighbours if item.dev == tunnel.dev and item.permanent]
    macs = {item.mac for item in known} | {FLOOD}
    for item in sorted(known, key=lambda item: item.key):
        if item.to not in hops:
            says = f"{item.to} on {tunnel.dev} is the next hop of no route: left over"
            yield Teller(node.name, "neighbour").difference(says, f"ip neigh show dev {tunnel.dev}")
    for entry in sorted(have.fdb, key=lambda entry: (entry.key, entry.to)):
        if entry.dev == tunnel.dev and entry.mac not in macs:
            says = f"{entry.mac} on {tunnel.dev}, dst {entry.to}, is the MAC of no neighbour: left over"
            yield Teller(node.name, "FDB").difference(says, f"bridge fdb show dev {tunnel.dev}")
