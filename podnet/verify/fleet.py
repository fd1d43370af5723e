"""All hosts at once: one remote command each, in parallel, and what it said."""

import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.backend import parse_hostspec
from testinfra.host import Host

from podnet.cluster import Cluster, Node
from podnet.verify.entering import by_name
from podnet.verify.inventory import SSH_CONFIG

PARALLEL = 32
BACK_ENDS = ("ssh", "safe-ssh", "paramiko")
"""Those of testinfra's that reach other machines, and mind their host keys."""
LONGEST_SOCKET = 107
"""Bytes that the kernel takes for the path of a socket (unix(7)), but for the one at its end."""
SOCKET = len("/") + 40 + len(".0123456789abcdef")
"""Bytes that ssh needs of that behind its folder: for %C, and for the name that it has at first."""


@dataclass(frozen=True)
class Answer:
    """What a node printed, or why it did not: a node that is down fails its own tests and nobody else's."""

    printed: str
    said: str = ""
    problem: str = ""

    def read(self) -> str:
        """Return what was printed; fail the test that asks if there was a problem."""
        if self.problem:
            pytest.fail(self.problem, pytrace=False)
        return self.printed


@dataclass
class Fleet:
    """The nodes that `--hosts` named, and how to run a command on each; `outside` is a host that is no member."""

    cluster: Cluster
    hosts: Mapping[str, Host]
    outside: str = ""
    nodes: tuple[Node, ...] = ()
    entrances: Mapping[str, str] = field(default_factory=dict)
    unreached: dict[str, str] | None = None
    """Hosts to which there was no way, and why: they are not asked again. None: nobody notes it."""

    def __post_init__(self) -> None:
        """Keep the inventory's order."""
        self.nodes = self.nodes or tuple(node for node in self.cluster.nodes if node.name in self.hosts)

    def enter(self, node: Node) -> str:
        """Spell how the namespaces of a node's pods are entered."""
        return self.entrances.get(node.name) or by_name(self.cluster.marks)

    def silent(self, name: str) -> str:
        """Say that a host was not reached, if it was not; nothing is asked for that."""
        why = (self.unreached or {}).get(name)
        return f"{name} was not reached, and is not asked again ({why})" if why else ""

    def run(self, node: Node, script: str) -> Answer:
        """Run a shell script on one node."""
        return self._run(node.name, script)

    def _run(self, name: str, script: str) -> Answer:
        if problem := self.silent(name):
            return Answer("", problem=problem)
        try:
            result = self.hosts[name].run(told_apart(script))
        except OSError as e:  # ssh itself could not be started
            return Answer("", problem=f"{name}: ssh could not be started for {len(script)} bytes of script: {e}")
        except RuntimeError as e:  # testinfra's way to say that it got no connection
            why = _why(e)
            if self.unreached is not None:
                self.unreached[name] = why
            return Answer("", problem=f"{name} cannot be reached: {why}")
        failed = f"{name}: a command failed with exit status {result.rc}: {result.stderr.strip()}"
        return Answer(result.stdout, result.stderr, problem=failed if result.rc else "")

    def run_all(self, script: Callable[[Node], str], nodes: Sequence[Node] = ()) -> dict[str, Answer]:
        """Run one script on every node, or on some, all at the same time."""
        return self.run_each({node.name: script(node) for node in nodes or self.nodes})

    def run_each(self, scripts: Mapping[str, str]) -> dict[str, Answer]:
        """Run on every host, by its name, a script of its own, all at the same time."""
        with ThreadPoolExecutor(min(PARALLEL, len(scripts) or 1)) as pool:
            answers = pool.map(self._run, scripts, scripts.values())
            return dict(zip(scripts, answers, strict=True))

    def only(self, names: Collection[str]) -> "Fleet":
        """Return the fleet of those nodes alone."""
        hosts = {name: host for name, host in self.hosts.items() if name in names}
        return replace(self, hosts=hosts, nodes=tuple(node for node in self.nodes if node.name in names))

    def forgetful(self) -> "Fleet":
        """Return a fleet that asks each host each time, for whoever has hosts reboot."""
        return replace(self, unreached=None)

    def disconnect(self) -> None:
        """End the connections that are this process's own. Those of ssh are SshConfig's."""
        for host in self.hosts.values():
            if disconnect := getattr(host.backend, "disconnect", None):
                disconnect()


def _why(lost: RuntimeError) -> str:
    """Say why there was no connection. ssh says nothing where a shared one ends, and testinfra names the script."""
    result = lost.args[0] if lost.args else ""
    said = str(getattr(result, "stderr", result)).strip()
    return said or "ssh ended with status 255 and said nothing: the connection was lost"


def told_apart(script: str) -> str:
    """Keep from a script the exit status 255, by which ssh says that it did not reach the host.

    `ip netns exec` has it for a namespace that is not there.
    """
    return f"(\n{script}\n)\nexit $(($? == 255 ? 1 : $?))"


def connect(specs: Sequence[str], options: Mapping[str, Any], data: Mapping[str, Mapping[str, Any]]) -> dict[str, Host]:
    """Make testinfra's hosts of what `--hosts` says, by the names of the inventory."""
    hosts = {host.backend.get_hostname(): host for host in _hosts(specs, options)}
    with_sudo = _hosts(specs, {**options, "sudo": True})
    hosts |= {name: host for host in with_sudo if data.get(name := host.backend.get_hostname(), {}).get("_sudo")}
    if unknown := sorted(hosts.keys() - data.keys()):
        raise pytest.UsageError(
            f"--hosts names {', '.join(unknown)}, which the inventory does not; it has {', '.join(data)}"
        )
    return hosts


def _hosts(specs: Sequence[str], options: Mapping[str, Any]) -> Iterator[Host]:
    for spec in specs:
        name, said = parse_hostspec(spec)
        connection = said.get("connection") or options.get("connection") or "ssh"
        if connection not in BACK_ENDS:
            raise pytest.UsageError(
                f"--hosts={spec}: hosts are verified by {', '.join(BACK_ENDS)}, which reach other machines and mind "
                f"their host keys, and not by {connection}; leave that out"
            )
        asked = {**options, **said, "connection": connection}
        yield _by_paramiko(name, asked) if connection == "paramiko" else testinfra.get_host(spec, **asked)


def _by_paramiko(name: str, options: Mapping[str, Any]) -> Host:
    # paramiko takes a while to import, and this module is imported whenever pytest starts.
    from podnet.verify.by_paramiko import ByParamiko  # noqa: PLC0415  # see above

    return Host(ByParamiko(name, **options))


def outsider(name: str, data: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Say how a host outside is reached: as the hosts of the inventory are, where these say all the same."""
    if name in data:
        raise pytest.UsageError(
            f"--outside={name}: the inventory names it, so it is a member; name a host that is none"
        )
    shared = ("ssh_config_file", "ssh_user", "ssh_key", "ssh_known_hosts_file", "ssh_strict_host_key_checking", "_sudo")
    values = {key: [host.get(key) for host in data.values()] for key in shared}
    return {
        name: {key: said[0] for key, said in values.items() if said[0] is not None and said.count(said[0]) == len(said)}
    }


class SshConfig:
    """An ssh_config that says what the inventory says, and keeps one connection a host open for all tests.

    testinfra asks OpenSSH to share connections, but gives it no place for the socket: every command would log in anew.
    """

    def __init__(self, data: Mapping[str, Mapping[str, Any]], given: str | None) -> None:
        """Write the file; `given` is the user's own ssh_config, which fills in what the inventory leaves open."""
        place = tempfile.gettempdir()
        if len(f"{place}/podnet-12345678") + SOCKET > LONGEST_SOCKET:
            place = "/tmp"  # noqa: S108  # mkdtemp makes a folder of its own there
        self.folder = Path(tempfile.mkdtemp(prefix="podnet-", dir=place))
        self.path = self.folder / "ssh_config"
        self.names = list(data)
        """Whom it is used for: of a large inventory, few."""
        hosts = [line for name, host in data.items() for line in _host(name, host, given)]
        # Before all hosts: ssh takes the first value that it meets, and to end the user's own connections is not ours.
        own = f"ControlPath {self.folder}/%C"
        shared = ["Host *", "  BatchMode yes"]
        # A host that goes down in the middle of an answer never ends the connection: nobody is there to say so.
        shared += ["  ServerAliveInterval 10", "  ServerAliveCountMax 3"]
        self.path.write_text("\n".join([own, *hosts, *shared]) + "\n")

    def disconnect(self) -> None:
        """End the shared connections. Those to a host that reboots would not end by themselves."""
        for name in self.names:
            subprocess.run(["ssh", "-F", self.path, "-O", "exit", name], capture_output=True, check=False)

    def close(self) -> None:
        """End the shared connections and remove the file."""
        self.disconnect()
        for file in self.folder.iterdir():
            file.unlink(missing_ok=True)  # a connection that ends takes its socket away by itself
        self.folder.rmdir()


def _host(name: str, data: Mapping[str, Any], given: str | None) -> list[str]:
    """ssh_config(5) takes the first value that it meets: the inventory's own, then those of the file it names."""
    lines = [f'  {SSH_CONFIG[key]} "{value}"' for key, value in data.items() if key in SSH_CONFIG]
    include = given or data.get("ssh_config_file") or "~/.ssh/config"
    return [f"Host {name}", *lines, f'  Include "{Path(include).expanduser().absolute()}"']
