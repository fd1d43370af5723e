"""What a mode promises where one end of a ping is no pod: a node, or a host outside."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from podnet.cluster import Cluster, Node, Pod
from podnet.verify.numbers import Beyond


@dataclass(frozen=True)
class Promise:
    """What a reply's TTL is: that number, or where routers that are not ours lie between, less; or None, no reply."""

    ttl: int | None
    less: bool = False

    def kept(self, ttl: int | None) -> bool:
        """Say whether that is what was received."""
        if ttl is None or self.ttl is None:
            return ttl == self.ttl
        return ttl < self.ttl if self.less else ttl == self.ttl

    def __str__(self) -> str:
        """Say it in words."""
        if self.ttl is None:
            return "no reply"
        return f"a reply with a TTL below {self.ttl}" if self.less else f"a reply with TTL {self.ttl}"


def node_to_pod(beyond: Beyond, node: Node, peer: Node) -> Promise:
    """Promise what a node receives of a pod of `peer`. Whatever carries pods' packets hides the routers between."""
    return Promise(beyond.own if node == peer else beyond.pod)


def pod_to_node(beyond: Beyond, cluster: Cluster, node: Node, peer: Node) -> Promise | None:
    """Promise what a pod of `node` receives of `peer`'s address; nothing where routers between may mind its own."""
    if node == peer:
        return Promise(beyond.own)
    adjacent = peer.ip in node.address.network
    if cluster.masquerade:
        return Promise(beyond.outward, less=not adjacent)
    return Promise(beyond.bare) if adjacent or not beyond.outward else None


def pod_to_outside(beyond: Beyond, cluster: Cluster, node: Node, outside: IPv4Address) -> Promise | None:
    """Promise what a pod receives of a host outside; nothing where that host must know a way back to the pod."""
    if not beyond.outward:
        return Promise(None)
    return Promise(beyond.outward, less=outside not in node.address.network) if cluster.masquerade else None


@dataclass(frozen=True)
class Source:
    """As whom a pod is seen: by this address, or where somebody else may translate too, by none of the pods'.

    `surely`: it must be seen.
    """

    address: IPv4Address | None
    surely: bool

    def fault(self, cluster: Cluster, seen: set[IPv4Address]) -> str | None:
        """Say what is wrong with the sources that were seen."""
        wanted = f"the source {self.address}" if self.address else f"a source that is not of {cluster.network}"
        good = {each for each in seen if (each == self.address if self.address else each not in cluster.network)}
        if bad := sorted(seen - good):
            return f"expected {wanted}, saw {', '.join(map(str, bad))}"
        return f"expected {wanted}, saw no ping arrive" if self.surely and not seen else None


def seen_by_node(beyond: Beyond, cluster: Cluster, node: Node, pod: Pod, peer: Node) -> Source:
    """Promise as whom a node sees the pod of `node`: what stays on the node is never translated."""
    if node == peer:
        return Source(pod.address, surely=bool(beyond.own))
    if cluster.masquerade:
        return Source(node.ip, surely=bool(beyond.outward))
    return Source(pod.address, surely=bool(beyond.bare) and peer.ip in node.address.network)


def seen_by_outside(beyond: Beyond, cluster: Cluster, node: Node, pod: Pod, outside: IPv4Address) -> Source:
    """Promise as whom a host outside sees the pod: behind routers, there may be further translations."""
    adjacent = outside in node.address.network
    surely = bool(beyond.outward) and (adjacent or cluster.masquerade)
    if cluster.masquerade:
        return Source(node.ip if adjacent else None, surely)
    return Source(pod.address, surely)
