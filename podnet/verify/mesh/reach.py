"""The mesh of pings: gathered once, what it must have seen, and the sentence for what it has not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from podnet.cluster import Cluster, Node
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.mesh import probe
from podnet.verify.mesh.probe import LARGER, LARGEST, SMALL, WAY, Refusal, Reply, Sizes, label
from podnet.verify.mesh.sampling import Sample
from podnet.verify.numbers import OWN, Numbers


def routed(numbers: Numbers) -> bool:
    """Say whether nodes route between pods of two nodes: it shows in the TTL."""
    return numbers.across not in (None, OWN) and not numbers.elsewhere


def sizes_of(cluster: Cluster, numbers: Numbers, node: Node, peers: tuple[Node, ...]) -> Sizes:
    """Say how large packets may be: from a pod of `node`, and from the node itself to the first pod of each peer.

    A pod's own device lets nothing larger than the largest out, whatever the devices behind it let pass: those are
    asked by the node, which sends to its peers' pods by the same route as its pods do. Where no node routes between
    pods, or nobody promises what its devices refuse, there is nothing to ask.
    """
    largest = cluster.underlay_mtu - numbers.less
    way = {
        label(peer, peer.pods[0]): largest if numbers.wire(node, peer) else cluster.underlay_mtu
        for peer in peers
        if numbers.refuses and routed(numbers) and peer.pods and peer.name != node.name
    }
    return Sizes(largest, way)


@dataclass(frozen=True)
class Mesh:
    """Every node's pings, gathered once: what each host answered, and what must be in it."""

    nodes: tuple[Node, ...]
    numbers: Numbers
    sizes: Mapping[str, Sizes]
    sample: Sample | None
    answers: Mapping[str, Answer]
    replies: Mapping[str, Sequence[Reply]]
    """By node, of those that answered."""

    def of(self, node: Node, size: str) -> list[Reply]:
        """Return the replies to packets of one size; fail the test that asks if the node or a pair is missing."""
        self.answers[node.name].read()
        untold = self.untold(node)
        assert not untold, untold
        return [reply for reply in self.replies[node.name] if reply.size == size]

    def expected(self, node: Node) -> int:
        """Count the pairs from this node's pods."""
        if self.sample:
            return sum(len(self.sample.targets.get(pod.address, ())) for pod in node.pods)
        return len(node.pods) * sum(len(peer.pods) for peer in self.nodes)

    def untold(self, node: Node) -> str:
        """Say if a node that answered did not tell of each of its pairs."""
        told = sum(reply.size == SMALL for reply in self.replies[node.name])
        return "" if told == self.expected(node) else f"{node.name}: {told} pairs were tried, of {self.expected(node)}"

    def all(self, size: str) -> list[Reply]:
        """Return what all nodes that answered saw of one size."""
        return [reply for replies in self.replies.values() for reply in replies if reply.size == size]

    def largest(self, reply: Reply) -> int:
        """Say how large a packet may be on this reply's way."""
        node = reply.source.partition("/")[0]
        return self.sizes[node].way[reply.target] if reply.size == WAY else self.sizes[node].largest

    def fault(self, reply: Reply) -> str | None:
        """Say what is wrong with a reply: expected and seen; None if it is as it must be."""
        expected = Expected(self.numbers.ttl(reply.source, reply.target), self.largest(reply))
        wrong = FAULTS[reply.size](reply, expected, self.said(reply))
        return f"{reply.source} -> {reply.target}: {wrong}" if wrong else None

    def said(self, reply: Reply) -> str:
        """Say why no reply came, and if it is for the packet's size, who refused it."""
        if refusal := reply.refusal:
            return f"it refused by {self.by(refusal)}, whose MTU is {refusal.mtu}"
        return reply.why

    def by(self, refusal: Refusal) -> str:
        """Name who refused a packet."""
        if refusal.remembered:
            return "the path, as the sender remembers (`ip route flush cache` in its namespace makes it forget)"
        if not refusal.router:
            return "the sender's own device"
        owner = next((node.name for node in self.nodes if refusal.router in _routers(node)), "a stranger")
        return f"the path, by the router {refusal.router} ({owner})"


def _routers(node: Node) -> set[str]:
    """List the addresses under which a node speaks as a router."""
    return {str(address) for address in (node.gateway.ip, node.ip, node.vtep)}


def probed(fleet: Fleet, numbers: Numbers, sample: Sample | None) -> Mesh:
    """Have every node do its pings, by one remote command each."""
    sizes = {node.name: sizes_of(fleet.cluster, numbers, node, fleet.nodes) for node in fleet.nodes}
    answers = fleet.run_all(
        lambda node: probe.script(
            fleet.enter(node), node, fleet.nodes, sizes[node.name], sample.targets if sample else None
        )
    )
    replies = {}
    for node in fleet.nodes:
        if not answers[node.name].problem:
            try:
                replies[node.name] = probe.parse(fleet.cluster, node, answers[node.name].printed)
            except (LookupError, ValueError) as e:
                answers[node.name] = Answer("", problem=f"{node.name}: what its pings printed cannot be read: {e!r}")
    return Mesh(fleet.nodes, numbers, sizes, sample, answers, replies)


@dataclass(frozen=True)
class Expected:
    """The TTL of a reply, None if no reply may come, and how large a packet may be."""

    ttl: int | None
    largest: int


def _small(reply: Reply, expected: Expected, why: str) -> str | None:
    if not reply.tried:
        return reply.said
    if reply.ttl == expected.ttl:
        return None
    wanted = f"a reply with TTL {expected.ttl}" if expected.ttl else "no reply"
    return f"expected {wanted}, saw {f'TTL {reply.ttl}' if reply.reached else f'no reply: {why}'}"


def _largest(reply: Reply, expected: Expected, why: str) -> str | None:
    if expected.ttl is None or reply.reached:
        return None
    seen = why if reply.refusal else f"no reply: {why}"
    return f"expected a packet of {expected.largest} bytes to pass unfragmented, saw {seen}"


def _larger(reply: Reply, expected: Expected, why: str) -> str | None:
    if expected.ttl is None or reply.source == reply.target:  # its own loopback takes 64 KiB
        return None
    return _way(reply, expected, why)


def _way(reply: Reply, expected: Expected, why: str) -> str | None:
    refusal = reply.refusal
    if refusal and refusal.mtu == expected.largest and not reply.reached:
        return None
    return (
        f"expected a packet of {expected.largest + 1} bytes to be refused as too long, by an MTU of "
        f"{expected.largest}, saw {'a reply' if reply.reached else why}"
    )


FAULTS: Mapping[str, Callable[[Reply, Expected, str], str | None]] = {
    SMALL: _small,
    LARGEST: _largest,
    LARGER: _larger,
    WAY: _way,
}
