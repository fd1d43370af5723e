"""What users of flannel and Calico trip on, and a deploy can prevent: each with its prevention, and without it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.at import At

NODES = ("node1", "node2", "node3")
CHANGED = "import runpy\nhosts, data = runpy.run_path({inventory!r})['nodes']\nnodes = (hosts, {{**data, {change}}})\n"


@pytest.fixture
def bare(at: At) -> Iterator[At]:
    """Return the lab without podnet, and leave it so."""
    yield at
    at.into("teardown")


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """Return the place of an inventory whose group data a test changes."""
    return tmp_path / "inventory.py"


def reaches(at: At, node: str, netns: str, to: str, *options: str) -> bool:
    """Ping from a namespace, or from the node itself; at most two packets."""
    inside = f"ip netns exec {netns} " if netns else ""
    return at.try_sh(node, f"{inside}ping -n -c 2 -i 0.2 -w 2 {' '.join(options)} {to}").code == 0


def everywhere(at: At, script: str) -> None:
    """Run a script on every node."""
    for node in NODES:
        at.sh(node, script)


def test_forward_drop_does_not_cut_pods_of_one_bridge(bare: At) -> None:
    """Docker's DROP meets bridged packets too, as br_netfilter is on; our accept is asked before (experiment 2)."""
    everywhere(bare, "iptables -P FORWARD DROP")
    bare.into("bridge")
    assert reaches(bare, "node1", "podnet-pod1", "10.244.1.3")
    bare.sh("node1", "iptables -D FORWARD -j PODNET-FWD")
    assert not reaches(bare, "node1", "podnet-pod1", "10.244.1.3")
    bare.sh("node1", "sysctl -q -w net/bridge/bridge-nf-call-iptables=0")
    assert reaches(bare, "node1", "podnet-pod1", "10.244.1.3")
    everywhere(bare, "iptables -P FORWARD ACCEPT")


@pytest.mark.parametrize("mode", ["vxlan", "host_gw"])
def test_pods_of_one_bridge_need_no_rule_where_bridges_do_not_ask(bare: At, changed: Path, mode: str) -> None:
    """The other world, `bridge_netfilter` False: bridged packets meet no rule, routed ones are accepted as before."""
    changed.write_text(CHANGED.format(inventory=str(bare.inventory), change="'bridge_netfilter': False"))
    everywhere(bare, "sysctl -q -w net/bridge/bridge-nf-call-iptables=1; iptables -P FORWARD DROP")
    bare.into(mode, inventory=changed)
    assert "= 0" in bare.sh("node1", "sysctl net.bridge.bridge-nf-call-iptables")
    done = bare.verify(mode=mode, inventory=changed)
    assert done.code == 0, done.said
    bare.sh("node1", "iptables -D FORWARD -j PODNET-FWD")
    assert reaches(bare, "node1", "podnet-pod1", "10.244.1.3")
    assert not reaches(bare, "node1", "podnet-pod1", "10.244.2.2")
    everywhere(bare, "iptables -P FORWARD ACCEPT")
    bare.into("teardown")
    assert "= 1" in bare.sh("node1", "sysctl net.bridge.bridge-nf-call-iptables")


def test_strict_rp_filter_does_not_cut_a_node_from_another_nodes_pods(bare: At, changed: Path) -> None:
    """A node speaks to pods from its underlay address through the tunnel, which is not the way back to it."""
    changed.write_text(CHANGED.format(inventory=str(bare.inventory), change="'masquerade': False"))
    bare.sh("node1", "sysctl -q -w net/ipv4/conf/all/rp_filter=1")
    bare.into("vxlan", inventory=changed)
    assert reaches(bare, "node2", "", "10.244.1.2", "-I", "192.168.56.12")
    bare.sh("node1", "sysctl -q -w net/ipv4/conf/flannel.1/rp_filter=1")
    assert not reaches(bare, "node2", "", "10.244.1.2", "-I", "192.168.56.12")
    bare.sh("node1", "sysctl -q -w net/ipv4/conf/all/rp_filter=0")


def test_direct_and_tunnelled_peers_agree_under_a_strict_rp_filter() -> None:
    """Both ends of every pair choose the same way, so that nothing comes back by another device than it left by."""
    lab = At("strict")
    lab.up("--hosts", "3", "--segments", "2")
    everywhere(lab, "sysctl -q -w net/ipv4/conf/all/rp_filter=1 net/ipv4/conf/eth0/rp_filter=1")
    lab.into("vxlan_direct_routing")
    done = lab.verify(mode="vxlan_direct_routing")
    assert done.code == 0, done.said
    lab.down()


def test_proxy_arp_answers_on_a_node_without_a_default_route(bare: At) -> None:
    """The kernel answers only for what it could route by another device; the deploy gives 169.254.1.1 such a route."""
    everywhere(bare, "ip route del default")
    bare.into("proxy_arp")
    done = bare.verify(mode="proxy_arp")
    assert done.code == 0, done.said
    bare.sh("node1", "ip route del 169.254.1.1; ip -n podnet-pod1 neigh flush dev eth0")
    assert not reaches(bare, "node1", "podnet-pod1", "10.244.1.3")
    everywhere(bare, "ip route add default via 192.168.56.1")


def test_a_pods_only_neighbour_is_the_hosts_end(bare: At) -> None:
    """Whomever a pod of proxy_arp talks to, it has asked for one address alone, and one MAC has answered."""
    bare.into("proxy_arp")
    assert reaches(bare, "node1", "podnet-pod1", "10.244.1.3")
    assert reaches(bare, "node1", "podnet-pod1", "10.244.2.2")
    known = bare.sh("node1", "ip -4 -n podnet-pod1 neigh show").split()
    assert known[:5] == ["169.254.1.1", "dev", "eth0", "lladdr", "ee:ee:ee:ee:ee:ee"]
    assert "ee:ee:ee:ee:ee:ee" in bare.sh("node1", "ip link show type veth")
    bare.sh("node1", "for dev in /proc/sys/net/ipv4/conf/cali*; do echo 0 >$dev/proxy_arp; done")
    bare.sh("node1", "ip -n podnet-pod1 neigh flush dev eth0")
    assert not reaches(bare, "node1", "podnet-pod1", "10.244.1.3")


def test_a_pod_reaches_itself_through_a_service(bare: At) -> None:
    """Its frame goes back by the port that it came from: hairpin."""
    bare.into("vxlan")
    bare.sh("node1", "iptables -t nat -A PREROUTING -d 10.99.0.1 -j DNAT --to-destination 10.244.1.2")
    bare.sh("node1", "iptables -t nat -I POSTROUTING -s 10.244.1.2 -d 10.244.1.2 -j MASQUERADE")
    assert reaches(bare, "node1", "podnet-pod1", "10.99.0.1")
    bare.sh("node1", "for port in $(ls /sys/class/net/cni0/brif); do bridge link set dev $port hairpin off; done")
    bare.sh(
        "node1", "for port in $(ls /sys/class/net/cni0/brif); do cat /sys/class/net/cni0/brif/$port/hairpin_mode; done"
    )
    assert not reaches(bare, "node1", "podnet-pod1", "10.99.0.1")
    bare.sh("node1", "iptables -t nat -D PREROUTING -d 10.99.0.1 -j DNAT --to-destination 10.244.1.2")
    bare.sh("node1", "iptables -t nat -D POSTROUTING -s 10.244.1.2 -d 10.244.1.2 -j MASQUERADE")


def test_pods_do_not_reach_their_own_node_by_macvlan(bare: At) -> None:
    """The documented price: a macvlan device and its parent never talk; the parent of another node answers."""
    bare.into("macvlan")
    bare.sh("node1", "ip -n podnet-pod1 route add 192.168.56.0/24 dev eth0")
    bare.sh("node2", "ip route add 10.244.1.2 dev eth0")
    assert not reaches(bare, "node1", "podnet-pod1", "192.168.56.11")
    assert reaches(bare, "node1", "podnet-pod1", "192.168.56.12")
    bare.sh("node2", "ip route del 10.244.1.2 dev eth0")
