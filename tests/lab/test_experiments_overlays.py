"""Experiments by hand on several hosts of one segment: vxlan, tenants, macvlan, ways by source."""

import pytest

from tests.lab.by_hand import (
    SOON,
    UNANSWERED,
    Hand,
    fdb,
    flannel,
    lengths,
    neighbour,
    peer,
    ping,
    pod,
    route,
    ttls,
    vtep,
)

NODE1, NODE2, NODE3 = "192.168.56.11", "192.168.56.12", "192.168.56.13"
FROM, TO = "172.22.0.2", "172.22.1.2"
FLANNEL1 = flannel(0, NODE1) + peer(1, NODE2)
FLANNEL2 = flannel(1, NODE2) + peer(0, NODE1)
TUNNELLED = "udp port 8472"


def test_vxlan_by_hand_joins_pods_of_two_nodes(hand: Hand) -> None:
    """Across nodes TTL is 62, two less than 64, and each packet of 84 bytes crosses the wire as one of 134."""
    hand.sh("node1", FLANNEL1)
    hand.sh("node2", FLANNEL2)
    assert hand.ping("node1", TO, "pod") == 62
    assert hand.ping("node2", FROM, "pod") == 62
    wire = hand.wire("node1", TUNNELLED, ping(TO, "pod"))
    assert lengths(wire) == [134, 84, 134, 84]
    assert ttls(wire) == [64, 63, 64, 63]
    assert f"{FROM} > {TO}: ICMP echo request" in wire
    assert hand.ping("node1", TO, "pod", size=1450) == 62
    assert hand.ping("node1", TO, "pod", SOON, size=1451) is None


def test_missing_neighbour_is_asked_for_in_the_tunnel_and_in_vain(hand: Hand) -> None:
    """Its entry stays without a MAC, and the question is dropped by the tunnel, which floods nothing."""
    hand.sh("node1", flannel(0, NODE1) + fdb(1, NODE2) + route(1))
    hand.sh("node2", FLANNEL2)
    dropped = hand.counted("node1", "flannel.1", "tx", "dropped")
    assert hand.ping("node1", TO, "pod", SOON) is None
    assert hand.neighbour("node1", "172.22.1.0", "flannel.1") in UNANSWERED
    assert hand.counted("node1", "flannel.1", "tx", "dropped") > dropped
    hand.sh("node1", "sysctl -q -w net/ipv4/neigh/flannel.1/retrans_time_ms=100; ip neigh flush dev flannel.1")
    said = hand.sh("node1", f"{ping(TO, 'pod')} || test $? = 1")
    assert "From 172.22.0.1 icmp_seq=1 Destination Host Unreachable" in said
    hand.sh("node1", neighbour(1))
    assert hand.ping("node1", TO, "pod") == 62


def test_missing_fdb_entry_makes_the_tunnel_drop_without_a_word(hand: Hand) -> None:
    """The neighbour is known, nobody complains, and the tunnel's count of dropped packets grows by one a packet."""
    hand.sh("node1", flannel(0, NODE1) + neighbour(1) + route(1))
    hand.sh("node2", FLANNEL2)
    dropped = hand.counted("node1", "flannel.1", "tx", "dropped")
    said = hand.sh("node1", f"{ping(TO, 'pod', SOON)} || test $? = 1")
    assert "1 packets transmitted, 0 received, 100% packet loss" in said
    assert "Unreachable" not in said
    assert hand.neighbour("node1", "172.22.1.0", "flannel.1") == ("PERMANENT", vtep(1))
    assert hand.counted("node1", "flannel.1", "tx", "dropped") == dropped + 1
    hand.sh("node1", fdb(1, NODE2))
    assert hand.ping("node1", TO, "pod") == 62


def test_missing_route_lets_pods_packets_out_bare_by_the_default_route(hand: Hand) -> None:
    """They leave by the uplink, not wrapped, to the node's gateway."""
    hand.sh("node1", flannel(0, NODE1) + neighbour(1) + fdb(1, NODE2))
    hand.sh("node2", FLANNEL2)
    wire = hand.wire("node1", f"{TUNNELLED} or icmp[icmptype] = icmp-echo", ping(TO, "pod", SOON), count=1)
    assert lengths(wire) == [84]
    assert f"{FROM} > {TO}: ICMP echo request" in wire
    assert hand.neighbour("node1", "192.168.56.1", "eth0")[1] in wire
    hand.sh("node1", route(1))
    assert hand.ping("node1", TO, "pod") == 62


def test_without_a_default_route_a_missing_route_is_said(hand: Hand) -> None:
    """The pod hears from its node that there is no way."""
    hand.sh("node1", f"{flannel(0, NODE1)}{neighbour(1)}{fdb(1, NODE2)}ip route del default")
    said = hand.sh("node1", f"{ping(TO, 'pod')} || test $? = 1")
    assert "From 172.22.0.1 icmp_seq=1 Destination Net Unreachable" in said


def test_frames_for_a_vteps_former_mac_arrive_and_are_discarded(hand: Hand) -> None:
    """Once a peer's MAC is another one, its tunnel still receives, and nothing is answered until all are told."""
    hand.sh("node1", FLANNEL1)
    hand.sh("node2", FLANNEL2)
    # A change of MAC flushes the device's neighbours, permanent ones too; the other way must not be what is broken.
    hand.sh("node2", "ip link set flannel.1 address 02:00:00:00:00:99")
    assert hand.neighbour("node2", "172.22.0.0", "flannel.1") == ("", "")
    hand.sh("node2", neighbour(0))
    received = hand.counted("node2", "flannel.1", "rx", "packets")
    assert hand.ping("node1", TO, "pod", SOON) is None
    assert hand.counted("node2", "flannel.1", "rx", "packets") == received + 1
    hand.sh("node1", (neighbour(1) + fdb(1, NODE2)).replace(vtep(1), "02:00:00:00:00:99"))
    assert hand.ping("node1", TO, "pod") == 62


@pytest.mark.parametrize(("rp_filter", "ttl", "dropped"), [(0, 62, 0), (1, None, 1), (2, 62, 0)])
def test_strict_rp_filter_drops_what_would_be_answered_by_another_device(
    hand: Hand, rp_filter: int, ttl: int | None, dropped: int
) -> None:
    """If one node tunnels and the other does not, only 1, strict, drops, and counts what it drops."""
    hand.sh("node1", FLANNEL1)
    hand.sh("node2", f"{FLANNEL2}ip route replace 172.22.0.0/24 via {NODE1} dev eth0")
    hand.sh("node2", f"sysctl -q -w net.ipv4.conf.all.rp_filter={rp_filter}; nstat -n")
    assert hand.ping("node1", TO, "pod", SOON if ttl is None else 3) == ttl
    counted = hand.json("node2", "nstat -j -s -z TcpExtIPReversePathFilter")["kernel"]
    assert counted == {"TcpExtIPReversePathFilter": dropped}


def tenant(name: str, vni: int, address: str, peer: str) -> str:
    """Spell a bridge of a tenant's own, with one pod, that a tunnel joins to the one on another node."""
    return f"""
ip link add br-{name} type bridge
ip link set br-{name} up
ip link add vx-{name} type vxlan id {vni} dev eth0 remote {peer} dstport 8472
ip link set vx-{name} master br-{name} up
{pod(name, address, f"br-{name}", mtu=1450)}
"""


def test_tenants_with_different_vnis_do_not_hear_each_other(hand: Hand) -> None:
    """On the same nodes and port, with the same addresses, each tenant's pods meet only their own."""
    hand.sh("node1", tenant("red", 1, "10.0.0.1/24", NODE2) + tenant("blue", 2, "10.0.0.1/24", NODE2))
    hand.sh("node2", tenant("red", 1, "10.0.0.2/24", NODE1) + tenant("blue", 2, "10.0.0.2/24", NODE1))
    hand.sh("node2", "ip netns exec blue sysctl -q -w net.ipv4.ip_default_ttl=100")
    hand.sh("node2", "ip -n blue addr add 10.0.0.3/24 dev eth0")
    assert hand.ping("node1", "10.0.0.2", "red") == 64
    assert hand.ping("node1", "10.0.0.2", "blue") == 100
    assert "instance 2" in hand.wire("node1", TUNNELLED, ping("10.0.0.3", "blue"))
    assert hand.ping("node1", "10.0.0.3", "red", SOON) is None
    assert hand.neighbour("node1", "10.0.0.3", "eth0", "red") in UNANSWERED
    for name in ("red", "blue"):
        asked = hand.json("node2", f"ip -n {name} -j neigh show 10.0.0.1")
        assert [entry["lladdr"] for entry in asked] == [hand.mac("node1", "eth0", name)]


def macvlan(name: str, address: str) -> str:
    """Spell a pod on the uplink's own wire."""
    return f"""
ip netns add {name}
ip link add eth1 link eth0 netns {name} type macvlan mode bridge
ip -n {name} addr add {address} dev eth1
ip -n {name} link set eth1 up
"""


def test_macvlan_puts_pods_on_the_wire_with_macs_of_their_own(hand: Hand) -> None:
    """TTL is 64 on one host and across hosts, bare; only its own host a pod does not reach."""
    hand.sh("node1", macvlan("a", "192.168.56.101/24") + macvlan("b", "192.168.56.102/24"))
    hand.sh("node2", macvlan("c", "192.168.56.103/24"))
    assert hand.ping("node1", "192.168.56.102", "a") == 64
    assert hand.ping("node1", "192.168.56.103", "a") == 64
    macs = [hand.mac("node1", "eth0"), hand.mac("node1", "eth1", "a"), hand.mac("node1", "eth1", "b")]
    assert len(set(macs)) == 3
    wire = hand.wire("node1", "icmp", ping("192.168.56.103", "b"))
    assert lengths(wire) == [84, 84]
    assert wire.split("\n")[0].split()[1:4:2] == [macs[2], hand.mac("node2", "eth1", "c") + ","]
    assert hand.ping("node1", NODE1, "a", SOON) is None
    assert hand.ping("node1", NODE2, "a") == 64


def test_rules_send_pods_of_one_node_out_by_different_ways(hand: Hand) -> None:
    """Each pod's source chooses a table, and so whom it meets at one and the same address."""
    pods = pod("pod1", "10.1.0.2/24", "br0", "10.1.0.1") + pod("pod2", "10.1.0.3/24", "br0", "10.1.0.1")
    hand.sh(
        "node1",
        f"""
sysctl -q -w net.ipv4.ip_forward=1
ip link add br0 type bridge
ip addr add 10.1.0.1/24 dev br0
ip link set br0 up
{pods}
ip route add default via {NODE2} table 102
ip route add default via {NODE3} table 103
""",
    )
    for host, ttl in (("node2", 64), ("node3", 100)):
        hand.sh(
            host,
            f"""
ip link add service type bridge
ip addr add 203.0.113.1/32 dev service
ip route add 10.1.0.0/24 via {NODE1}
sysctl -q -w net.ipv4.ip_default_ttl={ttl}
""",
        )
    assert hand.ping("node1", "203.0.113.1", "pod1", SOON) is None
    hand.sh("node1", "ip rule add from 10.1.0.2 lookup 102; ip rule add from 10.1.0.3 lookup 103")
    assert hand.ping("node1", "203.0.113.1", "pod1") == 63
    assert hand.ping("node1", "203.0.113.1", "pod2") == 99
    way = "ip -j route get 203.0.113.1 iif br0 from"
    assert hand.json("node1", f"{way} 10.1.0.2")[0]["gateway"] == NODE2
    assert hand.json("node1", f"{way} 10.1.0.3")[0]["gateway"] == NODE3
