"""Experiments by hand which take a kernel of the host's own: ipip, ipvlan, a reboot, what a namespace is born with."""

from pathlib import Path

from tests.lab.at import At
from tests.lab.by_hand import SOON, Hand, lengths, ping, pod, ttls
from tests.lab.test_net_conf import inventory

NODE1, NODE2 = "192.168.56.11", "192.168.56.12"
CALLS = "net.bridge.bridge-nf-call-iptables"


def ipip(number: int, underlay: str, other: int, there: str) -> str:
    """Spell a node as flannel's ipip leaves it: 172.22.NUMBER.0/24, one pod, and the way to the other node."""
    return f"""
modprobe ipip
sysctl -q -w net.ipv4.ip_forward=1
ip link add flannel.ipip mtu 1480 type ipip mode any local {underlay} nopmtudisc
ip addr add 172.22.{number}.0/32 dev flannel.ipip
ip link set flannel.ipip up
ip link add cni0 mtu 1480 type bridge
ip addr add 172.22.{number}.1/24 dev cni0
ip link set cni0 up
{pod("pod", f"172.22.{number}.2/24", "cni0", f"172.22.{number}.1", 1480)}
ip route add 172.22.{other}.0/24 via {there} dev flannel.ipip onlink
"""


def test_ipip_by_hand_adds_twenty_bytes_and_carries_ipv4_unicast_only(hand: Hand) -> None:
    """Across nodes TTL is 62, in IP protocol 4; IPv6 is dropped, and the link knows no broadcast and no multicast."""
    hand.sh("node1", ipip(0, NODE1, 1, NODE2))
    hand.sh("node2", ipip(1, NODE2, 0, NODE1))
    assert hand.ping("node1", "172.22.1.2", "pod") == 62
    wire = hand.wire("node1", "ip proto 4", ping("172.22.1.2", "pod"))
    assert lengths(wire) == [104, 84, 104, 84]
    assert ttls(wire) == [63, 63, 63, 63]
    assert "proto IPIP (4)" in wire
    assert hand.ping("node1", "172.22.1.2", "pod", size=1480) == 62
    (link,) = hand.json("node1", "ip -j link show flannel.ipip")
    assert "NOARP" in link["flags"]
    assert not {"BROADCAST", "MULTICAST"} & set(link["flags"])
    errors = hand.counted("node1", "flannel.ipip", "tx", "errors")
    hand.sh("node1", "ip addr add fd22::1/64 dev flannel.ipip nodad")
    assert hand.ping("node1", "-6 fd22::2", within=SOON) is None
    assert hand.counted("node1", "flannel.ipip", "tx", "errors") > errors
    # The module made a tunl0, which can only go with it.
    for host in ("node1", "node2"):
        hand.sh(host, "ip link del flannel.ipip; modprobe -r ipip")


def ipvlan(name: str, address: str) -> str:
    """Spell a pod on the uplink's own wire, with the uplink's own MAC."""
    return f"""
ip netns add {name}
ip link add wire link eth0 netns {name} type ipvlan mode l2
ip -n {name} addr add {address} dev wire
ip -n {name} link set wire up
"""


def test_ipvlan_puts_pods_on_the_wire_with_the_mac_of_their_host(hand: Hand) -> None:
    """TTL is 64 on one host and across hosts, bare; only its own host a pod does not reach."""
    hand.sh("node1", ipvlan("a", "192.168.56.101/24") + ipvlan("b", "192.168.56.102/24"))
    hand.sh("node2", ipvlan("c", "192.168.56.103/24"))
    assert hand.ping("node1", "192.168.56.102", "a") == 64
    assert hand.ping("node1", "192.168.56.103", "a") == 64
    mac = hand.mac("node1", "eth0")
    assert hand.mac("node1", "wire", "a") == hand.mac("node1", "wire", "b") == mac
    wire = hand.wire("node1", "icmp", ping("192.168.56.103", "b"))
    assert lengths(wire) == [84, 84]
    assert wire.split()[1:4:2] == [mac, hand.mac("node2", "eth0") + ","]
    assert hand.ping("node1", NODE1, "a", SOON) is None
    assert hand.ping("node1", NODE2, "a") == 64


def test_namespace_is_born_forwarding_on_a_forwarding_host(hand: Hand) -> None:
    """It copies what the machine's first namespace has, whoever makes it: a pod is a router unless told not to."""
    read = "ip netns exec {} sysctl -n net.ipv4.ip_forward"
    hand.sh("node1", "sysctl -q -w net.ipv4.ip_forward=0; ip netns add before")
    assert hand.sh("node1", read.format("before")) == "0\n"
    hand.sh("node1", "sysctl -q -w net.ipv4.ip_forward=1; ip netns add after")
    assert hand.sh("node1", read.format("after")) == "1\n"
    assert hand.sh("node1", read.format("before")) == "0\n"


def reboot(hand: Hand, host: str) -> None:
    """Start a host anew, and forget the shell that ended with it."""
    hand.shells.pop(host).close()
    hand.shells.at.reboot(host)


def test_bridges_call_iptables_after_a_reboot_only_if_two_files_say_so(hand: Hand) -> None:
    """Without br_netfilter the setting does not exist; modules-load.d brings it back as 1, sysctl.d as it says."""
    missing = "sysctl: cannot stat /proc/sys/net/bridge/bridge-nf-call-iptables: No such file or directory"
    assert hand.refused("node1", f"sysctl -n {CALLS}") == missing
    hand.sh("node1", f"modprobe br_netfilter; sysctl -q -w {CALLS}=0")
    reboot(hand, "node1")
    assert hand.refused("node1", f"sysctl -n {CALLS}") == missing
    hand.sh("node1", "echo br_netfilter >/etc/modules-load.d/by-hand.conf")
    reboot(hand, "node1")
    assert hand.sh("node1", f"sysctl -n {CALLS}") == "1\n"
    hand.sh("node1", f"echo {CALLS}=0 >/etc/sysctl.d/by-hand.conf")
    reboot(hand, "node1")
    assert hand.sh("node1", f"sysctl -n {CALLS}") == "0\n"
    hand.sh("node1", "rm /etc/modules-load.d/by-hand.conf /etc/sysctl.d/by-hand.conf")
    reboot(hand, "node1")


def test_flannels_file_gives_subnets_and_the_port_of_udp(at: At, tmp_path: Path) -> None:
    """Nodes get a /20 each from SubnetMin on, and pods' packets cross bare behind UDP port 7890.

    The article's network, 10.0.0.0/8, has room for the one by which VMs are reached as well: here it is a part of it.
    """
    said = {"Network": "10.64.0.0/10", "SubnetLen": 20, "SubnetMin": "10.74.0.0", "SubnetMax": "10.99.0.0"}
    file = inventory(at, tmp_path, "node1", "node2", **said, Backend={"Type": "udp", "Port": 7890})
    at.into("net_conf", inventory=file)
    held = [at.sh(host, "ip -br -4 addr show dev cni0").split()[-1] for host in ("node1", "node2")]
    assert held == ["10.74.0.1/20", "10.74.16.1/20"]
    done = at.verify(mode="", hosts="node1,node2", inventory=file)
    assert done.code == 0, done.said
    assert "dport 7890" in at.sh("node1", "ip -d link show flannel.udp")
    at.into("teardown", inventory=file)
