"""On the underlay a pod's packets are seen as the mode says, and in no other way."""

import pytest

from podnet.cluster import Cluster, Node
from podnet.verify import capture
from podnet.verify.capture import NotCapturedError, Packet
from podnet.verify.fleet import Fleet
from podnet.verify.numbers import Numbers


def _captured(node: Node, peer: Node, fleet: Fleet, numbers: Numbers) -> list[Packet]:
    size = fleet.cluster.underlay_mtu - numbers.overhead
    outer = numbers.outer(fleet.cluster)
    answer = fleet.run(node, capture.script(node, peer, size, outer, numbers.overhead))
    try:
        return capture.parse(answer.read())
    except NotCapturedError as e:
        pytest.fail(f"{node.name}: {e}; tcpdump and ping said: {answer.said.strip()}", pytrace=False)


def test_pods_packets_are_wrapped_on_the_wire(node: Node, fleet: Fleet, numbers: Numbers) -> None:
    """A pod's largest packet and the reply each cross whole in one packet, which fills the underlay's MTU."""
    ring = [peer for peer in fleet.nodes if peer.pods]
    if node not in ring or len(ring) < 2:
        pytest.skip(f"{node.name}: no two nodes with pods were named, so nothing crosses the underlay")
    peer = ring[(ring.index(node) + 1) % len(ring)]
    seen = _captured(node, peer, fleet, numbers)
    problems = [problem for packet in seen if (problem := _wrong(packet, fleet.cluster, numbers))]
    if [(packet.source, packet.target) for packet in seen] != [(node.ip, peer.ip), (peer.ip, node.ip)]:
        way = ", ".join(f"{packet.source} to {packet.target}" for packet in seen) or "nothing"
        problems.append(f"expected a packet from {node.ip} to {peer.ip} and one back, saw {way}")
    if problems:
        pytest.fail("\n".join(f"{node.name} -> {peer.name}: {problem}" for problem in problems), pytrace=False)


def _wrong(packet: Packet, cluster: Cluster, numbers: Numbers) -> str | None:
    """Say what is not as it should be with a packet on the underlay."""
    if packet.source in cluster.network or packet.target in cluster.network:
        return f"expected no bare pod packet on the underlay, saw one from {packet.source} to {packet.target}"
    if packet.fragmented or packet.length != cluster.underlay_mtu:
        pieces = "a fragment" if packet.fragmented else "a whole packet"
        return f"expected one whole packet of {cluster.underlay_mtu} bytes, saw {pieces} of {packet.length}"
    return numbers.fault(cluster, packet)
