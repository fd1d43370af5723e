"""On the underlay pods' packets are seen in VXLAN, and never bare."""

from ipaddress import IPv4Address

import pytest

from podnet.cluster import Cluster, Node
from podnet.verify import capture
from podnet.verify.capture import UDP, NotCapturedError, Packet
from podnet.verify.fleet import Fleet
from podnet.verify.numbers import Numbers


def _captured(node: Node, peer: Node, fleet: Fleet, size: int) -> list[Packet]:
    answer = fleet.run(node, capture.script(fleet.cluster, node, peer, size))
    try:
        return capture.parse(answer.read())
    except NotCapturedError as e:
        pytest.fail(f"{node.name}: {e}; tcpdump and ping said: {answer.said.strip()}", pytrace=False)


def test_pods_packets_are_in_vxlan_on_the_wire(node: Node, fleet: Fleet, numbers: Numbers) -> None:
    """A pod's largest packet and the reply each cross whole in one VXLAN packet, which fills the underlay's MTU."""
    ring = [peer for peer in fleet.nodes if peer.pods]
    if node not in ring or len(ring) < 2:
        pytest.skip(f"{node.name}: no two nodes with pods were named, so nothing crosses the underlay")
    peer = ring[(ring.index(node) + 1) % len(ring)]
    cluster = fleet.cluster
    seen = _captured(node, peer, fleet, cluster.underlay_mtu - numbers.overhead)
    pair = {node.pods[0].address, peer.pods[0].address}
    problems = [problem for packet in seen if (problem := _wrong(packet, cluster, pair))]
    if [(packet.source, packet.target) for packet in seen] != [(node.ip, peer.ip), (peer.ip, node.ip)]:
        way = ", ".join(f"{packet.source} to {packet.target}" for packet in seen) or "nothing"
        problems.append(f"expected a packet from {node.ip} to {peer.ip} and one back, saw {way}")
    if problems:
        pytest.fail("\n".join(f"{node.name} -> {peer.name}: {problem}" for problem in problems), pytrace=False)


def _wrong(packet: Packet, cluster: Cluster, pair: set[IPv4Address]) -> str | None:
    """Say what is not as it should be with a packet on the underlay."""
    if packet.source in cluster.network or packet.target in cluster.network:
        return f"expected no bare pod packet on the underlay, saw one from {packet.source} to {packet.target}"
    if packet.protocol != UDP or packet.ports[1] != cluster.vxlan_port:
        return f"expected UDP to port {cluster.vxlan_port}, saw IP protocol {packet.protocol}"
    if packet.fragmented or packet.length != cluster.underlay_mtu:
        pieces = "a fragment" if packet.fragmented else "a whole packet"
        return f"expected one whole packet of {cluster.underlay_mtu} bytes, saw {pieces} of {packet.length}"
    try:
        inside = capture.vxlan(packet)
    except NotCapturedError as e:
        return str(e)
    if inside.vni != cluster.vni:
        return f"expected VNI {cluster.vni}, saw {inside.vni}"
    if {inside.inner.source, inside.inner.target} != pair:
        return f"expected the pods' own packet inside, saw one from {inside.inner.source} to {inside.inner.target}"
    return None
