"""How the verification reaches hosts: by connections of its own, and what it says of one that was lost."""

import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podnet.verify.fleet import LONGEST_SOCKET, SOCKET, Fleet, SshConfig
from tests.core.examples import cluster


def test_connections_are_shared_at_a_place_of_their_own(tmp_path: Path) -> None:
    """Whatever the user's own ssh_config says: to end those of a run must not end the user's."""
    (tmp_path / "config").write_text("Host *\n  ControlPath /tmp/own/%C\n  User somebody\n")
    config = SshConfig({"node1": {"ssh_config_file": str(tmp_path / "config")}}, None)
    try:
        said = subprocess.run(["ssh", "-G", "-F", config.path, "node1"], capture_output=True, text=True, check=True)
        assert "user somebody" in said.stdout.splitlines()
        assert f"controlpath {config.folder}/" in said.stdout
    finally:
        config.close()


def test_that_place_is_short_enough_for_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the name of the folder for temporary files is."""
    (long := tmp_path / ("long" * 20)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    config = SshConfig({}, None)
    try:
        assert len(str(config.folder)) + SOCKET <= LONGEST_SOCKET
    finally:
        config.close()


class Lost:
    """A host that is reached no more."""

    def __init__(self, said: str) -> None:
        """Remember what ssh said of it."""
        self.said = said

    def run(self, script: str) -> SimpleNamespace:
        raise RuntimeError(SimpleNamespace(stderr=self.said, command=script))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("no route to host\n", "no route to host"),
        ("", "ssh ended with status 255 and said nothing: the connection was lost"),
    ],
)
def test_a_lost_connection_is_told_in_a_sentence(said: str, why: str) -> None:
    """A shared connection that ends says nothing; nobody wants to read the script instead."""
    of = cluster()
    hosts: dict[str, Any] = {"node1": Lost(said)}
    assert Fleet(of, hosts).run(of.node("node1"), "true").problem == f"node1 cannot be reached: {why}"
