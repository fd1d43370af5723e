"""What a host that is no member sees: `--outside` names it."""

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from podnet.cluster import Node
from podnet.verify.diagnosis.inquiry import Inquiry, Problem
from podnet.verify.traffic import nodes
from podnet.verify.traffic.exchange import Exchange
from podnet.verify.traffic.nodes import Promise, Source

pytestmark = pytest.mark.of_ours


@pytest.fixture(scope="module")
def anew(inquiry: Inquiry) -> Inquiry:
    """Return who asks once more: what was counted while pods tried to reach pods tells nothing of the way outside."""
    return Inquiry(inquiry.fleet, inquiry.want, inquiry.tables, inquiry.shows)


def _problem(exchange: Exchange, source: IPv4Address, target: IPv4Address, said: str) -> Problem:
    return Problem(exchange.called[source], exchange.called[target], said, outside=exchange.outside)


def _fail_if(problems: Iterator[Problem], anew: Inquiry) -> None:
    if said := "\n".join(anew.explained([*problems])):
        pytest.fail(said, pytrace=False)


def _inward(node: Node, exchange: Exchange) -> Iterator[Problem]:
    outside, inward = exchange.told_outside(), exchange.numbers.beyond.inward
    for pod in node.pods if outside in node.address.network else ():
        wrong = [*exchange.broken(outside, pod.address, Promise(inward))]
        wrong += exchange.unlike(node.name, outside, pod.address, Source(outside, surely=bool(inward)))
        yield from (_problem(exchange, outside, pod.address, said) for said in wrong)


@pytest.mark.scenario(6)
def test_the_outside_reaches_pods_as_the_mode_says(node: Node, exchange: Exchange, anew: Inquiry) -> None:
    """A packet for a pod that is handed to the pod's node arrives, from whom it is from; or it does not.

    It is handed over on the segment, whatever route the host outside has: so nothing has to be changed there. From
    behind a router it is the router's route that decides, which the mode does not promise.
    """
    _fail_if(_inward(node, exchange), anew)


def _outward(node: Node, exchange: Exchange) -> Iterator[Problem]:
    outside, beyond = exchange.told_outside(), exchange.numbers.beyond
    for pod in node.pods:
        promise = nodes.pod_to_outside(beyond, exchange.cluster, node, outside)
        source = nodes.seen_by_outside(beyond, exchange.cluster, node, pod, outside)
        wrong = [*exchange.broken(pod.address, outside, promise)]
        wrong += exchange.unlike(exchange.fleet.outside, pod.address, outside, source)
        yield from (_problem(exchange, pod.address, outside, said) for said in wrong)


@pytest.mark.scenario(6)
def test_pods_reach_the_outside_under_the_address_that_the_inventory_says(
    node: Node, exchange: Exchange, anew: Inquiry
) -> None:
    """The host outside sees the node's address if `masquerade` is True, else the pod's; or nothing at all."""
    _fail_if(_outward(node, exchange), anew)
