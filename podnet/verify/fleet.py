"""All hosts at once: one remote command each, in parallel, and what it said."""

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.backend.base import CommandResult
from testinfra.host import Host

from podnet.cluster import Cluster, Node

PARALLEL = 32
UNREACHABLE = 255  # ssh(1), exit status: an error of ssh's own, not of the command


@dataclass
class Fleet:
    """The nodes that `--hosts` named, and how to run a command on each."""

    cluster: Cluster
    hosts: Mapping[str, Host]
    nodes: tuple[Node, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Keep the inventory's order."""
        self.nodes = tuple(node for node in self.cluster.nodes if node.name in self.hosts)

    def run(self, node: Node, script: str) -> CommandResult:
        """Run a shell script on one node and fail the test, in a sentence, unless it succeeds."""
        result = self.hosts[node.name].run(script)
        if result.rc:
            what = "cannot be reached" if result.rc == UNREACHABLE else f"failed with exit status {result.rc}"
            pytest.fail(f"{node.name} {what}: {result.stderr.strip() or 'it said nothing'}", pytrace=False)
        return result

    def run_all(self, script: Callable[[Node], str]) -> dict[str, CommandResult]:
        """Run one script on every node, all at the same time."""
        with ThreadPoolExecutor(min(PARALLEL, len(self.nodes))) as pool:
            results = pool.map(lambda node: self.run(node, script(node)), self.nodes)
            return {node.name: result for node, result in zip(self.nodes, results, strict=True)}


def connect(specs: Sequence[str], options: Mapping[str, Any], data: Mapping[str, Mapping[str, Any]]) -> dict[str, Host]:
    """Make testinfra's hosts of what `--hosts` says, by the names of the inventory."""
    hosts = {host.backend.get_hostname(): host for host in testinfra.get_hosts(specs, **options)}
    if unknown := sorted(hosts.keys() - data.keys()):
        raise pytest.UsageError(
            f"--hosts names {', '.join(unknown)}, which the inventory does not; it has {', '.join(data)}"
        )
    return hosts


class SshConfig:
    """An ssh_config that says what the inventory says, and keeps one connection a host open for all tests.

    testinfra asks OpenSSH to share connections, but gives it no place for the socket: every command would log in anew.
    """

    def __init__(self, data: Mapping[str, Mapping[str, Any]], given: str | None) -> None:
        """Write the file; `given` is the user's own ssh_config, which fills in what the inventory leaves open."""
        self.folder = Path(tempfile.mkdtemp(prefix="podnet-"))
        self.path = self.folder / "ssh_config"
        self.names = list(data)
        hosts = [line for name, host in data.items() for line in _host(name, host, given)]
        shared = ["Host *", f"  ControlPath {self.folder}/%C", "  BatchMode yes"]
        self.path.write_text("\n".join([*hosts, *shared]) + "\n")

    def close(self) -> None:
        """End the shared connections and remove the file."""
        for name in self.names:
            subprocess.run(["ssh", "-F", self.path, "-O", "exit", name], capture_output=True, check=False)
        for file in self.folder.iterdir():
            file.unlink(missing_ok=True)  # a connection that ends takes its socket away by itself
        self.folder.rmdir()


def _host(name: str, data: Mapping[str, Any], given: str | None) -> list[str]:
    """ssh_config(5) takes the first value that it meets: the inventory's own, then those of the file it names."""
    words = {
        "ssh_hostname": "HostName",
        "ssh_port": "Port",
        "ssh_user": "User",
        "ssh_key": "IdentityFile",
        "ssh_known_hosts_file": "UserKnownHostsFile",
        "ssh_strict_host_key_checking": "StrictHostKeyChecking",
    }
    lines = [f'  {words[key]} "{value}"' for key, value in data.items() if key in words]
    include = given or data.get("ssh_config_file") or "~/.ssh/config"
    return [f"Host {name}", *lines, f'  Include "{Path(include).expanduser().absolute()}"']
