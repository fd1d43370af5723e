"""Nodes and pods reach each other as the mode says, and other nodes see pods under the address that the inventory says.

As far as masquerading goes, a node is outside for the pods of the others.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

import pytest

from podnet.cluster import Node
from podnet.verify.diagnosis.inquiry import Inquiry, Problem
from podnet.verify.traffic import nodes
from podnet.verify.traffic.exchange import Exchange
from podnet.verify.traffic.nodes import Promise

pytestmark = pytest.mark.of_ours


def _fail_if(problems: Iterable[str]) -> None:
    if said := "\n".join(problems):
        pytest.fail(said, pytrace=False)


def _broken(exchange: Exchange, source: IPv4Address, target: IPv4Address, promise: Promise | None) -> Iterator[Problem]:
    for said in exchange.broken(source, target, promise):
        yield Problem(exchange.called[source], exchange.called[target], said)


def _from_node(node: Node, exchange: Exchange) -> Iterator[Problem]:
    beyond = exchange.numbers.beyond
    for peer, pod, _ in exchange.asked_by(node):
        yield from _broken(exchange, node.ip, pod.address, nodes.node_to_pod(beyond, node, peer))


@pytest.mark.scenario(6)
def test_a_node_reaches_pods_as_the_mode_says(node: Node, exchange: Exchange, inquiry: Inquiry) -> None:
    """Its own and those of other nodes reply to it, with a TTL that tells who routes; or they do not."""
    _fail_if(inquiry.explained([*_from_node(node, exchange)]))


def _to_nodes(node: Node, exchange: Exchange) -> Iterator[Problem]:
    for pod in node.pods:
        for peer in exchange.fleet.nodes:
            promise = nodes.pod_to_node(exchange.numbers.beyond, exchange.cluster, node, peer)
            yield from _broken(exchange, pod.address, peer.ip, promise)


@pytest.mark.scenario(6)
def test_pods_reach_nodes_as_the_mode_says(node: Node, exchange: Exchange, inquiry: Inquiry) -> None:
    """Their own one and the others reply to them; or they do not."""
    _fail_if(inquiry.explained([*_to_nodes(node, exchange)]))


def _sources(node: Node, exchange: Exchange) -> Iterator[Problem]:
    for peer, pod, _ in exchange.others():
        source = nodes.seen_by_node(exchange.numbers.beyond, exchange.cluster, peer, pod, node)
        for said in exchange.unlike(node.name, pod.address, node.ip, source):
            yield Problem(exchange.called[pod.address], node.name, said)


@pytest.mark.scenario(6)
def test_a_node_sees_pods_under_the_address_that_the_inventory_says(
    node: Node, exchange: Exchange, inquiry: Inquiry
) -> None:
    """Pods of other nodes are seen as their node if `masquerade` is True, else as themselves; its own as themselves."""
    _fail_if(inquiry.explained([*_sources(node, exchange)]))
