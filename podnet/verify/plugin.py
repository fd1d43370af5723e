"""pytest's side of it: the options, the fleet, and the table at the end.

    pytest --pyargs podnet.verify --inventory=inventories/mine.py --mode=vxlan

`--hosts` is testinfra's option, and names some of the inventory's hosts. Without either nothing is verified and
pytest says so: testinfra's default, the machine that pytest runs on, is never touched.
"""

from pathlib import Path
from typing import Any

import pytest

from podnet import inventory as ours
from podnet.errors import ClusterError
from podnet.verify import inventory, matrix, observed
from podnet.verify.fleet import Fleet, SshConfig, connect
from podnet.verify.numbers import NUMBERS
from podnet.verify.observing import Observation
from podnet.verify.probe import Reply

HERE = Path(__file__).parent
DISRUPTIVE = HERE / "disruptive"
"""Where the tests are that change hosts."""
OF_OURS = {HERE / "test_state.py", HERE / "test_again.py"}
"""Tests that ask whether hosts are as podnet would make them: not asked of somebody else's, with `--observe`."""
OF_STRANGERS = {HERE / "test_observe.py"}
"""Those that ask instead whether somebody else's do the same."""

NOT_ASKED = (
    "nothing is verified without --hosts or --inventory (for a lab: --hosts=node1,node2,node3); "
    "this machine is never probed"
)
FLEET = pytest.StashKey[Fleet]()
SSH_CONFIG = pytest.StashKey[SshConfig]()
REPLIES = pytest.StashKey[list[Reply]]()
OBSERVATION = pytest.StashKey[Observation]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options beside testinfra's."""
    group = parser.getgroup("podnet")
    group.addoption(
        "--inventory", metavar="FILE", help="pyinfra inventory that says what is expected (default: the lab's)"
    )
    group.addoption("--mode", choices=sorted(NUMBERS), default="vxlan", help="mode that the hosts should be in")
    group.addoption(
        "--disruptive",
        action="store_true",
        help="also run what changes hosts: applies, removes a member, reboots, switches modes; not for production",
    )
    group.addoption(
        "--observe",
        action="store_true",
        help="somebody else set the hosts up: change nothing, and tell in what they are otherwise than the mode says",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave alone what changes hosts, unless it is asked for, and of the rest what is not for these hosts."""
    if collection_path == DISRUPTIVE:
        return None if config.getoption("disruptive") else True
    not_for_them = OF_OURS if config.getoption("observe") else OF_STRANGERS
    return True if collection_path in not_for_them else None


def pytest_configure(config: pytest.Config) -> None:
    """Connect `--hosts` with the inventory, and run only the verification if nothing else is named."""
    config.addinivalue_line("markers", "scenario(number, ...): which of podnet.verify.scenarios the test shows")
    hosts = config.getoption("hosts")
    if not (hosts or config.getoption("inventory")) or not _is_for_us(config):
        return
    if config.getoption("observe") and config.getoption("disruptive"):
        raise pytest.UsageError("--observe changes nothing, and --disruptive asks for what does; leave one of them out")
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(HERE)]
    try:
        data = inventory.load(inventory_of(config))
        cluster = ours.read(data)
    except (ClusterError, ValueError) as e:
        raise pytest.UsageError(str(e)) from e
    config.stash[SSH_CONFIG] = ssh_config = SshConfig(data, config.getoption("ssh_config"))
    options = _testinfra_options(config) | {"ssh_config": str(ssh_config.path)}
    options["connection"] = options["connection"] or "ssh"
    config.stash[FLEET] = Fleet(cluster, connect(hosts.split(",") if hosts else list(data), options, data))


def _is_for_us(config: pytest.Config) -> bool:
    """Leave other people's testinfra suites alone: they have neither our tests nor our options."""
    clone = (config.rootpath / "podnet" / "verify").resolve() == HERE.resolve()
    return bool(config.getoption("inventory")) or clone or "podnet.verify" in map(str, config.args)


def _lab_inventory(config: pytest.Config) -> Path:
    return config.rootpath / "inventories" / "lab.py"


def inventory_of(config: pytest.Config) -> Path:
    """Find the inventory that says what is expected; UsageError if none is named and this is no clone."""
    if given := config.getoption("inventory"):
        path = Path(config.invocation_params.dir, given)
        if not path.is_file():
            raise pytest.UsageError(f"--inventory={given}: there is no such file")
        return path
    if (lab := _lab_inventory(config)).is_file():
        return lab
    raise pytest.UsageError(
        "--hosts needs --inventory=FILE, the pyinfra inventory that says what those hosts should hold"
    )


def _testinfra_options(config: pytest.Config) -> dict[str, Any]:
    """Take the options that testinfra's own plugin hands on."""
    names = ("connection", "ssh_config", "ssh_identity_file", "sudo", "sudo_user", "ansible_inventory", "force_ansible")
    return {name: getattr(config.option, name) for name in names}


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close what `pytest_configure` opened."""
    if ssh_config := config.stash.get(SSH_CONFIG, None):
        ssh_config.close()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:  # noqa: ANN401  # private type
    """Print every pod against every pod, in what strangers are otherwise, or that nothing was verified."""
    if seen := config.stash.get(OBSERVATION, None):
        terminalreporter.section(f"what podnet would have otherwise in {config.getoption('mode')}")
        for line in observed.told(seen.scene):
            terminalreporter.write_line(line)
    if replies := config.stash.get(REPLIES, None):
        terminalreporter.section("every pod (down) to every pod (across): TTL and round trip in ms")
        for line in matrix.table(replies, width=terminalreporter._tw.fullwidth):  # noqa: SLF001  # the only way to it
            terminalreporter.write_line(line)
    elif FLEET not in config.stash and any(
        HERE in Path(report.fspath).absolute().parents for report in terminalreporter.stats.get("skipped", ())
    ):
        terminalreporter.write_line(f"podnet: {NOT_ASKED}", red=True, bold=True)
