"""A cluster that somebody else set up does what the mode says: asked with `--observe`, by looking alone."""

from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from podnet.cluster import Node
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.strangers.observed import Subject
from podnet.verify.strangers.observing import Observation, script_of_pings
from podnet.verify.strangers.passage import insides, passage
from podnet.verify.strangers.policy import policy
from podnet.verify.strangers.scene import Scene
from podnet.verify.strangers.ways import devices, ways

Record = Callable[[str], None]


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Record:
    """Write a difference into JUnit's report: where properties of scenarios are, which pytest's own way warns of."""
    return lambda sentence: request.node.user_properties.append(("difference", sentence))


def _look(node: Node, observation: Observation, record: Record, subject: Subject) -> None:
    """Fail for faults; what is only otherwise goes into the report, as a property of the test."""
    observation.answers[node.name].read()
    whole = observation.scene.cluster.node(node.name)
    found = list(dict.fromkeys(subject(observation.scene, whole)))
    for finding in found:
        if not finding.fault:
            record(str(finding))
    if faults := [str(finding) for finding in found if finding.fault]:
        pytest.fail("\n".join(faults), pytrace=False)


def test_packets_can_leave_the_node(node: Node, observation: Observation, record: Record) -> None:
    """The uplink has the node's address; a tunnel has the computed VNI, ports and ends, and an MTU that fits."""
    _look(node, observation, record, devices)


def test_the_way_to_each_peer_is_whole(node: Node, observation: Observation, record: Record) -> None:
    """Route, neighbour and FDB entry, or key, lead to the peer itself, as its own tables have it; none to nobody."""
    _look(node, observation, record, ways)


def test_no_rule_leads_around_the_main_table(node: Node, observation: Observation, record: Record) -> None:
    """Policy routing (`ip rule`) leads pods' packets no other way than the main table would."""
    _look(node, observation, record, policy)


def test_the_node_lets_pods_packets_through(node: Node, observation: Observation, record: Record) -> None:
    """Forwarding is on, the firewall's rules accept, and what goes outside is masqueraded if it should be."""
    _look(node, observation, record, passage)


def test_pods_can_be_reached_and_can_answer(node: Node, observation: Observation, record: Record) -> None:
    """The node has a way to each of its pods, these have one to others, and send nothing too large."""
    _look(node, observation, record, insides)


@pytest.fixture(scope="session")
def from_nodes(observation: Observation, fleet: Fleet) -> dict[str, Answer]:
    """Ping from every node to all that it should reach of the pod network."""
    return fleet.run_all(lambda node: script_of_pings(_targets(observation.scene, node)))


def _targets(scene: Scene, node: Node) -> list[IPv4Address]:
    """Name the node's own pods, its peers' where the mode connects them, and the addresses that peers have for them.

    A subnet's own address is left out: older kernels take it for a broadcast.
    """
    if not scene.routes(node):
        return []
    found = [pod.address for pod in scene.cluster.node(node.name).pods]
    for peer in scene.cluster.peers(node) if scene.numbers.across else ():
        seen = scene.seen.get(peer.name)
        held = sorted({item.address.ip for item in seen.have.addresses} if seen else ())
        found += [pod.address for pod in peer.pods]
        found += [ip for ip in held if ip in peer.pod_subnet and ip != peer.pod_subnet.network_address]
    return found


def test_the_node_reaches_pods_and_peers(node: Node, observation: Observation, from_nodes: dict[str, Answer]) -> None:
    """Pinged from the node itself, so that it also holds for pods whose namespaces cannot be entered."""
    codes = dict(line.split() for line in from_nodes[node.name].read().splitlines())
    targets = _targets(observation.scene, node)
    assert codes.keys() == {str(to) for to in targets}, f"{node.name}: {len(codes)} were tried, of {len(targets)}"
    lost = [to for to, code in codes.items() if code != "0"]
    problems = [f"{node.name} -> {to}: expected a reply, saw none; look: ip route get {to}" for to in lost]
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
