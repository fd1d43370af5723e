"""Nodes and pods reach each other as the mode says, and other nodes see pods under the address that the inventory says.

As far as masquerading goes, a node is outside for the pods of the others.
"""

from collections.abc import Iterator

import pytest

from podnet.cluster import Node
from podnet.verify import nodes
from podnet.verify.exchange import Exchange


def _fail_if(problems: Iterator[str]) -> None:
    if said := "\n".join(problems):
        pytest.fail(said, pytrace=False)


def _from_node(node: Node, exchange: Exchange) -> Iterator[str]:
    beyond = exchange.numbers.beyond
    for peer, pod, _ in exchange.asked_by(node):
        yield from exchange.broken(node.ip, pod.address, nodes.node_to_pod(beyond, node, peer))


@pytest.mark.scenario(6)
def test_a_node_reaches_pods_as_the_mode_says(node: Node, exchange: Exchange) -> None:
    """Its own and those of other nodes reply to it, with a TTL that tells who routes; or they do not."""
    _fail_if(_from_node(node, exchange))


def _to_nodes(node: Node, exchange: Exchange) -> Iterator[str]:
    for pod in node.pods:
        for peer in exchange.fleet.nodes:
            promise = nodes.pod_to_node(exchange.numbers.beyond, exchange.cluster, node, peer)
            yield from exchange.broken(pod.address, peer.ip, promise)


@pytest.mark.scenario(6)
def test_pods_reach_nodes_as_the_mode_says(node: Node, exchange: Exchange) -> None:
    """Their own one and the others reply to them; or they do not."""
    _fail_if(_to_nodes(node, exchange))


def _sources(node: Node, exchange: Exchange) -> Iterator[str]:
    for peer, pod, _ in exchange.others():
        source = nodes.seen_by_node(exchange.numbers.beyond, exchange.cluster, peer, pod, node)
        yield from exchange.unlike(node.name, pod.address, node.ip, source)


@pytest.mark.scenario(6)
def test_a_node_sees_pods_under_the_address_that_the_inventory_says(node: Node, exchange: Exchange) -> None:
    """Pods of other nodes are seen as their node if `masquerade` is True, else as themselves; its own as themselves."""
    _fail_if(_sources(node, exchange))
