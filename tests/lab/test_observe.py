"""Clusters that flannel and Calico set up are looked at: what works passes, what is broken is named."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs_blocks import blocks, matches, shape
from tests.lab.at import CLONE, At, Done, run
from tests.lab.strangers_state import STRANGERS, calico_mac, flannel_mac, flannel_peer, inventory, observe, standing

TABLES = ("podnet/verify/test_observe.py", "-k", "not reaches")
"""Without pings, which wait for replies that a break keeps back."""


class Place(NamedTuple):
    """A stranger's cluster on a lab: the lab, the inventory, and the mode that it is like."""

    at: At
    inventory: Path
    mode: str

    def observe(self, *options: str, mode: str = "") -> Done:
        """Observe it as a user does."""
        return observe(self.inventory, mode or self.mode, *options)

    def tell(self, changes: str) -> Path:
        """Write another inventory of it, whose hosts' data a line of Python changes."""
        path = self.inventory.with_name("told.py")
        path.write_text(f"{self.inventory.read_text()}\nfor _name, _data in nodes[0]:\n    {changes}\n")
        return path


def place(name: str) -> Iterator[Place]:
    """Set a cluster up, and take it away."""
    stranger = STRANGERS[name]
    with standing(stranger, "obs") as at:
        yield Place(at, inventory(at, stranger), stranger.mode)


@pytest.fixture(scope="module")
def flannel() -> Iterator[Place]:
    """Return flannel's cluster by vxlan."""
    yield from place("flannel-vxlan")


@pytest.fixture(scope="module")
def calico() -> Iterator[Place]:
    """Return Calico's cluster by vxlan."""
    yield from place("calico-vxlan")


TOLD = {
    "flannel-vxlan": {"routes to peers have proto boot; podnet's have proto 77"},
    "flannel-host-gw": {"routes to peers have proto boot; podnet's have proto 77"},
    "calico-vxlan": {
        "routes to peers have proto boot; podnet's have proto 154",
        "routes to peers have mtu 1450; podnet's have no metrics",
        "pods hang on cables of their own, not on a bridge: between those of one node the TTL is 63",
    },
    "calico-bgp": {
        "routes to peers have proto bird; podnet's have proto 77",
        "routes to peers have metric 1024; podnet's have metric 0",
    },
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_healthy_cluster_of_strangers_passes(name: str) -> None:
    """All that is asked of packets holds; in what the cluster is otherwise is told, and nothing besides."""
    for healthy in place(name):
        done = healthy.observe()
        assert done.code == 0, done.said
        assert "failed" not in done.out
        assert "skipped" not in done.out
        _, _, told = done.out.partition("what podnet would have otherwise")
        lines = [line for line in told.splitlines() if line.startswith("node1, node2, node3: ")]
        assert {line.split(": ", 2)[2].partition("; look: ")[0] for line in lines} == TOLD[name]
        assert "64 " in told


class Break(NamedTuple):
    """What is broken, on which node, what mends it, and the words that must be said of it."""

    node: str
    breaks: str
    mends: str
    said: str


SECOND, THIRD = flannel_peer(2), flannel_peer(3)
OURS = "neighbour: 10.244.2.0 on flannel.1 is said to have the MAC"
VXLAN = "type vxlan id {} dev eth0 local 192.168.56.13 dstport {} nolearning"
REMAKE = "\n".join(
    [
        "ip link del flannel.1",
        f"ip link add flannel.1 address {flannel_mac(3)} mtu 1450 {VXLAN}",
        "ip addr add 10.244.3.0/32 dev flannel.1",
        "ip link set flannel.1 up",
        *flannel_peer(1),
        *flannel_peer(2),
    ]
)
BREAKS = {
    "wrong FDB target": Break(
        "node1",
        f"bridge fdb replace {flannel_mac(2)} dev flannel.1 dst 192.168.56.13 self permanent",
        SECOND[1],
        f"node1: FDB: {flannel_mac(2)} (node2) on flannel.1 has dst 192.168.56.13; expected dst 192.168.56.12; "
        "look: bridge fdb show dev flannel.1",
    ),
    "stale VTEP MAC": Break(
        "node1",
        "ip neigh replace 10.244.2.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent",
        SECOND[0],
        f"node1: {OURS} 02:00:00:00:00:99; node2's flannel.1 has {flannel_mac(2)}; "
        "look: ip neigh show 10.244.2.0 dev flannel.1; on node2: ip link show dev flannel.1",
    ),
    "changed VTEP MAC": Break(
        "node2",
        "ip link set flannel.1 address 02:00:00:00:00:98\n" + "\n".join(flannel_peer(1) + THIRD),
        f"ip link set flannel.1 address {flannel_mac(2)}\n" + "\n".join(flannel_peer(1) + THIRD),
        f"node3: {OURS} {flannel_mac(2)}; node2's flannel.1 has 02:00:00:00:00:98",
    ),
    "missing neighbour": Break(
        "node1",
        "ip neigh del 10.244.2.0 dev flannel.1",
        SECOND[0],
        "node1: neighbour: expected the MAC of 10.244.2.0 (node2) on flannel.1, saw none",
    ),
    "missing route": Break(
        "node1",
        "ip route del 10.244.2.0/24",
        SECOND[2],
        "node1: route: expected a route to node2's 10.244.2.0/24 by flannel.1, the default route takes its packets; "
        "look: ip route get 10.244.2.1",
    ),
    "route on another device": Break(
        "node1",
        "ip route replace 10.244.2.0/24 via 192.168.56.12 dev eth0",
        SECOND[2],
        "node1: route: 10.244.2.0/24 of node2 leads by eth0; expected by flannel.1",
    ),
    "MTU on one side": Break(
        "node2",
        "ip link set flannel.1 mtu 1400",
        "ip link set flannel.1 mtu 1450",
        "node2: link: flannel.1 has MTU 1400, while node1 has 1450, node3 has 1450: all ends of a tunnel need the same",
    ),
    "MTU too large": Break(
        "node2",
        "ip link set eth0 mtu 1400",
        "ip link set eth0 mtu 1500; ip link set flannel.1 mtu 1450",
        "node2: link: eth0 has MTU 1400, and `underlay_mtu` says 1500",
    ),
    "forwarding off": Break(
        "node3",
        "sysctl -q -w net.ipv4.ip_forward=0",
        "sysctl -q -w net.ipv4.ip_forward=1",
        "node3: sysctl: net/ipv4/ip_forward is 0; expected 1: pods' packets are not forwarded; "
        "look: sysctl net/ipv4/ip_forward",
    ),
    "forwarding off on one device": Break(
        "node3",
        "sysctl -q -w net/ipv4/conf/cni0/forwarding=0",
        "sysctl -q -w net/ipv4/conf/cni0/forwarding=1",
        "node3: sysctl: net/ipv4/conf/cni0/forwarding is 0; expected 1",
    ),
    "stale peer": Break(
        "node1",
        "ip route add 10.244.9.0/24 via 10.244.9.0 dev flannel.1 onlink",
        "ip route del 10.244.9.0/24",
        "node1: route: 10.244.9.0/24 via 10.244.9.0 dev flannel.1 leads to no node of the inventory: a stale peer; "
        "look: ip -d route show 10.244.9.0/24",
    ),
    "wrong VNI": Break(
        "node3",
        REMAKE.format(2, 8472),
        REMAKE.format(1, 8472),
        "node3: link: flannel.1 has VNI 2; expected VNI 1; look: ip -d link show dev flannel.1",
    ),
    "wrong port": Break(
        "node3",
        REMAKE.format(1, 4789),
        REMAKE.format(1, 8472),
        "node3: link: flannel.1 has port 4789; expected port 8472",
    ),
    "a pod behind another peer": Break(
        "node1",
        "ip route add 10.244.2.2/32 via 10.244.3.0 dev flannel.1 onlink",
        "ip route del 10.244.2.2/32",
        "node1: route: 10.244.2.2/32 of node2 has the next hop 10.244.3.0, which is node3's; expected one of node2's",
    ),
    "UDP blocked": Break(
        "node2",
        "iptables -A INPUT -p udp --dport 8472 -j DROP",
        "iptables -D INPUT -p udp --dport 8472 -j DROP",
        "node2: firewall: INPUT drops the tunnel's packets from node1, node3 (192.168.56.11 to 192.168.56.12, "
        "UDP port 8472): -p udp -m udp --dport 8472 -j DROP; look: iptables-save -t filter",
    ),
    "dropped before the route": Break(
        "node1",
        "iptables -t raw -A PREROUTING -s 10.244.2.0/24 -j DROP",
        "iptables -t raw -F PREROUTING",
        "node1: firewall: PREROUTING drops what comes from pods of node2 (10.244.2.2 to 10.244.1.2): "
        "-s 10.244.2.0/24 -j DROP; look: iptables-save -t raw",
    ),
    "dropped by nft before the route": Break(
        "node1",
        "nft 'add table inet early; add chain inet early pre { type filter hook prerouting priority -300; }; "
        "add rule inet early pre udp dport 8472 drop'",
        "nft delete table inet early",
        "node1: firewall: pre drops the tunnel's packets from node2, node3 (192.168.56.12 to 192.168.56.11, ",
    ),
    "no accept": Break(
        "node2",
        "iptables -F FLANNEL-FWD",
        "iptables -A FLANNEL-FWD -s 10.244.0.0/16 -j ACCEPT; iptables -A FLANNEL-FWD -d 10.244.0.0/16 -j ACCEPT",
        "node2: firewall: FORWARD drops what goes to pods of node1 (10.244.2.2 to 10.244.1.2): "
        "the policy of FORWARD, drop; look: iptables-save -t filter",
    ),
    "no masquerade": Break(
        "node2",
        "iptables -t nat -D POSTROUTING 1",
        "iptables -t nat -A POSTROUTING -j FLANNEL-POSTRTG",
        "node2: firewall: expected 10.244.2.2 to be masqueraded on its way outside, saw no rule that does",
    ),
    "masqueraded pods": Break(
        "node2",
        "iptables -t nat -I POSTROUTING -o flannel.1 -j MASQUERADE",
        "iptables -t nat -D POSTROUTING 1",
        "node2: firewall: what goes to pods of node1 is masqueraded: they do not see each other's address",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_named(flannel: Place, name: str) -> None:
    """The message has the host, the table, the entry as it is and as it should be, and the command that shows it."""
    broken = BREAKS[name]
    flannel.at.sh(broken.node, broken.breaks)
    done = flannel.observe(*TABLES)
    flannel.at.sh(broken.node, broken.mends)
    assert done.code == 1, done.said
    assert broken.said in done.out


UNSEEN = {
    "TCP is dropped": (
        "iptables -I FORWARD -p tcp -d 10.244.2.0/24 -j DROP",
        "iptables -D FORWARD 1",
        "node1/pod1 -> node2/pod1: TCP: expected 64 bytes there and back",
    ),
    "pods are masqueraded": (
        BREAKS["masqueraded pods"].breaks,
        BREAKS["masqueraded pods"].mends,
        "node2/pod1 -> node1/pod1: TCP: expected to be seen as 10.244.2.2, was seen as 10.244.2.",
    ),
}
"""What pings do not show: on node2, what breaks it and mends it, and what is said."""


@pytest.mark.parametrize("name", UNSEEN)
def test_what_pings_do_not_show_is_shown_by_tcp(flannel: Place, name: str) -> None:
    """Pods talk also where podnet has neither named nor marked them."""
    breaks, mends, said = UNSEEN[name]
    flannel.at.sh("node2", breaks)
    done = flannel.observe("podnet/verify/test_transfer.py")
    flannel.at.sh("node2", mends)
    assert done.code == 1, done.said
    assert said in done.out


def test_what_was_mended_is_well(flannel: Place) -> None:
    """The breaks above, and nothing else, made the run fail."""
    done = flannel.observe()
    assert done.code == 0, done.said


def test_the_report_tells_it_too(flannel: Place, tmp_path: Path) -> None:
    """Its page has what podnet would have otherwise, every pair of pods, and what the nodes hold."""
    done = flannel.observe(f"--report={tmp_path}")
    assert done.code == 0, done.said
    page = (tmp_path / "report.html").read_text()
    assert "routes to peers have proto boot; podnet&#39;s have proto 77" in page
    assert "eth0 192.168.56.12/24 MTU 1500" in page
    assert page.count("<td title=") == 36
    assert 'name="difference"' in (tmp_path / "junit.xml").read_text()


@pytest.mark.parametrize("option", ["--disruptive", "--outside=node3"])
def test_what_says_nothing_of_strangers_is_refused(flannel: Place, option: str) -> None:
    """Nothing is changed there, and what podnet alone makes or promises is not looked for."""
    done = flannel.observe(option)
    assert done.code == 4
    assert f"and {option.partition('=')[0]} " in done.err


def test_a_rule_that_leads_around_the_main_table_is_named(flannel: Place) -> None:
    """To a table of its own, which has another way to a peer's pods; one for marked packets only is told of."""
    other = "ip route add 10.244.1.0/24 via 192.168.56.13 dev eth0 table 9"
    flannel.at.sh("node2", f"{other}; ip rule add to 10.244.1.0/24 fwmark 7 lookup 9 prio 98")
    marked = flannel.observe(*TABLES)
    flannel.at.sh("node2", "ip rule add to 10.244.1.0/24 lookup 9 prio 99")
    done = flannel.observe(*TABLES)
    flannel.at.sh("node2", "ip rule del prio 98; ip rule del prio 99; ip route flush table 9")
    assert marked.code == 0, marked.said
    says = "node2: rule: what goes to pods of node1 goes via 192.168.56.13 dev eth0"
    assert f"{says} under conditions that are not read here: rule add" in marked.out
    assert f"{says}, and by the main table goes via 10.244.1.0 dev flannel.1: rule add" in done.out
    assert "test_no_rule_leads_around_the_main_table[node2]" in done.out
    assert flannel.observe(*TABLES).code == 0


def test_the_rules_of_wg_quick_are_no_difference(flannel: Place) -> None:
    """The main table comes first for whatever it has another route to than the default one."""
    flannel.at.sh(
        "node1",
        "ip rule add not fwmark 0xca6c lookup 51820 pref 32765\n"
        "ip rule add lookup main suppress_prefixlength 0 pref 32764\n"
        "ip route add default dev eth0 table 51820",
    )
    done = flannel.observe(*TABLES)
    flannel.at.sh("node1", "ip rule del pref 32765; ip rule del pref 32764; ip route flush table 51820")
    assert done.code == 0, done.said
    assert "rule add" not in done.out


MORE = """
ip link add cilium_vxlan type vxlan external dstport 8473
ip link add vethA type veth peer name vethB
ip link set vethA up; ip link set vethB up
ip addr add 198.18.0.1 peer 198.18.0.2/32 dev vethA
ip addr add 192.168.56.211/32 dev eth0 valid_lft 3000 preferred_lft 3000 noprefixroute
ip route add 203.0.113.0/24 nexthop via 192.168.56.11 nexthop via 192.168.56.12
ip nexthop add id 7 via 192.168.56.12 dev eth0; ip route add 203.0.114.0/24 nhid 7
ip route add unreachable 203.0.116.0/24; ip route add throw 203.0.121.0/24 table 100
ip route add 203.0.118.0/24 dev eth0 table 100 mtu lock 1400 advmss 1200
ip rule add ipproto tcp dport 80 lookup 100 prio 52; ip rule add lookup main suppress_prefixlength 0 prio 64
ip rule add from 203.0.113.0/24 goto 32766 prio 57; ip rule add oif vethB blackhole prio 60
ip neigh add proxy 10.1.1.1 dev eth0
bridge fdb add 02:00:00:00:00:ac dev cilium_vxlan dst 192.168.56.12 src_vni 100 vni 200 port 99
nft -f - <<'NFT'
table inet more {
  set some { type ipv4_addr; flags interval; elements = { 10.9.0.0/16, 10.8.0.1-10.8.0.9 }; }
  chain most { type filter hook forward priority 10; policy accept;
    ct state vmap { established : accept, related : accept, invalid : drop }
    ip saddr @some drop
    ip saddr 10.8.0.1-10.8.0.9 drop
    iifname { "a", "b*" } oifname != "c" drop
    fib daddr type local drop
    limit rate over 100000/second drop
  }
}
NFT
"""
"""What a host may have beside its cluster: devices, routes, rules and filters that take none of pods' packets."""
LESS = """
nft delete table inet more
ip neigh del proxy 10.1.1.1 dev eth0
for prio in 52 57 60 64; do ip rule del prio $prio; done
ip route flush table 100
for to in 113 114 116; do ip route del 203.0.$to.0/24; done
ip nexthop del id 7
ip addr del 192.168.56.211/32 dev eth0
ip link del vethA; ip link del cilium_vxlan
"""


def test_what_else_a_host_has_is_no_fault(flannel: Place) -> None:
    """All of it is read, whoever made it; what might concern the pods is told."""
    flannel.at.sh("node3", MORE)
    done = flannel.observe()
    flannel.at.sh("node3", LESS)
    assert done.code == 0, done.said
    told = "node3: firewall: most may drop what goes to pods of node1, by conditions that are not read here: "
    assert told in done.out
    assert "rule add priority 60 protocol unspec, action blackhole, oif vethB" in done.out


def test_captures_show_both_ends_of_a_strangers_pair(flannel: Place) -> None:
    """On the device that leads to the pod, on the tunnel and on the uplink, of the first pair that fails."""
    flannel.at.sh("node2", "iptables -t raw -I PREROUTING -i flannel.1 -s 10.244.1.0/24 -j DROP")
    done = flannel.observe("--captures", "podnet/verify/test_reach.py")
    flannel.at.sh("node2", "iptables -t raw -D PREROUTING -i flannel.1 -s 10.244.1.0/24 -j DROP")
    assert done.code == 1, done.said
    sender, _, receiver = done.out.partition("as node1 sees it:")[2].partition("as node2 sees it:")
    for seen in (sender, receiver):
        assert [dev for dev in ("cni0:", "flannel.1:", "eth0:") if f"    {dev}\n" in seen] == [
            "cni0:",
            "flannel.1:",
            "eth0:",
        ]
    cable, _, tunnel = receiver.partition("eth0:")[0].partition("flannel.1:")
    assert "ICMP echo request" not in cable
    assert "10.244.1.2 > 10.244.2.2: ICMP echo request" in tunnel


def test_what_breaks_nothing_is_told_and_passes(flannel: Place) -> None:
    """Left over neighbours and FDB entries, another metric, a strict rp_filter: told, not failed for."""
    flannel.at.sh(
        "node1",
        "ip neigh add 10.244.9.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent\n"
        "bridge fdb add 02:00:00:00:00:97 dev flannel.1 dst 192.168.56.19\n"
        "ip route del 10.244.2.0/24; ip route add 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink metric 1024\n"
        "sysctl -q -w net/ipv4/conf/flannel.1/rp_filter=1 net/ipv4/conf/all/rp_filter=1",
    )
    done = flannel.observe(*TABLES)
    flannel.at.sh(
        "node1",
        "ip neigh del 10.244.9.0 dev flannel.1; bridge fdb del 02:00:00:00:00:97 dev flannel.1\n"
        f"ip route del 10.244.2.0/24; {SECOND[2]}\n"
        "sysctl -q -w net/ipv4/conf/flannel.1/rp_filter=0 net/ipv4/conf/all/rp_filter=0",
    )
    assert done.code == 0, done.said
    for said in (
        "node1: neighbour: 10.244.9.0 on flannel.1 is the next hop of no route: left over",
        "node1: FDB: 02:00:00:00:00:97 on flannel.1, dst 192.168.56.19, is the MAC of no neighbour: left over",
        "node1: route: routes to peers have metric 1024; podnet's have metric 0",
        "node1: sysctl: rp_filter is strict (1) on flannel.1",
    ):
        assert said in done.out


def test_a_pod_that_cannot_be_entered_is_pinged_from_nodes(flannel: Place) -> None:
    """Its address is found in no namespace; that is said, it is no source of pings, and nodes try to reach it."""
    told = flannel.tell("_data['pods'] = {'pod1': f'10.244.{_name[-1]}.2', 'far': f'10.244.{_name[-1]}.77'}")
    done = flannel._replace(inventory=told).observe()
    assert done.code == 1
    assert "node2: pod: no namespace of this host holds far's 10.244.2.77: it is only pinged from the nodes" in done.out
    assert "node1 -> 10.244.2.77: expected a reply, saw none" in done.out
    assert "far:" not in done.out
    for node in ("node1", "node2", "node3"):
        flannel.at.sh(node, f"ip addr add 10.244.{node[-1]}.77/32 dev cni0")
    done = flannel._replace(inventory=told).observe()
    for node in ("node1", "node2", "node3"):
        flannel.at.sh(node, f"ip addr del 10.244.{node[-1]}.77/32 dev cni0")
    assert done.code == 0, done.said


def test_a_cluster_whose_pods_nobody_names_is_observed_too(flannel: Place) -> None:
    """Tables are compared, and nodes ping the addresses that peers have for their pods."""
    told = flannel._replace(inventory=flannel.tell("_data['pods'] = 0"))
    assert told.observe().code == 0
    flannel.at.sh("node2", "iptables -A INPUT -p icmp -j DROP")
    done = told.observe()
    flannel.at.sh("node2", "iptables -D INPUT -p icmp -j DROP")
    assert done.code == 1
    assert "node1 -> 10.244.2.1: expected a reply, saw none" in done.out


def test_another_mode_than_the_clusters_is_told_from_it(flannel: Place) -> None:
    """Somebody who takes vxlan for host-gw learns by which device the routes lead."""
    done = flannel.observe(*TABLES, mode="host_gw")
    assert done.code == 1
    assert "node1: route: 10.244.2.0/24 of node2 leads by flannel.1; expected by eth0" in done.out


BREAKS_OF_CALICO = {
    "a pod's route is gone": Break(
        "node1",
        "ip route del 10.244.1.66",
        'ip route add 10.244.1.66 dev $(ip -j neigh show 10.244.1.66 | sed \'s/.*"dev":"\\([^"]*\\).*/\\1/\')'
        " scope link metric 1024",
        "node1: route: expected a route to its own pod 10.244.1.66, saw blackhole 10.244.1.64/26; "
        "look: ip route get 10.244.1.66",
    ),
    "a pod was made anew": Break(
        "node1",
        "ip neigh replace 10.244.1.66 lladdr 02:00:00:00:00:99 dev"
        ' $(ip -j neigh show 10.244.1.66 | sed \'s/.*"dev":"\\([^"]*\\).*/\\1/\') nud permanent',
        "ip neigh replace 10.244.1.66 lladdr 5e:21:3f:01:01:8c dev"
        ' $(ip -j neigh show 10.244.1.66 | sed \'s/.*"dev":"\\([^"]*\\).*/\\1/\') nud permanent',
        "is said to have the MAC 02:00:00:00:00:99, which the pod has not",
    ),
    "nobody answers pods": Break(
        "node2",
        "for dev in /proc/sys/net/ipv4/conf/cali*; do echo 0 >$dev/proxy_arp; done",
        "for dev in /proc/sys/net/ipv4/conf/cali*; do echo 1 >$dev/proxy_arp; done",
        "nobody answers for 169.254.1.1, by which pod1 (10.244.2.66) sends",
    ),
    "another host's block": Break(
        "node1",
        f"bridge fdb replace {calico_mac(3)} dev vxlan.calico dst 192.168.56.12 self permanent",
        f"bridge fdb replace {calico_mac(3)} dev vxlan.calico dst 192.168.56.13 self permanent",
        f"node1: FDB: {calico_mac(3)} (node3) on vxlan.calico has dst 192.168.56.12; expected dst 192.168.56.13",
    ),
}


@pytest.mark.parametrize("name", BREAKS_OF_CALICO)
def test_what_is_broken_in_calicos_is_named(calico: Place, name: str) -> None:
    """Pods on cables of their own have routes, neighbours and a gateway that nobody has: each is looked at."""
    broken = BREAKS_OF_CALICO[name]
    calico.at.sh(broken.node, broken.breaks)
    done = calico.observe(*TABLES)
    calico.at.sh(broken.node, broken.mends)
    assert done.code == 1, done.said
    assert broken.said in done.out
    assert calico.observe(*TABLES).code == 0


PAGE = CLONE / "docs" / "observe.md"
REACH = (
    "\n_lab = dict(__import__('runpy').run_path({!r})['nodes'][0])\n"
    "for _name, _data in nodes[0]:\n"
    "    _data.update({{key: value for key, value in _lab[_name].items() if key.startswith('ssh_')}})\n"
)
"""What an inventory of the page's needs to reach a lab's hosts."""


def test_the_page_on_it_shows_what_one_sees(flannel: Place) -> None:
    """Its inventory and its command, on hosts as flannel leaves them: what is printed, and what after the break."""
    (written,) = blocks(PAGE, "python")
    (typed,) = blocks(PAGE, "sh")
    healthy, broken = blocks(PAGE, "text")
    mine = flannel.inventory.with_name("mine.py")
    mine.write_text(written + REACH.format(str(flannel.at.inventory)))
    words = [word.replace("inventories/mine.py", str(mine)) for word in typed.split()]
    assert shown(healthy, run(*words).out)
    (breaking,) = re.findall(r"`(bridge fdb [^`]*)`", PAGE.read_text().replace("\n", " "))
    flannel.at.sh("node2", breaking)
    done = run(*words)
    flannel.at.sh("node2", flannel_peer(1)[1])
    assert done.code == 1
    assert shown(broken, done.out)


def shown(block: str, out: str) -> bool:
    """Compare a block of the page's with what was printed, but for numbers and the width of columns."""
    return matches(*(shape([" ".join(line.split()) for line in text.splitlines()]) for text in (block, out)))
