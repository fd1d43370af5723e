"""Pods on a switch: what every mode with a bridge starts from.

    pod eth0 ---- vethXXXXXXXX -- cni0 (gateway, .1) -- routing -- the rest of the world

The names, the addresses and the pods' routes are those that flannel's CNI plugin has the bridge plugin make.
"""

import hashlib
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from podnet import cni
from podnet.cluster import Cluster, Node, Pod
from podnet.marks import FIRST, Marks
from podnet.state import Address, Bridge, Link, Nic, Port, Route, State, Sysctl, Veth

LOOPBACK = Nic("lo", 65536, "00:00:00:00:00:00")
ANYWHERE = IPv4Network("0.0.0.0/0")


def bridge(cluster: Cluster) -> str:
    """Name the bridge as flannel does."""
    return cluster.device("cni0")


def on_bridge(cluster: Cluster, me: Node, mtu: int) -> State:
    """Plug all pods of the node into one bridge, which is their gateway."""
    switch = bridge(cluster)
    names = {pod: netns(pod, cluster.marks) for pod in me.pods}
    cables = {pod: cable(name, mtu) for pod, name in names.items()}
    meet = Sysctl("net/bridge/bridge-nf-call-iptables", str(int(cluster.bridge_netfilter)))
    return cni.by("bridge", cluster, me, mtu, bridge=switch) | State(
        # A bridge takes the lowest MAC of its ports unless it is given one: it would change with every pod.
        links=frozenset({Bridge(switch, mtu, mac(me.gateway.ip)), *cables.values()}),
        # hairpin: a pod that talks to a service it is itself behind must get its own frame back.
        ports=frozenset(Port(veth.dev, switch, hairpin=True) for veth in cables.values()),
        addresses=frozenset({Address(switch, me.gateway)}),
        # 1: packets that are only switched meet iptables too, as service rules of whoever runs in these pods expect.
        sysctls=frozenset({meet}),
        pods={name: _behind_gateway(cluster, me, pod, mtu) for pod, name in names.items()},
    )


def _behind_gateway(cluster: Cluster, me: Node, pod: Pod, mtu: int) -> State:
    """Say what a pod sees: itself, its subnet, and everything else by the gateway.

    The route to the whole network looks needless beside the default route, until a pod has a second interface that
    takes the default route away: then it keeps replies to other pods here.
    """
    away = {ANYWHERE, cluster.network} - {me.pod_subnet}
    return inside(Nic("eth0", mtu, mac(pod.address)), IPv4Interface((pod.address, me.pod_subnet.prefixlen))) | State(
        routes=frozenset(Route(to, "eth0", me.gateway.ip) for to in away)
    )


def inside(eth0: Link, address: IPv4Interface) -> State:
    """Say what every pod has: a loopback, `eth0`, its address, and no wish to be a router."""
    return State(
        links=frozenset({LOOPBACK, eth0}),
        addresses=frozenset({Address("lo", IPv4Interface("127.0.0.1/8"), scope="host"), Address("eth0", address)}),
        # We would like a pod to be an end host; the kernel lets a new namespace inherit ip_forward=1 from the first
        # one (net.core.devconf_inherit_init_net); hence it is said.
        sysctls=frozenset({Sysctl("net/ipv4/ip_forward", "0")}),
    )


def netns(pod: Pod, marks: Marks = FIRST) -> str:
    """Name the pod's network namespace."""
    return marks.netns + pod.name


def cable(namespace: str, mtu: int) -> Veth:
    """Lay a cable into a namespace.

    The host's end is named as CNI does it, `veth` and eight hex digits, but computed, so that a second run finds it.
    Nobody asks for its MAC; yet udev leaves a MAC alone that was given by hand.
    """
    digest = hashlib.sha256(namespace.encode()).digest()
    return Veth("veth" + digest.hex()[:8], mtu, namespace, "5a:" + digest[:5].hex(":"))


def mac(address: IPv4Address) -> str:
    """Compute a MAC from the address, as CNI's hwaddr did: 0a:58 is locally administered and unicast.

    A pod that is made again answers to the MAC that its neighbours still remember.
    """
    return "0a:58:" + address.packed.hex(":")
