"""macvlan: pods stand on the underlay's wire themselves, each with a MAC of its own.

    pod eth0 10.244.1.2/16  0a:58:0a:f4:01:02 --.
                                                +-- the node's eth0 -- segment
    pod eth0 10.244.1.3/16  0a:58:0a:f4:01:03 --'

The whole pod network is one link: a pod asks by ARP for every other, on any node, and nobody routes. The nodes take
no part, and cannot be reached: the kernel keeps a macvlan device and its own parent apart.

Entries per node: none. Needs from the wire: all nodes on one segment that takes more than one MAC per port (clouds
and wireless networks do not). TTL: 64 between all pods.
"""

from ipaddress import IPv4Interface

from podnet import pods
from podnet.cluster import Cluster, Node
from podnet.state import Macvlan, State


def state(cluster: Cluster, me: Node) -> State:
    """Compute a device on the uplink for every pod. ClusterError if a router lies between two nodes."""
    cluster.require_one_segment("macvlan puts all pods on one wire")
    return State(
        pods={
            pods.netns(pod, cluster.marks): pods.inside(
                Macvlan("eth0", cluster.underlay_mtu, pods.mac(pod.address), lower=me.uplink),
                IPv4Interface((pod.address, cluster.network.prefixlen)),
            )
            for pod in me.pods
        }
    )
