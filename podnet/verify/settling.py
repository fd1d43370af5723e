"""Which addresses pods have where containers came before them: settled first, since all else is told by addresses."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from podnet import inventory
from podnet.allotment import allot
from podnet.state import State
from podnet.verify.fleet import Fleet

Data = Mapping[str, Mapping[str, Any]]


def settled(fleet: Fleet, want: Mapping[str, State], have: Mapping[str, State]) -> Fleet:
    """Return the fleet with the addresses that its pods have by what hosts hold; of others, the computed ones.

    `want` was computed without knowing.
    """
    cluster = fleet.cluster
    there = {node.name: node for node in cluster.nodes}
    there |= {name: allot(there[name], want[name], state, cluster.marks) for name, state in have.items()}
    nodes = tuple(there.values())
    return fleet if nodes == cluster.nodes else replace(fleet, cluster=replace(cluster, nodes=nodes), nodes=())


def named(data: Data, fleet: Fleet) -> Data:
    """Return an inventory's data with the addresses that its pods have, where these are not as computed.

    So they stay, whatever is taken away and made again.
    """
    computed = inventory.read(data)
    moved = [node for node in fleet.nodes if node.pods != computed.node(node.name).pods]
    pods = {node.name: {"pods": {pod.name: str(pod.address) for pod in node.pods}} for node in moved}
    return {name: {**said, **pods.get(name, {})} for name, said in data.items()}
