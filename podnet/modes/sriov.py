"""sriov: pods have NICs of their own: virtual functions of a NIC that has them, or any that is to spare.

    pod eth0 10.244.1.2/16  0a:58:0a:f4:01:02 -- VF 0 --.
                                                        +-- a switch inside the NIC -- its wire
    pod eth0 10.244.1.3/16  0a:58:0a:f4:01:03 -- VF 1 --'

The NIC is moved into the pod's namespace, and given back as it was. The whole pod network is one link: a pod asks by
ARP for every other, on any node, and nobody routes. No packet of a pod's passes the node's kernel. What a pod must not
set itself its PF imposes on a VF: MAC, VLAN, rate, and whether other MACs are let out.

Entries per node: none. Needs from the wire: all NICs on one segment. TTL: 64 between all pods.
"""

from dataclasses import replace
from ipaddress import IPv4Interface

from podnet import pods
from podnet.cluster import Card, Cluster, Node
from podnet.errors import ClusterError
from podnet.state import Loan, State, Vf


def state(cluster: Cluster, me: Node) -> State:
    """Compute a NIC for every pod. ClusterError if one has none, or if a router lies between two nodes."""
    cluster.require_one_segment("sriov puts all pods on one wire")
    cards = {card.pod: card for card in me.cards}
    for pod in me.pods:
        if pod.name not in cards:
            raise ClusterError(
                f"{me.name}: sriov needs a NIC for every pod, and `nics` has none for {pod.name}; name it"
            )
    return State(
        vfs=frozenset(_imposed(cards[pod.name], pods.mac(pod.address)) for pod in me.pods),
        pods={
            pods.netns(pod, cluster.marks): pods.inside(
                Loan("eth0", cluster.underlay_mtu, pods.mac(pod.address), cards[pod.name].nic),
                IPv4Interface((pod.address, cluster.network.prefixlen)),
            )
            for pod in me.pods
        },
    )


def _imposed(card: Card, mac: str) -> Vf:
    vf = Vf(card.nic, mac, card.vlan, max_tx_rate=card.max_tx_rate)
    return replace(vf, spoofchk=card.spoofchk, trust=card.trust, state=card.link_state)
