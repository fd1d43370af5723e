"""Why a pair fails: the first table on its way that is wrong is named, with the command to look at it."""

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest

from podnet import boot, modes, pods
from podnet.state import Address, Neighbour, Nic, Route, Rule, State, Sysctl
from podnet.verify.diagnosis.causes import End, Host, Trip, causes, outside
from podnet.verify.diagnosis.evidence import Echoes, Evidence, Moved, Ping, Way
from podnet.verify.diagnosis.refusals import ICMP, PROTOCOLS, Packet, Refusal, of_iptables, of_nft, risen
from tests.core import goldens
from tests.core.examples import cluster

ONE, TWO = "node1", "node2"
Change = Callable[[State], State]


def connected(have: State) -> State:
    """Add the routes that the kernel makes of addresses."""
    networks = [(item.address.network, item.dev) for item in have.addresses if item.address.network.prefixlen < 32]
    return replace(have, routes=have.routes | {Route(to, dev, proto="kernel") for to, dev in networks})


def trip(mode: str, changes: dict[str, Change] | None = None, more: dict[str, Evidence] | None = None) -> Trip:
    """Have the first pods of two nodes fail; the nodes hold what they should, but for `changes`."""
    of = cluster()
    hosts = {}
    for node in of.nodes:
        want = boot.fitted(modes.wanted(goldens.mode(mode), of, node), of, node, State())
        want = replace(want, files=frozenset())
        have = replace(want, sysctls=want.sysctls | {Sysctl("net/ipv6/conf/all/accept_ra", "1")})
        have = connected(replace(have, pods={netns: connected(pod) for netns, pod in have.pods.items()}))
        uplink = Nic(node.uplink, of.underlay_mtu, f"02:00:00:00:00:{node.ip.packed[3]:02x}")
        have = replace(
            have,
            links=have.links | {uplink},
            addresses=have.addresses | {Address(node.uplink, node.address)},
            routes=have.routes | {Route(node.address.network, node.uplink, proto="kernel")},
        )
        change = (changes or {}).get(node.name)
        hosts[node.name] = Host(node, want, change(have) if change else have, (more or {}).get(node.name, Evidence()))
    source, target = of.node(ONE), of.node(TWO)
    return Trip(of, hosts, End(source, source.pods[0]), End(target, target.pods[0]))


def again(to: str, size: int | None = None, protocol: int = ICMP) -> tuple[Ping, ...]:
    """Have the first pod of a node try again to reach that of another one."""
    return (Ping("podnet-pod1", cluster().node(to).pods[0].address, size, protocol),)


def without(kind: str, /, **fields: object) -> Change:
    """Take away the items of a table that have these fields."""

    def change(have: State) -> State:
        kept = frozenset(
            item for item in getattr(have, kind) if any(getattr(item, k, None) != v for k, v in fields.items())
        )
        assert kept != getattr(have, kind)
        changed: dict[str, Any] = {kind: kept}
        return replace(have, **changed)

    return change


def first(of: Trip) -> str:
    """Say the first cause."""
    return str(causes(of)[0])


def adding(table: str, *items: object) -> Change:
    """Put more into a table."""

    def change(have: State) -> State:
        changed: dict[str, Any] = {table: getattr(have, table) | frozenset(items)}
        return replace(have, **changed)

    return change


def with_link(dev: str, **fields: object) -> Change:
    """Change a device."""

    def change(have: State) -> State:
        (link,) = (link for link in have.links if link.dev == dev)
        changed: Any = replace(link, **fields)  # type: ignore[arg-type]  # fields of whichever kind it is
        return replace(have, links=have.links - {link} | {changed})

    return change


def inside(netns: str, change: Change) -> Change:
    """Change what a pod holds."""
    return lambda have: replace(have, pods={**have.pods, netns: change(have.pods[netns])})


VTEP1 = cluster().node(ONE).vtep_mac
OTHERS = IPv4Network("10.244.1.0/24")

CHANGES = {
    "a missing tunnel": (
        "vxlan",
        TWO,
        without("links", dev="flannel.1"),
        "node2: missing link: link add flannel.1",
        "ip -d link show dev flannel.1",
    ),
    "a tunnel that is down": (
        "vxlan",
        TWO,
        with_link("flannel.1", up=False),
        "node2: wrong link: flannel.1: up is off, and should be on",
        "ip -d link show dev flannel.1",
    ),
    "another MAC": (
        "vxlan",
        TWO,
        with_link("flannel.1", mac="02:00:00:00:00:99"),
        "node2: wrong link: flannel.1: mac is 02:00:00:00:00:99",
        "ip -d link show dev flannel.1",
    ),
    "a missing address": (
        "vxlan",
        ONE,
        without("addresses", dev="cni0"),
        "node1: missing address: addr replace 10.244.1.1/24 dev cni0",
        "ip address show dev cni0",
    ),
    "a missing route back": (
        "vxlan",
        TWO,
        without("routes", to=OTHERS),
        "node2: missing route: route replace 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink proto 77",
        "ip route get 10.244.1.2",
    ),
    "a stranger's route": (
        "host_gw",
        ONE,
        adding("routes", Route(IPv4Network("10.244.2.2/32"), None, kind="blackhole", proto="boot")),
        "node1: a stranger's route to 10.244.2.2 comes before 10.244.2.0/24: route replace blackhole 10.244.2.2/32",
        "ip route get 10.244.2.2",
    ),
    "a missing neighbour": (
        "vxlan",
        TWO,
        without("neighbours", to=IPv4Address("10.244.1.0")),
        f"node2: missing neighbour: neigh replace 10.244.1.0 lladdr {VTEP1} dev flannel.1",
        "ip neigh show dev flannel.1",
    ),
    "a missing FDB entry": (
        "vxlan",
        TWO,
        without("fdb", mac=VTEP1),
        f"node2: missing FDB entry: fdb replace {VTEP1} dev flannel.1",
        "bridge fdb show dev flannel.1",
    ),
    "forwarding that is off": (
        "vxlan",
        TWO,
        without("sysctls", path="net/ipv4/conf/cni0/forwarding"),
        "node2: missing sysctl: net/ipv4/conf/cni0/forwarding = 1",
        "sysctl net/ipv4/conf/cni0/forwarding",
    ),
    "a chain of ours that is gone": (
        "vxlan",
        TWO,
        without("chains", table="filter"),
        "node2: missing firewall chain: filter PODNET-FWD",
        "iptables-save",
    ),
    "a pod without a way out": (
        "vxlan",
        ONE,
        inside("podnet-pod1", without("routes", to=IPv4Network("10.244.0.0/16"))),
        "node1: pod podnet-pod1: missing route: route replace 10.244.0.0/16 via 10.244.1.1 dev eth0 proto 77",
        "ip netns exec podnet-pod1 ip route get 10.244.2.2",
    ),
    "an address that somebody else has": (
        "vxlan",
        "node3",
        adding("addresses", Address("dummy0", IPv4Interface("10.244.2.2/32"))),
        "node3: duplicate address: 10.244.2.2/32 on dummy0, which is the pod's node2/podnet-pod1",
        "ip address show dev dummy0",
    ),
    "an address that another pod has": (
        "macvlan",
        "node3",
        inside("podnet-pod1", adding("addresses", Address("eth0", IPv4Interface("10.244.2.2/16")))),
        "node3: pod podnet-pod1: duplicate address: 10.244.2.2/16 on eth0",
        "ip address show dev eth0",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_first_wrong_table_is_named_with_the_command(what: str) -> None:
    """One thing is wrong on one node: it is what is said first, and the command shows it on that host."""
    mode, node, change, cause, look = CHANGES[what]
    said = first(trip(mode, {node: change}))
    assert said.startswith(cause)
    assert said.endswith(f"{look})")
    assert f"(look: ssh {node} " in said


@pytest.mark.parametrize("mode", goldens.MODES)
def test_where_nothing_is_wrong_nothing_is_said(mode: str) -> None:
    """No table is accused for want of another."""
    assert causes(trip(mode)) == []


OUTSIDE = outside("outside", IPv4Address("192.168.56.99"))


def outward(of: Trip) -> Trip:
    """Have the first pod and a host outside fail instead."""
    return replace(of, target=OUTSIDE)


def inward(of: Trip) -> Trip:
    """Have the same two fail the other way round."""
    return replace(of, source=OUTSIDE, target=of.source)


BEYOND: dict[str, tuple[str, Change, str, str]] = {
    "masquerading that is gone": (
        "bridge",
        without("chains", table="nat"),
        "node1: missing firewall chain: nat PODNET-POSTRTG",
        "iptables-save",
    ),
    "forwarding that is off": (
        "vxlan",
        without("sysctls", path="net/ipv4/conf/cni0/forwarding"),
        "node1: missing sysctl: net/ipv4/conf/cni0/forwarding = 1",
        "sysctl net/ipv4/conf/cni0/forwarding",
    ),
    "a pod without a default route": (
        "host_gw",
        inside("podnet-pod1", without("routes", to=IPv4Network("0.0.0.0/0"))),
        "node1: pod podnet-pod1: missing route: route replace 0.0.0.0/0 via 10.244.1.1 dev eth0",
        "ip netns exec podnet-pod1 ip route get 192.168.56.99",
    ),
    "a cable that is gone": (
        "proxy_arp",
        without("links", netns="podnet-pod1"),
        "node1: missing link: link add",
        "ip -d link show dev",
    ),
}


@pytest.mark.parametrize("what", BEYOND)
@pytest.mark.parametrize("way", [outward, inward])
def test_the_first_wrong_table_on_the_way_outside_is_named(way: Callable[[Trip], Trip], what: str) -> None:
    """Of the host outside nothing is known, of the pod's node everything."""
    mode, change, cause, look = BEYOND[what]
    said = first(way(trip(mode, {ONE: change})))
    assert said.startswith(cause)
    assert f"(look: ssh node1 {look}" in said


@pytest.mark.parametrize("mode", goldens.MODES)
@pytest.mark.parametrize("way", [outward, inward])
def test_where_nothing_is_wrong_on_the_way_outside_nothing_is_said(way: Callable[[Trip], Trip], mode: str) -> None:
    """What is wrong with another node's entries does not concern it either."""
    assert causes(way(trip(mode))) == []
    elsewhere = causes(way(trip("vxlan", {TWO: without("links", dev="flannel.1")})))
    assert elsewhere == []


def test_what_the_way_outside_meets_is_named() -> None:
    """A route of the underlay, a neighbour that does not answer, a filter that counts the node's own packets."""
    astray = Evidence(ways={"192.168.56.99": Way("eth1")})
    assert "wrong underlay route: the way to outside, 192.168.56.99, is dev eth1, and should be dev eth0" in first(
        outward(trip("host_gw", more={ONE: astray}))
    )
    silent = Evidence(neighbours={("eth0", IPv4Address("192.168.56.99")): ("", "FAILED")})
    assert "neighbour 192.168.56.99 dev eth0 is FAILED" in first(outward(trip("host_gw", more={ONE: silent})))
    took = Refusal("iptables raw PREROUTING", "-A PREROUTING -d 192.168.56.11/32 -j DROP", "", 7)
    took = replace(took, asks=(("target", False, "192.168.56.11/32"),))
    refused = Evidence(refusals=(took,), risen={took.key: 6})
    assert "iptables raw PREROUTING has refused 6 packets just now" in first(
        outward(trip("vxlan", more={ONE: refused}))
    )


def to_node(of: Trip) -> Trip:
    """Have the first pod and another node fail instead."""
    return replace(of, target=End(of.target.node))


def to_own_node(of: Trip) -> Trip:
    """Have the first pod and its own node fail instead."""
    return replace(of, target=End(of.source.node))


def by_node(of: Trip) -> Trip:
    """Have a node and a pod of another one fail instead."""
    return replace(of, source=End(of.source.node))


def by_own_node(of: Trip) -> Trip:
    """Have a node and its own pod fail instead."""
    return replace(of, source=End(of.target.node))


NODES = [to_node, to_own_node, by_node, by_own_node]


@pytest.mark.parametrize("mode", goldens.MODES)
@pytest.mark.parametrize("way", NODES)
def test_where_nothing_is_wrong_between_a_pod_and_a_node_nothing_is_said(
    way: Callable[[Trip], Trip], mode: str
) -> None:
    """Also what other pods of the node would need."""
    assert causes(way(trip(mode))) == []


@pytest.mark.parametrize("way", NODES)
@pytest.mark.parametrize("chain", ["INPUT -s 10.244.0.0/16", "OUTPUT -d 10.244.0.0/16"])
def test_what_a_node_refuses_of_pods_itself_is_named(way: Callable[[Trip], Trip], chain: str) -> None:
    """It is no pod's packets to pods that the chains INPUT and OUTPUT meet."""
    of = way(trip("vxlan"))
    (end,) = [end for end in (of.source, of.target) if not end.pod]
    before, after = ([*of_iptables([f"[{n}:0] -A {chain} -j DROP"], "iptables")] for n in (1, 7))
    more = {end.node.name: Evidence(refusals=tuple(after), risen=risen(before, after))}
    (said,) = map(str, causes(way(trip("vxlan", more=more))))
    name = chain.partition(" ")[0]
    assert f"{end.node.name}: firewall: iptables  {name} has refused 6 packets just now: -A {chain} -j DROP" in said


@pytest.mark.parametrize("way", NODES)
def test_what_a_node_refuses_of_pods_without_counting_is_named(way: Callable[[Trip], Trip]) -> None:
    """Where the node is an end; nft says which chains are for the host's own packets."""
    (end,) = [end for end in (way(trip("vxlan")).source, way(trip("vxlan")).target) if not end.pod]
    refusal = replace(UNCOUNTED, where="nft inet own input", local=True)
    plain = replace(refusal, asks=(("source", False, "10.244.0.0/16"),), plain=True)
    for each, said in {refusal: "may refuse these packets", plain: "refuses such packets"}.items():
        found = first(way(trip("vxlan", more={end.node.name: Evidence(refusals=(each,))})))
        assert found.startswith(f"{end.node.name}: firewall: nft inet own input {said}")


def test_what_leads_a_node_and_a_pod_astray_is_named() -> None:
    """Tables of the node, and what it remembers of the way, as of a pod's."""
    change = {ONE: without("routes", to=IPv4Network("10.244.2.0/24"))}
    assert first(by_node(trip("vxlan", change))).startswith("node1: missing route: route replace 10.244.2.0/24")
    remembers = Evidence(ways={"10.244.2.2": Way("flannel.1", mtu=1400)})
    said = first(by_node(replace(trip("vxlan", more={ONE: remembers}), size=1450)))
    assert said == (
        "node1: it remembers a path MTU of 1400 to 10.244.2.2, for at most ten minutes "
        "(look: ssh node1 ip route get 10.244.2.2)"
    )


def test_what_does_not_concern_the_pair_is_not_its_cause() -> None:
    """The way from node1 to node2 needs no entry for node3."""
    changes = {ONE: without("routes", to=IPv4Network("10.244.3.0/24"))}
    said = first(trip("vxlan", changes))
    assert said.startswith("node1: nothing on the way is wrong; beside it: missing route: route replace 10.244.3.0/24")


def test_the_order_is_that_of_the_way() -> None:
    """What is missing in a table because a device is missing comes behind the device."""

    def gone(have: State) -> State:
        for table in ("links", "addresses", "neighbours", "fdb", "routes"):
            changed: dict[str, Any] = {
                table: frozenset(i for i in getattr(have, table) if getattr(i, "dev", "") != "flannel.1")
            }
            have = replace(have, **changed)
        return have

    nouns = [cause.what.split(":")[0] for cause in causes(trip("vxlan", {TWO: gone}))]
    assert nouns == ["missing link", "missing address", "missing route", "missing neighbour", "missing FDB entry"]


SENT, NONE = (Moved(sent, received=0, dropped=0) for sent in (6, 0))
LEFT = {
    ONE: Evidence(moved={"flannel.1": SENT}, tried=again(TWO)),
    TWO: Evidence(moved={"flannel.1": NONE}, tried=again(ONE)),
}


def test_what_leaves_and_does_not_arrive_was_lost_in_between() -> None:
    """All tables are right: the tunnel's counters at both ends tell a filter on the underlay."""
    lost = trip("vxlan", more=LEFT)
    said = first(lost)
    assert "UDP 8472 leaves node1 (flannel.1 sent 6 packets) and does not arrive at node2" in said
    assert "a filter between or on node2 (look: ssh node2 tcpdump -ni eth0 udp port 8472)" in said
    # Where pings are lost all is: larger ones, TCP, what other pods of the two nodes send.
    others = [End(end.node, end.node.pods[1]) for end in (lost.source, lost.target)]
    for also in (
        replace(lost, size=1450),
        replace(lost, protocol=6),
        replace(lost, source=others[0], target=others[1]),
    ):
        assert first(also) == said


@pytest.mark.parametrize(
    ("tried", "sent"),
    [
        ((), 6),  # nothing was sent again
        (again("node3"), 6),
        (again(TWO, size=1450), 6),  # what is small may pass
        (again(TWO, protocol=17), 6),  # a ping may
        (again(TWO) + again("node3"), 11),  # all of it may have been for the other one
    ],
)
def test_a_device_that_received_none_of_what_was_not_sent_to_it_tells_nothing(
    tried: tuple[Ping, ...], sent: int
) -> None:
    """Counters are those of a device, for all peers, and of those seconds in which some pairs tried again."""
    more = {ONE: Evidence(moved={"flannel.1": replace(SENT, sent=sent)}, tried=tried), TWO: LEFT[TWO]}
    assert causes(trip("vxlan", more=more)) == []
    echoes = {name: Evidence(echoes={"podnet-pod1": Echoes(6, 0)}, tried=tried[1:]) for name in (ONE, TWO)}
    assert causes(trip("host_gw", more=echoes)) == []


def test_pods_packets_that_are_lost_bare_are_told() -> None:
    """Without a tunnel it is the pods that tell: one has sent requests, and the other has received none."""
    more = {
        ONE: Evidence(echoes={"podnet-pod1": Echoes(sent=6, received=6)}, tried=again(TWO)),
        TWO: Evidence(echoes={"podnet-pod1": Echoes(sent=6, received=0)}, tried=again(ONE)),
    }
    for mode in ("host_gw", "macvlan"):
        said = first(trip(mode, more=more))
        assert said.startswith("node2: pods' packets leave node1 bare, and do not arrive at node2: a filter between")


def test_a_pod_that_is_gone_is_told_before_what_it_took_along() -> None:
    """Its cable goes with it, on whichever end of the way it is."""

    def gone(have: State) -> State:
        return replace(without("links", netns="podnet-pod1")(have), pods={})

    for node in (ONE, TWO):
        assert first(trip("vxlan", {node: gone})).startswith(f"{node}: missing pod: namespace podnet-pod1")


def test_a_rule_that_counted_on_is_named_and_one_that_did_not_is_not() -> None:
    """Also left alone is a rule that took other packets: its conditions say so."""
    took = Refusal("iptables filter INPUT", "-A INPUT -p udp -m udp --dport 8472 -j DROP", "iptables -nvL INPUT", 9)
    took = replace(took, asks=(("protocol", False, "udp"), ("port", False, "8472")))
    idle = Refusal("iptables filter FORWARD", "-A FORWARD -j DROP", "iptables -nvL FORWARD", 5)
    other = Refusal("iptables filter INPUT", "-A INPUT -p tcp -j DROP", "", 7, (("protocol", False, "tcp"),))
    more = Evidence(refusals=(idle, other, took), risen={took.key: 6, idle.key: 0, other.key: 7})
    (said,) = map(str, causes(trip("vxlan", more={TWO: more})))
    assert said.startswith("node2: firewall: iptables filter INPUT has refused 6 packets just now: -A INPUT -p udp")


def test_a_strangers_translation_of_pods_addresses_is_named() -> None:
    """Behind our own chain, too, where no position of ours tells of it; one for others' packets is left alone."""
    rules = "*nat\n[{}:0] -A POSTROUTING -s {} -j MASQUERADE\nCOMMIT"
    for source, found in {"10.244.1.0/24": True, "172.17.0.0/16": False}.items():
        before, after = ([*of_iptables(rules.format(n, source).splitlines(), "iptables")] for n in (1, 2))
        of = trip("vxlan", more={ONE: Evidence(refusals=tuple(after), risen=risen(before, after))})
        said = f"iptables nat POSTROUTING has translated 1 packets just now: -A POSTROUTING -s {source} -j MASQUERADE"
        assert (said in "".join(map(str, causes(of)))) is found
        # A pod's way outside is translated in any case, and only a stranger's way in is not.
        assert causes(outward(of)) == []
        assert (said in "".join(map(str, causes(inward(of))))) is found


@pytest.mark.parametrize("verdict", ["snat", "masquerade", "dnat", "redirect"])
def test_a_translation_by_nft_is_named(verdict: str) -> None:
    """With a counter by what it has counted, without one if it is for such packets, and else as what may be."""
    to = {"prefix": {"addr": "10.244.2.0", "len": 24}}
    asks = [asking("ip", "saddr", "10.244.1.2"), asking("ip", "daddr", to)]
    plain = of_rule(*asks, verdict=verdict)
    counted = replace(plain, packets=1)
    for refusal, risen_by, told in [
        (counted, 1, "has translated 1 packets just now"),
        (counted, 0, ""),
        (plain, 0, "translates such packets, and does not count them"),
        (replace(plain, plain=False), 0, "may translate these packets; it does not count them"),
    ]:
        of = trip("vxlan", more={ONE: Evidence(refusals=(refusal,), risen={refusal.key: risen_by})})
        said = "".join(map(str, causes(of)))
        assert bool(said) is bool(told)
        assert told in said
        assert causes(outward(of)) == []
    elsewhere = of_rule(asking("ip", "saddr", "172.17.0.2"), verdict=verdict)
    assert causes(trip("vxlan", more={ONE: Evidence(refusals=(elsewhere,))})) == []


UNCOUNTED = Refusal("nft inet own forward", "rule handle 4: drop", "nft -a list chain inet own forward", None)


def test_a_rule_that_does_not_count_is_named_if_it_is_for_such_packets() -> None:
    """One that asks for what is not understood comes last, and one for the host's own packets not at all."""
    to_pods = (("target", False, "10.244.0.0/16"),)
    for refusal, word in [
        (replace(UNCOUNTED, asks=to_pods, plain=True), "node2: firewall: nft inet own forward refuses such packets"),
        (replace(UNCOUNTED, asks=to_pods, plain=True, local=True), "node2: UDP 8472 leaves node1"),
        (replace(UNCOUNTED, asks=(("port", False, "8472"),), plain=True, local=True), "node2: firewall: nft inet own"),
        (replace(UNCOUNTED, asks=(("port", False, "53"),), plain=True), "node2: UDP 8472 leaves node1"),
        (UNCOUNTED, "node2: UDP 8472 leaves node1"),
    ]:
        more = {ONE: LEFT[ONE], TWO: replace(LEFT[TWO], refusals=(refusal,))}
        assert first(trip("vxlan", more=more)).startswith(word), refusal
    said = first(trip("vxlan", more={TWO: Evidence(refusals=(UNCOUNTED, replace(UNCOUNTED, local=True)))}))
    assert said.startswith("node2: firewall: nft inet own forward may refuse these packets; it does not count them: ")
    assert causes(trip("vxlan", more={TWO: Evidence(refusals=(replace(UNCOUNTED, local=True),))})) == []


def test_where_pings_pass_only_tables_are_named() -> None:
    """Whatever may refuse such packets, or has counted some, has let these pass."""
    to_pods = (("target", False, "10.244.0.0/16"),)
    took = Refusal("iptables filter INPUT", "-A INPUT -j DROP", "", 9)
    refusals = (UNCOUNTED, replace(UNCOUNTED, asks=to_pods, plain=True), took)
    found = Evidence(refusals=refusals, risen={took.key: 6}, counted={"TcpExtIPReversePathFilter": 3})
    of = trip("vxlan", more={TWO: found})
    assert len(causes(of)) > 1
    assert causes(replace(of, passes=True)) == []
    without_ours = {TWO: without("chains", table="filter")}
    assert first(replace(trip("vxlan", without_ours), passes=True)).startswith("node2: missing firewall chain: filter")
    elsewhere = {ONE: without("routes", to=IPv4Network("10.244.3.0/24"))}
    assert causes(replace(trip("vxlan", elsewhere), passes=True)) == []


def test_what_refuses_tcp_is_no_cause_for_a_ping_that_fails() -> None:
    """And the other way round."""
    tcp = Refusal("iptables raw PREROUTING", "-A PREROUTING -p tcp -j DROP", "", 7, (("protocol", False, "tcp"),))
    of = trip("vxlan", more={TWO: Evidence(refusals=(tcp,), risen={tcp.key: 7})})
    assert causes(of) == []
    (said,) = map(str, causes(replace(of, protocol=PROTOCOLS["tcp"])))
    assert "iptables raw PREROUTING has refused 7 packets just now" in said


def test_a_rule_for_ports_that_counted_on_is_named_though_the_port_that_failed_is_not_known() -> None:
    """For what has ports; one that does not count only as what may be."""
    udp = PROTOCOLS["udp"]
    words = "-A PREROUTING -d 10.244.0.0/16 -p udp -m multiport --dports {}20000:65535 -j DROP"
    for negation in ("", "! "):
        said = words.replace("--dports {}", negation + "--dports ")
        before, after = ([*of_iptables([f"[{n}:0] {said}"], "iptables")] for n in (0, 3))
        of = trip("vxlan", more={TWO: Evidence(refusals=tuple(after), risen=risen(before, after))})
        assert causes(of) == []
        assert causes(replace(of, protocol=PROTOCOLS["tcp"])) == []
        assert "iptables  PREROUTING has refused 3 packets just now" in first(replace(of, protocol=udp))
    refusal = of_rule(asking("udp", "dport", 40000))
    said = first(replace(trip("vxlan", more={TWO: Evidence(refusals=(refusal,))}), protocol=udp))
    assert "nft inet own forward may refuse these packets" in said


AWAY = Route(IPv4Network("0.0.0.0/0"), "eth1", IPv4Address("192.0.2.1"), table="77")


@pytest.mark.parametrize(
    ("rule", "table"),
    [
        (Rule(99, "77", source=IPv4Network("10.244.2.0/24")), AWAY),
        (Rule(99, "77"), replace(AWAY, kind="blackhole", dev=None, via=None)),
        (Rule(99, "", target=IPv4Network("10.244.1.0/24"), options=("action prohibit",)), AWAY),
        (Rule(99, "", target=IPv4Network("10.244.1.0/24"), iif="cni0", options=("action unreachable",)), AWAY),
        (Rule(99, "77", source=IPv4Network("10.244.1.0/24"), iif="flannel.1"), AWAY),
    ],
)
def test_a_strange_rule_of_policy_routing_is_named(rule: Rule, table: Route) -> None:
    """It is asked before any table of routes."""
    more = Evidence(rules=frozenset({rule}), routes=frozenset({table}))
    (said,) = map(str, causes(trip("vxlan", more={TWO: more})))
    assert said.startswith("node2: somebody's rule of policy routing comes before the routes: rule add ")
    assert f"priority {rule.priority}" in said
    assert said.endswith(f"(look: ssh node2 ip rule show; ip route show table {rule.table or 'all'})")


def test_rules_that_lead_no_packet_away_are_no_cause() -> None:
    """Tailscale, Cilium and the like have some on healthy hosts."""
    ours, elsewhere = IPv4Network("10.244.0.0/16"), IPv4Network("10.9.0.0/16")
    same = Route(IPv4Network("10.244.1.0/24"), "flannel.1", IPv4Address("10.244.1.0"), onlink=True, table="80")
    rules = [
        Rule(5270, "52"),
        Rule(100, "local"),
        Rule(2500, "main", target=ours),
        Rule(98, "77", source=elsewhere),
        Rule(97, "77", iif="docker0"),
        Rule(96, "80", target=same.to),
        Rule(3000, "77"),  # behind one that has found a way
    ]
    more = Evidence(rules=frozenset(rules), routes=frozenset({AWAY, same}))
    assert causes(trip("vxlan", more={TWO: more})) == []


@pytest.mark.parametrize("rule", [Rule(60, "77", fwmark="0x7"), Rule(60, "77", options=("ipproto icmp",))])
def test_a_rule_that_may_lead_packets_away_is_named_before_a_loose_rp_filter(rule: Rule) -> None:
    """It asks for what is not known of the packets; a filter that is not strict hardly ever drops any."""
    loose = frozenset({Sysctl("net/ipv4/conf/cni0/rp_filter", "2")})
    more = Evidence(settings=loose, counted={"TcpExtIPReversePathFilter": 3}, routes=frozenset({AWAY}))
    assert "rp_filter has dropped 3 packets" in first(trip("vxlan", more={TWO: more}))
    found = [*map(str, causes(trip("vxlan", more={TWO: replace(more, rules=frozenset({rule}))})))]
    assert found[0].startswith("node2: somebody's rule of policy routing may come before the routes: rule add ")
    assert "rp_filter" in found[-1]
    assert "rp_filter" in first(trip("vxlan", more={TWO: replace(more, rules=frozenset({replace(rule, iif="eth9")}))}))


def test_a_rule_of_policy_routing_for_what_a_node_sends_itself_is_named() -> None:
    """It speaks to pods from the address of the device that leads to them."""
    rule = Rule(60, "", target=IPv4Network("10.244.1.0/32"), options=("action prohibit",))
    of = by_node(trip("vxlan", more={TWO: Evidence(rules=frozenset({rule}))}))
    assert first(of).startswith("node2: somebody's rule of policy routing comes before the routes")


def test_a_wrong_underlay_is_named() -> None:
    """Where the kernel sends what is for the peer's own address, and whom it takes for the peer."""
    peer = cluster().node(TWO).ip
    lost = Evidence(ways={str(peer): Way(refused="RTNETLINK answers: Invalid argument")})
    assert "wrong underlay route: the way to node2, 192.168.56.12, is RTNETLINK" in first(
        trip("vxlan", more={ONE: lost})
    )
    mistaken = Evidence(neighbours={("eth0", peer): ("02:00:00:00:00:99", "PERMANENT")})
    assert (
        "wrong neighbour: 192.168.56.12 dev eth0: mac is 02:00:00:00:00:99, and should be 02:00:00:00:00:0c"
        in first(trip("vxlan", more={ONE: mistaken}))
    )


def test_what_a_pf_does_to_a_pods_vf_is_named() -> None:
    """A VLAN of its own cuts a VF off, and so does a PF that is down; what is another pod's is no cause."""
    first_vf = min(trip("sriov").hosts[ONE].want.vfs, key=lambda vf: vf.key)

    def told(*, vlan: int, up: bool) -> list[str]:
        def change(have: State) -> State:
            vfs = {replace(vf, pf="eth1", vlan=vlan if vf.nic == first_vf.nic else 5) for vf in have.vfs}
            return replace(have, vfs=frozenset(vfs), links=have.links | {Nic("eth1", 1500, "02:00:00:00:01:01", up=up)})

        return [*map(str, causes(trip("sriov", {ONE: change})))]

    (vlan,) = told(vlan=7, up=True)
    assert vlan.startswith(f"node1: wrong VF: {first_vf.nic}, which is")
    assert "vlan is 7, and should be 0" in vlan
    down = (
        f"node1: eth1, of which the pod's NIC {first_vf.nic} is a VF, is down (look: ssh node1 ip link show dev eth1)"
    )
    assert told(vlan=0, up=False) == [down]


def test_a_pod_under_another_mac_is_named_and_not_what_knows_it_by_the_right_one() -> None:
    """The wanted MAC is the right one: whoever has it in a table is not advised another."""
    other = replace(cluster().node(ONE).pods[1])
    right, wrong = (pods.mac(pod.address) for pod in (other, cluster().node(ONE).pods[0]))

    def moved(have: State) -> State:
        return adding("neighbours", Neighbour("cni0", other.address, right))(
            inside("podnet-pod2", with_link("eth0", mac=wrong))(have)
        )

    for source in (ONE, TWO):
        start = cluster().node(source)
        of = trip("vxlan", {ONE: moved})
        of = replace(of, source=End(start, start.pods[0]), target=End(cluster().node(ONE), other))
        (said,) = map(str, causes(of))
        assert said.startswith(f"node1: pod podnet-pod2: wrong link: eth0: mac is {wrong}, and should be {right}")


def test_what_was_learnt_is_named_behind_the_port_that_had_others_answer() -> None:
    """A port's own device answers for the gateway where no bridge does; what somebody has put there comes first."""
    gateway = cluster().node(ONE).gateway.ip
    unplugged = without("ports", bridge="cni0")

    def known(permanent: bool) -> Change:  # noqa: FBT001  # one of two
        item = Neighbour("eth0", gateway, "5a:00:00:00:00:01", permanent=permanent)
        return inside("podnet-pod1", adding("neighbours", item))

    learnt = causes(trip("vxlan", {ONE: lambda have: known(permanent=False)(unplugged(have))}))
    assert "missing bridge port" in str(learnt[0])
    assert "wrong neighbour: 10.244.1.1 dev eth0: mac is 5a:00:00:00:00:01" in str(learnt[-1])
    assert "wrong neighbour" in first(trip("vxlan", {ONE: lambda have: known(permanent=True)(unplugged(have))}))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, ""),
        ({"eth1": "1"}, ""),
        ({"flannel.1": "1", "cni0": "2"}, "in force are: flannel.1 1"),
        ({"eth0": "2"}, "eth0 2"),
        ({"all": "1"}, "flannel.1 1"),
    ],
)
def test_rp_filter_is_named_where_it_is_in_force_on_the_way(settings: dict[str, str], named: str) -> None:
    """What it has dropped is counted for the whole host: it may have been on any other device."""
    found = frozenset(Sysctl(f"net/ipv4/conf/{dev}/rp_filter", value) for dev, value in settings.items())
    more = Evidence(settings=found, counted={"TcpExtIPReversePathFilter": 3})
    said = "".join(map(str, causes(trip("vxlan", more={TWO: more}))))
    assert ("node2: rp_filter has dropped 3 packets just now" in said) is bool(named)
    assert named in said


def test_mtu_is_a_cause_only_where_size_matters() -> None:
    """A small packet does not mind; a large one is told of the device that is too small, or of the uplink."""
    small = trip("vxlan", {TWO: with_link("flannel.1", mtu=1400)})
    assert "beside it: wrong link: flannel.1: mtu is 1400" in first(small)
    assert first(replace(small, size=1450)).startswith("node2: wrong link: flannel.1: mtu is 1400, and should be 1450")
    uplink = replace(trip("vxlan", {TWO: with_link("eth0", mtu=1400)}), size=1450)
    assert first(uplink).startswith("node2: wrong MTU: that of the uplink eth0 is 1400, and `underlay_mtu` 1500")


SAVED = """\
*filter
:INPUT ACCEPT [3:252]
:FORWARD DROP [7:588]
:PODNET-FWD - [0:0]
[4:336] -A INPUT ! -s 10.0.0.0/8 -p udp -m udp --dport 8000:9000 -j REJECT --reject-with icmp-port-unreachable
[2:168] -A PODNET-FWD -s 10.244.0.0/16 -o cni.+ -j DROP
COMMIT
"""


def test_iptables_refusals_are_read() -> None:
    """Policies and rules that drop or reject, with their counters; not what our own chains keep apart."""
    policy, rule = of_iptables(SAVED.splitlines(), "iptables")
    assert (policy.where, policy.words, policy.packets) == ("iptables filter FORWARD", "policy DROP", 7)
    assert (rule.where, rule.packets) == ("iptables filter INPUT", 4)
    of = Packet(IPv4Address("192.168.56.11"), IPv4Address("192.168.56.12"), 17, 8472)
    assert rule.may_take([of])
    assert not rule.may_take([replace(of, port=53)])
    assert not rule.may_take([replace(of, source=IPv4Address("10.1.1.1"))])
    assert not rule.may_take([replace(of, protocol=1, port=None)])
    assert risen([rule], [replace(rule, packets=9)]) == {rule.key: 5}


RULESET = """{"nftables": [{"metainfo": {"version": "1.0.6"}},
{"table": {"family": "inet", "name": "own", "handle": 1}},
{"chain": {"family": "inet", "table": "own", "name": "in", "handle": 1, "type": "filter", "hook": "input", "prio": 0,
 "policy": "drop"}},
{"rule": {"family": "inet", "table": "own", "chain": "in", "handle": 4, "expr": [
 {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 8472}},
 {"counter": {"packets": 5, "bytes": 500}}, {"drop": null}]}},
{"rule": {"family": "ip", "table": "filter", "chain": "INPUT", "handle": 9, "expr": [{"drop": null}]}}
]}"""


def test_nft_refusals_are_read() -> None:
    """A rule that does not count says so; what iptables keeps in nft is read from iptables."""
    policy, rule = of_nft(RULESET, beside_iptables=True)
    assert (policy.where, policy.words, policy.packets) == ("nft inet own in", "policy drop", None)
    assert (rule.words, rule.packets, rule.asks) == ("rule handle 4: drop", 5, (("port", False, "8472"),))
    assert (policy.plain, policy.local, rule.plain, rule.local) == (False, True, True, True)
    assert len([*of_nft(RULESET, beside_iptables=False)]) == 3
    _, vague = of_nft(RULESET.replace('"udp", "field": "dport"', '"udp", "field": "sport"'), beside_iptables=True)
    assert not vague.plain


def of_rule(*expr: dict[str, Any], family: str = "inet", verdict: str = "drop") -> Refusal:
    """Read one rule of nft's as `nft -j` prints it."""
    chain = {"family": family, "table": "own", "chain": "forward"}
    said = {"nftables": [{"rule": {**chain, "handle": 4, "expr": [*expr, {verdict: None}]}}]}
    (refusal,) = of_nft(json.dumps(said), beside_iptables=False)
    return refusal


def asking(protocol: str, name: str, right: object, op: str = "==") -> dict[str, Any]:
    """Spell one condition as `nft -j` does."""
    return {"match": {"op": op, "left": {"payload": {"protocol": protocol, "field": name}}, "right": right}}


@pytest.mark.parametrize(
    "condition",
    [
        asking("ip", "saddr", "@blocklist"),
        asking("ip", "saddr", "@blocklist", "!="),
        asking("udp", "dport", "@ports"),
        asking("udp", "dport", 1024, "<"),
        {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "@protocols"}},
    ],
)
def test_what_a_rule_asks_of_a_set_is_not_known(condition: dict[str, Any]) -> None:
    """It may take any packet: whether it does its counter tells, and without one it is named last."""
    refusal = of_rule(condition)
    assert (refusal.asks, refusal.plain) == ((), False)
    both = of_rule(condition, asking("ip", "daddr", {"prefix": {"addr": "10.244.2.0", "len": 24}}))
    assert (both.asks, both.plain) == ((("target", False, "10.244.2.0/24"),), False)
    (said,) = map(str, causes(trip("vxlan", more={TWO: Evidence(refusals=(refusal,))})))
    assert "nft inet own forward may refuse these packets; it does not count them: rule handle 4: drop" in said
    counted = replace(refusal, packets=6)
    more = {TWO: Evidence(refusals=(counted,), risen={counted.key: 6})}
    assert "nft inet own forward has refused 6 packets just now" in first(trip("vxlan", more=more))


def test_what_is_for_ipv6_alone_refuses_no_pods_packet() -> None:
    """Docker's ip6tables leave a policy that drops, on any host where it runs."""
    chain = {"table": "filter", "name": "FORWARD", "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}
    for family, count in {"ip6": 0, "ip": 1, "inet": 1, "bridge": 1}.items():
        said = json.dumps({"nftables": [{"chain": {"family": family, **chain}}]})
        assert len([*of_nft(said, beside_iptables=False)]) == count
