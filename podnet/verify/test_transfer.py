"""Pods talk to each other by TCP and UDP, much and little, and nothing is lost, changed or stalls on the way."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from podnet.cluster import Node
from podnet.verify.diagnosis.inquiry import Inquiry, Problem
from podnet.verify.diagnosis.refusals import PROTOCOLS
from podnet.verify.traffic import transfer
from podnet.verify.traffic.exchange import Exchange
from podnet.verify.traffic.transfer import SMALL, Told

HINT = "where small packets pass, look at MTUs, and at checksums (`checksum_offload`)"


def _told(node: Node, exchange: Exchange) -> list[Told]:
    """Return what the node's pods told of TCP and UDP: exactly what they were asked for."""
    told = [each for each in exchange.told(node.name) if each.kind != "icmp"]
    wanted = {(source, talk.kind, talk.to, talk.size) for source, talk in exchange.talks(node)}
    missing = wanted ^ {(each.source, each.kind, each.target, each.size) for each in told}
    assert not missing, f"{node.name}: {len(told)} exchanges were told of, and {len(wanted)} asked for"
    return told


def _fail_if(problems: Iterable[str]) -> None:
    if said := "\n".join(problems):
        pytest.fail(said, pytrace=False)


def _between(exchange: Exchange, told: Told, said: str) -> Problem:
    protocol = PROTOCOLS["tcp" if told.kind == "tcp" else "udp"]
    return Problem(exchange.called[told.source], exchange.called[told.target], said, protocol=protocol)


def _small(node: Node, exchange: Exchange) -> Iterator[Problem]:
    for each in _told(node, exchange):
        wanted = exchange.connected(node, exchange.home(each.target))
        pair = exchange.pair(each.source, each.target, transfer.KINDS[each.kind])
        if wanted and each.problem and each.size == SMALL:
            yield _between(exchange, each, f"{pair}: expected {each.size} bytes there and back, saw {each.problem}")
        elif wanted and not each.problem and each.peer != each.source:
            yield _between(exchange, each, f"{pair}: expected to be seen as {each.source}, was seen as {each.peer}")
        elif not wanted and not each.problem:
            yield _between(exchange, each, f"{pair}: expected nothing to pass, saw {each.size} bytes there and back")


@pytest.mark.scenario(5)
def test_pods_talk_by_tcp_and_udp_as_the_mode_says(node: Node, exchange: Exchange, inquiry: Inquiry) -> None:
    """Where pings pass, so do TCP and UDP, under the pod's own address; where none may pass, neither do these."""
    _fail_if(inquiry.explained([*_small(node, exchange)]))


def _large(node: Node, exchange: Exchange) -> Iterator[Problem]:
    for each in _told(node, exchange):
        pair = exchange.pair(each.source, each.target, transfer.KINDS[each.kind])
        if each.size != SMALL and each.problem:
            said = f"{pair}: expected {each.size} bytes there and back, saw {each.problem}; {HINT}"
            largest = exchange.cluster.underlay_mtu - exchange.numbers.less
            yield replace(_between(exchange, each, said), size=largest)


@pytest.mark.scenario(5)
def test_large_transfers_arrive_whole(node: Node, exchange: Exchange, inquiry: Inquiry) -> None:
    """1 MiB by TCP, a UDP datagram as large as the pod's MTU allows and one in fragments come back unchanged."""
    _fail_if(inquiry.explained([*_large(node, exchange)]))
