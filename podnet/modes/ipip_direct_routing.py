"""ipip_direct_routing: bare to the peers on this node's segment, by ipip to those behind a router.

flannel calls it ipip with DirectRouting, Calico IPIP CrossSubnet.

    10.244.3.0/24, adjacent   route  via 192.168.56.13 dev eth0
    10.244.2.0/24, distant    route  via 192.168.57.12 dev flannel.ipip onlink

Whether a peer is adjacent is read off the addresses' prefix lengths, so that both ends of every pair decide alike.
Pods keep the tunnel's MTU towards everybody.

Entries per node: 1 x peers. Needs from the wire: that of host_gw on a segment, that of ipip between segments.
TTL: 62 between pods of two nodes, either way.
"""

from podnet import forwarding, pods
from podnet.cluster import Cluster, Node
from podnet.modes import host_gw, ipip
from podnet.state import State


def state(cluster: Cluster, me: Node) -> State:
    """Compute flannel.ipip with routes to the distant peers, and routes to the adjacent ones."""
    mtu = cluster.underlay_mtu - ipip.OVERHEAD
    through = forwarding.through(cluster, me, pods.bridge(cluster), ipip.device(cluster))
    tunnel = ipip.tunnel(cluster, me, cluster.distant(me), mtu)
    return pods.on_bridge(cluster, me, mtu) | through | tunnel | host_gw.direct(me, cluster.adjacent(me))
