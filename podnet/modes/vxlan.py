"""vxlan: pod packets cross the wire as Ethernet frames inside UDP, in flannel's way.

For every peer the kernel asks three questions; each gets one static answer, so nothing is flooded or learnt:

    which way to 10.244.2.0/24?     route      via 10.244.2.0 dev flannel.1 onlink
    what is the MAC of 10.244.2.0?  neighbour  66:..           (the peer's VTEP)
    which host has that MAC?        FDB entry  192.168.56.12

Entries per node: 3 x peers. Needs from the wire: UDP 8472 between nodes; works across routers. TTL: 62 between
pods of two nodes, since each node routes once.
"""

from ipaddress import IPv4Interface

from podnet import forwarding, pods
from podnet.cluster import Cluster, Node
from podnet.state import Address, FdbEntry, Neighbour, Offload, Route, State, Vxlan

OVERHEAD = 20 + 8 + 8 + 14  # outer IPv4, UDP, VXLAN, inner Ethernet: RFC 7348 section 5
SHORTENED = 10_000_000  # "flannel." and eight digits have 16 characters, one more than the kernel takes


def state(cluster: Cluster, me: Node) -> State:
    """Compute flannel.VNI, and a route, a neighbour and an FDB entry for every peer."""
    mtu = cluster.underlay_mtu - OVERHEAD
    through = forwarding.through(cluster, me, pods.bridge(cluster), device(cluster.vni))
    return pods.on_bridge(cluster, me, mtu) | through | tunnel(cluster, me, cluster.peers(me), mtu)


def device(vni: int) -> str:
    """Name the tunnel as flannel does, or more shortly where the kernel would refuse that name."""
    return f"vxlan.{vni}" if vni >= SHORTENED else f"flannel.{vni}"


def tunnel(cluster: Cluster, me: Node, peers: tuple[Node, ...], mtu: int) -> State:
    """Compute the tunnel's end on this node, and what leads through it to `peers`."""
    dev = device(cluster.vni)
    vtep = Vxlan(dev, mtu, me.vtep_mac, cluster.vni, cluster.vxlan_port, local=me.ip, lower=me.uplink)
    return State(
        links=frozenset({vtep}),
        # A /32, so that no connected route to the subnet, which is cni0's, appears on the tunnel as well.
        addresses=frozenset({Address(dev, IPv4Interface(me.vtep))}),
        neighbours=frozenset(Neighbour(dev, peer.vtep, peer.vtep_mac) for peer in peers),
        fdb=frozenset(FdbEntry(dev, peer.vtep_mac, str(peer.ip)) for peer in peers),
        offloads=frozenset({Offload(dev, cluster.checksum_offload)}),
        # The gateway lies in no network of the tunnel (whose address is a /32), so the kernel calls it unreachable
        # and refuses the route. `onlink` says: trust us, look in the neighbour table, where the answer stands.
        routes=frozenset(Route(peer.pod_subnet, dev, peer.vtep, onlink=True) for peer in peers),
    )
