"""host_gw: every node is the gateway to its own pods, and packets cross the wire as they are (flannel).

For every peer the kernel asks one question that podnet must answer; the rest is ordinary ARP on the segment:

    which way to 10.244.2.0/24?     route      via 192.168.56.12 dev eth0

Entries per node: 1 x peers. Needs from the wire: all nodes on one segment, and nobody on it who minds addresses that
are not the nodes' own (a cloud's source check). No byte of overhead. TTL: 62 between pods of two nodes, since each
node routes once.
"""

from podnet import forwarding, pods
from podnet.cluster import Cluster, Node
from podnet.state import Route, State


def state(cluster: Cluster, me: Node) -> State:
    """Compute a route to every peer's pods. ClusterError if a router lies between two nodes."""
    cluster.require_one_segment("host_gw makes each node the gateway to its pods, which must be on the same segment")
    through = forwarding.through(cluster, me, pods.bridge(cluster))
    return pods.on_bridge(cluster, me, cluster.underlay_mtu) | through | direct(me, cluster.peers(me))


def direct(me: Node, peers: tuple[Node, ...]) -> State:
    """Route to adjacent peers' pods by the peers themselves.

    Not `onlink`: where a peer is not on the segment after all, the kernel refuses the route, which is better than a
    route that ends in unanswered ARP.
    """
    return State(routes=frozenset(Route(peer.pod_subnet, me.uplink, peer.ip) for peer in peers))
