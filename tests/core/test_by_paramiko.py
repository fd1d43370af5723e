"""The back ends of testinfra that hosts are reached by: who is taken, and that paramiko is told what ssh would do."""

from pathlib import Path

import paramiko
import pytest
from testinfra.backend.paramiko import IgnorePolicy

from podnet.verify import by_paramiko
from podnet.verify.by_paramiko import ByParamiko
from podnet.verify.fleet import connect

DATA = {"node1": {}, "node2": {"_sudo": True}}


@pytest.mark.parametrize(
    ("specs", "connection", "names"),
    [
        (["node1"], None, ["ssh"]),
        (["node1"], "paramiko", ["paramiko"]),
        (["paramiko://root@node1:2222", "node2", "safe-ssh://node1"], None, ["safe-ssh", "ssh"]),
        (["ssh://node1", "node2"], "paramiko", ["ssh", "paramiko"]),
    ],
)
def test_a_host_is_reached_as_its_spec_says_or_else_the_option(
    specs: list[str], connection: str | None, names: list[str]
) -> None:
    """By ssh if neither says anything; with sudo where the inventory says so."""
    hosts = connect(specs, {"connection": connection, "ssh_config": "/dev/null"}, DATA)
    assert [hosts[name].backend.NAME for name in sorted(hosts)] == names
    assert all(host.backend.sudo == (name == "node2") for name, host in hosts.items())
    assert all(isinstance(host.backend, ByParamiko) == (host.backend.NAME == "paramiko") for host in hosts.values())


@pytest.mark.parametrize(
    ("spec", "connection", "said"),
    [("local://", None, "by local"), ("docker://node1", None, "by docker"), ("node1", "local", "by local")],
)
def test_who_reaches_no_other_machine_or_minds_no_key_is_refused(spec: str, connection: str | None, said: str) -> None:
    """What pytest runs on is never probed, and what is verified is the host that was meant."""
    with pytest.raises(pytest.UsageError, match=f"verified by ssh, safe-ssh, paramiko, .* not {said}"):
        connect([spec], {"connection": connection}, DATA)


def config(folder: Path, *lines: str) -> Path:
    """Write an ssh_config for node1, the rest of which stands in another file."""
    (folder / "theirs").write_text("Host node*\n  Port 2222\n  User admin\n  IdentitiesOnly yes\n")
    path = folder / "ssh_config"
    path.write_text("\n".join(["Host node1", *lines, f'  Include "{folder}/the*"']) + "\n")
    return path


def test_paramiko_is_told_what_ssh_would_do(tmp_path: Path) -> None:
    """Patterns and other files are followed; keys that are not there are not offered; files may have spaces."""
    key, known = tmp_path / "a key", tmp_path / "known hosts"
    for file in (key, known):
        file.touch()
    path = config(
        tmp_path,
        "  HostName 192.0.2.1",
        f'  IdentityFile "{key}"',
        "  IdentityFile /no/such",
        f'  UserKnownHostsFile "{known}"',
    )
    said = by_paramiko.asked("node1", path, user=None, port="2200")
    assert by_paramiko.settings(said) == {
        "hostname": "192.0.2.1",
        "port": 2200,
        "username": "admin",
        "key_filename": [str(key)],
        "allow_agent": False,
        "look_for_keys": False,
    }
    assert by_paramiko.known_hosts(said)[0] == known


@pytest.mark.parametrize(
    ("lines", "policy"),
    [
        ([], paramiko.RejectPolicy),
        (["  StrictHostKeyChecking ask"], paramiko.RejectPolicy),
        (["  StrictHostKeyChecking no"], IgnorePolicy),
        (["  StrictHostKeyChecking accept-new"], IgnorePolicy),
    ],
)
def test_an_unknown_key_is_refused_unless_ssh_config_takes_any(tmp_path: Path, lines: list[str], policy: type) -> None:
    """A warning, which is what testinfra gives, helps nobody."""
    client = paramiko.SSHClient()
    backend = ByParamiko("node1", ssh_config=str(config(tmp_path, *lines)))
    backend._load_ssh_config(client, {}, None)  # noqa: SLF001  # what testinfra calls
    assert isinstance(vars(client)["_policy"], policy)


@pytest.mark.parametrize("line", ["ProxyJump bastion", "ProxyCommand nc %h %p"])
def test_a_way_that_paramiko_does_not_know_is_told(tmp_path: Path, line: str) -> None:
    """It would look for the host where it is not."""
    backend = ByParamiko("node1", ssh_config=str(config(tmp_path, f"  {line}")))
    with pytest.raises(RuntimeError, match=r"paramiko: ssh_config says proxy.*, which only the ssh back end knows"):
        backend.run("true")
