"""proxy_arp: no bridge and no subnet on the pods' side; the node answers for everybody and routes (Calico's L3).

    pod eth0 10.244.1.2/32 ---- caliXXXXXXXXXXX (ee:ee:ee:ee:ee:ee, proxy_arp) -- routing -- eth0

A pod knows one neighbour, 169.254.1.1, which nobody has: the host's end of the cable answers for it. The node knows
where each of its pods is, and whom to ask for the others:

    which way to 10.244.1.2?        route      dev caliXXXXXXXXXXX                (one per pod)
    and to the rest of my subnet?   route      blackhole 10.244.1.0/24            (there is nobody)
    which way to 10.244.2.0/24?     route      via 192.168.56.12 dev eth0         (one per peer)

Entries per node: 2 x pods + 1 x peers + 2. Needs from the wire: what host_gw needs. No byte of overhead. TTL: 63
between pods of one node, which is routed once, 62 between pods of two.
"""

import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from podnet import cni, forwarding, pods
from podnet.cluster import Cluster, Node
from podnet.modes import host_gw
from podnet.state import Neighbour, Nic, Route, State, Sysctl, Veth

GATEWAY = IPv4Address("169.254.1.1")
HOST_END = "ee:ee:ee:ee:ee:ee"  # Calico's: every pod's gateway has the same MAC, so that pods can move


def state(cluster: Cluster, me: Node) -> State:
    """Compute a cable and a route for every pod, and a route to every peer. ClusterError if a router lies between."""
    cluster.require_one_segment("proxy_arp routes pods' packets bare to their nodes, which must be on one segment")
    mtu = cluster.underlay_mtu
    names = {pod: pods.netns(pod, cluster.marks) for pod in me.pods}
    cables = {pod: cable(netns, mtu) for pod, netns in names.items()}
    to_pods = {Route(IPv4Network(pod.address), veth.dev) for pod, veth in cables.items()}
    # The kernel answers for an address only if it has a route to it by another device. A default route would do, but
    # not every node has one; hence the gateway that nobody has is given a place on the underlay.
    # Its metric is its cluster's own, so that two clusters can both have theirs.
    answerable = Route(IPv4Network(GATEWAY), me.uplink, metric=cluster.vni)
    workloads = State(
        links=frozenset(cables.values()),
        neighbours=frozenset(Neighbour(veth.dev, pod.address, pods.mac(pod.address)) for pod, veth in cables.items()),
        sysctls=frozenset(setting for veth in cables.values() for setting in _answering(veth.dev)),
        routes=frozenset({*to_pods, Route(me.pod_subnet, None, kind="blackhole"), answerable}),
        pods={
            netns: pods.inside(Nic("eth0", mtu, pods.mac(pod.address)), IPv4Interface(pod.address))
            | State(routes=frozenset({Route(IPv4Network(GATEWAY), "eth0"), Route(pods.ANYWHERE, "eth0", GATEWAY)}))
            for pod, netns in names.items()
        },
    )
    others = forwarding.through(cluster, me) | host_gw.direct(me, cluster.peers(me))
    return workloads | others | cni.by("ptp", cluster, me, mtu)


def cable(netns: str, mtu: int) -> Veth:
    """Lay a cable into a namespace; the host's end is named as Calico does it, `cali` and eleven hex digits."""
    return Veth("cali" + hashlib.sha256(netns.encode()).hexdigest()[:11], mtu, netns, HOST_END)


def _answering(dev: str) -> Iterator[Sysctl]:
    yield Sysctl(f"net/ipv4/conf/{dev}/proxy_arp", "1")
    yield Sysctl(f"net/ipv4/neigh/{dev}/proxy_delay", "0")  # the default answers after up to 0.8 s
    # Proxy ARP asks for the interface's own value, and so does routing.
    yield Sysctl(f"net/ipv4/conf/{dev}/forwarding", "1")
    # Strict, as Calico has it: a pod has one address, and a packet from another one is forged.
    yield Sysctl(f"net/ipv4/conf/{dev}/rp_filter", "1")
    yield Sysctl(f"net/ipv6/conf/{dev}/accept_ra", "0")
