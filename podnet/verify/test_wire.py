"""On the underlay a pod's packets are seen as the mode says, and in no other way."""

from collections.abc import Iterable, Iterator, Sequence

import pytest

from podnet.cluster import Cluster, Node
from podnet.verify import capture
from podnet.verify.capture import PATTERN, NotCapturedError, Packet
from podnet.verify.diagnosis.inquiry import Explains, Problem
from podnet.verify.fleet import Fleet
from podnet.verify.mesh.probe import label
from podnet.verify.numbers import Numbers, Wrapping


def _captured(node: Node, peer: Node, fleet: Fleet, numbers: Numbers) -> list[Packet]:
    pair = (node.pods[0].address, peer.pods[0].address)
    size = fleet.cluster.underlay_mtu - numbers.less
    wanted = capture.pinged(*pair, at=0, size=size)
    if wrapping := numbers.wire(node, peer):
        inner = capture.pinged(*pair, at=wrapping.overhead, size=size)
        wanted = f"({wrapping.outer(fleet.cluster)} and {inner}) or {capture.between(*pair, at=0)}"
    packets = 2 if numbers.on_uplink else 0
    ping = capture.largest(pair[1], size, packets)
    if wrapping and wrapping.sealed:
        # Nobody can tell which of the packets between the two nodes are these pods', nor how many there will be.
        wanted = f"(host {node.ip} and host {peer.ip}) or {capture.between(*pair, at=0)}"
        packets, ping = 0, capture.with_pattern(pair[1], size)
    answer = fleet.run(
        node, capture.script(node.uplink, wanted, fleet.enter(node), f"enter {node.pods[0].name} {ping}", packets)
    )
    try:
        return capture.parse(answer.read())
    except NotCapturedError as e:
        pytest.fail(f"{node.name}: {e}; tcpdump and ping said: {answer.said.strip()}", pytrace=False)


@pytest.mark.usefixtures("greeted")
@pytest.mark.scenario(8)
def test_pods_packets_cross_the_wire_as_the_mode_says(
    node: Node, fleet: Fleet, numbers: Numbers, inquiry: Explains
) -> None:
    """A pod's largest packet and the reply each cross whole in one packet, wrapped or bare, or nothing crosses.

    Where the mode encrypts, nothing that the two nodes exchange meanwhile has a readable byte of it.
    """
    ring = [peer for peer in fleet.nodes if peer.pods]
    if node not in ring or len(ring) < 2:
        pytest.skip(f"{node.name}: no two nodes with pods were named, so nothing crosses the underlay")
    peer = ring[(ring.index(node) + 1) % len(ring)]
    seen = _captured(node, peer, fleet, numbers)
    readable: list[str] = []
    wrapping = numbers.wire(node, peer)
    size = fleet.cluster.underlay_mtu - numbers.less
    if wrapping and wrapping.sealed:
        readable += _readable(seen, (PATTERN, *(each.pods[0].address.packed for each in (node, peer))))
        # The rest is not these pods': the agreement upon keys, and what else goes on between two nodes.
        whole = {(p.source, p.target): p for p in seen if p.length >= size and not wrapping.fault(fleet.cluster, p)}
        seen = [whole[ends] for ends in ((node.ip, peer.ip), (peer.ip, node.ip)) if ends in whole]
    problems = readable + [problem for packet in seen if (problem := _wrong(packet, fleet.cluster, size, wrapping))]
    ends = (node.ip, peer.ip) if wrapping else (node.pods[0].address, peer.pods[0].address)
    expected = [ends, ends[::-1]] if numbers.on_uplink else []
    if [(packet.source, packet.target) for packet in seen] != expected:
        way = ", ".join(f"{packet.source} to {packet.target}" for packet in seen) or "nothing"
        wanted = f"a packet from {ends[0]} to {ends[1]} and one back" if expected else "nothing"
        problems.append(f"expected {wanted}, saw {way}")
    if problems:
        one, other = (label(each, each.pods[0]) for each in (node, peer))
        told = [Problem(one, other, f"{node.name} -> {peer.name}: {said}", size) for said in problems]
        pytest.fail("\n".join(inquiry.explained(told)), pytrace=False)


def _readable(packets: Iterable[Packet], secrets: Sequence[bytes]) -> Iterator[str]:
    """Find what of a pod's packet, its pattern or an address, anybody on the underlay could read."""
    for packet in packets:
        for secret in secrets:
            if secret in packet.raw:
                ends = f"{packet.source} to {packet.target}"
                yield f"expected nothing of a pod to be readable, saw {secret!r} in a packet from {ends}"


def _wrong(packet: Packet, cluster: Cluster, size: int, wrapping: Wrapping | None) -> str | None:
    """Say what is not as it should be with a packet on the underlay."""
    if wrapping and (packet.source in cluster.network or packet.target in cluster.network):
        return f"expected no bare pod packet on the underlay, saw one from {packet.source} to {packet.target}"
    length = size + (wrapping.overhead if wrapping else 0)
    if packet.fragmented or packet.length != length:
        pieces = "a fragment" if packet.fragmented else "a whole packet"
        return f"expected one whole packet of {length} bytes, saw {pieces} of {packet.length}"
    return wrapping.fault(cluster, packet) if wrapping else None
