"""Whatever is broken by hand on one host is found and named by the verification, and mended by the next apply."""

import pytest

from podnet import pods
from tests.lab.at import At

VETH = pods.cable("podnet-pod1", 1450).dev
MAC3 = "$(bridge fdb show dev flannel.1 | sed -n 's/ dst 192.168.56.13.*//p')"
MAKE_VTEP = "ip link del flannel.1; ip link add flannel.1 mtu 1450 type vxlan dev eth0 local 192.168.56.12 nolearning"

DAMAGES = {
    "the tunnel is deleted": ("ip link del flannel.1", "missing link: link add flannel.1"),
    "the bridge is deleted": ("ip link del cni0", "missing link: link add cni0"),
    "the tunnel's MTU is changed": (
        "ip link set flannel.1 mtu 1400",
        "wrong link: flannel.1: mtu is 1400, and should be 1450",
    ),
    "the bridge's MTU is changed": ("ip link set cni0 mtu 1500", "wrong link: cni0: mtu is 1500, and should be 1450"),
    "the VTEP's MAC is changed": ("ip link set flannel.1 address 02:00:00:00:00:99", "02:00:00:00:00:99"),
    "the tunnel goes down and up": ("ip link set flannel.1 down; ip link set flannel.1 up", "missing neighbour"),
    "the tunnel is down": ("ip link set flannel.1 down", "up is off, and should be on"),
    "the bridge is down": ("ip link set cni0 down", "up is off, and should be on"),
    "the tunnel has another VNI": (
        f"{MAKE_VTEP} id 99 dstport 8472; ip link set flannel.1 up",
        "vni is 99, and should be 1",
    ),
    "the tunnel has another port": (
        f"{MAKE_VTEP} id 1 dstport 4789; ip link set flannel.1 up",
        "port is 4789, and should be 8472",
    ),
    "the tunnel learns": ("ip link set flannel.1 type vxlan learning", "learning is on, and should be off"),
    "an address is deleted": ("ip addr del 10.244.2.1/24 dev cni0", "missing address: addr replace 10.244.2.1/24"),
    "an address is another": (
        "ip addr del 10.244.2.1/24 dev cni0; ip addr add 10.244.2.99/24 dev cni0",
        "extra address: addr replace 10.244.2.99/24",
    ),
    "an address is first of its subnet and the kernel drops the others": (
        (
            "sysctl -q -w net.ipv4.conf.all.promote_secondaries=0 net.ipv4.conf.cni0.promote_secondaries=0;"
            "ip addr del 10.244.2.1/24 dev cni0; ip addr add 10.244.2.99/24 dev cni0;"
            "ip addr add 10.244.2.1/24 dev cni0"
        ),
        "extra address: addr replace 10.244.2.99/24",
    ),
    "the tunnel has an address more": ("ip addr add 10.244.77.0/32 dev flannel.1", "extra address"),
    "a route is deleted": ("ip route del 10.244.3.0/24", "missing route: route replace 10.244.3.0/24"),
    "a route leads elsewhere": (
        "ip route replace 10.244.3.0/24 via 192.168.56.13",
        "wrong route: 10.244.3.0/24: dev is eth0, and should be flannel.1; via is 192.168.56.13, and should be",
    ),
    "a neighbour is deleted": ("ip neigh del 10.244.3.0 dev flannel.1", "missing neighbour: neigh replace 10.244.3.0"),
    "a neighbour has another MAC": (
        "ip neigh replace 10.244.3.0 lladdr 02:00:00:00:00:98 dev flannel.1 nud permanent",
        "wrong neighbour: 10.244.3.0 dev flannel.1: mac is 02:00:00:00:00:98",
    ),
    "a neighbour is not permanent": (
        "ip neigh replace 10.244.3.0 lladdr 02:00:00:00:00:98 dev flannel.1 nud reachable",
        "permanent is off, and should be on",
    ),
    "an FDB entry is deleted": (f"bridge fdb del {MAC3} dev flannel.1", "missing FDB entry: fdb replace"),
    "an FDB entry names another host": (
        f"bridge fdb replace {MAC3} dev flannel.1 dst 192.168.56.99",
        "wrong FDB entry",
    ),
    "an FDB entry has another port": (
        f"bridge fdb replace {MAC3} dev flannel.1 dst 192.168.56.13 port 4789",
        "to is 192.168.56.13 port 4789, and should be 192.168.56.13",
    ),
    "frames are flooded": (
        "bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 192.168.56.11",
        "extra FDB entry: fdb replace 00:00:00:00:00:00",
    ),
    "a sysctl is changed": (
        "sysctl -q -w net/ipv4/conf/flannel.1/rp_filter=1",
        "wrong sysctl: net/ipv4/conf/flannel.1/rp_filter: value is 1, and should be 2",
    ),
    "bridged packets no longer meet iptables": (
        "sysctl -q -w net/bridge/bridge-nf-call-iptables=0",
        "wrong sysctl: net/bridge/bridge-nf-call-iptables: value is 0, and should be 1",
    ),
    "the host no longer forwards": (
        "sysctl -q -w net/ipv4/ip_forward=0",
        "wrong sysctl: net/ipv4/ip_forward: value is 0, and should be 1",
    ),
    "one interface no longer forwards": (
        "sysctl -q -w net/ipv4/conf/cni0/forwarding=0",
        "wrong sysctl: net/ipv4/conf/cni0/forwarding: value is 0, and should be 1",
    ),
    "a firewall rule is deleted": ("iptables -D PODNET-FWD 1", "wrong firewall chain: filter PODNET-FWD"),
    "a firewall rule is added": ("iptables -I PODNET-FWD -j DROP", "wrong firewall chain: filter PODNET-FWD"),
    "a masquerading rule is deleted": (
        "iptables -t nat -D PODNET-POSTRTG 5",
        "wrong firewall chain: nat PODNET-POSTRTG",
    ),
    "the jump to a chain is deleted": ("iptables -D FORWARD -j PODNET-FWD", "jumps is none, and should be FORWARD 1"),
    "the jump comes twice": ("iptables -A FORWARD -j PODNET-FWD", "jumps is FORWARD 1, FORWARD 2, and should be"),
    "the tunnel has another TTL": ("ip link set flannel.1 type vxlan ttl 1", "options is 'ttl 1', and should be none"),
    "the tunnel sets DF": ("ip link set flannel.1 type vxlan df set", "options is 'df set', and should be none"),
    "the tunnel has options that nobody asked for": (
        f"{MAKE_VTEP} id 1 dstport 8472 gbp l2miss rsc tos 4; ip link set flannel.1 up",
        "options is 'tos",
    ),
    "the tunnel has another name": (
        "ip link set flannel.1 down; ip link set flannel.1 name fl9; ip link set fl9 up",
        "extra link: link add fl9",
    ),
    "the bridge has a spanning tree": ("ip link set cni0 type bridge stp_state 1", "stp is on, and should be off"),
    "the bridge has no ARP": ("ip link set cni0 arp off", "wrong link: cni0: arp is off, and should be on"),
    "a pod has no ARP": ("ip -n podnet-pod1 link set eth0 arp off", "pod podnet-pod1: wrong link: eth0: arp is off"),
    "a pod believes in another gateway": (
        "ip -n podnet-pod1 neigh replace 10.244.2.1 lladdr 02:00:00:00:00:97 dev eth0 nud permanent",
        "pod podnet-pod1: extra neighbour: neigh replace 10.244.2.1 lladdr 02:00:00:00:00:97",
    ),
    "a bridge port is isolated": (f"bridge link set dev {VETH} isolated on", "isolated is on, and should be off"),
    "a bridge port is blocked": (f"bridge link set dev {VETH} state 0", "blocked is on, and should be off"),
    "a bridge port floods nothing": (f"bridge link set dev {VETH} flood off", "flood is off, and should be on"),
    "an address will expire": (
        "ip addr change 10.244.2.1/24 dev cni0 valid_lft 600 preferred_lft 600",
        "wrong address: cni0: forever is off, and should be on",
    ),
    "an address has another scope": (
        "ip addr del 10.244.2.0/32 dev flannel.1; ip addr add 10.244.2.0/32 dev flannel.1 scope link",
        "scope is link, and should be global",
    ),
    "a route carries an MTU": (
        "ip route replace 10.244.3.0/24 via 10.244.3.0 dev flannel.1 onlink proto 77 mtu 800",
        "options is 'mtu 800', and should be none",
    ),
    "another chain jumps to ours for some packets": (
        "iptables -A INPUT -i cni0 -j PODNET-FWD",
        "jumps is INPUT 1 -i cni0, FORWARD 1, and should be FORWARD 1",
    ),
    "another chain jumps to ours": ("iptables -A INPUT -j PODNET-FWD", "jumps is INPUT 1, FORWARD 1, and should be"),
    "a chain is deleted": (
        "iptables -D FORWARD -j PODNET-FWD; iptables -F PODNET-FWD; iptables -X PODNET-FWD",
        "missing firewall chain: filter PODNET-FWD",
    ),
    "a pod is deleted": ("ip netns del podnet-pod1", "missing pod: namespace podnet-pod1"),
    "a pod is only a name": (
        "ip netns del podnet-pod1; touch /run/netns/podnet-pod1",
        "podnet-pod1 is a name without a namespace",
    ),
    "a pod is there that nobody named": ("ip netns add podnet-pod9", "extra pod: namespace podnet-pod9"),
    "a pod's address is another": (
        "ip -n podnet-pod1 addr del 10.244.2.2/24 dev eth0; ip -n podnet-pod1 addr add 10.244.2.9/24 dev eth0",
        "pod podnet-pod1: missing address: addr replace 10.244.2.2/24",
    ),
    "a pod's default route is deleted": (
        "ip -n podnet-pod1 route del default",
        "pod podnet-pod1: missing route: route replace 0.0.0.0/0",
    ),
    "a pod's interface is down": (
        "ip -n podnet-pod1 link set eth0 down",
        "pod podnet-pod1: wrong link: eth0: up is off, and should be on",
    ),
    "a pod's loopback is down": (
        "ip -n podnet-pod1 link set lo down",
        "pod podnet-pod1: wrong link: lo: up is off, and should be on",
    ),
    "a pod's MTU is changed": (
        "ip -n podnet-pod1 link set eth0 mtu 1500",
        "pod podnet-pod1: wrong link: eth0: mtu is 1500, and should be 1450",
    ),
    "a pod forwards": (
        "ip netns exec podnet-pod1 sysctl -q -w net/ipv4/ip_forward=1",
        "pod podnet-pod1: wrong sysctl: net/ipv4/ip_forward: value is 1, and should be 0",
    ),
    "a pod's cable is deleted": (f"ip link del {VETH}", f"missing link: link add {VETH}"),
    "a pod's end of the cable has another name": (
        "ip -n podnet-pod1 link set eth0 down; ip -n podnet-pod1 link set eth0 name eth7",
        "pod podnet-pod1: missing link: link set eth0",
    ),
    "the host's end of a cable has another name": (
        f"ip link set {VETH} down; ip link set {VETH} name veth7",
        f"missing link: link add {VETH}",
    ),
    "a bridge port is unplugged": (f"ip link set {VETH} nomaster", f"missing bridge port: link set {VETH} master cni0"),
    "a bridge port is in another bridge": (
        f"ip link add strange type bridge; ip link set {VETH} master strange",
        f"wrong bridge port: {VETH}: bridge is strange, and should be cni0",
    ),
    "a bridge port has no hairpin": (f"bridge link set dev {VETH} hairpin off", "hairpin is off, and should be on"),
    "a peer is left over and the VTEP has another MAC and address": (
        (
            "ip link set flannel.1 address 02:00:00:00:00:99;"
            "ip neigh add 10.244.9.0 lladdr 02:00:00:00:00:09 dev flannel.1 nud permanent;"
            "ip route add 10.244.9.0/24 via 10.244.9.0 dev flannel.1 onlink;"
            "ip addr add 10.244.9.9/32 dev flannel.1; ip addr del 10.244.2.0/32 dev flannel.1"
        ),
        "wrong link: flannel.1: mac is 02:00:00:00:00:99",
    ),
    "a peer is left over": (
        (
            "ip neigh add 10.244.9.0 lladdr 02:00:00:00:00:09 dev flannel.1 nud permanent;"
            "bridge fdb append 02:00:00:00:00:09 dev flannel.1 dst 192.168.56.19;"
            "ip route add 10.244.9.0/24 via 10.244.9.0 dev flannel.1 onlink"
        ),
        "extra route: route replace 10.244.9.0/24",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_mended(vxlan: At, damage: str) -> None:
    """The comparison of tables, as the verification makes it, names the thing; what an apply then does mends it."""
    script, words = DAMAGES[damage]
    vxlan.sh("node2", script)
    found = vxlan.differences("node2")
    assert any(words in sentence for sentence in found), f"expected {words!r}, saw: {found}"
    # Read anew: a namespace that was deleted takes its cables along a moment later.
    vxlan.carry_out("node2", vxlan.todo("node2", "vxlan"))
    assert vxlan.differences("node2") == []


def test_the_verification_names_the_host_and_an_apply_changes_no_other(vxlan: At) -> None:
    """As a user sees it: red, the host, the thing; then one host is changed, and the others are not."""
    vxlan.sh("node2", "ip link del flannel.1; ip route add 10.244.9.0/24 via 192.168.56.13 proto 77")
    found = vxlan.verify_state()
    assert found.code == 1, found.said
    for words in ("missing link: link add flannel.1", "extra route: route replace 10.244.9.0/24"):
        assert [line for line in found.out.splitlines() if "node2: " in line and words in line], found.out
    mended = vxlan.apply()
    assert mended.code == 0, mended.log
    assert mended.changed == {"node2"}
    assert mended.unchanged == {"node1", "node3"}


def test_all_is_well_after_all_damage(vxlan: At) -> None:
    """Every pod reaches every pod again, and a second apply finds nothing to do anywhere."""
    done = vxlan.verify()
    assert done.code == 0, done.said
    assert vxlan.apply().unchanged == {"node1", "node2", "node3"}
