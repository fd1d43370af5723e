"""Experiments by hand on two segments with a router between them: where bare packets get, and where they need a tunnel.

node1 and node3 are on one segment, node2 on the other.
"""

from tests.lab.at import until
from tests.lab.by_hand import SOON, UNANSWERED, Hand, flannel, lengths, peer, ping, pod, ttls

NODE1, NODE2, NODE3 = "192.168.56.11", "192.168.57.12", "192.168.56.13"
ANY = "udp port 8472 or icmp"
SHAPE = ("--hosts", "3", "--segments", "2")


def host_gw(number: int) -> str:
    """Spell a node whose pods are 10.19.NUMBER.0/24, without peers."""
    return f"""
sysctl -q -w net.ipv4.ip_forward=1
ip link add cni0 type bridge
ip addr add 10.19.{number}.1/24 dev cni0
ip link set cni0 up
{pod("pod", f"10.19.{number}.2/24", "cni0", f"10.19.{number}.1")}
"""


def test_host_gw_joins_nodes_of_one_segment_without_a_byte_more(hand: Hand) -> None:
    """A route by the other node is all: TTL 62, and on the wire the pods' own packets, of up to 1500 bytes."""
    hand.sh("node1", f"{host_gw(1)}ip route add 10.19.2.0/24 via {NODE3} dev eth0")
    hand.sh("node3", f"{host_gw(2)}ip route add 10.19.1.0/24 via {NODE1} dev eth0")
    assert hand.ping("node1", "10.19.2.2", "pod") == 62
    wire = hand.wire("node1", ANY, ping("10.19.2.2", "pod"))
    assert lengths(wire) == [84, 84]
    assert ttls(wire) == [63, 63]
    assert "10.19.1.2 > 10.19.2.2: ICMP echo request" in wire
    assert hand.ping("node1", "10.19.2.2", "pod", size=1500) == 62
    hand.sh("node1", "ip route del 10.19.2.0/24")
    assert hand.ping("node1", "10.19.2.2", "pod", SOON) is None


def test_host_gw_by_a_node_of_another_segment_is_refused_by_the_kernel(hand: Hand) -> None:
    """A gateway must be on the link."""
    words = hand.refused("node1", f"ip route add 10.19.2.0/24 via {NODE2} dev eth0")
    assert words == "Error: Nexthop has invalid gateway."


def test_host_gw_forced_onto_the_link_fails_in_arp(hand: Hand) -> None:
    """With onlink the kernel believes it, asks the segment for a node that is not there, and gives up."""
    hand.sh("node1", f"{host_gw(1)}ip route add 10.19.2.0/24 via {NODE2} dev eth0 onlink")
    hand.sh("node2", f"{host_gw(2)}ip route add 10.19.1.0/24 via {NODE1} dev eth0 onlink")
    assert hand.ping("node1", NODE2) == 63
    wire = hand.wire("node1", f"arp or {ANY}", ping("10.19.2.2", "pod", SOON), count=1)
    assert f"who-has {NODE2} tell {NODE1}" in wire
    assert hand.neighbour("node1", NODE2, "eth0") in UNANSWERED
    until(lambda: hand.neighbour("node1", NODE2, "eth0") == ("FAILED", ""), 10, "the kernel has asked three times")


def test_host_gw_by_the_router_ends_at_the_router(hand: Hand) -> None:
    """It is on the link, so the kernel takes it, but it knows nothing of pods."""
    hand.sh("node1", f"{host_gw(1)}ip route add 10.19.2.0/24 via 192.168.56.1 dev eth0")
    hand.sh("router", f"ip route add 10.19.1.0/24 via {NODE1}")
    said = hand.sh("node1", f"{ping('10.19.2.2', 'pod')} || test $? = 1")
    assert "From 192.168.56.1 icmp_seq=1 Destination Net Unreachable" in said


def test_direct_routing_wraps_only_what_crosses_the_router(hand: Hand) -> None:
    """All pods reach all with TTL 62: neighbours bare, others in vxlan, by the same devices with the same MTU."""
    numbers = {"node1": (0, NODE1), "node2": (1, NODE2), "node3": (2, NODE3)}
    for host, (number, address) in numbers.items():
        script = flannel(number, address)
        for other, (theirs, there) in numbers.items():
            if {host, other} == {"node1", "node3"}:
                script += f"ip route add 172.22.{theirs}.0/24 via {there}\n"
            elif host != other:
                script += peer(theirs, there)
        hand.sh(host, script)
    for host in numbers:
        for other, (theirs, _) in numbers.items():
            assert hand.ping(host, f"172.22.{theirs}.2", "pod") == (64 if host == other else 62)
    for host, (number, _) in numbers.items():
        for other, (theirs, _) in numbers.items():
            if host != other:
                wire = hand.wire(host, ANY, ping(f"172.22.{theirs}.2", "pod", size=1450))
                bare = {host, other} == {"node1", "node3"}
                assert lengths(wire) == ([1450] * 2 if bare else [1500, 1450] * 2), f"{host} to {other}"
                assert f"172.22.{number}.2 > 172.22.{theirs}.2: ICMP echo request" in wire
