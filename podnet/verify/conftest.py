"""What the tests beside this file stand on; other people's tests see none of it."""

import importlib
from typing import Any

import pytest

from podnet import modes
from podnet.cluster import Cluster, Node
from podnet.errors import ClusterError
from podnet.facts import node as tables
from podnet.modes import Mode
from podnet.state import State
from podnet.verify import reach, sampling
from podnet.verify.exchange import Exchange
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.inquiry import Inquiry
from podnet.verify.numbers import NUMBERS, Numbers
from podnet.verify.plugin import FLEET, HERE, MESH, NOT_ASKED, NOT_LOOKED_AT, RUN
from podnet.verify.reach import Mesh


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `node` once per node, under its name."""
    if "node" in metafunc.fixturenames:
        fleet = metafunc.config.stash.get(FLEET, None)
        skip = pytest.param(None, marks=pytest.mark.skip(reason=NOT_ASKED), id="no-hosts")
        params = [pytest.param(node, id=node.name) for node in fleet.nodes] if fleet else [skip]
        metafunc.parametrize("node", params)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note which scenarios a test shows, for JUnit; skip, and say so, where no hosts were named."""
    for item in items:
        item.user_properties.extend(("scenario", n) for mark in item.iter_markers("scenario") for n in mark.args)
    if FLEET not in config.stash:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=NOT_ASKED))


@pytest.fixture(scope="session")
def fleet(pytestconfig: pytest.Config) -> Fleet:
    """Return the hosts that `--hosts` named."""
    return pytestconfig.stash[FLEET]


@pytest.fixture(scope="session")
def cluster(fleet: Fleet) -> Cluster:
    """Return what the inventory says."""
    return fleet.cluster


@pytest.fixture(scope="session")
def mode(pytestconfig: pytest.Config) -> Mode:
    """Return the mode that the hosts should be in."""
    module: Any = importlib.import_module(f"podnet.modes.{pytestconfig.getoption('mode')}")
    mode: Mode = module
    return mode


@pytest.fixture(scope="session")
def numbers(pytestconfig: pytest.Config) -> Numbers:
    """Return what the mode promises to whoever looks from outside."""
    return NUMBERS[pytestconfig.getoption("mode")]


@pytest.fixture(scope="session")
def want(mode: Mode, fleet: Fleet) -> dict[str, State]:
    """Compute what every node should hold."""
    try:
        return {node.name: modes.wanted(mode, fleet.cluster, node) for node in fleet.nodes}
    except ClusterError as e:
        pytest.fail(str(e), pytrace=False)


@pytest.fixture(scope="session")
def answers(want: dict[str, State], fleet: Fleet, pytestconfig: pytest.Config) -> dict[str, Answer]:
    """Have every node print its tables, by one remote command each."""
    found = fleet.run_all(lambda node: tables.script(**tables.asked(want[node.name])))
    if run := pytestconfig.stash.get(RUN, None):
        run.answers = found
    return found


@pytest.fixture(scope="session")
def told(answers: dict[str, Answer], cluster: Cluster) -> dict[str, str]:
    """Collect the public keys of the nodes that have any."""
    found = {name: tables.parse(answer.printed.splitlines()) for name, answer in answers.items() if not answer.problem}
    return {name: key for name, have in found.items() if (key := have.keys.get(cluster.marks.alias))}


@pytest.fixture(scope="session")
def exchange(fleet: Fleet, numbers: Numbers, pytestconfig: pytest.Config) -> Exchange:
    """Have all pods, nodes and the host outside talk to each other."""
    exchange = Exchange(fleet, numbers)
    exchange.run()
    pytestconfig.stash[NOT_LOOKED_AT] = [line for line in (exchange.left_out, exchange.nobody_outside) if line]
    return exchange


@pytest.fixture
def have(node: Node, answers: dict[str, Answer]) -> State:
    """Return what the node holds."""
    return tables.parse(answers[node.name].read().splitlines())


@pytest.fixture(scope="session")
def inquiry(
    fleet: Fleet,
    want: dict[str, State],
    answers: dict[str, Answer],
    told: dict[str, str],
    pytestconfig: pytest.Config,
) -> Inquiry:
    """Return who finds out, once something has failed, which table on the way is wrong."""
    return Inquiry(fleet, want, answers, told, captures=pytestconfig.getoption("captures"))


@pytest.fixture(scope="session")
def mesh(fleet: Fleet, numbers: Numbers, pytestconfig: pytest.Config) -> Mesh:
    """Have every pod ping every pod, in all sizes, or as many as `--pairs` allows: one remote command a node."""
    seed = pytestconfig.getoption("pairs_seed")
    sample = sampling.sample(
        fleet.nodes, pytestconfig.getoption("pairs"), sampling.any_seed() if seed is None else seed
    )
    pytestconfig.stash[MESH] = found = reach.probed(fleet, numbers, sample)
    if run := pytestconfig.stash.get(RUN, None):
        run.mesh = found
    return found
