"""What a host that is no member sees: `--outside` names it."""

from collections.abc import Iterator

import pytest

from podnet.cluster import Node
from podnet.verify.traffic import nodes
from podnet.verify.traffic.exchange import Exchange
from podnet.verify.traffic.nodes import Promise, Source

pytestmark = pytest.mark.of_ours


def _fail_if(problems: Iterator[str]) -> None:
    if said := "\n".join(problems):
        pytest.fail(said, pytrace=False)


def _inward(node: Node, exchange: Exchange) -> Iterator[str]:
    outside, inward = exchange.told_outside(), exchange.numbers.beyond.inward
    for pod in node.pods if outside in node.address.network else ():
        yield from exchange.broken(outside, pod.address, Promise(inward))
        yield from exchange.unlike(node.name, outside, pod.address, Source(outside, surely=bool(inward)))


@pytest.mark.scenario(6)
def test_the_outside_reaches_pods_as_the_mode_says(node: Node, exchange: Exchange) -> None:
    """A packet for a pod that is handed to the pod's node arrives, from whom it is from; or it does not.

    It is handed over on the segment, whatever route the host outside has: so nothing has to be changed there. From
    behind a router it is the router's route that decides, which the mode does not promise.
    """
    _fail_if(_inward(node, exchange))


def _outward(node: Node, exchange: Exchange) -> Iterator[str]:
    outside, beyond = exchange.told_outside(), exchange.numbers.beyond
    for pod in node.pods:
        promise = nodes.pod_to_outside(beyond, exchange.cluster, node, outside)
        yield from exchange.broken(pod.address, outside, promise)
        source = nodes.seen_by_outside(beyond, exchange.cluster, node, pod, outside)
        yield from exchange.unlike(exchange.fleet.outside, pod.address, outside, source)


@pytest.mark.scenario(6)
def test_pods_reach_the_outside_under_the_address_that_the_inventory_says(node: Node, exchange: Exchange) -> None:
    """The host outside sees the node's address if `masquerade` is True, else the pod's; or nothing at all."""
    _fail_if(_outward(node, exchange))
