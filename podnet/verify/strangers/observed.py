"""A cluster that somebody else set up, measured by what a mode computes for its addresses and subnets.

By function, not by ownership: whatever device of the right kind leads to a peer serves, whoever made it, whatever its
name and its MAC. What must hold is that the tables of two nodes fit together: a node's neighbour and FDB entries are
read beside the peer's own device.

A *fault* is what loses packets or forges whom they are from, or would: a test fails for it. Everything else in which
the cluster is otherwise than podnet would have it is a *difference*, which is told and fails nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

from podnet.cluster import Node
from podnet.verify.numbers import Numbers
from podnet.verify.strangers.passage import insides, passage
from podnet.verify.strangers.policy import policy
from podnet.verify.strangers.scene import Finding, Scene, largest
from podnet.verify.strangers.ways import devices, ways

Subject: TypeAlias = Callable[[Scene, Node], Iterator[Finding]]

SUBJECTS = (devices, ways, policy, passage, insides)
"""What is looked at, in the order of a packet's way."""


def differences(scene: Scene) -> list[Finding]:
    """Collect what is only told, in the order of the nodes and of a packet's way."""
    return [finding for node in _nodes(scene) for finding in findings(scene, node) if not finding.fault]


def findings(scene: Scene, node: Node) -> list[Finding]:
    """Collect all that is otherwise on a node, faults and differences, each once."""
    return list(dict.fromkeys(finding for subject in SUBJECTS for finding in subject(scene, node)))


def told(scene: Scene) -> list[str]:
    """Tell the differences: each sentence once, and the nodes that it is about."""
    about: dict[str, list[str]] = {}
    for finding in differences(scene):
        about.setdefault(str(replace(finding, node="")).removeprefix(": "), []).append(finding.node)
    return [f"{', '.join(nodes)}: {words}" for words, nodes in about.items()] or ["nothing"]


def _nodes(scene: Scene) -> list[Node]:
    return [node for node in scene.cluster.nodes if node.name in scene.seen]


def faults(scene: Scene, node: Node, subject: Subject) -> list[str]:
    """Say what a test of one subject fails for."""
    return [str(finding) for finding in subject(scene, node) if finding.fault]


def fitted(scene: Scene) -> Numbers:
    """Fit the numbers to the pods' side of the cluster, which is not the mode's to say here.

    Between pods with a cable each the node is a router, which takes one of the TTL. And a cluster may have chosen
    smaller packets than it needs, for pods alone or for its tunnels too.
    """
    numbers = replace(scene.numbers, refuses=False)
    with_pods = [scene.cluster.node(name) for name, seen in scene.seen.items() if seen.pods]
    if with_pods and all(scene.routes(node) and scene.cabled(node) for node in with_pods):
        numbers = replace(numbers, same_node=63)
    sizes = {mtu for seen in scene.seen.values() for inside in seen.pods.values() if (mtu := largest(inside))}
    if len(sizes) == 1 and (less := scene.cluster.underlay_mtu - sizes.pop()) > numbers.less:
        numbers = replace(numbers, less=less)
    return numbers
