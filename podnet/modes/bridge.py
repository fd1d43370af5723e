"""bridge: the pods of one host on a switch, as Docker and the CNI bridge plugin leave them; nothing crosses hosts.

    pod eth0 ---- vethXXXXXXXX -- cni0 (gateway, .1) -- masquerading -- the outside, if it may

Between pods of one host nobody routes: TTL 64. To the pods of other hosts there is no way, and a pod that tries is
told so at once, by the one route that stands in for all peers:

    10.244.0.0/16                   route      unreachable

Entries per node: 1, whatever the number of peers. Needs nothing from the wire.
"""

from podnet import forwarding, pods
from podnet.cluster import Cluster, Node
from podnet.state import Route, State


def state(cluster: Cluster, me: Node) -> State:
    """Compute the bridge with its pods, and that the rest of the network is out of reach."""
    through = forwarding.through(cluster, me, pods.bridge(cluster))
    # Without it the default route would lead packets for other hosts' pods out, bare, to somebody else's router.
    others = {cluster.network} - {me.pod_subnet}
    nowhere = State(routes=frozenset(Route(network, None, kind="unreachable") for network in others))
    return pods.on_bridge(cluster, me, cluster.underlay_mtu) | through | nowhere
