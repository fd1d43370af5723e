"""Pods reach each other, both ways, over as many routers as the mode says, with packets as large as it says."""

import pytest

from podnet.cluster import Node
from podnet.verify import probe
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.numbers import Numbers
from podnet.verify.plugin import REPLIES
from podnet.verify.probe import Reply

Answers = dict[str, Answer]


def _ping(fleet: Fleet, size: int | None = None, deadline: int = probe.DEADLINE) -> Answers:
    return fleet.run_all(lambda node: probe.script(fleet.enter(node), node, fleet.nodes, size, deadline))


def _replies(fleet: Fleet, node: Node, answers: Answers) -> list[Reply]:
    replies = probe.parse(fleet.cluster, node, answers[node.name].read())
    pairs = len(node.pods) * sum(len(peer.pods) for peer in fleet.nodes)
    assert len(replies) == pairs, f"{node.name}: {len(replies)} pairs were tried, of {pairs}"
    return replies


@pytest.fixture(scope="session")
def small(fleet: Fleet) -> Answers:
    """Ping from every pod to every pod, each node all its own at once."""
    return _ping(fleet)


@pytest.fixture(scope="session")
def largest(fleet: Fleet, numbers: Numbers) -> Answers:
    """Ping with packets as large as a pod may send, not to be fragmented."""
    return _ping(fleet, fleet.cluster.underlay_mtu - numbers.less)


@pytest.fixture(scope="session")
def too_large(fleet: Fleet, numbers: Numbers) -> Answers:
    """Ping with packets of one byte more. The refusal comes at once; ping would go on asking until the deadline."""
    return _ping(fleet, fleet.cluster.underlay_mtu - numbers.less + 1, deadline=1)


def _fail_if(problems: list[str]) -> None:
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.mark.scenario(2, 3)
def test_pods_reach_each_other_as_the_mode_says(
    node: Node, fleet: Fleet, small: Answers, numbers: Numbers, pytestconfig: pytest.Config
) -> None:
    """Each pod that the mode connects replies, with a TTL that tells how often it was routed; the others do not."""
    problems = []
    replies = _replies(fleet, node, small)
    pytestconfig.stash.setdefault(REPLIES, []).extend(replies)
    for reply in replies:
        expected = numbers.ttl(reply.source, reply.target)
        if reply.ttl != expected:
            seen = f"TTL {reply.ttl}" if reply.reached else f"no reply: {reply.why}"
            wanted = f"a reply with TTL {expected}" if expected else "no reply"
            problems.append(f"{reply.source} -> {reply.target}: expected {wanted}, saw {seen}")
    _fail_if(problems)


@pytest.mark.scenario(4)
def test_largest_packet_passes_unfragmented(node: Node, largest: Answers, fleet: Fleet, numbers: Numbers) -> None:
    """The underlay's MTU less the encapsulation is what a pod can send in one piece."""
    size = fleet.cluster.underlay_mtu - numbers.less
    _fail_if(
        [
            f"{reply.source} -> {reply.target}: expected a packet of {size} bytes to pass unfragmented, saw no reply: "
            f"{reply.why}"
            for reply in _replies(fleet, node, largest)
            if numbers.ttl(reply.source, reply.target) and not reply.reached
        ]
    )


@pytest.mark.scenario(4)
def test_one_byte_more_does_not_pass(node: Node, too_large: Answers, fleet: Fleet, numbers: Numbers) -> None:
    """A larger packet that must not be fragmented is refused, by name: ping says who refuses it and at which MTU."""
    size = fleet.cluster.underlay_mtu - numbers.less + 1
    problems = []
    for reply in _replies(fleet, node, too_large):
        refused = "message too long, mtu=" in reply.said.lower() or "Frag needed" in reply.said
        connected = reply.source != reply.target and numbers.ttl(reply.source, reply.target)
        if connected and (reply.reached or not refused):
            problems.append(
                f"{reply.source} -> {reply.target}: expected a packet of {size} bytes to be refused as too long, saw "
                f"{'a reply' if reply.reached else reply.why}"
            )
    _fail_if(problems)
