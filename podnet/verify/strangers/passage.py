"""What lets pods' packets through a node, forwarding and the firewall, and the pods themselves."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address

from podnet.cluster import Node, Pod
from podnet.state import Bridge, Ipip, Vxlan
from podnet.verify.strangers.filtering import (
    ACCEPT,
    DROP,
    ESTABLISHED,
    IP_IN_IP,
    MASQUERADE,
    NEW,
    UDP,
    UNTRACKED,
    Outcome,
    Packet,
)
from podnet.verify.strangers.scene import OUTSIDE, Finding, Inside, Scene, Teller, largest, listed, lookup

MEET = "net/bridge/bridge-nf-call-iptables"
STRICT = "1"


def passage(scene: Scene, node: Node) -> Iterator[Finding]:
    """Look at what lets packets through the node: forwarding, and the firewall's effect on pods' packets."""
    if not scene.routes(node):
        return
    yield from _settings(scene, node)
    yield from _blocked(scene, node)
    yield from _forwarded(scene, node)
    yield from _masqueraded(scene, node)


def _settings(scene: Scene, node: Node) -> Iterator[Finding]:
    seen, tunnel, tell = scene.seen[node.name], scene.tunnel(node), Teller(node.name, "sysctl")
    outwards = {node.uplink, *({tunnel.dev} if tunnel else ())}
    paths = ["net/ipv4/ip_forward"]
    paths += [f"net/ipv4/conf/{dev}/forwarding" for dev in sorted(outwards | scene.inwards(node))]
    for path in paths:
        if (value := seen.sysctl(path)) != "1":
            yield tell.fault(f"{path} is {value}; expected 1: pods' packets are not forwarded", f"sysctl {path}")
    for dev in sorted(outwards):
        both = [seen.sysctl(f"net/ipv4/conf/{each}/rp_filter") or "0" for each in ("all", dev)]
        if max(both) == STRICT:
            path = f"net/ipv4/conf/{dev}/rp_filter"
            says = f"rp_filter is strict (1) on {dev}: what comes back on another way is dropped"
            yield tell.difference(says, f"sysctl net/ipv4/conf/all/rp_filter {path}")
    for item in scene.wants[node.name].sysctls:
        if item.path == MEET and (value := seen.sysctl(MEET)) != item.value:
            yield tell.difference(f"{MEET} is {value or 'not there'}; podnet's is {item.value}", f"sysctl {MEET}")


def _pairs(scene: Scene, node: Node) -> Iterator[tuple[str, Packet]]:
    """Make up the first packets that pods of this node and of a peer would send each other, one peer a device."""
    have = scene.seen[node.name].have
    own = next((pod.address for pod in node.pods), node.gateway.ip)
    inner = lookup(have.routes, own)
    done = set()
    for peer in scene.cluster.peers(node):
        to = next((pod.address for pod in peer.pods), peer.gateway.ip)
        if lookup(scene.wants[node.name].routes, to) is None:
            continue
        outer = lookup(have.routes, to)
        inwards, outwards = inner.dev if inner else None, outer.dev if outer else None
        if outwards not in done:
            done.add(outwards)
            yield f"to pods of {peer.name}", Packet(own, to, inwards, outwards)
            yield f"from pods of {peer.name}", Packet(to, own, outwards, inwards)


def _forwarded(scene: Scene, node: Node) -> Iterator[Finding]:
    tell = Teller(node.name, "firewall")
    for way, packet in _pairs(scene, node):
        for base in scene.seen[node.name].filters.at("forward"):
            outcomes = base.outcomes(packet)
            acts = {outcome.act for outcome in outcomes}
            if acts == {DROP}:
                says = f"{base.chain} drops what goes {way} ({packet.source} to {packet.target}): {_rules(outcomes)}"
                yield tell.fault(says, base.look)
            elif acts != {ACCEPT}:
                rest = [outcome for outcome in outcomes if outcome.act != ACCEPT]
                says = f"{base.chain} may drop what goes {way}, by conditions that are not read here: {_rules(rest)}"
                yield tell.difference(says, base.look)


def _blocked(scene: Scene, node: Node) -> Iterator[Finding]:
    """Look for what is dropped for certain before it is routed, and of the tunnel's own packets.

    What only may be dropped there is not told: kube-proxy and Calico have rules for marks and sets on every host.
    """
    tell, packets = Teller(node.name, "firewall"), list(_before(scene, node))
    for base in scene.seen[node.name].filters.bases:
        lost: dict[tuple[str, frozenset[Outcome]], list[tuple[Node, Packet]]] = defaultdict(list)
        for hook, what, peer, packet in packets:
            outcomes = base.outcomes(packet) if hook == base.hook else frozenset()
            if {outcome.act for outcome in outcomes} == {DROP}:
                lost[what, outcomes].append((peer, packet))
        for (what, outcomes), those in lost.items():
            peers, packet = _some([peer.name for peer, _ in those]), those[0][1]
            ends = f"{packet.source} to {packet.target}{_kind(packet)}"
            yield tell.fault(f"{base.chain} drops {what} {peers} ({ends}): {_rules(outcomes)}", base.look)


def _kind(packet: Packet) -> str:
    if not packet.protocols:
        return ""
    return f", UDP port {packet.port}" if packet.port else ", IP in IP"


def _before(scene: Scene, node: Node) -> Iterator[tuple[str, str, Node, Packet]]:
    """Make up pods' packets before they are routed, and the tunnel's own: the hook, what they are, the peer, one."""
    have, tunnel = scene.seen[node.name].have, scene.tunnel(node)
    own = next((pod.address for pod in node.pods), node.gateway.ip)
    inner = lookup(have.routes, own)
    for peer in scene.cluster.peers(node):
        to = next((pod.address for pod in peer.pods), peer.gateway.ip)
        if lookup(scene.wants[node.name].routes, to) is None:
            continue
        wrapped = scene.numbers.wire(node, peer) is not None
        inwards, outwards = inner.dev if inner else None, tunnel.dev if tunnel else None
        if wrapped:
            arriving = _outer(scene, peer, node)._replace(iif=node.uplink)
            for hook in ("prerouting", "input"):
                yield hook, "the tunnel's packets from", peer, arriving
            yield "output", "the tunnel's packets to", peer, _outer(scene, node, peer)._replace(oif=node.uplink)
        yield "prerouting", "what goes to pods of", peer, Packet(own, to, inwards, None)
        yield "prerouting", "what comes from pods of", peer, Packet(to, own, outwards if wrapped else node.uplink, None)


def _outer(scene: Scene, source: Node, target: Node) -> Packet:
    """Make up a packet of the tunnel's own.

    In all modes but vxlan both ends send from and to one port, so that it may also be taken for a reply.
    """
    end = scene.tunnel(target) or scene.wanted_tunnel(target)
    port = end.fou if isinstance(end, Ipip) else end.port if end else None
    states = {NEW, UNTRACKED} if isinstance(end, Vxlan) else {NEW, UNTRACKED, ESTABLISHED}
    return Packet(source.ip, target.ip, None, None, UDP if port else IP_IN_IP, port, frozenset(states))


def _masqueraded(scene: Scene, node: Node) -> Iterator[Finding]:
    """Look at what becomes of a pod's address outside the pod network, and inside."""
    tell, filters = Teller(node.name, "firewall"), scene.seen[node.name].filters
    own = next((pod.address for pod in node.pods), node.gateway.ip)
    bases = list(filters.at("postrouting"))
    look = "; ".join(base.look for base in bases) or "iptables-save -t nat; nft list ruleset"
    abroad = _acts(scene, node, Packet(own, OUTSIDE, None, node.uplink))
    if scene.cluster.masquerade and MASQUERADE not in abroad:
        yield tell.fault(f"expected {own} to be masqueraded on its way outside, saw no rule that does", look)
    if not scene.cluster.masquerade and MASQUERADE in abroad:
        yield tell.difference(f"{own} is masqueraded on its way outside, and `masquerade` is False", look)
    for way, packet in _pairs(scene, node):
        if _acts(scene, node, packet) == {MASQUERADE}:
            yield tell.fault(f"what goes {way} is masqueraded: they do not see each other's address", look)


def _acts(scene: Scene, node: Node, packet: Packet) -> set[str]:
    bases = scene.seen[node.name].filters.at("postrouting")
    found = [{outcome.act for outcome in base.outcomes(packet)} for base in bases]
    return next((acts for acts in found if acts == {MASQUERADE}), set().union(*found))


def _rules(outcomes: Iterable[Outcome]) -> str:
    return _some(sorted(outcome.words for outcome in outcomes))


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def insides(scene: Scene, node: Node) -> Iterator[Finding]:
    """Look at the pods: that there is a way to each, and what each sends by."""
    seen, tell = scene.seen[node.name], Teller(node.name, "pod")
    if scene.routes(node) and node.pods and scene.cabled(node):
        bridged = any(isinstance(link, Bridge) for link in scene.wants[node.name].links)
        if bridged:
            says = "pods hang on cables of their own, not on a bridge: between those of one node the TTL is 63"
            yield tell.difference(says, "ip -d link show type veth")
    for pod in node.pods:
        inside = seen.pods.get(pod.address)
        if inside is None:
            says = f"no namespace of this host holds {pod.name}'s {pod.address}: it is only pinged from the nodes"
            yield tell.difference(says, "lsns --type net; ip netns list")
        if scene.routes(node):
            yield from _cable(scene, node, pod.address, inside)
        if inside and scene.routes(node):
            yield from _answered(scene, node, pod, inside)
        if inside:
            yield from _sends(scene, node, f"{pod.name} ({pod.address})", inside)


def _cable(scene: Scene, node: Node, pod: IPv4Address, inside: Inside | None) -> Iterator[Finding]:
    """Follow the way from the node to its own pod."""
    seen, look = scene.seen[node.name], f"ip route get {pod}"
    way = lookup(seen.have.routes, pod)
    tunnel = scene.tunnel(node)
    away = {None, node.uplink, tunnel.dev if tunnel else None}
    if way is None or way.dev in away or not way.to.prefixlen or way.via:
        saw = f"{way.kind} {way.to} {f'dev {way.dev}' if way.dev else ''}".strip() if way else "none"
        yield Teller(node.name, "route").fault(f"expected a route to its own pod {pod}, saw {saw}", look)
        return
    outer = seen.link(way.dev)
    if outer and not outer.up:
        yield Teller(node.name, "link").fault(f"{way.dev}, which leads to the pod {pod}, is down", look)
    if inside is None:
        return
    macs = {mac for link in inside.holds.links if (mac := getattr(link, "mac", None))}
    for item in seen.have.neighbours:
        if (item.dev, item.to) == (way.dev, pod) and item.permanent and item.mac not in macs:
            says = f"{pod} on {way.dev} is said to have the MAC {item.mac}, which the pod has not"
            yield Teller(node.name, "neighbour").fault(says, f"ip neigh show {pod} dev {way.dev}")
    if outer and (mtu := largest(inside)) and mtu > outer.mtu:
        says = f"{way.dev} has MTU {outer.mtu}, and the pod {pod} behind it sends up to {mtu}"
        yield Teller(node.name, "link").fault(says, f"ip link show dev {way.dev}")


def _answered(scene: Scene, node: Node, pod: Pod, inside: Inside) -> Iterator[Finding]:
    """Ask who answers for the pod's gateway: the node has its address, or answers for others (proxy ARP)."""
    seen, tell = scene.seen[node.name], Teller(node.name, "sysctl")
    out, back = lookup(inside.holds.routes, OUTSIDE), lookup(seen.have.routes, pod.address)
    hop, dev = (out.via if out else None), (back.dev if back else None)
    if hop is None or dev is None or any(item.address.ip == hop for item in seen.have.addresses):
        return
    path = f"net/ipv4/conf/{dev}/proxy_arp"
    if "1" not in {seen.sysctl(path), seen.sysctl("net/ipv4/conf/all/proxy_arp")}:
        says = f"nobody answers for {hop}, by which {pod.name} ({pod.address}) sends: expected {path} to be 1"
        yield tell.fault(says, f"sysctl {path}")
    elif (way := lookup(seen.have.routes, hop)) is None or way.kind != "unicast" or way.dev == dev:
        says = f"proxy ARP answers {pod.name} for {hop} only where a route leads there by another device; saw none"
        yield Teller(node.name, "route").fault(says, f"ip route get {hop}")


def _sends(scene: Scene, node: Node, name: str, inside: Inside) -> Iterator[Finding]:
    """Look at a pod's own tables: its way to other pods, and its largest packet."""
    tell, look = Teller(node.name, "pod"), f"nsenter --net={inside.path} ip route"
    others = [peer.gateway.ip for peer in scene.cluster.peers(node)]
    wanted = [to for to in others if scene.numbers.across]
    lost = [to for to in wanted if lookup(inside.holds.routes, to) is None]
    if lost:
        yield tell.fault(f"{name} has no route to {listed(lost)}; expected a default route", look)
    mtu, tunnel = largest(inside), scene.tunnel(node)
    most = tunnel.mtu if tunnel and scene.wanted_tunnel(node) else scene.cluster.underlay_mtu
    sizes = {each for seen in scene.seen.values() for pod in seen.pods.values() if (each := largest(pod))}
    if mtu and mtu > most:
        through = tunnel.dev if tunnel else "the underlay"
        says = f"{name} sends up to {mtu} bytes, and no more than {most} fit through {through}"
        yield tell.fault(says, f"nsenter --net={inside.path} ip link")
    elif mtu and len(sizes) > 1 and mtu == min(sizes):
        says = f"{name} has MTU {mtu}, and other pods {', '.join(map(str, sorted(sizes - {mtu})))}"
        yield tell.fault(says, f"nsenter --net={inside.path} ip link")
