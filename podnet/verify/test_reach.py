"""Every pod reaches every pod, both ways, over as many routers as the mode says, with packets as large as it says."""

import pytest

from podnet.cluster import Node
from podnet.verify import probe
from podnet.verify.fleet import Fleet
from podnet.verify.numbers import Numbers
from podnet.verify.plugin import REPLIES
from podnet.verify.probe import Reply

Replies = dict[str, list[Reply]]


@pytest.fixture(scope="session")
def replies(fleet: Fleet, pytestconfig: pytest.Config) -> Replies:
    """Ping from every pod to every pod, each node all its own at once."""
    found = _ping(fleet)
    pytestconfig.stash[REPLIES] = [reply for node in fleet.nodes for reply in found[node.name]]
    return found


def _ping(fleet: Fleet, size: int | None = None) -> Replies:
    results = fleet.run_all(lambda node: probe.script(node, fleet.nodes, size))
    return {node.name: probe.parse(fleet.cluster, node, results[node.name].stdout) for node in fleet.nodes}


def _fail_if(problems: list[str]) -> None:
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def test_every_pod_reaches_every_pod(node: Node, fleet: Fleet, replies: Replies, numbers: Numbers) -> None:
    """A reply comes from each pod, and its TTL tells that it was routed as often as the mode says."""
    here = {probe.label(node, pod) for pod in node.pods}
    problems = []
    for reply in replies[node.name]:
        expected = numbers.ttl_same_node if reply.target in here else numbers.ttl_across
        if reply.ttl != expected:
            seen = f"TTL {reply.ttl}" if reply.reached else f"no reply: {reply.said.splitlines()[-1]}"
            problems.append(f"{reply.source} -> {reply.target}: expected a reply with TTL {expected}, saw {seen}")
    expected_pairs = len(node.pods) * sum(len(peer.pods) for peer in fleet.nodes)
    assert len(replies[node.name]) == expected_pairs, "the probe did not try every pair"
    _fail_if(problems)


@pytest.fixture(scope="session")
def largest(fleet: Fleet, numbers: Numbers) -> Replies:
    """Ping with packets as large as a pod may send, not to be fragmented."""
    return _ping(fleet, fleet.cluster.underlay_mtu - numbers.overhead)


@pytest.fixture(scope="session")
def too_large(fleet: Fleet, numbers: Numbers) -> Replies:
    """Ping with packets of one byte more."""
    return _ping(fleet, fleet.cluster.underlay_mtu - numbers.overhead + 1)


def test_largest_packet_passes_unfragmented(node: Node, largest: Replies, fleet: Fleet, numbers: Numbers) -> None:
    """The underlay's MTU less the encapsulation is what a pod can send in one piece."""
    size = fleet.cluster.underlay_mtu - numbers.overhead
    _fail_if(
        [
            f"{reply.source} -> {reply.target}: expected a packet of {size} bytes to pass unfragmented, saw no reply: "
            f"{reply.said.splitlines()[-1]}"
            for reply in largest[node.name]
            if not reply.reached
        ]
    )


def test_one_byte_more_does_not_pass(node: Node, too_large: Replies, fleet: Fleet, numbers: Numbers) -> None:
    """A larger packet that must not be fragmented is refused, by name: ping says who refuses it and at which MTU."""
    size = fleet.cluster.underlay_mtu - numbers.overhead + 1
    problems = []
    for reply in too_large[node.name]:
        refused = "message too long, mtu=" in reply.said or "Frag needed" in reply.said
        if reply.source != reply.target and (reply.reached or not refused):
            problems.append(
                f"{reply.source} -> {reply.target}: expected a packet of {size} bytes to be refused as too long, saw "
                f"{'a reply' if reply.reached else reply.said.splitlines()[-1]}"
            )
    _fail_if(problems)
