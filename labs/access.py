"""How a lab is reached: its keys, ssh_config, known_hosts, inventory, and its hosts' names."""

import os
import stat
import subprocess
from pathlib import Path

from podnet.labs.error import LabError
from podnet.labs.home import Home
from podnet.labs.plan import Lab


def write(home: Home, lab: Lab, ports: dict[str, int]) -> None:
    """Write all of it into the lab's directory; keys that are there stay."""
    make_key(home.key, f"podnet lab {lab.name}")
    for name in ports:
        home.host_key(name).parent.mkdir(exist_ok=True)
        make_key(home.host_key(name), name)
    home.known_hosts.write_text("".join(f"[127.0.0.1]:{ports[name]} {public(home, name)}\n" for name in ports))
    home.ssh_config.write_text("\n".join(stanza(home, name, port) for name, port in ports.items()))
    home.inventory.write_text(inventory(home))


def make_key(path: Path, comment: str) -> None:
    """Make a pair of keys; half a pair is what a killed `up` left."""
    if not path.with_suffix(".pub").exists():
        path.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path], check=True)


def public(home: Home, name: str) -> str:
    """Return a host's public key, as known_hosts has it."""
    kind, key, _ = home.host_key(name).with_suffix(".pub").read_text().split(maxsplit=2)
    return f"{kind} {key}"


def stanza(home: Home, name: str, port: int) -> str:
    """Return a host's part of ssh_config."""
    return f"""\
Host {name}
  HostName 127.0.0.1
  Port {port}
  User root
  IdentityFile "{home.key}"
  IdentitiesOnly yes
  UserKnownHostsFile "{home.known_hosts}"
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  ControlPath {control(home)}/%C
  LogLevel ERROR
"""


def inventory(home: Home) -> str:
    """Return an inventory of this lab alone."""
    return f'''\
"""The nodes of lab {home.name}; written by `podnet lab up`."""

from podnet.labs import inventory

nodes = inventory.group({str(home.path)!r})
'''


def control(home: Home) -> Path:
    """Return where ssh keeps sockets of connections it shares: a socket's path may have 107 bytes, so not in .lab."""
    return Path("/tmp", home.tag)  # noqa: S108  # made by us alone, see make_control


def make_control(home: Home, owner: int) -> None:
    """Make that directory, for its owner only; refuse what somebody else has put there."""
    directory = control(home)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError as error:
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, owner):
            raise LabError(f"{directory} belongs to somebody else: remove it") from error
    os.chown(directory, owner, -1)


def names(lab: Lab) -> str:
    """Return the hosts' /etc/hosts."""
    known = "".join(f"{machine.address.ip} {machine.name}\n" for machine in lab.machines)
    return f"127.0.0.1 localhost\n::1 localhost\n{known}"
