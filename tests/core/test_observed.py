"""What is said of clusters that somebody else set up: of tables alone, no host is needed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any, TypeAlias

import pytest

from podnet.cluster import Cluster, Node
from podnet.facts import rules as facts_of_rules
from podnet.keys import resolve
from podnet.marks import FIRST
from podnet.modes import wanted
from podnet.state import (
    Address,
    Ipip,
    Item,
    Link,
    Neighbour,
    Nic,
    Route,
    Rule,
    State,
    Sysctl,
    Vxlan,
    Wireguard,
)
from podnet.verify import entering
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.numbers import NUMBERS
from podnet.verify.strangers import filtering, observing
from podnet.verify.strangers.filtering import ACCEPT, DROP, MASQUERADE, Packet
from podnet.verify.strangers.observed import differences, findings, fitted, told
from podnet.verify.strangers.scene import Finding, Inside, Scene, Seen, Tunnel
from tests.core import goldens
from tests.core.examples import cluster

HEAD = ["# by iptables nf_tables"]
OPEN = """*filter
:FORWARD ACCEPT [0:0]
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE
COMMIT
"""
KEYS = {f"node{i}": f"{'k' * 42}{i}=" for i in (1, 2, 3)}
UPLINK = Nic("eth0", 1500, "02:00:00:00:00:01")


def connected(state: State) -> State:
    """Add the routes that the kernel makes for addresses."""
    routes = {
        Route(item.address.network, item.dev, proto="kernel")
        for item in state.addresses
        if item.address.network.prefixlen < 32 and item.dev != "lo"
    }
    return replace(state, routes=state.routes | routes)


def scene(mode: str, change: Callable[[str, State], State] = lambda _, have: have, **group: Any) -> Scene:
    """Return hosts that hold exactly what a mode computes, each changed."""
    of = cluster(**group)
    wants = {node.name: wanted(goldens.mode(mode), of, node) for node in of.nodes}
    return Scene(of, NUMBERS[mode], wants, {name: _seen(of, name, want, change) for name, want in wants.items()})


def _seen(of: Cluster, name: str, want: State, change: Callable[[str, State], State]) -> Seen:
    have = resolve(want, KEYS, want)
    have = replace(
        have, links=have.links | {UPLINK}, addresses=have.addresses | {Address("eth0", of.node(name).address)}
    )
    pods = {
        item.address.ip: Inside(f"/run/netns/{netns}", connected(pod))
        for netns, pod in want.pods.items()
        for item in pod.addresses
        if item.dev == "eth0"
    }
    return Seen(change(name, connected(have)), filtering.read(HEAD + OPEN.splitlines()), pods)


def faults(of: Scene) -> list[Finding]:
    """Collect what tests would fail for."""
    return [finding for node in of.cluster.nodes for finding in findings(of, node) if finding.fault]


def on(name: str, table: str, edit: Callable[[Item], Item | None]) -> Callable[[str, State], State]:
    """Change, or take away, items of a table on one node."""

    def change(node: str, have: State) -> State:
        items = (edit(item) if node == name else item for item in getattr(have, table))
        changed: dict[str, Any] = {table: frozenset(item for item in items if item is not None)}
        return replace(have, **changed)

    return change


@pytest.mark.parametrize("mode", goldens.MODES)
def test_a_cluster_as_the_mode_computes_it_is_not_otherwise(mode: str) -> None:
    """What podnet would make, taken for somebody else's, gives no finding in any mode."""
    seen = scene(mode)
    assert [str(finding) for node in seen.cluster.nodes for finding in findings(seen, node)] == []
    assert told(seen) == ["nothing"]
    assert fitted(seen) == replace(NUMBERS[mode], refuses=False)


def losses() -> Iterable[tuple[str, str, Item]]:
    """Go through all that a node holds in each mode and that carries packets to other nodes or to its own pods."""
    for mode in goldens.MODES:
        have = scene(mode).seen["node1"].have
        for table in ("links", "addresses", "neighbours", "fdb", "fous", "peers", "routes", "sysctls"):
            for item in sorted(getattr(have, table), key=repr):
                if needed(mode, item):
                    yield mode, table, item


def needed(mode: str, item: Item) -> bool:
    """Tell what is needed of what is only usual."""
    match item:
        case Route(kind="blackhole") | Route(to=IPv4Network(prefixlen=32), dev="eth0"):
            return False  # the first keeps strays away; the second answers where a default route would as well
        case Route(to=to):
            return to.overlaps(IPv4Network("10.244.0.0/16"))
        case Sysctl(path=path):
            return path.endswith(("/ip_forward", "/forwarding", "/proxy_arp"))
        case Neighbour(to=to):
            return not str(to).startswith("10.244.1.")
        case Address(dev=dev):
            return dev == "eth0" or (dev == "cni0" and bool(NUMBERS[mode].across))
        case Link():
            used = {route.dev for route in goldens.mode(mode).state(cluster(), cluster().node("node1")).routes}
            return item == UPLINK or (isinstance(item, Tunnel) and item.dev in used)
        case _:
            return True


@pytest.mark.parametrize(
    ("mode", "table", "item"), [pytest.param(*loss, id=f"{loss[0]}-{i}") for i, loss in enumerate(losses())]
)
def test_whatever_is_missing_is_a_fault(mode: str, table: str, item: Item) -> None:
    """Take away any one thing that packets need on a node: that node's tables, and the thing, are named."""
    found = faults(scene(mode, on("node1", table, lambda other: None if other == item else other)))
    assert found
    assert any(finding.node == "node1" for finding in found)
    assert all(finding.look for finding in found)


Strange: TypeAlias = tuple[str, type[Link], dict[str, Any], str]

STRANGE: dict[str, Strange] = {
    "another vni": ("vxlan", Vxlan, {"vni": 7}, "flannel.1 has VNI 7; expected VNI 1"),
    "another port": ("vxlan", Vxlan, {"port": 4789}, "flannel.1 has port 4789; expected port 8472"),
    "another local": ("vxlan", Vxlan, {"local": IPv4Address("192.0.2.1")}, "flannel.1 has local 192.0.2.1; expected"),
    "too large": ("vxlan", Vxlan, {"mtu": 1500}, "has MTU 1500; wrapped in 50 bytes no more than 1450 fit"),
    "down": ("vxlan", Vxlan, {"up": False}, "flannel.1 is down"),
    "an ipip tunnel from elsewhere": ("ipip", Ipip, {"local": IPv4Address("192.0.2.1")}, "has local 192.0.2.1"),
    "an ipip tunnel to one": ("ipip", Ipip, {"remote": IPv4Address("192.0.2.1")}, "expected no remote"),
    "another udp port": ("udp", Ipip, {"fou": 1}, "has FOU 1; expected FOU 8285"),
    "another key": ("wireguard", Wireguard, {"public": "other"}, "the key of node2's flannel-wg is other"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_tunnel_that_cannot_carry_is_a_fault(name: str) -> None:
    """What both ends must agree upon, and what fits the underlay."""
    mode, kind, changed, said = STRANGE[name]
    edit = on("node2", "links", lambda link: replace(link, **changed) if isinstance(link, kind) else link)
    assert any(said in str(finding) for finding in faults(scene(mode, edit)))


USUAL: dict[str, Strange] = {
    "tunl0": ("ipip", Ipip, {"local": None, "dev": "tunl0"}, "tunl0 has no local; expected local 192.168.56.11"),
    "learning": ("vxlan", Vxlan, {"learning": True}, "flannel.1 has learning True; expected learning False"),
    "smaller": ("vxlan", Vxlan, {"mtu": 1410}, "flannel.1 has MTU 1410; podnet would give it 1450"),
    "DF": ("ipip", Ipip, {"pmtudisc": True}, "flannel.ipip has pmtudisc True; expected pmtudisc False"),
}


@pytest.mark.parametrize("name", USUAL)
def test_a_tunnel_that_somebody_makes_otherwise_is_told(name: str) -> None:
    """Calico's tunl0 has no address of its own; MTUs may be smaller than they need be, the same everywhere."""
    mode, kind, changed, said = USUAL[name]

    def edit(_: str, have: State) -> State:
        links = {replace(link, **changed) if isinstance(link, kind) else link for link in have.links}
        (old,) = (link for link in have.links if isinstance(link, kind))
        (new,) = (link for link in links if isinstance(link, kind))
        routes = {replace(route, dev=new.dev) if route.dev == old.dev else route for route in have.routes}
        settings = {Sysctl(item.path.replace(old.dev, new.dev), item.value) for item in have.sysctls}
        return replace(have, links=frozenset(links), routes=frozenset(routes), sysctls=frozenset(settings))

    of = scene(mode, edit)
    smaller = changed.get("mtu")
    if smaller:
        of = replace(of, seen={name: _smaller(seen, int(str(smaller))) for name, seen in of.seen.items()})
    assert faults(of) == []
    assert any(said in line for line in told(of))
    assert fitted(of).less == (1500 - int(str(smaller)) if smaller else NUMBERS[mode].less)


def _smaller(seen: Seen, mtu: int) -> Seen:
    """Give pods a smaller MTU."""

    def shrink(inside: Inside) -> Inside:
        links = {replace(link, mtu=mtu) if link.dev == "eth0" else link for link in inside.holds.links}
        return replace(inside, holds=replace(inside.holds, links=frozenset(links)))

    return replace(seen, pods={address: shrink(inside) for address, inside in seen.pods.items()})


def test_one_pod_with_a_smaller_mtu_is_a_fault() -> None:
    """The one that is smaller is named, with what the others have."""
    of = scene("vxlan")
    of = replace(of, seen={**of.seen, "node3": _smaller(of.seen["node3"], 1400)})
    assert [finding.node for finding in faults(of)] == ["node3", "node3"]
    assert "pod1 (10.244.3.2) has MTU 1400, and other pods 1450" in str(faults(of)[0])


def test_a_further_block_of_a_peer_is_no_stale_peer() -> None:
    """Calico gives a node as many blocks as it needs; one that leads to nobody is a fault."""

    def with_route(via: str) -> Scene:
        route = Route(IPv4Network("10.244.9.0/26"), "flannel.1", IPv4Address(via), onlink=True)
        return scene("vxlan", lambda _, have: replace(have, routes=have.routes | {route}))

    assert [str(finding) for finding in faults(with_route("10.244.2.0")) if finding.node != "node2"] == []
    assert (
        "node1, node3: route: 10.244.9.0/26 leads to node2 too, beside 10.244.2.0/24"
        in told(with_route("10.244.2.0"))[0]
    )
    assert "leads to no node of the inventory: a stale peer" in str(faults(with_route("10.244.9.0"))[0])


def test_the_more_exact_route_decides() -> None:
    """One pod of a peer's led elsewhere is found, though the subnet's own route is right."""
    stray = Route(IPv4Network("10.244.2.3/32"), "eth0", IPv4Address("192.168.56.13"), proto="static")
    of = scene("vxlan", lambda name, have: replace(have, routes=have.routes | ({stray} if name == "node1" else set())))
    assert [finding.says for finding in faults(of)] == ["10.244.2.3/32 of node2 leads by eth0; expected by flannel.1"]
    assert [finding.look for finding in faults(of)] == ["ip -d route show 10.244.2.3/32"]


def test_a_route_to_another_peers_vtep_is_the_fault_itself() -> None:
    """That peer's neighbour and FDB entries are right, and nothing is said of them."""
    stray = Route(IPv4Network("10.244.2.2/32"), "flannel.1", IPv4Address("10.244.3.0"), onlink=True)
    of = scene("vxlan", lambda name, have: replace(have, routes=have.routes | ({stray} if name == "node1" else set())))
    assert [str(finding) for finding in faults(of)] == [
        (
            "node1: route: 10.244.2.2/32 of node2 has the next hop 10.244.3.0, which is node3's; expected one of "
            "node2's; look: ip -d route show 10.244.2.2/32"
        )
    ]


def test_a_node_that_did_not_answer_is_believed() -> None:
    """Its device's MAC and key are not known: entries for it are asked only to be there."""
    of = scene("vxlan")
    of = replace(of, seen={name: seen for name, seen in of.seen.items() if name != "node3"})
    assert [finding for name in of.seen for finding in findings(of, of.cluster.node(name))] == []


def test_pods_on_cables_have_a_ttl_of_their_own() -> None:
    """Calico's pods with a tunnel: the mode's numbers between nodes, one router between pods of one node."""
    by_cable = scene("proxy_arp").seen
    of = scene("vxlan")

    def mixed(name: str) -> Seen:
        cables = by_cable[name].have
        have = of.seen[name].have
        bridged = {"cni0"}
        routes = {route for route in have.routes if route.dev not in bridged} | {
            route for route in cables.routes if route.dev is None or str(route.dev).startswith("cali")
        }
        links = {link for link in have.links if link.dev not in bridged} | cables.links
        whole = replace(have, routes=frozenset(routes), links=frozenset(links), sysctls=have.sysctls | cables.sysctls)
        return replace(by_cable[name], have=whole)

    of = replace(of, seen={name: mixed(name) for name in of.seen})
    assert (fitted(of).same_node, fitted(of).across) == (63, 62)
    assert any("pods hang on cables of their own" in str(finding) for finding in differences(of))


PACKET = Packet(IPv4Address("10.244.1.2"), IPv4Address("10.244.2.2"), "cni0", "flannel.1")
FILTER = "*filter\n:FORWARD {policy} [0:0]\n:MINE - [0:0]\n{rules}\nCOMMIT\n"


def acts(printed: str) -> set[str]:
    """Ask what may become of a packet that is forwarded."""
    return {
        outcome.act
        for base in filtering.read([*HEAD, *printed.splitlines()]).at("forward")
        for outcome in base.outcomes(PACKET)
    }


@pytest.mark.parametrize(
    ("policy", "rules", "expected"),
    [
        ("ACCEPT", "", {ACCEPT}),
        ("DROP", "", {DROP}),
        ("DROP", "-A FORWARD -s 10.244.0.0/16 -j ACCEPT", {ACCEPT}),
        ("DROP", "-A FORWARD ! -s 10.244.0.0/16 -j ACCEPT", {DROP}),
        ("DROP", "-A FORWARD -i cni+ -o flannel.1 -j ACCEPT", {ACCEPT}),
        ("DROP", "-A FORWARD -i eth0 -j ACCEPT", {DROP}),
        ("ACCEPT", '-A FORWARD -m comment --comment "a b" -j MINE\n-A MINE -d 10.244.2.0/24 -j REJECT', {DROP}),
        ("ACCEPT", "-A FORWARD -j MINE\n-A MINE -d 10.244.2.0/24 -j RETURN\n-A MINE -j DROP", {ACCEPT}),
        ("ACCEPT", "-A FORWARD -m conntrack --ctstate INVALID -j DROP", {ACCEPT}),
        ("DROP", "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", {DROP}),
        ("DROP", "-A FORWARD -m mark --mark 0x1/0x1 -j ACCEPT", {ACCEPT, DROP}),
        ("ACCEPT", "-A FORWARD -m set --match-set bad src -j MINE\n-A MINE -j DROP", {ACCEPT, DROP}),
        ("DROP", "-A FORWARD -j MARK --set-xmark 0x0/0x1\n-A FORWARD -j ACCEPT", {ACCEPT}),
    ],
)
def test_rules_of_iptables_are_followed(policy: str, rules: str, expected: set[str]) -> None:
    """First match decides, chains return, a condition that cannot be known may hold or not."""
    assert acts(FILTER.format(policy=policy, rules=rules)) == expected


def test_rules_of_nft_are_followed_and_a_drop_is_final() -> None:
    """Tables that iptables wrote are read once, as iptables tells them; any other table's drop is final."""
    chain = '{"chain":{"family":"%s","table":"%s","name":"f","type":"filter","hook":"forward","policy":"%s"}}'
    rule = (
        '{"rule":{"family":"inet","table":"own","chain":"f","expr":[{"match":{"op":"==","left":{"payload":'
        '{"protocol":"ip","field":"saddr"}},"right":{"prefix":{"addr":"10.244.0.0","len":16}}}},{"%s":null}]}}'
    )
    text = "# by nft\n" + '{"nftables":[%s]}'
    filtered = FILTER.format(policy="ACCEPT", rules="") + text
    assert acts(filtered % ",".join([chain % ("ip", "filter", "drop")])) == {ACCEPT}
    assert acts(filtered % ",".join([chain % ("inet", "own", "drop")])) == {ACCEPT, DROP}
    assert acts(filtered % ",".join([chain % ("inet", "own", "drop"), rule % "accept"])) == {ACCEPT}
    assert acts(filtered % ",".join([chain % ("inet", "own", "accept"), rule % "drop"])) == {ACCEPT, DROP}
    limited = rule.replace('},{"%s"', '},{"limit":{"rate":10,"per":"second"}},{"%s"')
    assert acts(filtered % ",".join([chain % ("inet", "own", "drop"), limited % "accept"])) == {ACCEPT, DROP}


def test_flannels_own_masquerade_is_seen() -> None:
    """Through its chain, behind a return for packets that kube-proxy marked."""
    printed = """*nat
:POSTROUTING ACCEPT [0:0]
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT"""
    (base,) = filtering.read([*HEAD, *printed.splitlines()]).at("postrouting")
    outside = PACKET._replace(target=IPv4Address("198.51.100.1"))
    assert {outcome.act for outcome in base.outcomes(PACKET)} == {ACCEPT}
    assert MASQUERADE in {outcome.act for outcome in base.outcomes(outside)}


INPUT = "*filter\n:INPUT {} [0:0]\n:OUTPUT ACCEPT [0:0]\n{}\nCOMMIT"
RAW = "*raw\n:PREROUTING ACCEPT [0:0]\n{}\nCOMMIT"
NFT_CHAIN = (
    '# by nft\n{"nftables":[{"chain":{"family":"inet","table":"own","name":"early","type":"filter","hook":"%s",'
    '"policy":"%s"}},%s]}'
)
NFT_RULE = '{"rule":{"family":"inet","table":"own","chain":"early","expr":[%s]}}'
MATCH = '{"match":{"op":"%s","left":%s,"right":%s}},{"%s":null}'
UDP_PORT = '{"payload":{"protocol":"udp","field":"dport"}}'
STATEFUL = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -i lo -j ACCEPT"
STATES = NFT_RULE % (MATCH % ("==", '{"ct":{"key":"state"}}', '{"set":["established","related"]}', "accept"))
SAFE = [
    NFT_RULE % (MATCH % ("==", '{"meta":{"key":"iif"}}', '"lo"', "accept")),
    NFT_RULE % (MATCH % ("==", '{"payload":{"protocol":"icmpv6","field":"type"}}', '"echo-request"', "accept")),
    NFT_RULE % (MATCH % ("==", '{"payload":{"protocol":"ip","field":"protocol"}}', '"icmp"', "accept")),
    NFT_RULE % (MATCH % ("==", '{"meta":{"key":"nfproto"}}', '"ipv6"', "accept")),
    NFT_RULE % (MATCH % ("==", '{"payload":{"protocol":"tcp","field":"dport"}}', "8472", "accept")),
]


def filtered(mode: str, printed: str) -> Scene:
    """Return hosts of which node1 has these rules before its own."""
    whole = scene(mode)
    filters = filtering.read([*HEAD, *OPEN.splitlines(), *printed.splitlines()])
    return replace(whole, seen={**whole.seen, "node1": replace(whole.seen["node1"], filters=filters)})


@pytest.mark.parametrize(
    ("mode", "printed", "said"),
    [
        (
            "vxlan",
            INPUT.format("ACCEPT", "-A INPUT -p udp -m udp --dport 8472 -j DROP"),
            (
                "INPUT drops the tunnel's packets from node2, node3 (192.168.56.12 to 192.168.56.11, UDP port 8472): "
                "-p udp -m udp --dport 8472 -j DROP; look: iptables-save -t filter"
            ),
        ),
        (
            "vxlan",
            INPUT.format("ACCEPT", "-A OUTPUT -o eth0 -p udp -m multiport --dports 53,8000:9000 -j REJECT"),
            "OUTPUT drops the tunnel's packets to node2, node3 (192.168.56.11 to 192.168.56.12, UDP port 8472)",
        ),
        ("vxlan", INPUT.format("DROP", STATEFUL), "from node2, node3 (192.168.56.12 to 192.168.56.11, UDP port 8472)"),
        ("vxlan", INPUT.format("ACCEPT", "-A INPUT -s 192.168.56.13 -j DROP"), "the tunnel's packets from node3 ("),
        ("ipip", INPUT.format("ACCEPT", "-A INPUT -p ipencap -j DROP"), "56.11, IP in IP): -p ipencap -j DROP"),
        ("udp", INPUT.format("ACCEPT", "-A INPUT -p udp --dport 8285 -j DROP"), "56.11, UDP port 8285)"),
        ("wireguard", INPUT.format("ACCEPT", "-A INPUT -p udp --dport 51820 -j DROP"), "56.11, UDP port 51820)"),
        (
            "vxlan",
            RAW.format("-A PREROUTING -s 10.244.3.0/24 -j DROP"),
            (
                "PREROUTING drops what comes from pods of node3 (10.244.3.2 to 10.244.1.2): -s 10.244.3.0/24 -j DROP; "
                "look: iptables-save -t raw"
            ),
        ),
        (
            "host_gw",
            RAW.replace("raw", "mangle").format("-A PREROUTING -i eth0 -d 10.244.0.0/16 -j DROP"),
            "PREROUTING drops what comes from pods of node2, node3 (10.244.2.2 to 10.244.1.2)",
        ),
        (
            "vxlan",
            NFT_CHAIN % ("prerouting", "accept", NFT_RULE % (MATCH % ("==", UDP_PORT, "8472", "drop"))),
            "early drops the tunnel's packets from node2, node3",
        ),
        (
            "vxlan",
            NFT_CHAIN % ("input", "drop", ",".join([STATES, *SAFE])),
            (
                "early drops the tunnel's packets from node2, node3 (192.168.56.12 to 192.168.56.11, UDP port 8472): "
                "the policy of early, drop; look: nft list table inet own"
            ),
        ),
    ],
)
def test_what_is_dropped_before_it_is_forwarded_is_a_fault(mode: str, printed: str, said: str) -> None:
    """A tunnel's own packets come in and go out; pods' packets may be dropped before they are routed."""
    found = [str(finding) for finding in faults(filtered(mode, printed))]
    assert any(said in finding for finding in found), found
    assert all(finding.startswith("node1: firewall: ") for finding in found)


USUALLY = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:cali-PREROUTING - [0:0]
-A PREROUTING -m comment --comment "cali:6gwbT8clXdHdC1b1" -j cali-PREROUTING
-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP
-A cali-PREROUTING -j MARK --set-xmark 0x0/0xf0000
-A cali-PREROUTING -i cali+ -j MARK --set-xmark 0x40000/0x40000
-A cali-PREROUTING -m mark --mark 0x40000/0x40000 -m rpfilter --validmark --invert -j DROP
-A cali-PREROUTING -p udp -m multiport --dports 8472 -j NOTRACK
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:cali-INPUT - [0:0]
-A INPUT -j cali-INPUT
-A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES
-A INPUT -j KUBE-FIREWALL
-A INPUT -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
-A KUBE-EXTERNAL-SERVICES -p udp -m addrtype --dst-type LOCAL -m udp --dport 30053 -j REJECT
-A cali-INPUT -p udp -m multiport --dports 8472 -m set --match-set cali40all-vxlan-net src -j ACCEPT
-A cali-INPUT -p udp -m multiport --dports 8472 -m addrtype --dst-type LOCAL -j DROP
-A cali-INPUT -p ipencap -m set --match-set cali40all-hosts-net src -j ACCEPT
-A cali-INPUT -p ipencap -j DROP
COMMIT"""


@pytest.mark.parametrize(
    ("mode", "printed"),
    [
        *((mode, USUALLY) for mode in ("vxlan", "ipip", "host_gw", "proxy_arp", "udp", "wireguard")),
        # Both ends send from and to one port, so that each opens the way for the other.
        ("wireguard", INPUT.format("DROP", STATEFUL)),
        ("ipip", INPUT.format("DROP", STATEFUL)),
        ("vxlan", INPUT.format("DROP", "-A INPUT -p udp -m udp --dport 8472 -j ACCEPT")),
        ("host_gw", INPUT.format("DROP", "")),
        ("vxlan", NFT_CHAIN % ("input", "accept", NFT_RULE % (MATCH % (">", UDP_PORT, "9000", "drop")))),
        ("vxlan", NFT_CHAIN % ("input", "accept", NFT_RULE % (MATCH % ("!=", UDP_PORT, "8472", "drop")))),
        ("ipip", NFT_CHAIN % ("input", "accept", NFT_RULE % (MATCH % ("!=", UDP_PORT, "8472", "drop")))),
    ],
)
def test_what_hosts_usually_drop_is_nothing_to_tell(mode: str, printed: str) -> None:
    """Docker's, kube-proxy's and Calico's rules are for others, or hang on marks and sets."""
    seen = filtered(mode, printed)
    assert [finding for finding in findings(seen, seen.cluster.node("node1")) if finding.table == "firewall"] == []


def test_a_namespace_is_entered_by_name_or_by_path() -> None:
    """Those of podnet's bear its mark; others were found."""
    assert 'space=podnet-$1; shift; ip netns exec "$space" "$@"' in entering.by_name(FIRST)
    found = entering.by_path({"web": "/run/netns/cni-1", "db": "/proc/77/ns/net"})
    assert "db) space=/proc/77/ns/net ;; web) space=/run/netns/cni-1 ;;" in found


def test_what_is_asked_of_a_host_does_not_grow_with_its_peers() -> None:
    """One script, whose length only its own pods make."""
    one, many = cluster(2), cluster(30)
    assert observing.script(one.node("node1")) == observing.script(many.node("node1"))
    assert "lsns" not in observing.script(cluster(pods=0).node("node1"))


def test_an_answer_that_is_cut_short_is_an_error() -> None:
    """Half a host is no host."""
    with pytest.raises(ValueError, match="it was cut short"):
        observing.parse(cluster().node("node1"), "==podnet== links\n[]\n==podnet== end")


@dataclass
class Unreadable(Fleet):
    """Hosts of which one tells half of what it holds, and one nothing."""

    def run_all(self, script: Callable[[Node], str], nodes: Sequence[Node] = ()) -> dict[str, Answer]:
        """Answer for them."""
        assert all("set -eu" in script(node) for node in nodes or self.nodes)
        return {"node1": Answer("==podnet== links"), "node2": Answer("", problem="node2 cannot be reached: no")}


def test_a_host_whose_tables_cannot_be_read_fails_alone() -> None:
    """Its problem is a sentence; its pods are still to be reached by others."""
    of = cluster(2)
    seen = observing.observe(Unreadable(of, {}, nodes=of.nodes), goldens.mode("vxlan"), NUMBERS["vxlan"])
    assert seen.scene.seen == {}
    assert seen.answers["node1"].problem.startswith("what node1 told of itself is not as expected")
    assert seen.answers["node2"].problem == "node2 cannot be reached: no"
    assert [node.pods for node in seen.fleet.nodes] == [node.pods for node in of.nodes]


TABLE9 = Route(IPv4Network("10.244.2.0/24"), "eth1", IPv4Address("192.0.2.1"), table="9")
NARROW = Rule(99, "9", target=IPv4Network("10.244.2.0/24"))


@pytest.mark.parametrize(
    ("rule", "table", "fault", "says"),
    [
        (
            NARROW,
            TABLE9,
            True,
            "what goes to pods of node2 goes via 192.0.2.1 dev eth1, and by the main table goes via 10.244.2.0",
        ),
        (
            replace(NARROW, table="", options=("action prohibit",)),
            TABLE9,
            True,
            "what goes to pods of node2 is refused, and by the main table",
        ),
        (
            replace(NARROW, fwmark="0x1"),
            TABLE9,
            False,
            "to pods of node2 goes via 192.0.2.1 dev eth1 under conditions that are not read here",
        ),
        (
            replace(NARROW, table="", options=("action blackhole", "oif tun9")),
            TABLE9,
            False,
            "not read here: rule add priority 99 to 10.244.2.0/24 protocol 77, action blackhole, oif tun9",
        ),
        (replace(NARROW, table="", options=("l3mdev",)), TABLE9, None, ""),
        (replace(NARROW, target=IPv4Network("10.9.0.0/16")), TABLE9, None, ""),
        (replace(NARROW, priority=32800), TABLE9, None, ""),
        (replace(NARROW, table="main"), TABLE9, None, ""),
        (NARROW, replace(TABLE9, to=IPv4Network("10.9.0.0/16")), None, ""),
        (NARROW, Route(TABLE9.to, "flannel.1", IPv4Address("10.244.2.0"), table="9"), None, ""),
    ],
)
def test_rules_of_policy_routing_are_followed(rule: Rule, table: Route, fault: bool | None, says: str) -> None:  # noqa: FBT001  # a column of the table
    """To the table that they name: what leads another way fails, what may is told, and what leads the same is fine."""
    whole = scene("vxlan")
    one = replace(whole.seen["node1"], rules=frozenset({rule}), elsewhere=frozenset({table}))
    seen = replace(whole, seen={**whole.seen, "node1": one})
    found = [finding for finding in findings(seen, seen.cluster.node("node1")) if finding.table == "rule"]
    assert [finding.fault for finding in found] == ([] if fault is None else [fault])
    assert all(says in finding.says for finding in found)


UNREACHABLE = Route(TABLE9.to, None, kind="unreachable", table="9")
THROWN = Route(TABLE9.to, None, kind="throw", table="8")


@pytest.mark.parametrize(
    ("earlier", "tables", "faults"),
    [
        # Who comes first decides: what the main table answers for is sought nowhere else.
        ([Rule(98, "main")], [TABLE9], 0),
        ([Rule(98, "main", target=IPv4Network("10.244.0.0/16"))], [TABLE9], 0),
        ([Rule(98, "main", target=IPv4Network("10.9.0.0/16"))], [TABLE9], 1),
        ([Rule(98, "main", fwmark="0x1")], [TABLE9], 1),
        ([Rule(98, "local")], [TABLE9], 1),
        # `throw` is the kernel's word for going on with the next rule.
        ([Rule(98, "8")], [THROWN], 0),
        ([Rule(98, "8")], [THROWN, TABLE9], 1),
        ([Rule(98, "8")], [replace(TABLE9, dev="eth2", table="8"), UNREACHABLE], 1),
    ],
)
def test_the_first_rule_that_finds_a_route_ends_the_search(
    earlier: list[Rule], tables: list[Route], faults: int
) -> None:
    """As the kernel's does: later rules are not asked."""
    whole = scene("vxlan")
    one = replace(whole.seen["node1"], rules=frozenset({*earlier, NARROW}), elsewhere=frozenset(tables))
    seen = replace(whole, seen={**whole.seen, "node1": one})
    found = [finding for finding in findings(seen, seen.cluster.node("node1")) if finding.table == "rule"]
    assert [finding.fault for finding in found] == [True] * faults


DEFAULT = Route(IPv4Network("0.0.0.0/0"), "eth0", table="51820")
WG_QUICK = [
    Rule(32764, "main", options=("suppress_prefixlen 0",)),
    Rule(32765, "51820", fwmark="0xca6c", options=("not",)),
]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (WG_QUICK, []),
        # Of the main table nothing up to a /24 counts, so that the other rule is asked.
        (
            [replace(WG_QUICK[0], options=("suppress_prefixlen 24",)), WG_QUICK[1]],
            ["dev eth0 under conditions that are not read here: rule add not priority 32765 fwmark 0xca6c"],
        ),
        ([replace(NARROW, table="51820", options=("not",))], ["from pods of node2 goes dev eth0, and by the main"]),
        ([replace(NARROW, table="51820", target=IPv4Network("10.244.0.0/16"), options=("not",))], []),
    ],
)
def test_wg_quicks_rules_are_followed(rules: list[Rule], said: list[str]) -> None:
    """`not` turns a rule's conditions round, and `suppress_prefixlength` passes over routes that are too wide."""
    whole = scene("vxlan")
    one = replace(whole.seen["node1"], rules=frozenset(rules), elsewhere=frozenset({DEFAULT}))
    seen = replace(whole, seen={**whole.seen, "node1": one})
    found = [finding for finding in findings(seen, seen.cluster.node("node1")) if finding.table == "rule"]
    assert bool(found) == bool(said)
    assert all(any(words in str(finding) for finding in found) for words in said)


def test_a_rules_words_without_a_value_are_spelled_alone() -> None:
    """As ip(8) does: `not`, `l3mdev`."""
    entry = {"priority": 9, "not": None, "src": "all", "table": "7", "suppress_prefixlen": 0, "protocol": "boot"}
    assert {rule.options for rule in facts_of_rules.parse([entry])} == {("not", "suppress_prefixlen 0")}


def test_a_rule_leads_on_where_the_main_table_knows_no_way() -> None:
    """It has nothing to end the search with."""
    whole = scene("vxlan")
    have = replace(whole.seen["node1"].have, routes=frozenset())
    rules = frozenset({Rule(98, "main"), NARROW})
    one = replace(whole.seen["node1"], have=have, rules=rules, elsewhere=frozenset({TABLE9}))
    seen = replace(whole, seen={**whole.seen, "node1": one})
    (found,) = [finding for finding in findings(seen, seen.cluster.node("node1")) if finding.table == "rule"]
    assert "goes via 192.0.2.1 dev eth1, and by the main table goes nowhere" in found.says
