"""The path itself refuses packets that are too long: shown by pods whose own devices let them out.

A pod's device has the MTU of the path, so it is the first to refuse. Only a pod that may send one byte more is refused
by a router. That changes a device for as long as a ping takes, hence it is done on request.
"""

import pytest

from podnet import pods
from podnet.cluster import Node
from podnet.verify.disruptive.operating import Operator
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.mesh import probe
from podnet.verify.mesh.probe import DEADLINE, HEADERS, LARGER, MARK
from podnet.verify.mesh.reach import Mesh, routed

FORGET = "ip -n {} route flush cache"
"""What routers said is forgotten before and afterwards: a pod that remembers would not ask, and nothing is to stay."""


def peer_of(fleet: Fleet, node: Node) -> Node | None:
    """Choose whom a node's first pod is to ask: the next node that has pods."""
    ring = [each for each in fleet.nodes if each.pods]
    return ring[(ring.index(node) + 1) % len(ring)] if node in ring and len(ring) > 1 else None


def script(netns: str, pod: str, to: str, size: int) -> str:
    """Spell a ping of that size by a pod whose device is large enough meanwhile, and gets its MTU back in any case."""
    return f"""set -eu
trap '{back(netns, size - 1)}' EXIT
trap 'exit 1' HUP INT TERM
ip -n {netns} link set eth0 mtu {size}
{FORGET.format(netns)}
said=$(ip netns exec {netns} ping -n -c 1 -w {DEADLINE} -M do -s {size - HEADERS} {to} 2>&1) || test $? = 1
echo "{MARK} {pod} {to} {LARGER} {size}
$said\""""


def back(netns: str, mtu: int) -> str:
    """Spell: give the pod's device its MTU, which an operator has found right before."""
    return f"ip -n {netns} link set eth0 mtu {mtu}; {FORGET.format(netns)}"


def asked(operator: Operator) -> dict[str, Answer]:
    """Have the first pod of every node send one byte too much to another node, where nodes route."""
    fleet, numbers = operator.hosts, operator.given.numbers
    largest = fleet.cluster.underlay_mtu - numbers.less

    def ask(node: Node) -> str:
        peer = peer_of(fleet, node)
        if peer is None or not routed(numbers):
            return ":"
        pod = node.pods[0]
        return script(pods.netns(pod, fleet.cluster.marks), pod.name, str(peer.pods[0].address), largest + 1)

    answers: dict[str, Answer] = {}
    try:
        answers = fleet.run_all(ask)
    finally:
        for node in fleet.nodes:
            if ask(node) != ":" and (node.name not in answers or answers[node.name].problem):
                netns = pods.netns(node.pods[0], fleet.cluster.marks)
                left = f"eth0 in {netns} of {node.name} may send {largest + 1} bytes"
                operator.undo(node, f"set -eu; {back(netns, largest)}", left)
    return answers


@pytest.fixture(scope="module")
def refused(operator: Operator) -> dict[str, Answer]:
    """Return what they were told."""
    with operator.borrowed(f"pods of {operator.names} had a larger MTU"):
        return asked(operator)


@pytest.mark.scenario(4)
def test_a_router_refuses_one_byte_more(node: Node, fleet: Fleet, mesh: Mesh, refused: dict[str, Answer]) -> None:
    """Not the sender's own device, and at the size that the mode says; where no node routes nobody is asked."""
    problems = []
    for reply in probe.parse(fleet.cluster, node, refused[node.name].read()):
        if reply.refusal and not reply.refusal.router:
            problems.append(f"{reply.source} -> {reply.target}: expected a router to refuse, saw {mesh.said(reply)}")
        elif problem := mesh.fault(reply):
            problems.append(problem)
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
