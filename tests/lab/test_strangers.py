"""What is not podnet's is never touched, and what is podnet's goes without a trace."""

from pathlib import Path

import pytest

from tests.lab.at import At

STRANGERS = """
ip link add strange0 type bridge
ip link set strange0 up
ip addr add 172.31.0.1/24 dev strange0
ip netns add stranger
ip link add strange1 type veth peer name eth0 netns stranger
ip link set strange1 master strange0 up
ip -n stranger addr add 172.31.0.2/24 dev eth0
ip -n stranger link set eth0 up
ip link add vxlan7 type vxlan id 7 dev eth0 local 192.168.56.11 dstport 8472 nolearning
ip link set vxlan7 up
ip link add flannel.7 type vxlan id 8 dev eth0 local 192.168.56.11 dstport 8472 nolearning
bridge fdb append 02:00:00:00:07:07 dev vxlan7 dst 192.168.56.12
ip neigh add 172.31.7.7 lladdr 02:00:00:00:07:07 dev strange0 nud permanent
ip neigh add 192.168.56.77 lladdr 02:00:00:00:07:08 dev eth0 nud permanent
ip route add 172.30.0.0/16 via 192.168.56.12
ip route add 10.0.0.0/8 via 192.168.56.1 proto static
ip route add blackhole 172.29.0.0/16 metric 9
ip route add 10.245.0.0/24 nexthop via 192.168.56.12 nexthop via 192.168.56.13
ip rule add from 172.31.0.0/24 table 77
ip route add default via 192.168.56.12 table 77
iptables -N STRANGER
iptables -A STRANGER -s 172.31.0.0/24 -j ACCEPT
iptables -A FORWARD -j STRANGER
iptables -t nat -A POSTROUTING -s 172.31.0.0/24 -j MASQUERADE
iptables -A INPUT -p tcp --dport 9 -j REJECT
nft add table inet stranger
nft add chain inet stranger forward '{ type filter hook forward priority 10; }'
nft add rule inet stranger forward ip saddr 172.31.0.0/24 counter accept
sysctl -q -w net/ipv4/conf/strange0/rp_filter=1 net/ipv4/conf/strange0/forwarding=1 net/ipv4/conf/eth0/rp_filter=1
mkdir -p /etc/podnet
echo mine >/etc/podnet/note
"""

EVERYTHING = """
ip -d link show | grep -v '^ *bridge' | sed 's/ bridge_id.*//; s/@if.*//; s/ state .*//; s/_timer *[0-9.]*//g'
ip -4 -d addr show | grep inet; ip -4 -d route show table all | sed 's/ linkdown//'; ip rule
ip netns list | sed 's/ .*//'
ip neigh show nud permanent; bridge fdb show | grep dst; ip -n stranger addr show | grep 'inet '
iptables-save | grep -v '^[#:]'; nft list table inet stranger | sed 's/packets.*bytes [0-9]*//'
grep -r . /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_forward /proc/sys/net/bridge | sort
ls -A /etc/podnet; cat /etc/podnet/note
"""

CAPTURE_OF = (
    "vxlan7",
    "strange0",
    "flannel.7",
    "172.31.0",
    "02:00:00:00:07",
    "172.30.0.0/16",
    "10.0.0.0/8",
    "172.29.0.0/16",
    "10.245.0.0/24",
    "STRANGER",
    "dport 9",
    "note",
    "eth0/rp_filter",
)


def lines_of_strangers(text: str) -> list[str]:
    """Pick the lines that speak of the strangers. Forwarding is not among them: ip_forward=1 is for all devices."""
    return [
        line for line in text.splitlines() if "/forwarding" not in line and any(word in line for word in CAPTURE_OF)
    ]


def test_strangers_stay_and_teardown_leaves_nothing(at: At) -> None:
    """An apply changes no line of the strangers'; after a teardown the host is to the letter what it was before."""
    at.sh("node1", STRANGERS)
    before = at.sh("node1", EVERYTHING)
    assert at.apply().code == 0
    assert lines_of_strangers(at.sh("node1", EVERYTHING)) == lines_of_strangers(before)
    assert len(lines_of_strangers(before)) > len(CAPTURE_OF)
    assert at.apply().changed == set()
    assert at.verify().code == 0
    assert at.apply("deploys/teardown.py").changed == {"node1", "node2", "node3"}
    assert at.sh("node1", EVERYTHING).splitlines() == before.splitlines()
    assert at.apply("deploys/teardown.py").changed == set()


def test_device_of_a_strangers_that_has_our_name_is_left_alone(at: At) -> None:
    """A host that bears no mark of podnet's is refused while a `cni0` or a `flannel.1` of somebody else is there."""
    devices = "ip link add cni0 type bridge; ip addr add 172.28.0.1/24 dev cni0; "
    devices += "ip link add flannel.1 type vxlan id 1 dev eth0 local 192.168.56.13 dstport 8472"
    at.sh("node3", devices)
    before = at.sh("node3", "ip -d link; ip addr; iptables-save | grep -v '^#'")
    applied = at.apply()
    assert applied.code == 1
    assert applied.failed == {"node3"}
    for dev in ("cni0", "flannel.1"):
        assert f"the device {dev} exists on a host where nothing else is podnet's" in applied.log
    assert at.sh("node3", "ip -d link; ip addr; iptables-save | grep -v '^#'") == before
    assert at.apply("deploys/teardown.py").unchanged == {"node3"}
    at.sh("node3", "ip link del cni0; ip link del flannel.1")


def test_route_of_a_strangers_in_our_place_is_left_alone(at: At) -> None:
    """A host that bears no mark of podnet's is refused while somebody else's route leads to a peer's pods."""
    at.sh("node3", "ip route add 10.244.1.0/24 via 192.168.56.11 proto static")
    applied = at.apply()
    assert applied.code == 1
    assert applied.failed == {"node3"}
    assert "there is a route to 10.244.1.0/24 (proto static) on a host where nothing is podnet's" in applied.log
    assert "proto static" in at.sh("node3", "ip route show 10.244.1.0/24")
    at.sh("node3", "ip route del 10.244.1.0/24")
    at.apply("deploys/teardown.py")


def test_what_a_stranger_adds_to_our_bridge_stays(at: At) -> None:
    """His network, neighbour, port, and routes that the kernel holds beside ours, stay and disturb no verification."""
    assert at.apply().code == 0
    at.sh(
        "node1",
        "ip addr add 172.30.0.1/24 dev cni0; ip neigh add 10.244.1.77 lladdr 02:00:00:00:07:77 dev cni0 nud permanent;"
        "ip route add 172.29.0.0/24 via 10.244.1.77 dev cni0; ip link add his0 type veth peer name his1;"
        "ip link set his0 master cni0 up; ip link set his1 up;"
        "ip route add 10.244.3.0/24 tos 0x10 via 192.168.56.13; ip route add 10.244.3.0/24 via 192.168.56.13 metric 9",
    )
    assert at.apply().changed == set()
    done = at.verify()
    assert done.code == 0, done.said
    at.sh("node1", "ip route del 10.244.3.0/24 proto 77")
    assert at.apply().changed == {"node1"}
    seen = at.sh("node1", "ip addr show cni0; ip neigh; ip route; bridge link")
    for word in ("172.30.0.1/24", "10.244.1.77", "172.29.0.0/24", "his0", "tos 0x10", "metric 9"):
        assert word in seen
    at.sh("node1", "ip link del his0; ip route del 10.244.3.0/24 tos 0x10; ip route del 10.244.3.0/24 metric 9")
    assert at.apply("deploys/teardown.py").code == 0


def test_settings_go_back_to_what_they_were(at: At) -> None:
    """Whatever ip_forward, and each interface's forwarding, were before the first apply, they are after a teardown."""
    settings = "cd /proc/sys/net/ipv4; grep . ip_forward conf/*/forwarding conf/*/rp_filter"
    at.sh("node2", "sysctl -q -w net/ipv4/ip_forward=0 net/ipv4/conf/eth0/forwarding=1 net/ipv4/conf/lo/forwarding=0")
    before = at.sh("node2", settings)
    at.apply()
    at.sh("node2", "sysctl -q -w net/ipv4/ip_forward=0")  # a later hand's mistake, which the next apply mends
    at.apply()
    assert at.sh("node2", settings) != before
    at.apply("deploys/teardown.py")
    assert at.sh("node2", settings) == before
    assert at.try_sh("node2", "ls /etc/podnet").code != 0


def test_teardown_leaves_nothing_after_any_damage(at: At) -> None:
    """A teardown also removes what a broken host still has: devices without their pods, chains without their jumps."""
    before = at.sh("node3", "ip -o link | wc -l; iptables-save | grep -v '^[#:]' | grep -c PODNET || test $? = 1")
    at.apply()
    at.sh("node3", "ip netns del podnet-pod1; iptables -D FORWARD -j PODNET-FWD; ip link set flannel.1 down")
    assert at.apply("deploys/teardown.py").code == 0
    after = at.sh("node3", "ip -o link | wc -l; iptables-save | grep -v '^[#:]' | grep -c PODNET || test $? = 1")
    assert after == before
    assert "podnet" not in at.sh("node3", "ip netns; ip link; ip route; ls /etc")


@pytest.mark.parametrize("rule", ["-P FORWARD DROP", "-A FORWARD -j REJECT", "-I FORWARD -p icmp -j DROP"])
def test_pods_pass_whatever_the_firewall_says_already(at: At, rule: str) -> None:
    """A DROP policy, and a rule that refuses, are there before the apply; pods' packets are accepted first."""
    for node in ("node1", "node2", "node3"):
        at.sh(node, f"iptables {rule}")
    at.apply()
    reached = at.verify("podnet/verify/test_reach.py")
    at.apply("deploys/teardown.py")
    for node in ("node1", "node2", "node3"):
        at.sh(node, f"iptables {rule.replace('DROP', 'ACCEPT') if '-P' in rule else '-F FORWARD'}")
    assert reached.code == 0, reached.said


def test_pods_reach_the_outside_under_their_nodes_address(at: At, tmp_path: Path) -> None:
    """With `masquerade` the gateway, which knows no way to pods, answers; without it the answer has no way back."""
    ping = "ip netns exec podnet-pod1 ping -n -c 1 -w 2 192.168.56.1"
    assert at.apply().code == 0
    assert at.try_sh("node1", ping).code == 0
    bare = tmp_path / "bare.py"
    bare.write_text(
        f"import runpy\nhosts, data = runpy.run_path({str(at.inventory)!r})['nodes']\n"
        "nodes = (hosts, data | {'masquerade': False})\n"
    )
    assert at.apply(inventory=bare).changed == {"node1", "node2", "node3"}
    assert "PODNET" not in at.sh("node1", "iptables-save -t nat")
    assert at.try_sh("node1", ping).code == 1
    at.apply("deploys/teardown.py")
