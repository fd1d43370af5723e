"""veth_pair: two pods of one host at the two ends of a virtual cable, with nothing in between.

    pod1 eth0 10.244.1.2/24 ------------ eth0 10.244.1.3/24 pod2

What one end sends the other receives: no bridge, no route but each end's own subnet, no MAC but by ordinary ARP.
The host holds neither end, so it takes no part: no setting, no rule, and no way from it to its pods.

Entries per node: none. Needs nothing from the wire. TTL: 64.
"""

from ipaddress import IPv4Interface

from podnet import pods
from podnet.cluster import Cluster, Node, Pod
from podnet.errors import ClusterError
from podnet.state import Link, Nic, State, Veth

ENDS = 2


def state(cluster: Cluster, me: Node) -> State:
    """Compute the cable between the node's two pods. ClusterError unless it has two, or none."""
    if me.pods and len(me.pods) != ENDS:
        raise ClusterError(f"{me.name}: veth_pair joins two pods by one cable, and `pods` names {len(me.pods)}; name 2")
    mtu = cluster.underlay_mtu
    names = {pods.netns(pod, cluster.marks): pod for pod in me.pods}
    ends = sorted(names)  # the first holds the cable, by State's convention

    def eth0(netns: str, pod: Pod) -> Link:
        first = netns == ends[0]
        return Veth("eth0", mtu, ends[1], pods.mac(pod.address)) if first else Nic("eth0", mtu, pods.mac(pod.address))

    def address(pod: Pod) -> IPv4Interface:
        return IPv4Interface((pod.address, me.pod_subnet.prefixlen))

    return State(pods={netns: pods.inside(eth0(netns, pod), address(pod)) for netns, pod in names.items()})
