"""ipip: pod packets cross the wire as IPv4 inside IPv4 (RFC 2003), in flannel's way.

For every peer the kernel asks one question. The tunnel has no address of the far end of its own: it sends to the
gateway that the route names, which is not in the pod network but the peer itself, on the underlay:

    which way to 10.244.2.0/24?     route      via 192.168.56.12 dev flannel.ipip onlink

Entries per node: 1 x peers. Needs from the wire: IP protocol 4 between nodes, which some clouds drop; works across
routers; carries IPv4 unicast only. TTL: 62 between pods of two nodes, since each node routes once.
"""

from ipaddress import IPv4Interface

from podnet import forwarding, pods
from podnet.cluster import Cluster, Node
from podnet.state import Address, Ipip, Route, State

OVERHEAD = 20  # outer IPv4


def state(cluster: Cluster, me: Node) -> State:
    """Compute flannel.ipip, and a route through it to every peer."""
    mtu = cluster.underlay_mtu - OVERHEAD
    through = forwarding.through(cluster, me, pods.bridge(cluster), device(cluster))
    return pods.on_bridge(cluster, me, mtu) | through | tunnel(cluster, me, cluster.peers(me), mtu)


def device(cluster: Cluster) -> str:
    """Name the tunnel as flannel does: `tunl0`, which comes with the module, is the catch-all of all tunnels."""
    return cluster.device("flannel.ipip")


def tunnel(cluster: Cluster, me: Node, peers: tuple[Node, ...], mtu: int) -> State:
    """Compute the tunnel's end on this node, and what leads through it to `peers`."""
    dev = device(cluster)
    return State(
        # A tunnel with a `local` address is asked before tunl0, which has none.
        links=frozenset({Ipip(dev, mtu, local=me.ip)}),
        addresses=frozenset({Address(dev, IPv4Interface(me.vtep))}),
        # `onlink`: the gateway is on the underlay, not behind this device; but here it only tells the tunnel where to.
        routes=frozenset(Route(peer.pod_subnet, dev, peer.ip, onlink=True) for peer in peers),
    )
