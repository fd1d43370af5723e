"""On the underlay pods' packets are seen in VXLAN, and never bare."""

import pytest

from podnet.cluster import Node
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
    way = f"{node.name} -> {peer.name}"
    for packet in seen:
        bare = packet.source in cluster.network or packet.target in cluster.network
        assert not bare, (
            f"{way}: expected no bare pod packet on the underlay, saw one from {packet.source} to {packet.target}"
        )
    assert [(packet.source, packet.target) for packet in seen] == [(node.ip, peer.ip), (peer.ip, node.ip)], (
        f"{way}: expected a packet to the peer and one back, saw {seen or 'nothing'}"
    )
    for packet in seen:
        assert (packet.protocol, packet.ports[1]) == (UDP, cluster.vxlan_port), f"{way}: expected VXLAN, saw {packet}"
        assert (packet.length, packet.fragmented) == (cluster.underlay_mtu, False), (
            f"{way}: not one full packet: {packet}"
        )
        inside = capture.vxlan(packet)
        assert inside.vni == cluster.vni, f"{way}: expected VNI {cluster.vni}, saw {inside.vni}"
        assert {inside.inner.source, inside.inner.target} == {node.pods[0].address, peer.pods[0].address}, way
