"""ipvlan: pods stand on the underlay's wire themselves, under their node's MAC (mode l2).

    pod eth0 10.244.1.2/16 --.
                             +-- the node's eth0, whose MAC all have -- segment
    pod eth0 10.244.1.3/16 --'

The whole pod network is one link: a pod asks by ARP for every other, on any node, and nobody routes. What comes in is
told apart by its address. The nodes take no part, and cannot be reached: the kernel keeps an ipvlan device and its own
parent apart. A device that is the parent of macvlan devices cannot be that of ipvlan ones.

Entries per node: none. Needs from the wire: all nodes on one segment; one MAC per port is enough, unlike macvlan.
TTL: 64 between all pods.
"""

from ipaddress import IPv4Interface

from podnet import pods
from podnet.cluster import Cluster, Node
from podnet.state import Ipvlan, State


def state(cluster: Cluster, me: Node) -> State:
    """Compute a device on the uplink for every pod. ClusterError if a router lies between two nodes."""
    cluster.require_one_segment("ipvlan puts all pods on one wire")
    return State(
        pods={
            pods.netns(pod, cluster.marks): pods.inside(
                Ipvlan("eth0", cluster.underlay_mtu, lower=me.uplink),
                IPv4Interface((pod.address, cluster.network.prefixlen)),
            )
            for pod in me.pods
        }
    )
