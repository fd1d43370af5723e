"""Each mode as one types it: two bare hosts of one segment, with `ip`, `sysctl` and the rules that flannel adds.

benchmarks/throughput.py asks whether podnet's are as fast. Nothing here is taken from podnet.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.lab.by_hand import flannel, peer, pod

NETWORK = "172.22.0.0/16"
KEY = "/run/hand.key"
MAKE_KEY = f"umask 077; wg genkey >{KEY}; wg pubkey <{KEY}"
PORT = 51900
POD = "pod"
"""The namespace on each host; `pod2` is a second one on the same host where the mode joins no hosts."""


@dataclass(frozen=True)
class Side:
    """One of the two hosts: the number that is in its pods' subnet, its underlay address, its WireGuard key."""

    number: int
    address: str
    public: str = ""

    @property
    def subnet(self) -> str:
        return f"172.22.{self.number}.0/24"

    @property
    def pod(self) -> str:
        return f"172.22.{self.number}.2"

    @property
    def second(self) -> str:
        return f"172.22.{self.number}.3"


def firewall(me: Side) -> str:
    """Spell the rules of flannel with --ip-masq, in its order."""
    return f"""
sysctl -q -w net.ipv4.ip_forward=1
iptables-restore --noflush <<END
*filter
:FLANNEL-FWD - [0:0]
-A FLANNEL-FWD -s {NETWORK} -j ACCEPT
-A FLANNEL-FWD -d {NETWORK} -j ACCEPT
-A FORWARD -j FLANNEL-FWD
COMMIT
*nat
:FLANNEL-POSTRTG - [0:0]
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -j RETURN
-A FLANNEL-POSTRTG -s {me.subnet} -d {NETWORK} -j RETURN
-A FLANNEL-POSTRTG -s {NETWORK} -d {me.subnet} -j RETURN
-A FLANNEL-POSTRTG ! -s {NETWORK} -d {me.subnet} -j RETURN
-A FLANNEL-POSTRTG -s {NETWORK} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s {NETWORK} -d {NETWORK} -j MASQUERADE --random-fully
-A POSTROUTING -j FLANNEL-POSTRTG
COMMIT
END
"""


# flannel does not start where bridges cannot call iptables. A container's machine has loaded the module.
CALLS = """
test -e /proc/sys/net/bridge || modprobe br_netfilter
sysctl -q -w net.bridge.bridge-nf-call-iptables=1
"""


def switch(me: Side, mtu: int = 1500) -> str:
    """Spell a bridge with one pod on it, and the rules."""
    return f"""
{CALLS}
ip link add cni0 mtu {mtu} type bridge
ip addr add 172.22.{me.number}.1/24 dev cni0
ip link set cni0 up
{pod(POD, f"{me.pod}/24", "cni0", f"172.22.{me.number}.1", mtu)}
{firewall(me)}
"""


def tunnel(dev: str, me: Side, mtu: int, kind: str) -> str:
    """Spell a device with the subnet's own address, as flannel's backends make it, and the pods behind it."""
    return f"""
ip link add {dev} mtu {mtu} type {kind}
ip addr add 172.22.{me.number}.0/32 dev {dev}
ip link set {dev} up
{switch(me, mtu)}
"""


def bridge(me: Side, _: Side) -> str:
    """Two pods of one host."""
    return switch(me) + pod("pod2", f"{me.second}/24", "cni0", f"172.22.{me.number}.1")


def host_gw(me: Side, other: Side) -> str:
    """One route."""
    return f"{switch(me)}ip route add {other.subnet} via {other.address} dev eth0\n"


def ipip_tunnel(me: Side) -> str:
    """Spell a tunnel that takes its far end from the route."""
    return tunnel("flannel.ipip", me, 1480, f"ipip mode any local {me.address} nopmtudisc")


def ipip(me: Side, other: Side) -> str:
    """A route by the far end."""
    return f"{ipip_tunnel(me)}ip route add {other.subnet} via {other.address} dev flannel.ipip onlink\n"


def ipip_direct_routing(me: Side, other: Side) -> str:
    """The tunnel, and no use for it on one segment."""
    return f"{ipip_tunnel(me)}ip route add {other.subnet} via {other.address} dev eth0 onlink\n"


def on_wire(me: Side, kind: str) -> str:
    """Spell a pod whose device is on the uplink itself."""
    return f"""
ip netns add {POD}
ip -n {POD} link set lo up
ip link add wire link eth0 netns {POD} type {kind}
ip -n {POD} addr add {me.pod}/16 dev wire
ip -n {POD} link set wire up
"""


def ipvlan(me: Side, _: Side) -> str:
    """Pods under their host's MAC."""
    return on_wire(me, "ipvlan mode l2")


def macvlan(me: Side, _: Side) -> str:
    """Pods with MACs of their own."""
    return on_wire(me, "macvlan mode bridge")


def proxy_arp(me: Side, other: Side) -> str:
    """Spell Calico's cable to each pod, for which the host answers to any address."""
    return f"""
ip netns add {POD}
ip -n {POD} link set lo up
ip link add cali0 address ee:ee:ee:ee:ee:ee type veth peer name eth0 netns {POD}
sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.cali0.proxy_arp=1 net.ipv4.neigh.cali0.proxy_delay=0
sysctl -q -w net.ipv4.conf.cali0.rp_filter=1
ip link set cali0 up
ip -n {POD} link set eth0 up
ip -n {POD} route add 169.254.1.1 dev eth0 scope link
ip -n {POD} route add default via 169.254.1.1 dev eth0
ip -n {POD} addr add {me.pod}/32 dev eth0
ip route add {me.pod}/32 dev cali0 scope link
ip route add blackhole {me.subnet}
ip route add {other.subnet} via {other.address} dev eth0
{firewall(me)}
"""


def udp(me: Side, other: Side) -> str:
    """Flannel's packets, without its process: ipip in UDP by FOU."""
    kind = f"ipip mode any local {me.address} remote any ttl inherit nopmtudisc"
    encap = "encap fou encap-sport 8285 encap-dport 8285"
    return f"""
modprobe fou
ip fou add port 8285 ipproto 4
{tunnel("flannel.udp", me, 1472, f"{kind} {encap}")}
ip route add {other.subnet} via {other.address} dev flannel.udp onlink
"""


def veth_pair(me: Side, _: Side) -> str:
    """A cable between two pods of one host."""
    return f"""
ip netns add {POD}
ip netns add pod2
ip link add eth0 netns {POD} type veth peer name eth0 netns pod2
ip -n {POD} addr add {me.pod}/24 dev eth0
ip -n pod2 addr add {me.second}/24 dev eth0
ip -n {POD} link set eth0 up
ip -n pod2 link set eth0 up
"""


def vxlan(me: Side, other: Side) -> str:
    """A neighbour, an FDB entry, a route."""
    return f"{flannel(me.number, me.address)}{CALLS}{firewall(me)}{peer(other.number, other.address)}"


def vxlan_direct_routing(me: Side, other: Side) -> str:
    """The tunnel, and no use for it on one segment."""
    return f"{flannel(me.number, me.address)}{CALLS}{firewall(me)}ip route add {other.subnet} via {other.address}\n"


def wireguard(me: Side, other: Side) -> str:
    """One route to all pods, and a peer for each host."""
    peer = f"peer {other.public} endpoint {other.address}:{PORT} allowed-ips {other.subnet}"
    return f"""
ip link add flannel-wg mtu 1420 type wireguard
wg set flannel-wg listen-port {PORT} private-key {KEY} {peer}
ip addr add 172.22.{me.number}.0/32 dev flannel-wg
ip link set flannel-wg up
ip route add {NETWORK} dev flannel-wg
{switch(me, 1420)}
"""


SET_UP: dict[str, Callable[[Side, Side], str]] = {
    each.__name__: each
    for each in (
        *(bridge, host_gw, ipip, ipip_direct_routing, ipvlan, macvlan, proxy_arp, udp, veth_pair, vxlan),
        *(vxlan_direct_routing, wireguard),
    )
}

# A namespace goes some time after its last process, and takes its devices along; what is named goes at once.
FORGET = f"""
for link in cni0 pod pod2 cali0 flannel.1 flannel.ipip flannel.udp flannel-wg; do
    if test -e /sys/class/net/$link; then ip link del $link; fi
done
for name in pod pod2; do
    if test -e /run/netns/$name; then
        for link in eth0 wire; do
            if ip -n $name link show dev $link >/dev/null 2>&1; then ip -n $name link del dev $link; fi
        done
        ip netns del $name
    fi
done
if ip fou show | grep -q 'port 8285 '; then ip fou del port 8285; fi
ip route flush root {NETWORK}
nft flush ruleset
"""
