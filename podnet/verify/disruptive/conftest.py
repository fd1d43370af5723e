"""What these tests stand on: hosts that are as they should be before anything is changed, and that are given back."""

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import pytest

from podnet.errors import ClusterError
from podnet.inventory import spelled_out
from podnet.verify import inventory
from podnet.verify.disruptive.operating import Arrangement, Operator
from podnet.verify.fleet import Fleet
from podnet.verify.mesh import sampling
from podnet.verify.plugin import DATA, DISRUPTIVE, FLEET, SOURCE, SSH_CONFIG
from podnet.verify.settling import named

OPERATOR = pytest.StashKey[Operator]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Verify first what is there, then change it; refuse to if a file was named and `--disruptive` was not."""
    items.sort(key=lambda item: DISRUPTIVE in item.path.parents)
    if items and DISRUPTIVE in items[-1].path.parents and not config.getoption("disruptive"):
        raise pytest.UsageError(f"{items[-1].path.name} changes hosts: say --disruptive if it may")


@pytest.fixture(scope="session")
def operator(fleet: Fleet, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Return who changes the hosts, if they are in the mode that is said; in the end look whether they still are."""
    said, folder = spelled_out(pytestconfig.stash[DATA]), tmp_path_factory.mktemp("operator")
    data, source = named(said, fleet), pytestconfig.stash[SOURCE]
    if data != said:
        source = folder / "given.py"
        inventory.write(source, data)
    operator = Operator(
        hosts=fleet.forgetful(),
        given=Arrangement(data, pytestconfig.getoption("mode")),
        source=source,
        folder=folder,
        disconnect=lambda: _disconnect(pytestconfig),
        say=lambda line: _say(pytestconfig, line),
        sample=partial(
            sampling.sample, limit=pytestconfig.getoption("pairs"), seed=pytestconfig.getoption("pairs_seed")
        ),
    )
    try:
        problems = operator.wrong(operator.given)
    except ClusterError as e:
        problems = [str(e)]
    if problems:
        pytest.fail("\n".join(["nothing was changed, since not all was as it should be:", *problems]), pytrace=False)
    pytestconfig.stash[OPERATOR] = operator
    yield operator
    if operator.left:
        pytest.fail("\n".join(operator.left), pytrace=False)


def _disconnect(config: pytest.Config) -> None:
    """End all connections: those to hosts that reboot would not end by themselves."""
    config.stash[SSH_CONFIG].disconnect()
    config.stash[FLEET].disconnect()


def _say(config: pytest.Config, line: str) -> None:
    """Write a line to the terminal at once, whatever pytest does with what tests print.

    Where the terminal has gone (SIGHUP) nobody reads it; hosts are given back all the same.
    """
    plugins = config.pluginmanager
    capture, reporter = plugins.getplugin("capturemanager"), plugins.getplugin("terminalreporter")
    with suppress(OSError), capture.global_and_fixture_disabled() if capture else nullcontext():
        if reporter:
            reporter.ensure_newline()
            reporter.write_line(line)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:  # noqa: ANN401  # private type
    """Print what was lost while hosts were changed, and loudly what was not given back."""
    operator = config.stash.get(OPERATOR, None)
    if operator is None:
        return
    if operator.lost:
        terminalreporter.section("packets lost while hosts were changed")
        for line in operator.lost:
            terminalreporter.write_line(line)
    for line in operator.left:
        terminalreporter.write_line(f"podnet: NOT GIVEN BACK: {line}", red=True, bold=True)
