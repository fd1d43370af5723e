"""Pods on a switch: what every mode with a bridge starts from.

    pod eth0 ---- vethXXXXXXXX -- cni0 (gateway, .1) -- routing -- the rest of the world

The names, the addresses and the pods' routes are those that flannel's CNI plugin has the bridge plugin make.
"""

import hashlib
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from podnet.cluster import Node, Pod
from podnet.state import NETNS_PREFIX, Address, Bridge, Nic, Port, Route, State, Sysctl, Veth

BRIDGE = "cni0"
LOOPBACK = Nic("lo", 65536, "00:00:00:00:00:00")


def on_bridge(me: Node, network: IPv4Network, mtu: int) -> State:
    """Plug all pods of the node into one bridge, which is their gateway."""
    cables = {netns(pod): cable(netns(pod), mtu) for pod in me.pods}
    return State(
        # A bridge takes the lowest MAC of its ports unless it is given one: it would change with every pod.
        links=frozenset({Bridge(BRIDGE, mtu, mac(me.gateway.ip)), *cables.values()}),
        # hairpin: a pod that talks to a service it is itself behind must get its own frame back.
        ports=frozenset(Port(veth.dev, BRIDGE, hairpin=True) for veth in cables.values()),
        addresses=frozenset({Address(BRIDGE, me.gateway)}),
        # Packets that are only switched meet iptables too, as service rules of whoever runs in these pods expect.
        sysctls=frozenset({Sysctl("net/bridge/bridge-nf-call-iptables", "1")}),
        pods={netns(pod): inside(me, pod, network, mtu) for pod in me.pods},
    )


def inside(me: Node, pod: Pod, network: IPv4Network, mtu: int) -> State:
    """Say what a pod sees: itself, its subnet, and everything else by the gateway.

    The route to the whole network looks needless beside the default route, until a pod has a second interface that
    takes the default route away: then it keeps replies to other pods here.
    """
    gateway = me.gateway.ip
    return State(
        links=frozenset({LOOPBACK, Nic("eth0", mtu, mac(pod.address))}),
        addresses=frozenset(
            {
                Address("lo", IPv4Interface("127.0.0.1/8"), scope="host"),
                Address("eth0", IPv4Interface((pod.address, me.pod_subnet.prefixlen))),
            }
        ),
        routes=frozenset(Route(to, "eth0", gateway) for to in {IPv4Network("0.0.0.0/0"), network} - {me.pod_subnet}),
        # We would like a pod to be an end host; the kernel lets a new namespace inherit ip_forward=1 from the first
        # one (net.core.devconf_inherit_init_net); hence it is said.
        sysctls=frozenset({Sysctl("net/ipv4/ip_forward", "0")}),
    )


def netns(pod: Pod) -> str:
    """Name the pod's network namespace."""
    return NETNS_PREFIX + pod.name


def cable(namespace: str, mtu: int) -> Veth:
    """Name the host's end like CNI does, `veth` and eight hex digits; computed, so that a second run finds it."""
    digits = hashlib.sha256(namespace.encode()).hexdigest()[:8]
    return Veth("veth" + digits, mtu, namespace)


def mac(address: IPv4Address) -> str:
    """Compute a MAC from the address, as CNI's hwaddr did: 0a:58 is locally administered and unicast.

    A pod that is made again answers to the MAC that its neighbours still remember.
    """
    return "0a:58:" + address.packed.hex(":")
