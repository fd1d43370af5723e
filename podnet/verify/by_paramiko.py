"""testinfra's paramiko back end, as strict as ssh: it connects as ssh would, and to no host whose key nobody knows.

testinfra's own reads neither known_hosts nor patterns behind `Include`, and of a key that it does not know it only
warns. Here OpenSSH says what ssh_config means (`ssh -G`), and an unknown key is refused unless it says that it need
not be known.
"""

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import paramiko
from testinfra.backend.base import CommandResult
from testinfra.backend.paramiko import IgnorePolicy, ParamikoBackend

from podnet.ssh import nodelay_transport

ANY_KEY = {"no", "off", "false", "accept-new"}
"""What StrictHostKeyChecking says where an unknown key is no reason to refuse a host."""
PROXIES = ("proxyjump", "proxycommand")
ALIVE, SILENT = 10, 30
"""Seconds after which a silent host is asked whether it is there, and after which it is not."""


class ByParamiko(ParamikoBackend):  # type: ignore[misc]  # testinfra has no types
    """A host that is reached by paramiko; RuntimeError, as from testinfra's ssh back end, if it is not."""

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:  # noqa: ANN401  # testinfra's own
        """Run a command."""
        try:
            return super().run(command, *args, **kwargs)
        except (paramiko.SSHException, OSError, EOFError) as e:
            raise RuntimeError(f"paramiko: {e or type(e).__name__}") from e

    def disconnect(self) -> None:
        """End the connection; the next command makes another one."""
        if client := self.__dict__.pop("client", None):
            client.close()

    def _exec_command(self, command: bytes) -> tuple[int, bytes, bytes]:
        rc, stdout, stderr = super()._exec_command(command)
        if rc < 0:  # paramiko's way to say that it was not told
            raise ConnectionAbortedError("the connection ended before the command did")
        return rc, stdout, stderr

    def _load_ssh_config(
        self, client: paramiko.SSHClient, cfg: dict[str, Any], ssh_config: object, ssh_config_dir: str = ""
    ) -> None:
        """Say how to connect. testinfra asks for this right before it does, and hands over what it has read itself."""
        del ssh_config, ssh_config_dir
        said = asked(self.host.name, Path(str(self.ssh_config)), user=self.host.user, port=self.host.port)
        if proxy := next((key for key in PROXIES if said.get(key, ["none"]) != ["none"]), None):
            raise paramiko.SSHException(f"ssh_config says {proxy}, which only the ssh back end knows")
        cfg |= settings(said) | {"transport_factory": transport}
        for file in known_hosts(said):
            client.load_system_host_keys(str(file))
        lenient = said.get("stricthostkeychecking", ["yes"])[0] in ANY_KEY
        client.set_missing_host_key_policy(IgnorePolicy() if lenient else paramiko.RejectPolicy())


def transport(sock: socket.socket, **kwargs: Any) -> paramiko.Transport:  # noqa: ANN401  # paramiko's own options
    """Make a connection that ends by itself if its host went down in the middle of an answer."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT * 1000)
    made = nodelay_transport(sock, **kwargs)
    made.set_keepalive(ALIVE)
    return made


def asked(name: str, ssh_config: Path, *, user: str | None, port: str | None) -> dict[str, list[str]]:
    """Ask OpenSSH what it would do: each word of ssh_config in small letters, and all its values."""
    options = [f"-o{key}={value}" for key, value in (("User", user), ("Port", port)) if value]
    command = ["ssh", "-G", "-F", str(ssh_config), *options, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise paramiko.SSHException(f"ssh -G: {done.stderr.strip()}")
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return found


def settings(said: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Say the same to paramiko's SSHClient.connect; of private keys those that are there."""
    files = [os.path.expanduser(file) for file in said.get("identityfile", ())]  # noqa: PTH111  # there may be none
    return {
        "hostname": said["hostname"][0],
        "port": int(said["port"][0]),
        "username": said["user"][0],
        "key_filename": [file for file in files if Path(file).is_file()],
        "allow_agent": said.get("identitiesonly", ["no"]) != ["yes"],
        "look_for_keys": False,
    }


def known_hosts(said: Mapping[str, Sequence[str]]) -> list[Path]:
    """Find the files that know hosts' keys. OpenSSH prints several in one line, and says nothing of spaces in names."""
    values = [value for key in ("userknownhostsfile", "globalknownhostsfile") for value in said.get(key, ())]
    whole = [Path(value).expanduser() for value in values]
    parts = [Path(part).expanduser() for value in values for part in value.split()]
    return [path for path in dict.fromkeys([*whole, *parts]) if path.is_file()]
