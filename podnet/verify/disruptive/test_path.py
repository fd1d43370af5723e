"""The path itself refuses packets that are too long: shown by pods whose own devices let them out.

A pod's device has the MTU of the path, so it is the first to refuse. Only a pod that may send one byte more is refused
by a router. That changes a device for as long as a ping takes, hence it is done on request.
"""

import pytest

from podnet import pods
from podnet.cluster import Node
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.mesh import probe
from podnet.verify.mesh.probe import DEADLINE, HEADERS, LARGER, MARK
from podnet.verify.mesh.reach import Mesh, routed
from podnet.verify.numbers import Numbers


def peer_of(fleet: Fleet, node: Node) -> Node | None:
    """Choose whom a node's first pod is to ask: the next node that has pods."""
    ring = [each for each in fleet.nodes if each.pods]
    return ring[(ring.index(node) + 1) % len(ring)] if node in ring and len(ring) > 1 else None


def script(netns: str, pod: str, to: str, size: int) -> str:
    """Spell a ping of that size by a pod whose device is large enough meanwhile, and gets its MTU back in any case.

    What routers said is forgotten before and afterwards: a pod that remembers would not ask, and nothing is to stay.
    """
    forget = f"ip -n {netns} route flush cache"
    return f"""set -eu
was=$(ip netns exec {netns} cat /sys/class/net/eth0/mtu)
trap 'ip -n {netns} link set eth0 mtu $was; {forget}' EXIT
trap 'exit 1' HUP INT TERM
ip -n {netns} link set eth0 mtu {size}
{forget}
said=$(ip netns exec {netns} ping -n -c 1 -w {DEADLINE} -M do -s {size - HEADERS} {to} 2>&1) || test $? = 1
echo "{MARK} {pod} {to} {LARGER} {size}
$said\""""


@pytest.fixture(scope="module")
def refused(fleet: Fleet, numbers: Numbers) -> dict[str, Answer]:
    """Have the first pod of every node send one byte too much to another node, where nodes route."""

    def ask(node: Node) -> str:
        peer = peer_of(fleet, node)
        if peer is None or not routed(numbers):
            return ":"
        pod = node.pods[0]
        size = fleet.cluster.underlay_mtu - numbers.less + 1
        return script(pods.netns(pod, fleet.cluster.marks), pod.name, str(peer.pods[0].address), size)

    return fleet.run_all(ask)


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
