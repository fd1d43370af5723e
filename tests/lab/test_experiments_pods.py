"""Experiments by hand on pods of one host: cables, bridges, proxy ARP, and what iptables does to them."""

import pytest

from tests.lab.at import until
from tests.lab.by_hand import SOON, UNANSWERED, Hand, pod

CABLE = """
ip netns add ns1
ip netns add ns2
ip link add veth1 type veth peer name veth2
"""
ENDS = """
ip link set veth1 netns ns1
ip link set veth2 netns ns2
ip -n ns1 addr add 1.1.1.1/24 dev veth1
ip -n ns2 addr add 1.1.1.2/24 dev veth2
"""
ENDS_UP = "ip -n ns1 link set veth1 up; ip -n ns2 link set veth2 up"

CABLES = """
for i in 1 2; do
    ip netns add ns$i
    ip link add veth$i type veth peer name eth0 netns ns$i
    ip link set veth$i up
    ip -n ns$i addr add 1.1.1.$i/24 dev eth0
    ip -n ns$i link set eth0 up
done
ip link add br0 type bridge
ip link set br0 up
"""
JOIN = "ip link set veth1 master br0; ip link set veth2 master br0"

# proxy_delay is how long at most the kernel waits before it answers for somebody else: else a first reply takes 0.8 s.
PROXY = """
sysctl -q -w net.ipv4.ip_forward=1
for i in 1 2; do
    ip netns add ns$i
    ip link add veth$i type veth peer name eth0 netns ns$i
    ip link set veth$i up
    ip -n ns$i link set eth0 up
    ip -n ns$i addr add 192.168.100.$i/32 dev eth0
    ip -n ns$i route add 169.254.1.1 dev eth0 scope link
    ip -n ns$i route add default via 169.254.1.1 dev eth0
    ip route add 192.168.100.$i/32 dev veth$i
    sysctl -q -w net.ipv4.conf.veth$i.proxy_arp=1 net.ipv4.neigh.veth$i.proxy_delay=0
done
"""
GATEWAY = "169.254.1.1"
FORGET = "ip -n ns1 neigh flush dev eth0; ip -n ns2 neigh flush dev eth0"

HAIRPIN = f"""
sysctl -q -w net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
ip link add br0 type bridge
ip addr add 10.1.0.1/24 dev br0
ip link set br0 up
{pod("pod", "10.1.0.2/24", "br0", "10.1.0.1")}
iptables -t nat -A PREROUTING -d 10.96.0.1 -j DNAT --to-destination 10.1.0.2
iptables -t nat -A POSTROUTING -s 10.1.0.2 -d 10.1.0.2 -j MASQUERADE
"""


def links(hand: Hand, netns: str = "") -> set[str]:
    """Return the names of the links in a namespace, or on the host."""
    return {link["ifname"] for link in hand.json("node1", f"ip {f'-n {netns} ' if netns else ''}-j link")}


def test_cable_joins_two_namespaces_once_both_ends_are_up(hand: Hand) -> None:
    """With an end down there is nothing; with both up pings pass undiminished."""
    hand.sh("node1", CABLE + ENDS)
    words = "ping: connect: Network is unreachable"
    assert hand.refused("node1", "ip netns exec ns1 ping -c 1 -W 1 1.1.1.2") == words
    hand.sh("node1", "ip -n ns1 link set veth1 up")
    assert hand.json("node1", "ip -n ns1 -j link show veth1")[0]["operstate"] == "LOWERLAYERDOWN"
    assert hand.ping("node1", "1.1.1.2", "ns1", SOON) is None
    hand.sh("node1", ENDS_UP)
    assert hand.ping("node1", "1.1.1.2", "ns1") == 64
    assert hand.ping("node1", "1.1.1.1", "ns2") == 64


def test_cable_leaves_the_host_and_goes_with_either_namespace(hand: Hand) -> None:
    """The host no longer lists ends that it gave away; deleting one namespace removes both."""
    hand.sh("node1", CABLE)
    assert {"veth1", "veth2"} <= links(hand)
    hand.sh("node1", ENDS + ENDS_UP)
    assert links(hand) == {"lo", "eth0"}
    assert links(hand, "ns2") == {"lo", "veth2"}
    hand.sh("node1", "ip netns del ns1")
    until(lambda: links(hand, "ns2") == {"lo"}, 5, "the other end is gone too")


def test_bridge_joins_cables_once_they_are_its_ports(hand: Hand) -> None:
    """Before the host ends join br0 nothing passes; after, pings do, switched and so undiminished."""
    hand.sh("node1", CABLES)
    assert hand.ping("node1", "1.1.1.2", "ns1", SOON) is None
    hand.sh("node1", JOIN)
    assert hand.ping("node1", "1.1.1.2", "ns1") == 64
    assert hand.ping("node1", "1.1.1.1", "ns2") == 64


def test_forward_drop_cuts_pods_of_one_bridge_where_bridges_call_iptables(hand: Hand) -> None:
    """With bridge-nf-call-iptables 1 the policy counts the packet and drops it; with 0 it never sees one."""
    hand.sh("node1", f"{CABLES}{JOIN}; iptables -P FORWARD DROP; sysctl -q -w net.bridge.bridge-nf-call-iptables=1")
    assert hand.ping("node1", "1.1.1.2", "ns1", SOON) is None
    assert "Chain FORWARD (policy DROP 1 packets, 84 bytes)" in hand.sh("node1", "iptables -nvxL FORWARD")
    hand.sh("node1", "sysctl -q -w net.bridge.bridge-nf-call-iptables=0")
    assert hand.ping("node1", "1.1.1.2", "ns1") == 64
    assert "Chain FORWARD (policy DROP 1 packets, 84 bytes)" in hand.sh("node1", "iptables -nvxL FORWARD")
    hand.sh("node1", "iptables -A FORWARD -s 1.1.1.0/24 -j ACCEPT; sysctl -q -w net.bridge.bridge-nf-call-iptables=1")
    assert hand.ping("node1", "1.1.1.2", "ns1") == 64


def test_proxy_arp_makes_the_host_a_router_that_no_pod_has_in_its_subnet(hand: Hand) -> None:
    """Pods with /32 addresses reach each other with TTL 63; the gateway that nobody has is the host end's MAC."""
    hand.sh("node1", PROXY)
    assert hand.ping("node1", "192.168.100.2", "ns1") == 63
    assert hand.ping("node1", "192.168.100.1", "ns2") == 63
    assert hand.neighbour("node1", GATEWAY, "eth0", "ns1")[1] == hand.mac("node1", "veth1")
    assert hand.neighbour("node1", GATEWAY, "eth0", "ns2")[1] == hand.mac("node1", "veth2")
    assert GATEWAY not in hand.sh("node1", "ip addr")


def test_without_proxy_arp_nobody_answers_for_the_gateway(hand: Hand) -> None:
    """The pod's neighbour entry has no MAC, until proxy_arp is 1 again."""
    hand.sh("node1", f"{PROXY}sysctl -q -w net.ipv4.conf.veth1.proxy_arp=0")
    assert hand.ping("node1", "192.168.100.2", "ns1", SOON) is None
    assert hand.neighbour("node1", GATEWAY, "eth0", "ns1") in UNANSWERED
    hand.sh("node1", f"sysctl -q -w net.ipv4.conf.veth1.proxy_arp=1; {FORGET}")
    assert hand.ping("node1", "192.168.100.2", "ns1") == 63


def test_without_forwarding_the_host_neither_answers_nor_passes_on(hand: Hand) -> None:
    """With ip_forward 0 a pod that knows the MAC loses its packets, counted; one that does not is not told it."""
    hand.sh("node1", PROXY)
    assert hand.ping("node1", "192.168.100.2", "ns1") == 63
    hand.sh("node1", "sysctl -q -w net.ipv4.ip_forward=0; nstat -n")
    assert hand.ping("node1", "192.168.100.2", "ns1", SOON) is None
    assert hand.json("node1", "nstat -j -s IpInAddrErrors")["kernel"] == {"IpInAddrErrors": 1}
    hand.sh("node1", FORGET)
    assert hand.ping("node1", "192.168.100.2", "ns1", SOON) is None
    assert hand.neighbour("node1", GATEWAY, "eth0", "ns1") in UNANSWERED
    hand.sh("node1", f"sysctl -q -w net.ipv4.ip_forward=1; {FORGET}")
    assert hand.ping("node1", "192.168.100.2", "ns1") == 63


@pytest.mark.parametrize("cure", [f"ip route add {GATEWAY} dev eth0", "ip route add default via 192.168.56.1"])
def test_proxy_arp_is_silent_on_a_node_without_a_way_to_the_gateway(hand: Hand, cure: str) -> None:
    """The kernel answers for an address only if it has a route to it by another device: any unicast one will do."""
    hand.sh("node1", f"{PROXY}ip route del default")
    assert hand.ping("node1", "192.168.100.2", "ns1", SOON) is None
    assert hand.neighbour("node1", GATEWAY, "eth0", "ns1") in UNANSWERED
    hand.sh("node1", f"{cure}; {FORGET}")
    assert hand.ping("node1", "192.168.100.2", "ns1") == 63
    assert hand.neighbour("node1", GATEWAY, "eth0", "ns1")[1] == hand.mac("node1", "veth1")


def test_two_ends_in_one_subnet_of_one_namespace_never_use_their_cable(hand: Hand) -> None:
    """There are two routes for one prefix, and the first is taken; what is local is answered by lo."""
    hand.sh(
        "node1",
        """
ip netns add ns1
ip -n ns1 link set lo up
ip link add veth1 netns ns1 type veth peer name veth2 netns ns1
ip -n ns1 addr add 192.168.3.11/24 dev veth1
ip -n ns1 addr add 192.168.3.12/24 dev veth2
ip -n ns1 link set veth1 up
ip -n ns1 link set veth2 up
""",
    )
    assert [line.split()[:3] for line in hand.sh("node1", "ip -n ns1 route").splitlines()] == [
        ["192.168.3.0/24", "dev", "veth1"],
        ["192.168.3.0/24", "dev", "veth2"],
    ]
    assert "dev veth1 src 192.168.3.11" in hand.sh("node1", "ip -n ns1 route get 192.168.3.13")
    assert "dev veth1" in hand.sh("node1", "ip -n ns1 route get 192.168.3.13 from 192.168.3.12")
    assert "local 192.168.3.12 dev lo" in hand.sh("node1", "ip -n ns1 route get 192.168.3.12")
    assert hand.ping("node1", "192.168.3.12", "ns1") == 64
    assert hand.json("node1", "ip -n ns1 -j neigh show 192.168.3.12") == []
    # Sent over the cable by force, the question arrives, and is dropped: it comes from an address of the asked.
    assert hand.ping("node1", "-I veth1 192.168.3.12", "ns1", SOON) is None
    assert hand.neighbour("node1", "192.168.3.12", "veth1", "ns1") in UNANSWERED
    hand.sh("node1", "ip netns exec ns1 sysctl -q -w net.ipv4.conf.all.accept_local=1; ip -n ns1 neigh flush dev veth1")
    assert hand.ping("node1", "-I veth1 192.168.3.12", "ns1") == 64
    assert hand.neighbour("node1", "192.168.3.12", "veth1", "ns1")[1] == hand.mac("node1", "veth2", "ns1")


def test_pod_does_not_reach_itself_through_dnat_without_hairpin(hand: Hand) -> None:
    """Where bridges call iptables, DNAT turns the frame back to the port it came from, which takes hairpin."""
    hand.sh("node1", f"{HAIRPIN}ip link set pod type bridge_slave hairpin off")
    assert hand.ping("node1", "10.96.0.1", "pod", SOON) is None
    hand.sh("node1", "ip link set pod type bridge_slave hairpin on")
    assert hand.ping("node1", "10.96.0.1", "pod") == 64


def test_hairpin_does_not_matter_where_bridges_do_not_call_iptables(hand: Hand) -> None:
    """DNAT then meets the packet as the host routes it, and it comes back with TTL 63."""
    hand.sh("node1", f"{HAIRPIN}ip link set pod type bridge_slave hairpin off")
    hand.sh("node1", "sysctl -q -w net.bridge.bridge-nf-call-iptables=0")
    assert hand.ping("node1", "10.96.0.1", "pod") == 63
