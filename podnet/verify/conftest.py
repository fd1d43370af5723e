"""What the tests beside this file stand on; other people's tests see none of it."""

import importlib
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from pyinfra.api import FactProcessError

from podnet import modes
from podnet.cluster import Cluster, Node
from podnet.errors import ClusterError
from podnet.facts import node as tables
from podnet.facts.reading import strictly
from podnet.modes import Mode
from podnet.state import State
from podnet.verify import settling
from podnet.verify.diagnosis.inquiry import Captures, Explains, Inquiry, Unexplained, keys
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.mesh import reach, sampling
from podnet.verify.mesh.greeting import greet
from podnet.verify.mesh.reach import Mesh
from podnet.verify.numbers import NUMBERS, Numbers
from podnet.verify.plugin import ANSWERS, FLEET, HERE, MESH, NOT_ASKED, NOT_LOOKED_AT, OBSERVATION, RUN
from podnet.verify.strangers import observed
from podnet.verify.strangers.observing import Observation, observe
from podnet.verify.traffic.exchange import Exchange


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `node` once per node, under its name."""
    if "node" in metafunc.fixturenames:
        fleet = metafunc.config.stash.get(FLEET, None)
        skip = pytest.param(None, marks=pytest.mark.skip(reason=NOT_ASKED), id="no-hosts")
        params = [pytest.param(node.name, id=node.name) for node in fleet.nodes] if fleet else [skip]
        metafunc.parametrize("node", params, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note which scenarios a test shows, for JUnit; skip, and say so, where no hosts were named.

    What is not asked of somebody else's hosts is left out like the files that nobody asked for.
    """
    if config.getoption("observe"):
        items[:] = [item for item in items if not (HERE in item.path.parents and item.get_closest_marker("of_ours"))]
    for item in items:
        item.user_properties.extend(("scenario", n) for mark in item.iter_markers("scenario") for n in mark.args)
    if FLEET not in config.stash:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=NOT_ASKED))


@pytest.fixture(scope="session")
def fleet(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Fleet:
    """Return the hosts that `--hosts` named, with their pods' addresses; of strangers' pods, those to be entered."""
    fleet = pytestconfig.stash[FLEET]
    if not pytestconfig.getoption("observe"):
        return _settled(fleet, request.getfixturevalue("computed"), pytestconfig)
    try:
        seen = observe(fleet, _mode(pytestconfig), NUMBERS[pytestconfig.getoption("mode")])
    except ClusterError as e:
        pytest.fail(str(e), pytrace=False)
    pytestconfig.stash[OBSERVATION] = seen
    if run := pytestconfig.stash.get(RUN, None):
        run.observation = seen
    return seen.fleet


def _settled(fleet: Fleet, computed: dict[str, State], config: pytest.Config) -> Fleet:
    """Ask hosts where their pods are, unless nobody could have any of their addresses."""
    if not any(computed[node.name].reservations and not node.fixed for node in fleet.nodes):
        return fleet
    found = settling.settled(fleet, computed, _read(_tables(fleet, computed, config)))
    if run := config.stash.get(RUN, None):
        run.fleet = found
    return found


@pytest.fixture
def node(request: pytest.FixtureRequest, fleet: Fleet) -> Node:
    """Return the node of that name."""
    return next(node for node in fleet.nodes if node.name == request.param)


@pytest.fixture(scope="session")
def observation(fleet: Fleet, pytestconfig: pytest.Config) -> Observation:  # noqa: ARG001  # it is who has looked
    """Return what was seen of somebody else's cluster."""
    return pytestconfig.stash[OBSERVATION]


@pytest.fixture(scope="session")
def cluster(fleet: Fleet) -> Cluster:
    """Return what the inventory says."""
    return fleet.cluster


@pytest.fixture(scope="session")
def mode(pytestconfig: pytest.Config) -> Mode:
    """Return the mode that the hosts should be in."""
    return _mode(pytestconfig)


def _mode(pytestconfig: pytest.Config) -> Mode:
    module: Any = importlib.import_module(f"podnet.modes.{pytestconfig.getoption('mode')}")
    mode: Mode = module
    return mode


@pytest.fixture(scope="session")
def numbers(pytestconfig: pytest.Config, fleet: Fleet) -> Numbers:  # noqa: ARG001  # it is who has looked
    """Return what the mode promises to whoever looks from outside; of strangers, as their pods' side has it."""
    seen = pytestconfig.stash.get(OBSERVATION, None)
    return observed.fitted(seen.scene) if seen else NUMBERS[pytestconfig.getoption("mode")]


@pytest.fixture(scope="session")
def computed(mode: Mode, pytestconfig: pytest.Config) -> dict[str, State]:
    """Compute what every node should hold if nobody else had an address of its pods."""
    fleet = pytestconfig.stash[FLEET]
    try:
        return {node.name: modes.wanted(mode, fleet.cluster, node) for node in fleet.nodes}
    except ClusterError as e:
        pytest.fail(str(e), pytrace=False)


@pytest.fixture(scope="session")
def want(computed: dict[str, State], mode: Mode, fleet: Fleet, pytestconfig: pytest.Config) -> dict[str, State]:
    """Compute what every node should hold."""
    asked = {node.name: node for node in pytestconfig.stash[FLEET].nodes}
    moved = {node.name: modes.wanted(mode, fleet.cluster, node) for node in fleet.nodes if node != asked[node.name]}
    return computed | moved


@pytest.fixture(scope="session")
def answers(want: dict[str, State], fleet: Fleet, pytestconfig: pytest.Config) -> dict[str, Answer]:
    """Have every node print its tables, by one remote command each."""
    return _tables(fleet, want, pytestconfig)


def _tables(fleet: Fleet, want: dict[str, State], pytestconfig: pytest.Config) -> dict[str, Answer]:
    """Ask once, whoever wants to know first."""
    if (found := pytestconfig.stash.get(ANSWERS, None)) is None:
        found = fleet.run_all(lambda node: tables.script(**tables.asked(want[node.name])))
        pytestconfig.stash[ANSWERS] = found
        if run := pytestconfig.stash.get(RUN, None):
            run.answers = found
    return found


@pytest.fixture(scope="session")
def told(answers: dict[str, Answer], cluster: Cluster) -> dict[str, str]:
    """Collect the public keys of the nodes that have any."""
    return keys(_read(answers), cluster)


def _read(answers: dict[str, Answer]) -> dict[str, State]:
    """Read what hosts hold. One that did not tell, or not as expected, fails its own tests and nobody else's."""
    found = {}
    for name, answer in answers.items():
        with suppress(FactProcessError), strictly(f"what {name} told"):
            found[name] = tables.parse(answer.printed.splitlines())
    return found


@pytest.fixture(scope="session")
def greeted(fleet: Fleet, numbers: Numbers) -> None:
    """Have all tunnels opened that open with the first packet."""
    greet(fleet, numbers)


@pytest.fixture(scope="session")
def exchange(
    fleet: Fleet,
    numbers: Numbers,
    greeted: None,  # noqa: ARG001  # before anybody talks
    pytestconfig: pytest.Config,
) -> Exchange:
    """Have all pods, nodes and the host outside talk to each other."""
    exchange = Exchange(fleet, numbers, pytestconfig.getoption("pairs_seed"))
    exchange.run()
    outside = "" if pytestconfig.getoption("observe") else exchange.nobody_outside
    pytestconfig.stash[NOT_LOOKED_AT] = [line for line in (exchange.left_out, outside) if line]
    return exchange


@pytest.fixture
def have(node: Node, answers: dict[str, Answer]) -> State:
    """Return what the node holds."""
    printed = answers[node.name].read()
    try:
        with strictly(f"what {node.name} told of its tables"):
            return tables.parse(printed.splitlines())
    except FactProcessError as e:
        pytest.fail(str(e), pytrace=False)


@pytest.fixture(scope="session")
def inquiry(fleet: Fleet, request: pytest.FixtureRequest) -> Explains:
    """Return who finds out, once something has failed, which table on the way is wrong."""
    captures = request.config.getoption("captures")
    if seen := request.config.stash.get(OBSERVATION, None):
        return Unexplained(Captures(fleet, seen.scene.passed) if captures else None)
    want = request.getfixturevalue("want")
    return Inquiry(fleet, want, partial(_tables, fleet, want, request.config), captures)


@pytest.fixture(scope="session")
def mesh(
    fleet: Fleet,
    numbers: Numbers,
    greeted: None,  # noqa: ARG001  # before anybody talks
    pytestconfig: pytest.Config,
) -> Mesh:
    """Have every pod ping every pod, in all sizes, or as many as `--pairs` allows: one remote command a node."""
    sample = sampling.sample(fleet.nodes, pytestconfig.getoption("pairs"), pytestconfig.getoption("pairs_seed"))
    pytestconfig.stash[MESH] = found = reach.probed(fleet, numbers, sample)
    if run := pytestconfig.stash.get(RUN, None):
        run.mesh = found
    return found
