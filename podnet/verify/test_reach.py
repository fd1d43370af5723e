"""Pods reach each other, both ways, over as many routers as the mode says, with packets as large as it says."""

import pytest

from podnet.cluster import Node
from podnet.verify.diagnosis.inquiry import Explains, Problem
from podnet.verify.mesh.probe import LARGER, LARGEST, SMALL, WAY
from podnet.verify.mesh.reach import Mesh


def _fail_if_wrong(mesh: Mesh, node: Node, size: str, inquiry: Explains) -> None:
    wrong = [(reply, problem) for reply in mesh.of(node, size) if (problem := mesh.fault(reply))]
    problems = inquiry.explained(
        [
            Problem(
                reply.source,
                reply.target,
                problem,
                None if size == SMALL else mesh.largest(reply),
                passes=reply.reached,
            )
            for reply, problem in wrong
            if reply.tried
        ]
    )
    if unsent := [f"{reply.source} -> {reply.target}" for reply, _ in wrong if not reply.tried]:
        first = wrong[[reply.tried for reply, _ in wrong].index(False)][0]
        problems.append(
            f"{node.name}: {len(unsent)} pairs were not tried: {', '.join(unsent)}; of the first, {first.said}"
        )
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.mark.scenario(2, 3)
def test_pods_reach_each_other_as_the_mode_says(node: Node, mesh: Mesh, inquiry: Explains) -> None:
    """Each pod that the mode connects replies, with a TTL that tells how often it was routed; the others do not."""
    _fail_if_wrong(mesh, node, SMALL, inquiry)


@pytest.mark.scenario(4)
def test_largest_packet_passes_unfragmented(node: Node, mesh: Mesh, inquiry: Explains) -> None:
    """The underlay's MTU less the encapsulation is what a pod can send in one piece."""
    _fail_if_wrong(mesh, node, LARGEST, inquiry)


@pytest.mark.scenario(4)
def test_one_byte_more_does_not_pass(node: Node, mesh: Mesh, inquiry: Explains) -> None:
    """A larger packet that must not be fragmented is refused, by name: ping says who refuses it and at which MTU."""
    _fail_if_wrong(mesh, node, LARGER, inquiry)


@pytest.mark.of_ours
@pytest.mark.scenario(4)
def test_the_way_between_nodes_refuses_one_byte_more(node: Node, mesh: Mesh, inquiry: Explains) -> None:
    """So do the devices behind the pod's own, by which the node routes: they are asked by the node itself."""
    _fail_if_wrong(mesh, node, WAY, inquiry)
