"""The Vagrantfile's machines as pyinfra sees them.

`vagrant ssh-config` says where they are and how to log in, and is asked each time. It says to check no host key, too.
There we differ: at the first contact after a machine was made, its keys are fetched through Vagrant's own connection;
from then on they are checked. With the keys comes the name of the device that holds the underlay's address, since
boxes and providers name devices each in their own way.
"""

import json
import os
import subprocess
from dataclasses import asdict, dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from paramiko import SSHConfig
from pyinfra.api.exceptions import InventoryError

from podnet.labs.home import clone
from podnet.labs.inventory import Group
from podnet.ssh import nodelay_transport

PODS = 2
SSH_PORT = 22
MARK = "podnet:"


@dataclass(frozen=True)
class Noted:
    """What a machine said at the first contact; `id` is the provider's, and another one when it is made anew."""

    id: str
    uplink: str
    keys: list[str]


def plan_file() -> Path:
    """Return where the plan is, which the Vagrantfile reads too."""
    return clone() / "inventories" / "vagrant.json"


def group() -> Group:
    """Describe the machines, which must all be up."""
    plan = json.loads(plan_file().read_text())
    machines: dict[str, dict[str, str]] = plan["machines"]
    found = logins(list(machines))
    notes = {name: note(name, machine["address"]) for name, machine in machines.items()}
    known_hosts = folder() / "podnet" / "known_hosts"
    known_hosts.write_text("".join(known(found[name], notes[name]) for name in machines))
    nodes = [
        (
            name,
            {
                "ssh_hostname": found[name]["hostname"],
                "ssh_port": int(found[name]["port"]),
                "ssh_user": found[name]["user"],
                "ssh_key": found[name]["identityfile"][0],
                "address": machine["address"],
                "uplink": notes[name].uplink,
                "pod_subnet": machine["pod_subnet"],
                "pods": PODS,
            },
        )
        for name, machine in machines.items()
    ]
    return nodes, {
        "_sudo": True,
        "ssh_known_hosts_file": str(known_hosts),
        "ssh_strict_host_key_checking": "yes",
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
        "ssh_paramiko_connect_kwargs": {"transport_factory": nodelay_transport},
        "network": plan["network"],
        "underlay_mtu": plan["underlay_mtu"],
    }


def folder() -> Path:
    """Return where Vagrant keeps what it knows of the machines."""
    return Path(project(), os.environ.get("VAGRANT_DOTFILE_PATH") or ".vagrant")


def project() -> Path:
    """Return where the Vagrantfile is."""
    return Path(os.environ.get("VAGRANT_CWD") or clone())


def vagrant(*words: str) -> subprocess.CompletedProcess[str]:
    """Run vagrant to its end, whatever that is."""
    try:
        return subprocess.run(
            ["vagrant", *words], cwd=project(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise InventoryError("there is no `vagrant` on the PATH: install Vagrant, then run `vagrant up`") from error


def logins(names: list[str]) -> dict[str, dict[str, Any]]:
    """Return how to log in to each machine, in ssh_config's words."""
    done = vagrant("ssh-config", *names)
    config = SSHConfig.from_text(done.stdout)
    if missing := [name for name in names if name not in config.get_hostnames()]:
        said = done.stderr.strip().splitlines()
        raise InventoryError(
            f"{', '.join(missing)}: `vagrant ssh-config` does not know how to log in; run `vagrant up`"
            + (f" (it says: {said[0]})" if said else "")
        )
    return {name: dict(config.lookup(name)) for name in names}


def note(name: str, address: str) -> Noted:
    """Return what is noted of a machine; ask it if nothing is, or if it is another machine than then."""
    made = next(folder().glob(f"machines/{name}/*/id"), None)
    if not made:
        raise InventoryError(f"{name} is not made: run `vagrant up`")
    number = made.read_text()
    file = folder() / "podnet" / f"{name}.json"
    if file.exists():
        noted = Noted(**json.loads(file.read_text()))
        if noted.id == number:
            return noted
    noted = asked(name, address, number)
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(asdict(noted), indent=1) + "\n")
    return noted


def asked(name: str, address: str, number: str) -> Noted:
    """Ask a machine for its keys and its uplink."""
    ip = IPv4Interface(address).ip
    script = f"cat /etc/ssh/ssh_host_*_key.pub; ip -o -4 addr show to {ip} | sed 's/^/{MARK} /'"
    done = vagrant("ssh", name, "--no-tty", "-c", script)
    lines = [line.split() for line in done.stdout.splitlines()]
    keys = [" ".join(words[:2]) for words in lines if words and words[0].startswith(("ssh-", "ecdsa-"))]
    uplinks = [words[2] for words in lines if words[:1] == [MARK]]
    if not keys:
        raise InventoryError(f"{name}: `vagrant ssh` cannot fetch its host keys: {done.stderr.strip() or done.stdout}")
    if not uplinks:
        raise InventoryError(f"{name}: no device has {ip}; run `vagrant reload {name}`")
    return Noted(number, uplinks[0], keys)


def known(login: dict[str, Any], noted: Noted) -> str:
    """Return a machine's lines of known_hosts."""
    host, port = login["hostname"], int(login["port"])
    place = host if port == SSH_PORT else f"[{host}]:{port}"
    return "".join(f"{place} {key}\n" for key in noted.keys)
