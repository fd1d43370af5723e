"""udp: pod packets cross the wire as bare IPv4 inside UDP, on flannel udp's wire format without its process.

flannel's udp backend has a process that reads packets from a TUN device and sends them in UDP. The kernel can do the
same by itself: an ipip tunnel whose packets are wrapped in UDP (FOU, foo over UDP), and a port that unwraps them:

    which way to 10.244.2.0/24?     route      via 192.168.56.12 dev flannel.udp onlink
    what is in UDP port 8285?       FOU port   IP protocol 4: an IPv4 packet right behind the UDP header

Entries per node: 1 x peers + 1. Needs from the wire: UDP 8285 between nodes, both ports; works across routers. TTL:
62 between pods of two nodes, since each node routes once; flannel's proxies take one more each, which gives 60.
"""

from ipaddress import IPv4Interface

from podnet import forwarding, pods
from podnet.cluster import Cluster, Node
from podnet.state import Address, FouPort, Ipip, Route, State

OVERHEAD = 20 + 8  # outer IPv4, UDP


def state(cluster: Cluster, me: Node) -> State:
    """Compute flannel.udp, its port, and a route through it to every peer."""
    mtu = cluster.underlay_mtu - OVERHEAD
    dev = cluster.device("flannel.udp")
    tunnel = State(
        links=frozenset({Ipip(dev, mtu, local=me.ip, fou=cluster.udp_port)}),
        addresses=frozenset({Address(dev, IPv4Interface(me.vtep))}),
        fous=frozenset({FouPort(cluster.udp_port)}),
        # As in ipip, the gateway only tells the tunnel where to.
        routes=frozenset(Route(peer.pod_subnet, dev, peer.ip, onlink=True) for peer in cluster.peers(me)),
    )
    return pods.on_bridge(cluster, me, mtu) | forwarding.through(cluster, me, pods.bridge(cluster), dev) | tunnel
