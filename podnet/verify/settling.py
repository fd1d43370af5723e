"""Which addresses pods have where containers came before them: settled first, since all else is told by addresses."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pyinfra.api import FactProcessError

from podnet import inventory
from podnet.allotment import allot
from podnet.cluster import Node
from podnet.facts import node as tables
from podnet.facts.reading import strictly
from podnet.state import State
from podnet.verify.fleet import Answer, Fleet

Data = Mapping[str, Mapping[str, Any]]


def settled(fleet: Fleet, want: Mapping[str, State], answers: Mapping[str, Answer]) -> Fleet:
    """Return the fleet with the addresses that hosts say their pods have; others are believed to be as computed."""
    there = {node.name: _settled(fleet, node, want[node.name], answers[node.name]) for node in fleet.nodes}
    nodes = tuple(there.get(node.name, node) for node in fleet.cluster.nodes)
    if nodes == fleet.cluster.nodes:
        return fleet
    return Fleet(replace(fleet.cluster, nodes=nodes), fleet.hosts, fleet.outside)


def _settled(fleet: Fleet, node: Node, want: State, answer: Answer) -> Node:
    if answer.problem:
        return node
    try:
        with strictly(f"what {node.name} told of itself"):
            have = tables.parse(answer.printed.splitlines())
    except FactProcessError:
        return node  # the tests of its tables fail
    return allot(node, want, have, fleet.cluster.marks)


def named(data: Data, fleet: Fleet) -> Data:
    """Return an inventory's data with the addresses that its pods have, where these are not as computed.

    So they stay, whatever is taken away and made again.
    """
    computed = inventory.read(data)
    moved = [node for node in fleet.nodes if node.pods != computed.node(node.name).pods]
    pods = {node.name: {"pods": {pod.name: str(pod.address) for pod in node.pods}} for node in moved}
    return {name: {**said, **pods.get(name, {})} for name, said in data.items()}
