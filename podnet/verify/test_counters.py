"""Packets between pods are counted by the devices that the mode has for them, and by no other of ours."""

import pytest

from podnet.cluster import Node
from podnet.verify.diagnosis.inquiry import Inquiry, Problem
from podnet.verify.fleet import Fleet
from podnet.verify.mesh.probe import label
from podnet.verify.numbers import Numbers
from podnet.verify.traffic.bursts import Bursts

pytestmark = pytest.mark.of_ours


@pytest.fixture(scope="session")
def bursts(fleet: Fleet, numbers: Numbers, greeted: None) -> Bursts:  # noqa: ARG001  # before anybody talks
    """Have a place for what is measured."""
    return Bursts(fleet, numbers)


@pytest.mark.scenario(7)
def test_counters_rise_on_the_way_and_nowhere_else(node: Node, bursts: Bursts, inquiry: Inquiry) -> None:
    """A burst of pings is counted both ways by each device that it should pass, at both ends, and by no other."""
    if found := bursts.faults(node):
        # Packets that pass a node's devices may be anybody's who has gone astray.
        pairs = [
            Problem(label(each.node, each.pod), label(each.peer, each.to), "", passes=each not in bursts.lost)
            for each in bursts.all
        ]
        pytest.fail("\n".join([*found, *inquiry.named(pairs)]), pytrace=False)
