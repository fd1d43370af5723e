"""Why a pair of pods fails: the first table on the way that is wrong, and the command to look at it.

The way is walked in the order in which the kernel asks: the source's pod, its node, the other node, the other pod; in
each of them devices, addresses, routes, neighbours, FDB, what carries the outer packet, forwarding, rp_filter, the
firewall, sizes. Both nodes are asked about both directions, so that the way back is walked as well. Only if no table
is wrong do counters speak: what leaves one node and is missing at the other was lost in between.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from podnet import pods
from podnet.cluster import Cluster, Node, Pod
from podnet.diff import Diff
from podnet.differences import NOUNS, differences, place, unlike, words
from podnet.firewall import in_iptables
from podnet.marks import Marks
from podnet.plan import FORWARD_ALL, compare
from podnet.state import MAIN, Chain, Ipip, Item, Link, Loan, Route, State, Veth, Vxlan, Wireguard
from podnet.verify.diagnosis.evidence import MOST_PINGS, Evidence, Moved, Ping
from podnet.verify.diagnosis.refusals import ICMP, Packet
from podnet.verify.strangers.policy import ACTION, Detour, detours

IPIP, UDP = 4, 17
STRICT = 1
HARMLESS = {"alias", "hairpin", "options", "learning"}
"""Fields of devices and ports by which no packet between two pods is lost."""
LOOKS = {
    "links": "ip -d link show",
    "vfs": "ip -d link show",
    "ports": "bridge -d link show",
    "addresses": "ip address show",
    "routes": "ip route show",
    "neighbours": "ip neigh show",
    "fdb": "bridge fdb show",
    "fous": "ip fou show",
    "chains": "iptables-save",
    "openings": "nft -a list ruleset",
}


@dataclass(frozen=True)
class Cause:
    """What is wrong, on which host, and how to see it there.

    `learnt`: it is what somebody answered to ARP, which follows from where the question went.
    """

    host: str
    what: str
    look: str
    learnt: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        """Say it in one sentence."""
        return f"{self.host}: {self.what} (look: ssh {self.host} {self.look})"


@dataclass(frozen=True)
class Host:
    """One node: what it should hold, what it holds, and what it told when something had failed."""

    node: Node
    want: State
    have: State
    more: Evidence = field(default_factory=Evidence)


@dataclass(frozen=True)
class End:
    """A pod, and where it is; or without a pod the host itself: a node, or one outside, which only has an address."""

    node: Node
    pod: Pod | None = None

    @property
    def address(self) -> IPv4Address:
        """Return the address by which it is asked."""
        return self.pod.address if self.pod else self.node.ip


def outside(name: str, address: IPv4Address) -> End:
    """Make an end of a host that is no member."""
    return End(Node(name, IPv4Interface(address), uplink="", pod_subnet=IPv4Network(address)))


@dataclass(frozen=True)
class Trip:
    """A pair that fails. `size`: with packets of this size, where smaller ones may well pass; `protocol`: by this.

    `passes`: they arrive, by whichever way. Then nothing refuses them, and only tables can be wrong.
    """

    cluster: Cluster
    hosts: Mapping[str, Host]
    source: End
    target: End
    size: int | None = None
    protocol: int = ICMP
    passes: bool = False

    @property
    def crosses(self) -> bool:
        """Say whether the way leads over the underlay."""
        return self.source.node != self.target.node

    @property
    def both(self) -> list[tuple[End, End]]:
        """There and back."""
        return [(self.source, self.target), (self.target, self.source)]

    @property
    def ways(self) -> list[tuple[End, End]]:
        """From each end whose tables are known to the other."""
        return [(end, other) for end, other in self.both if end.node.name in self.hosts]

    @property
    def whole(self) -> bool:
        """Say whether both ends are known."""
        return len(self.ways) == len(self.both)

    @property
    def of_pods(self) -> list[tuple[End, Pod, End]]:
        """Those of the ends that are pods, and the other end of each."""
        return [(end, end.pod, other) for end, other in self.ways if end.pod]

    def again(self, a: End, b: End) -> list[Ping]:
        """List what was sent again from the one's node to the other's, and speaks of this: smaller, or pings, will do.

        Where it was sent between these two ends, it is that alone.
        """
        sent = [
            ping
            for ping in self.hosts[a.node.name].more.tried
            if _is_at(b.node, ping) and ping.size in {None, self.size} and ping.protocol in {ICMP, self.protocol}
        ]
        netns = pods.netns(a.pod, self.cluster.marks) if a.pod else ""
        return [ping for ping in sent if (ping.netns, ping.target) == (netns, b.address)] or sent

    def ends_at(self, name: str) -> bool:
        """Say whether that host itself is an end: what passes its pods by may concern it all the same."""
        return any(end.node.name == name and not end.pod for end, _ in self.both)

    @property
    def translated(self) -> bool:
        """Say whether the inventory has packets leave under their node's address."""
        return self.cluster.masquerade and self.crosses and not self.target.pod

    @property
    def nodes(self) -> list[Node]:
        """The nodes on the way whose tables are known, each once."""
        return [*dict.fromkeys(end.node for end, _ in self.ways)]


def _is_at(node: Node, ping: Ping) -> bool:
    return ping.target in node.pod_subnet or ping.target == node.ip


@dataclass(frozen=True)
class Space:
    """A network namespace on the way: the host's own, or a pod's."""

    host: str
    want: State
    have: State
    marks: Marks
    netns: str = ""
    sized: bool = False

    @cached_property
    def unlike(self) -> dict[str, Diff[Item]]:
        """What differs, table by table."""
        return compare(self.want, self.have, self.marks)

    def cause(self, what: str, look: str, *, learnt: bool = False) -> Cause:
        """Say it of this namespace, with the command that looks into it."""
        if not self.netns:
            return Cause(self.host, what, look, learnt)
        return Cause(self.host, f"pod {self.netns}: {what}", f"ip netns exec {self.netns} {look}", learnt)

    def differing(self, table: str, concerned: Callable[[Item], bool] = lambda _: True) -> Iterator[Cause]:
        """Say what of the items concerned is missing, wrong, extra."""
        diff, noun = self.unlike[table], NOUNS[table]
        for item in filter(concerned, diff.add):
            yield self.cause(f"missing {noun}: {words(item)}", self._look(table, item))
        for have, want in diff.change:
            if concerned(want) and (told := [*self._told(have, want)]):
                yield self.cause(f"wrong {noun}: {place(want)}: {'; '.join(told)}", self._look(table, want))
        for item in filter(concerned, diff.remove):
            yield self.cause(f"extra {noun}: {words(item)}", self._look(table, item))

    def _told(self, have: Item, want: Item) -> Iterator[str]:
        if isinstance(have, Chain) and isinstance(want, Chain) and have.jumps == want.jumps:
            yield from _rules(have, want)
            return
        ignored = (HARMLESS if type(have) is type(want) else set()) | (set() if self.sized else {"mtu"})
        yield from (said for said in unlike(have, want) if said.split()[0] not in ignored or isinstance(want, Route))

    @staticmethod
    def _look(table: str, item: Item) -> str:
        if table == "sysctls":
            return f"sysctl {place(item)}"
        dev = getattr(item, "dev", None)
        if table == "peers":
            return f"wg show {dev}"
        return f"{LOOKS[table]} dev {dev}" if dev and table not in {"routes", "fous"} else LOOKS[table]


def _rules(have: Chain, want: Chain) -> Iterator[str]:
    """Say which rules of a chain are there and should not be, and which are not there."""
    extra, missing = ([rule for rule in a.rules if rule not in b.rules] for a, b in ((have, want), (want, have)))
    for what, rules in {"that should not be there": extra, "that are missing": missing}.items():
        if rules:
            yield f"rules {what}: {', '.join(repr(in_iptables(rule)) for rule in rules)}"
    if not extra and not missing:
        yield "rules are in another order, or twice"


def causes(trip: Trip) -> list[Cause]:
    """Return what is wrong on the way, the first of it first."""
    return next((found for stage in STAGES[trip.passes] if (found := [*dict.fromkeys(stage(trip))])), [])


def untold(trip: Trip) -> bool:
    """Say whether only counters could tell, and nothing was sent again between the two nodes while they ran."""
    return not trip.passes and trip.crosses and trip.whole and not tried(trip) and not _walk(trip)


def tried(trip: Trip) -> bool:
    """Say whether what was sent again speaks of this pair."""
    return trip.whole and all(trip.again(a, b) for a, b in trip.both)


def _walk(trip: Trip) -> list[Cause]:
    """Go the whole way. What was learnt comes last: a port or a device that is wrong has others answer."""
    return sorted(_on_the_way(trip), key=lambda cause: cause.learnt)


def _on_the_way(trip: Trip) -> Iterator[Cause]:
    yield from _missing(trip)
    yield from _duplicates(trip)
    yield from _pod(trip, trip.source, trip.target)
    for node in trip.nodes:
        yield from _node(trip, node)
    yield from _pod(trip, trip.target, trip.source)


def _missing(trip: Trip) -> Iterator[Cause]:
    """Find pods that are not there: with them goes what is theirs on their nodes."""
    for end, pod, _ in trip.of_pods:
        netns = pods.netns(pod, trip.cluster.marks)
        have = trip.hosts[end.node.name].have.pods.get(netns)
        if have is None:
            yield Cause(end.node.name, f"missing pod: namespace {netns}", "ip netns list")
        elif not have.links:
            yield Cause(end.node.name, f"{netns} is a name without a namespace", "ip netns list")


def _duplicates(trip: Trip) -> Iterator[Cause]:
    """Find somebody else who has the address of one of the two pods."""
    own = {(pod.address, end.node.name, pods.netns(pod, trip.cluster.marks)) for end, pod, _ in trip.of_pods}
    of = {address: f"{name}/{netns}" for address, name, netns in own}
    for name, host in trip.hosts.items():
        for netns, state in [("", host.have), *sorted(host.have.pods.items())]:
            for item in sorted(state.addresses, key=lambda item: item.key):
                ip = item.address.ip
                if ip in of and (ip, name, netns) not in own:
                    space = Space(name, State(), state, trip.cluster.marks, netns)
                    what = f"duplicate address: {item.address} on {item.dev}, which is the pod's {of[ip]}"
                    yield space.cause(what, f"ip address show dev {item.dev}")


def _pod(trip: Trip, end: End, other: End) -> Iterator[Cause]:
    """Walk through a pod."""
    if end.node.name not in trip.hosts or not end.pod:
        return
    host, netns = trip.hosts[end.node.name], pods.netns(end.pod, trip.cluster.marks)
    name, want = end.node.name, host.want.pods[netns]
    have = host.have.pods.get(netns)
    if have is None or not have.links:
        return
    # The two ends of a cable come and go together, and it is the host's that is made and marked.
    outside = Space(name, host.want, host.have, trip.cluster.marks)
    gone = {link.dev for link in host.want.links} - {link.dev for link in host.have.links}
    yield from outside.differing("links", partial(_is_on, gone.intersection(cables_of(trip.cluster, host.want, [end]))))
    for loan in (link for link in want.links if isinstance(link, Loan)):
        yield from _lent(outside, loan.nic)
    space = Space(name, want, have, trip.cluster.marks, netns, sized=trip.size is not None)
    devs = [link.dev for link in sorted(want.links, key=lambda link: link.dev) if link.dev != "lo"]
    devs += ["lo"] if trip.source == trip.target else []
    yield from _devices(space, devs)
    if trip.source != trip.target:
        yield from _routes(trip, space, [other.address])
    yield from space.differing("neighbours")
    for item in sorted(host.more.pod_settings.get(netns, ()), key=lambda item: item.key):
        usual = {"net/ipv4/ip_default_ttl": "64", "net/ipv4/icmp_echo_ignore_all": "0"}.get(item.path)
        if usual is not None and item.value != usual:
            yield space.cause(
                f"wrong setting: {item.path} is {item.value}, and should be {usual}", f"sysctl {item.path}"
            )
    yield from space.differing("sysctls")


def _lent(outside: Space, nic: str) -> Iterator[Cause]:
    """Look at what a PF imposes on a pod's VF, and at the PF itself: without it there is no carrier."""
    yield from outside.differing("vfs", lambda item: item.key == (nic,))
    pfs = {vf.pf for vf in outside.have.vfs if vf.nic == nic}
    for link in outside.have.links:
        if link.dev in pfs and not link.up:
            yield outside.cause(
                f"{link.dev}, of which the pod's NIC {nic} is a VF, is down", f"ip link show dev {link.dev}"
            )


def _node(trip: Trip, node: Node) -> Iterator[Cause]:
    """Walk through a node, from its pod towards the other end and back."""
    host = trip.hosts[node.name]
    space = Space(node.name, host.want, host.have, trip.cluster.marks, sized=trip.size is not None)
    own = [end for end in (trip.source, trip.target) if end.node == node]
    away = [end for end in (trip.source, trip.target) if end.node != node]
    cables = cables_of(trip.cluster, host.want, own)
    tunnel = _tunnel(host, away)
    yield from _devices(space, [dev for dev in _devs(trip, node) if dev != node.uplink])
    yield from space.differing("ports", partial(_is_on, cables))
    yield from _policy(trip, host)
    yield from _routes(trip, space, [end.address for end in (*away, *own) if end.address != node.ip])
    for end in away:
        yield from space.differing("peers", partial(_allows, end.address))
        yield from space.differing("fous", lambda _: bool(tunnel))
        yield from _underlay(trip, space, host, end.node)
    yield from _passing(trip, space, host, _devs(trip, node))


def _tunnel(host: Host, away: Iterable[End]) -> list[str]:
    """Name what of ours leads to ends on other nodes."""
    made = {link.dev for link in host.want.links}
    return [dev for end in away if (dev := _leads(host.want, end.address)) and dev in made]


def _devs(trip: Trip, node: Node) -> list[str]:
    """Name the devices that the packets pass on a node: ours, and the uplink if it is on the way."""
    host = trip.hosts[node.name]
    own = [end for end, _ in trip.both if end.node == node]
    away = [end for end, _ in trip.both if end.node != node]
    cables = cables_of(trip.cluster, host.want, own)
    bridges = sorted({item.bridge for item in host.want.ports if item.dev in cables})
    return [*cables, *bridges, *_tunnel(host, away), *([node.uplink] if away else [])]


def cables_of(cluster: Cluster, want: State, own: Iterable[End]) -> list[str]:
    """Name the host's ends of its pods' cables."""
    names = {pods.netns(end.pod, cluster.marks) for end in own if end.pod}
    return sorted(link.dev for link in want.links if isinstance(link, Veth) and link.netns in names)


def _devices(space: Space, devs: Iterable[str]) -> Iterator[Cause]:
    for table in ("links", "addresses"):
        for dev in dict.fromkeys(devs):
            yield from space.differing(table, partial(_is_on, {dev}))


def _is_on(devs: Container[str], item: Item) -> bool:
    return getattr(item, "dev", None) in devs


def _policy(trip: Trip, host: Host) -> Iterator[Cause]:
    """Find rules of policy routing that send the pods' packets elsewhere than the main table would.

    One that asks for more than addresses, and where they come in, is given the benefit of doubt.
    """
    for each, surely in _detours(trip, host):
        if surely:
            said = f"{each.said}, by which a packet {each.does}"
            what = f"somebody's rule of policy routing comes before the routes: {said}"
            yield Cause(host.node.name, what, each.look)


def _perhaps(trip: Trip) -> Iterator[Cause]:
    """Name rules of policy routing that may send them elsewhere, then what a loose rp_filter has dropped."""
    for node in trip.nodes:
        for each, surely in _detours(trip, trip.hosts[node.name]):
            if not surely:
                said = f"{each.said}, by which a packet that it fits {each.does}"
                what = f"somebody's rule of policy routing may come before the routes: {said}"
                yield Cause(node.name, what, each.look)
    for node in trip.nodes:
        yield from _reverse(trip.hosts[node.name], _devs(trip, node), strict=False)


def _detours(trip: Trip, host: Host) -> Iterator[tuple[Detour, bool]]:
    """Follow the rules there and back, and say of each that leads elsewhere whether it is known to fit."""
    routes = host.have.routes | host.more.routes
    for a, b in trip.both:
        came = _comes_in(trip, host, a)
        rules = [rule for rule in host.more.rules if rule.iif in {None, *came}]
        for source in _borne(trip, a, b):
            for target in _borne(trip, b, a):
                for each in detours(rules, routes, source, target):
                    asked = [option for option in each.rule.options if not option.startswith(ACTION)]
                    yield each, not asked and not each.rule.fwmark


def _comes_in(trip: Trip, host: Host, end: End) -> list[str]:
    """Name the devices by which a node gets packets from one end; `lo` are its own."""
    if end.node != host.node:
        return [_leads(host.want, end.address) or host.node.uplink]
    cables = cables_of(trip.cluster, host.want, [end])
    return [item.bridge for item in host.want.ports if item.dev in cables] or cables or ["lo"]


def best(routes: Iterable[Route], to: IPv4Address) -> Route | None:
    """Return the route of the main table that the kernel takes: the longest prefix, then the smallest metric."""
    fitting = [route for route in routes if route.table == MAIN and to in route.to]
    return max(fitting, key=lambda route: (route.to.prefixlen, -route.metric, repr(route)), default=None)


def _expected(want: State, to: IPv4Address) -> Route | None:
    connected = {
        Route(item.address.network, item.dev, proto="kernel")
        for item in want.addresses
        if item.address.network.prefixlen < item.address.max_prefixlen and not item.address.is_loopback
    }
    return best({*want.routes, *connected}, to)


def _leads(want: State, to: IPv4Address) -> str | None:
    expected = _expected(want, to)
    return expected.dev if expected else None


def _routes(trip: Trip, space: Space, targets: Iterable[IPv4Address]) -> Iterator[Cause]:
    """Compare the route that the kernel takes with the one that it should, then what the next hop is known by."""
    for to in targets:
        expected, seen = _expected(space.want, to), _taken(space, to)
        if expected is None:
            continue
        if seen is None or _way(seen, space) != _way(expected, space):
            yield space.cause(_instead(space, to, expected, seen), f"ip route get {to}")
        if expected.dev is not None:
            yield from _next_hop(trip, space, expected.dev, expected.via or to)


def _taken(space: Space, to: IPv4Address) -> Route | None:
    """Of several routes of one key the wanted one is believed to be the first."""
    seen, expected = best(space.have.routes, to), _expected(space.want, to)
    same = [route for route in space.have.routes if seen and expected and route.key == seen.key == expected.key]
    return next((route for route in same if expected and _way(route, space) == _way(expected, space)), seen)


def _way(route: Route, space: Space) -> tuple[object, ...]:
    return (route.to, route.dev, route.via, route.kind, route.onlink, route.options if space.sized else ())


def _instead(space: Space, to: IPv4Address, expected: Route, seen: Route | None) -> str:
    present = any(_way(route, space) == _way(expected, space) for route in space.have.routes)
    if seen is not None and seen.key == expected.key:
        return f"wrong route: {place(expected)}: {'; '.join(unlike(seen, expected))}"
    if present and seen is not None:
        return f"a stranger's route to {to} comes before {place(expected)}: {words(seen)}"
    instead = f"; what takes its place is {words(seen)}" if seen is not None else ""
    return f"missing route: {words(expected)}{instead}"


def _next_hop(trip: Trip, space: Space, dev: str, hop: IPv4Address) -> Iterator[Cause]:
    """Look for the next hop's MAC, and at a tunnel for whose MAC that is."""
    wanted = [item for item in space.want.neighbours if (item.dev, item.to) == (dev, hop)]
    if not wanted:
        yield from _known_as(trip, space, dev, hop)
        return
    yield from space.differing("neighbours", lambda item: item.key == wanted[0].key)
    yield from space.differing("fdb", lambda item: getattr(item, "mac", None) == wanted[0].mac)


def _known_as(trip: Trip, space: Space, dev: str, hop: IPv4Address) -> Iterator[Cause]:
    """Compare a MAC that was learnt, or that somebody has put there, with that of the device which has the address."""
    entries = [item for item in space.have.neighbours if (item.dev, item.to) == (dev, hop) and item.mac]
    more = {} if space.netns else trip.hosts[space.host].more.neighbours
    told, state = more.get((dev, hop), (entries[0].mac if entries else "", ""))
    put = state == "PERMANENT" or any(item.permanent for item in entries)
    macs = _macs(trip, hop)
    if told and macs and told not in macs:
        what = f"wrong neighbour: {hop} dev {dev}: mac is {told}, and should be {' or '.join(sorted(macs))}"
        yield space.cause(what, f"ip neigh show dev {dev}", learnt=not put)


def _macs(trip: Trip, address: IPv4Address) -> set[str]:
    """Name the MACs of an address: the wanted one if it is ours; none where that device is not as wanted itself."""
    hosts = trip.hosts.values()
    wanted, seen = (
        {mac for state in states for each in (state, *state.pods.values()) for mac in _macs_in(each, address)}
        for states in ([host.want for host in hosts], [host.have for host in hosts])
    )
    return (wanted if wanted <= seen else set()) if wanted else seen


def _macs_in(state: State, address: IPv4Address) -> set[str]:
    devs = {item.dev for item in state.addresses if item.address.ip == address}
    return {mac for link in state.links if link.dev in devs and (mac := getattr(link, "mac", ""))}


def _allows(address: IPv4Address, item: Item) -> bool:
    return any(address in IPv4Network(network) for network in getattr(item, "allowed", ()))


def _underlay(trip: Trip, space: Space, host: Host, peer: Node) -> Iterator[Cause]:
    """Walk from one node to the other on the underlay."""
    node = host.node
    up = {link.dev: link for link in host.have.links}
    if node.uplink not in up or not up[node.uplink].up:
        there = "down" if node.uplink in up else "not there"
        yield Cause(node.name, f"the uplink {node.uplink} is {there}", f"ip link show dev {node.uplink}")
    if node.address not in {item.address for item in host.have.addresses if item.dev == node.uplink}:
        look = f"ip address show dev {node.uplink}"
        yield Cause(node.name, f"missing address: {node.address} is not on the uplink {node.uplink}", look)
    adjacent = peer.ip in node.address.network
    way = host.more.ways.get(str(peer.ip))
    if way and (way.refused or way.dev != node.uplink or (way.via is None) != adjacent):
        said = way.refused or f"dev {way.dev}" + (f" via {way.via}" if way.via else "")
        wanted = f"dev {node.uplink}" + ("" if adjacent else " via a router")
        what = f"wrong underlay route: the way to {peer.name}, {peer.ip}, is {said}, and should be {wanted}"
        yield Cause(node.name, what, f"ip route get {peer.ip}")
    if adjacent:
        yield from _known_as(trip, space, node.uplink, peer.ip)


def _passing(trip: Trip, space: Space, host: Host, devs: list[str]) -> Iterator[Cause]:
    """Look at what may stop a packet that knows its way: forwarding, rp_filter, the firewall, its size."""
    stopping = {f"net/ipv4/conf/{dev}/{knob}" for dev in devs for knob in ("forwarding", "proxy_arp")}
    # Switching it off has switched off all the others.
    yield from space.differing("sysctls", lambda item: place(item) == FORWARD_ALL)
    yield from space.differing("sysctls", lambda item: place(item) in stopping)
    if not trip.passes:
        yield from _reverse(host, devs, strict=True)
        yield from _refused(trip, host)
    yield from space.differing("chains")
    yield from space.differing("openings")
    if not trip.passes and not trip.translated:
        yield from _translated(trip, host)
    mtus = {link.dev: link.mtu for link in host.have.links}
    uplink = host.node.uplink
    if space.sized and trip.crosses and mtus.get(uplink, 0) < trip.cluster.underlay_mtu:
        needed = trip.cluster.underlay_mtu
        what = f"wrong MTU: that of the uplink {uplink} is {mtus.get(uplink)}, and `underlay_mtu` {needed}"
        yield Cause(host.node.name, what, f"ip link show dev {uplink}")


def _refused(trip: Trip, host: Host) -> Iterator[Cause]:
    """Find rules that have refused such packets just now, or that do not count and are for such packets alone."""
    yield from _took(host, _inner(trip) + _carrying(trip), "refused", translating=False)
    yield from _takes(trip, host, translating=False)


def _translated(trip: Trip, host: Host) -> Iterator[Cause]:
    """Find rules by which such packets have gone on under another address, or do so without being counted."""
    yield from _took(host, _inner(trip) + _carrying(trip), "translated", translating=True)
    yield from _takes(trip, host, translating=True)


def _takes(trip: Trip, host: Host, *, translating: bool) -> Iterator[Cause]:
    """Find rules that do not count and are for such packets alone."""
    outer = _carrying(trip)
    packets = _inner(trip) + outer
    to_itself = packets if trip.ends_at(host.node.name) else outer
    for refusal in host.more.refusals:
        fitting = refusal.plain and refusal.takes(to_itself if refusal.local else packets)
        if refusal.packets is None and refusal.translates is translating and fitting:
            does = "translates" if translating else "refuses"
            what = f"firewall: {refusal.where} {does} such packets, and does not count them: {refusal.words}"
            yield Cause(host.node.name, what, refusal.look)


def _took(host: Host, packets: list[Packet], how: str, *, translating: bool) -> Iterator[Cause]:
    """Find rules that have taken such packets while these were tried again."""
    for refusal in host.more.refusals:
        rise = host.more.risen.get(refusal.key, 0)
        if refusal.translates is translating and rise > 0 and refusal.may_take(packets):
            what = f"firewall: {refusal.where} has {how} {rise} packets just now: {refusal.words}"
            yield Cause(host.node.name, what, refusal.look)


def _reverse(host: Host, devs: list[str], *, strict: bool) -> Iterator[Cause]:
    """Find devices that refuse what comes in by them because its sender is sought elsewhere."""
    dropped = host.more.counted.get("TcpExtIPReversePathFilter", 0)
    values = {dev: value for dev in devs if (value := _filter(host, dev))}
    named = {dev: value for dev, value in values.items() if value == STRICT} if strict else values
    # It is counted for the whole host, whichever device it was.
    if dropped > 0 and named:
        told = ", ".join(f"{dev} {value}" for dev, value in named.items())
        what = f"rp_filter has dropped {dropped} packets just now; in force are: {told}"
        yield Cause(host.node.name, what, "sysctl -ar 'ipv4.conf.*rp_filter'; nstat -asz TcpExtIPReversePathFilter")


def _filter(host: Host, dev: str) -> int:
    """Return what is in force: the larger of the device's own value and that of `all`."""
    return max(host.more.number(f"net/ipv4/conf/{each}/rp_filter") for each in ("all", dev))


def _inner(trip: Trip) -> list[Packet]:
    """Name the two ends' own packets, there and back, under each address that they may bear."""
    return [
        Packet(source, target, trip.protocol)
        for end, other in trip.both
        for source in _borne(trip, end, other)
        for target in _borne(trip, other, end)
    ]


def _borne(trip: Trip, end: End, other: End) -> list[IPv4Address]:
    """List the addresses as which one end may be known to the other: a pod, where no pod is asked, as its node."""
    if end.pod:
        return [end.address] if other.pod else [end.address, end.node.ip]
    # A node speaks to pods from the address of whichever device leads to them.
    return [end.address, *([end.node.gateway.ip, end.node.vtep] if end.node.name in trip.hosts else [])]


def _carrying(trip: Trip) -> list[Packet]:
    """Name the packets between nodes that carry them, there and back; none if there is no tunnel."""
    carrier = _carrier(trip)
    return [Packet(a.node.ip, b.node.ip, *carrier[1:]) for a, b in trip.both] if carrier else []


def _carrier(trip: Trip) -> tuple[str, int, int | None] | None:
    """Return the tunnel between the two nodes, and its outer packets' protocol and port; None if there is none."""
    if not (trip.crosses and trip.whole) or trip.translated:
        return None
    # It is what leads to pods: to a node itself leads none.
    end, other = trip.both[0] if trip.target.pod else trip.both[1]
    want = trip.hosts[end.node.name].want
    dev = _leads(want, other.address)
    for link in want.links:
        if link.dev == dev:
            return (link.dev, *_outer(link))
    return None


def _outer(link: Link) -> tuple[int, int | None]:
    match link:
        case Vxlan() | Wireguard():
            return UDP, link.port
        case Ipip(fou=int() as port):
            return UDP, port
        case _:
            return IPIP, None


def _lost(trip: Trip) -> Iterator[Cause]:
    """Look at what a tunnel has sent on one node and not received on the other, though no table is wrong."""
    carrier = _carrier(trip)
    if not carrier:
        return
    dev, protocol, port = carrier
    for a, b in trip.both:
        sent, received = (trip.hosts[end.node.name].more.moved.get(dev) for end in (a, b))
        said = f"UDP {port}" if port else f"IP protocol {protocol}"
        asked = f"udp port {port}" if port else f"ip proto {protocol}"
        if sent and received and sent.sent > _to_others(trip, a, b, sent) and received.received == 0:
            yield Cause(
                b.node.name,
                f"{said} leaves {a.node.name} ({dev} sent {sent.sent} packets) and does not arrive at "
                f"{b.node.name} ({dev} received none): a filter between or on {b.node.name}",
                f"tcpdump -ni {b.node.uplink} {asked}",
            )


def _to_others(trip: Trip, a: End, b: End, moved: Moved) -> int:
    """Say how many of the packets that a device has sent may not have been for the other node: all, if none need be.

    A device counts for all peers: what was sent again to others counts, and replies, no more than what came in.
    """
    if not trip.again(a, b):
        return moved.sent
    others = [node for node in trip.cluster.nodes if node not in {a.node, b.node}]
    tries = trip.hosts[a.node.name].more.tried
    most = MOST_PINGS * sum(any(_is_at(node, ping) for node in others) for ping in tries)
    return most + min(most, moved.received)


def _lost_bare(trip: Trip) -> Iterator[Cause]:
    """Look at requests that pods have sent, and of which the others' pods have received none."""
    if not (trip.crosses and trip.whole) or _carrier(trip):
        return
    for a, b in trip.both:
        one, other = (trip.hosts[end.node.name].more.echoes for end in (a, b))
        of = {pod.address: pods.netns(pod, trip.cluster.marks) for pod in b.node.pods}
        ends = [(one.get(ping.netns), other.get(of.get(ping.target, ""))) for ping in trip.again(a, b)]
        if ends and all(sent and received and sent.sent > 0 and received.received == 0 for sent, received in ends):
            yield Cause(
                b.node.name,
                f"pods' packets leave {a.node.name} bare, and do not arrive at {b.node.name}: a filter between or on "
                f"{b.node.name}, or somebody on the underlay who minds addresses that are not the nodes' own",
                f"tcpdump -ni {b.node.uplink} host {b.address}",
            )


def _remembered(trip: Trip) -> Iterator[Cause]:
    """Find what an end remembers of a way that is larger by now."""
    for end, other in trip.ways:
        netns = pods.netns(end.pod, trip.cluster.marks) if end.pod else ""
        space = Space(end.node.name, State(), State(), trip.cluster.marks, netns)
        way = trip.hosts[end.node.name].more.ways.get(f"{netns} {other.address}".strip())
        if trip.size and way and way.mtu and way.mtu < trip.size:
            what = f"it remembers a path MTU of {way.mtu} to {other.address}, for at most ten minutes"
            yield space.cause(what, f"ip route get {other.address}")


def _uncounted(trip: Trip) -> Iterator[Cause]:
    """Name what may refuse packets that come there, and neither counts them nor says only what is understood here."""
    for node in trip.nodes:
        for refusal in trip.hosts[node.name].more.refusals:
            there = trip.ends_at(node.name) or not refusal.local
            expected = refusal.translates and trip.translated
            if refusal.packets is None and there and not expected and refusal.may_take(_inner(trip)):
                does = "translate" if refusal.translates else "refuse"
                what = f"firewall: {refusal.where} may {does} these packets; it does not count them: {refusal.words}"
                yield Cause(node.name, what, refusal.look)


def _unanswered(trip: Trip) -> Iterator[Cause]:
    """Find neighbours that do not answer: mostly what follows from something else, hence asked last."""
    for end, other in trip.ways:
        host = trip.hosts[end.node.name]
        netns = pods.netns(end.pod, trip.cluster.marks) if end.pod else ""
        inside = host.have.pods.get(netns, State())
        space = Space(end.node.name, State(), inside, trip.cluster.marks, netns)
        for item in sorted(inside.neighbours, key=lambda item: item.key):
            if item.mac is None and item.to in {other.address, *(route.via for route in inside.routes)}:
                yield space.cause(
                    f"neighbour {item.to} dev {item.dev}: nobody answers for it", f"ip neigh show dev {item.dev}"
                )
        for (dev, to), (mac, state) in sorted(host.more.neighbours.items()):
            if not mac and to in {other.node.ip, end.address}:
                yield Cause(
                    end.node.name,
                    f"neighbour {to} dev {dev} is {state}: nobody answers for it",
                    f"ip neigh show dev {dev}",
                )


def _beside(trip: Trip) -> Iterator[Cause]:
    """Say what else differs on the two nodes: nothing on the way itself is wrong."""
    for node in trip.nodes:
        host = trip.hosts[node.name]
        for sentence in differences(host.want, host.have, trip.cluster.marks):
            yield Cause(node.name, f"nothing on the way is wrong; beside it: {sentence}", "ip -d address; ip route")


STAGES = {
    True: (_walk,),
    False: (_walk, _lost, _perhaps, _lost_bare, _remembered, _uncounted, _unanswered, _beside),
}
"""What is asked one after the other until something is found, for a pair whose packets pass, or do not."""
