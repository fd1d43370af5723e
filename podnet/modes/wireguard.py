"""wireguard: pod packets cross the wire encrypted, inside UDP, in flannel's way.

Every node has a key pair; its private key is made on the node and never leaves it. The kernel asks two questions, and
answers the second one both ways: whom to encrypt for, and from whom such a source address may come.

    which way to the pods?     route   10.244.0.0/16 dev flannel-wg     (one for all peers; cni0's own is more exact)
    whose is 10.244.2.2?       peer    allowed-ips 10.244.2.0/24, its public key, endpoint 192.168.56.12:51820

Entries per node: 1 x peers + 1. Needs from the wire: UDP 51820 between nodes; works across routers. TTL: 62 between
pods of two nodes, since each node routes once.
"""

from ipaddress import IPv4Interface

from podnet import forwarding, pods
from podnet.cluster import Cluster, Node
from podnet.state import Address, KeyOf, Route, State, WgPeer, Wireguard

# Outer IPv6, UDP, and WireGuard's type, receiver, counter and tag. IPv4 takes 20 less, which flannel leaves unused.
OVERHEAD = 40 + 8 + 4 + 4 + 8 + 16


def state(cluster: Cluster, me: Node) -> State:
    """Compute flannel-wg, a peer for every other node, and one route to all pods."""
    mtu = cluster.underlay_mtu - OVERHEAD
    dev = cluster.device("flannel-wg")
    port = cluster.wireguard_port
    tunnel = State(
        links=frozenset({Wireguard(dev, mtu, port, KeyOf(me.name))}),
        addresses=frozenset({Address(dev, IPv4Interface(me.vtep))}),
        peers=frozenset(
            WgPeer(dev, KeyOf(peer.name), f"{peer.ip}:{port}", (str(peer.pod_subnet),), cluster.wireguard_keepalive)
            for peer in cluster.peers(me)
        ),
        # Where one node has the whole network, that is cni0's.
        routes=frozenset({Route(cluster.network, dev)} if me.pod_subnet != cluster.network else ()),
    )
    return pods.on_bridge(cluster, me, mtu) | forwarding.through(cluster, me, pods.bridge(cluster), dev) | tunnel
