"""pytest's side of it: the options, the fleet, and the table at the end.

    pytest --pyargs podnet.verify --inventory=inventories/mine.py --mode=vxlan

`--hosts` is testinfra's option, and names some of the inventory's hosts. Without either nothing is verified and
pytest says so: testinfra's default, the machine that pytest runs on, is never touched.
"""

import argparse
import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from podnet import inventory as ours
from podnet.errors import ClusterError
from podnet.verify import inventory
from podnet.verify.disruptive import interrupts
from podnet.verify.fleet import Answer, Fleet, SshConfig, connect, outsider
from podnet.verify.mesh import matrix, sampling
from podnet.verify.mesh.reach import Mesh
from podnet.verify.numbers import NUMBERS
from podnet.verify.reporting import report
from podnet.verify.reporting.report import Run
from podnet.verify.strangers import observed
from podnet.verify.strangers.observing import Observation

HERE = Path(__file__).parent
DISRUPTIVE = HERE / "disruptive"
"""Where the tests are that change hosts."""
OUTSIDE = HERE / "test_outside.py"
"""What needs a host that is no member."""
STRANGERS = HERE / "test_observe.py"
"""What asks whether hosts that somebody else set up do the same as podnet's would: with `--observe`."""
NOT_WHILE_OBSERVING = {
    "disruptive": "asks for what changes them",
    "outside": "asks for what podnet's rules promise",
}
"""Options that say nothing of hosts that somebody else set up."""

NOT_ASKED = (
    "nothing is verified without --hosts or --inventory (for a lab: --hosts=node1,node2,node3); "
    "this machine is never probed"
)
FLEET = pytest.StashKey[Fleet]()
DATA = pytest.StashKey[Mapping[str, Mapping[str, Any]]]()
"""What the inventory says, host by host, and how pytest was told to reach them."""
SOURCE = pytest.StashKey[Path]()
"""An inventory for pyinfra that says the same."""
SSH_CONFIG = pytest.StashKey[SshConfig]()
ANSWERS = pytest.StashKey[dict[str, Answer]]()
"""What the hosts told of their tables, once they were asked."""
MESH = pytest.StashKey[Mesh]()
RUN = pytest.StashKey[Run]()
NOT_LOOKED_AT = pytest.StashKey[list[str]]()
OBSERVATION = pytest.StashKey[Observation]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options beside testinfra's."""
    group = parser.getgroup("podnet")
    group.addoption(
        "--inventory", metavar="FILE", help="pyinfra inventory that says what is expected (default: the lab's)"
    )
    group.addoption(
        "--mode", choices=sorted(NUMBERS), help="mode that the hosts should be in (default: net_conf's, or vxlan)"
    )
    group.addoption(
        "--pairs",
        metavar="N",
        type=_at_least_one,
        default=sampling.LIMIT,
        help="ping between so many ordered pairs of pods; of more, a random sample is drawn (default: %(default)s)",
    )
    group.addoption("--report", metavar="DIR", help="write a page, report.html, and junit.xml into this folder")
    group.addoption("--pairs-seed", metavar="N", type=int, help="draw the same sample as an earlier run")
    group.addoption("--captures", action="store_true", help="show what both ends see of a pair that fails, by tcpdump")
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
    group.addoption(
        "--other-mode",
        choices=sorted(NUMBERS),
        help="with --disruptive: the mode to switch to and back from (default: the one that has least in common)",
    )
    group.addoption(
        "--spare-address",
        metavar="ADDRESS",
        help="with --disruptive: an address for the last host to move to and back (default: one of its segment that "
        "nobody answers for)",
    )
    group.addoption(
        "--reboot-command",
        metavar="COMMAND",
        help="with --disruptive: run this here for each {host}, instead of `systemctl reboot` there",
    )
    group.addoption(
        "--outside", metavar="HOST", default="", help="a host that is no member, reached by ssh as they are"
    )


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least one pair must be tried")
    return number


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave alone what changes hosts, what needs a host outside, and what is for strangers, unless it is asked for."""
    asked = {DISRUPTIVE: "disruptive", OUTSIDE: "outside", STRANGERS: "observe"}
    places = (collection_path, *collection_path.parents)
    return True if any(place in places and not config.getoption(option) for place, option in asked.items()) else None


@pytest.hookimpl(tryfirst=True)  # pytest's own junitxml must find where it is to write
def pytest_configure(config: pytest.Config) -> None:
    """Connect `--hosts` with the inventory, and run only the verification if nothing else is named."""
    config.addinivalue_line("markers", "scenario(number, ...): which of podnet.verify.scenarios the test shows")
    config.addinivalue_line("markers", "of_ours: what somebody else's hosts (`--observe`) are not asked")
    hosts = config.getoption("hosts")
    if not (hosts or config.getoption("inventory")) or not _is_for_us(config):
        return
    for option, asks in NOT_WHILE_OBSERVING.items():
        if config.getoption("observe") and config.getoption(option):
            raise pytest.UsageError(
                f"--observe looks at hosts that somebody else set up, and --{option} {asks}; leave one of them out"
            )
    if config.getoption("dist", "no") != "no":
        raise pytest.UsageError(
            "-n, or --dist: one process asks all hosts at once; several would measure, or with --disruptive change, "
            "what the others are looking at; leave it out"
        )
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = [str(HERE)]
    try:
        data = inventory.load(inventory_of(config))
        cluster = ours.read(data)
    except (ClusterError, ValueError) as e:
        raise pytest.UsageError(str(e)) from e
    config.option.mode = config.option.mode or cluster.mode or "vxlan"
    if config.option.pairs_seed is None:
        config.option.pairs_seed = sampling.any_seed()
    _check_ssh_config(config)
    outside = config.getoption("outside")
    beside = outsider(outside, data) if outside else {}
    config.stash[SSH_CONFIG] = ssh_config = SshConfig(data | beside, config.getoption("ssh_config"))
    options = _testinfra_options(config) | {"ssh_config": str(ssh_config.path)}
    connected = connect([*(hosts.split(",") if hosts else data), *beside], options, data | beside)
    ssh_config.names = list(connected)
    config.stash[FLEET] = Fleet(cluster, connected, outside, unreached={})
    check_what_disrupts(config, config.stash[FLEET])
    if config.getoption("disruptive"):
        config.add_cleanup(interrupts.catch())
    config.stash[DATA] = told = _as_told(config, data, connected)
    config.stash[SOURCE] = inventory_of(config)
    if told != data:
        config.stash[SOURCE] = ssh_config.folder / "inventory.py"
        inventory.write(config.stash[SOURCE], ours.spelled_out(told))
    if folder := config.getoption("report"):
        config.stash[RUN] = run = _reported(config, Path(config.invocation_params.dir, folder))
        config.pluginmanager.register(run, "podnet-report")


def _check_ssh_config(config: pytest.Config) -> None:
    """Refuse a file that is not there: ssh takes an Include of nothing for nothing to include."""
    given = config.getoption("ssh_config")
    if given and not Path(given).expanduser().is_file():
        raise pytest.UsageError(f"--ssh-config={given}: there is no such file")


def check_what_disrupts(config: pytest.Config, fleet: Fleet) -> None:
    """Refuse now what would only be found out in the middle of what changes hosts."""
    checks: dict[str, Callable[[str], str]] = {
        "spare_address": partial(_spare, fleet),
        "reboot_command": _command,
        "other_mode": partial(_other, config.getoption("mode")),
    }
    for option, check in checks.items():
        given = config.getoption(option)
        if given is not None and (problem := check(given)):
            raise pytest.UsageError(f"--{option.replace('_', '-')}={given}: {problem}")


def _spare(fleet: Fleet, given: str) -> str:
    *_, node = fleet.nodes
    segment = node.address.network
    try:
        address = IPv4Address(given)
    except ValueError:
        return f"it is no IPv4 address; name one of {segment} that nobody has"
    if address not in segment or address in {segment.network_address, segment.broadcast_address}:
        return f"it is not of {segment}, the segment of {node.name}, which is to move there; name one that nobody has"
    owner = next((each.name for each in fleet.cluster.nodes if each.ip == address), "")
    return f"{owner} has it; name one that nobody has" if owner else ""


def _command(given: str) -> str:
    try:
        words = shlex.split(given)
    except ValueError as e:
        return f"it cannot be taken apart into words: {e}"
    if not words:
        return "it names no command; {host} in it stands for a host's name"
    if "{host}" not in words[0] and not shutil.which(words[0]):
        return f"there is no command {words[0]} here, where it is to run"
    return ""


def _other(mode: str, given: str) -> str:
    return f"the hosts are to be switched from {mode} to another mode; name one" if given == mode else ""


def _as_told(
    config: pytest.Config, data: Mapping[str, Mapping[str, Any]], hosts: Mapping[str, Host]
) -> dict[str, dict[str, Any]]:
    """Say in pyinfra's words what only pytest was told of how hosts are reached: else a second apply would not."""
    option = config.option
    shared = {
        "ssh_config_file": option.ssh_config and str(Path(option.ssh_config).expanduser().absolute()),
        "ssh_key": option.ssh_identity_file,
        "_sudo": option.sudo,
        "_sudo_user": option.sudo_user,
    }

    def own(name: str) -> dict[str, Any]:
        spec = hosts[name].backend.host if name in hosts else None
        if spec is None:
            return {}
        return {"ssh_user": spec.user, "ssh_port": spec.port and int(spec.port), "ssh_password": spec.password}

    return {
        name: {**said, **{key: value for key, value in {**shared, **own(name)}.items() if value}}
        for name, said in data.items()
    }


def _reported(config: pytest.Config, folder: Path) -> Run:
    """Have this run reported into that folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise pytest.UsageError(f"--report: the folder {folder} cannot be made: {e.strerror}") from e
    config.option.xmlpath = config.option.xmlpath or str(folder / report.JUNIT)
    mode = config.getoption("mode")
    command = shlex.join(config.invocation_params.args)
    junit = Path(config.invocation_params.dir, os.path.expandvars(config.option.xmlpath)).expanduser()
    return Run(config.stash[FLEET], mode, NUMBERS[mode], folder, junit, command)


def _is_for_us(config: pytest.Config) -> bool:
    """Leave other people's testinfra suites alone: they have neither our tests nor our options."""
    return bool(config.getoption("inventory")) or bool(_clone(config)) or "podnet.verify" in map(str, config.args)


def _clone(config: pytest.Config) -> Path | None:
    """Find the clone that pytest was started in.

    It is mostly pytest's root; but pytest decides about that before it knows our options, and takes what follows
    `--report` for something to test if it exists.
    """
    folders = (config.rootpath, config.invocation_params.dir)
    return next((each for each in folders if (each / "podnet" / "verify").resolve() == HERE.resolve()), None)


def inventory_of(config: pytest.Config) -> Path:
    """Find the inventory that says what is expected; UsageError if none is named and this is no clone."""
    if given := config.getoption("inventory"):
        path = Path(config.invocation_params.dir, given)
        if not path.is_file():
            raise pytest.UsageError(f"--inventory={given}: there is no such file")
        return path
    if (clone := _clone(config)) and (lab := clone / "inventories" / "lab.py").is_file():
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
    if fleet := config.stash.get(FLEET, None):
        fleet.disconnect()
    if ssh_config := config.stash.get(SSH_CONFIG, None):
        ssh_config.close()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:  # noqa: ANN401  # private type
    """Print in what strangers are otherwise, every pod against every pod, or that nothing was verified."""
    if seen := config.stash.get(OBSERVATION, None):
        terminalreporter.section(f"what podnet would have otherwise in {config.getoption('mode')}")
        for sentence in observed.told(seen.scene):
            terminalreporter.write_line(sentence)
    if mesh := config.stash.get(MESH, None):
        terminalreporter.section("every pod (down) to every pod (across): TTL and round trip in ms")
        for line in matrix.table(mesh, width=terminalreporter._tw.fullwidth):  # noqa: SLF001  # the only way to it
            for text, bad in line:
                terminalreporter.write(text, red=bad, bold=bad)
            terminalreporter.write_line("")
        for sentence in [*matrix.refusals(mesh), *([mesh.sample.told] if mesh.sample else [])]:
            terminalreporter.write_line(sentence)
    elif FLEET not in config.stash and any(
        HERE in Path(test.fspath).absolute().parents for test in terminalreporter.stats.get("skipped", ())
    ):
        terminalreporter.write_line(f"podnet: {NOT_ASKED}", red=True, bold=True)
    if run := config.stash.get(RUN, None):
        terminalreporter.write_line(f"podnet: the report is {run.folder / report.HTML}")
    for sentence in config.stash.get(NOT_LOOKED_AT, ()):
        terminalreporter.write_line(sentence)
