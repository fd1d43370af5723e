"""vxlan_direct_routing: bare to the peers on this node's segment, by vxlan to those behind a router (flannel).

    10.244.3.0/24, adjacent   route  via 192.168.56.13 dev eth0
    10.244.2.0/24, distant    route, neighbour and FDB entry, as in vxlan

Whether a peer is adjacent is read off the addresses' prefix lengths, so that both ends of every pair decide alike:
were they to disagree, a strict rp_filter would drop what comes back on the other way. Pods keep the tunnel's MTU
towards everybody, since they cannot know whom they are talking to.

Entries per node: 1 x adjacent peers + 3 x distant ones. Needs from the wire: that of host_gw on a segment, that of
vxlan between segments. TTL: 62 between pods of two nodes, either way.
"""

from podnet import forwarding, pods
from podnet.cluster import Cluster, Node
from podnet.modes import host_gw, vxlan
from podnet.state import State


def state(cluster: Cluster, me: Node) -> State:
    """Compute flannel.VNI with entries for the distant peers, and routes to the adjacent ones."""
    mtu = cluster.underlay_mtu - vxlan.OVERHEAD
    through = forwarding.through(cluster, me, pods.bridge(cluster), vxlan.device(cluster.vni))
    tunnel = vxlan.tunnel(cluster, me, cluster.distant(me), mtu)
    return pods.on_bridge(cluster, me, mtu) | through | tunnel | host_gw.direct(me, cluster.adjacent(me))
