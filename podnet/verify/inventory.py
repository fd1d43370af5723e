"""What an inventory says, read by pyinfra itself, in a process of its own.

pyinfra's command line patches the whole process for its greenlets as soon as it is imported, which pytest's threads
would not survive; hence `python -m podnet.verify.inventory FILE` prints as JSON what is needed of it.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SSH_CONFIG = {
    "ssh_hostname": "HostName",
    "ssh_port": "Port",
    "ssh_user": "User",
    "ssh_key": "IdentityFile",
    "ssh_known_hosts_file": "UserKnownHostsFile",
    "ssh_strict_host_key_checking": "StrictHostKeyChecking",
}
"""Data of pyinfra's SSH connector, and what ssh_config(5) calls them."""


def load(path: Path) -> dict[str, dict[str, Any]]:
    """Return every host's data: podnet's and ssh's. ValueError, a sentence, if the inventory cannot be read."""
    command = [sys.executable, "-m", "podnet.verify.inventory", str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ValueError(f"the inventory {path} cannot be read: {last}")
    loaded: dict[str, dict[str, Any]] = json.loads(run.stdout)
    return loaded


def main(path: str) -> None:
    """Print the data of all hosts of the inventory at `path`."""
    # Importing the command line patches the whole process: only here, where nothing else runs.
    from pyinfra.api import State  # noqa: PLC0415  # see above
    from pyinfra.context import ctx_state  # noqa: PLC0415  # see above
    from pyinfra_cli.inventory import make_inventory  # noqa: PLC0415  # see above

    from podnet import preflight  # noqa: PLC0415  # see above

    # The inventory's file is noted in the state while it is run.
    ctx_state.set(State())  # type: ignore[no-untyped-call]  # pyinfra's own
    inventory = make_inventory(path, cwd=str(Path.cwd()))
    podnet = preflight.data(inventory)
    print(json.dumps({host.name: podnet[host.name] | _ssh(host.data) for host in inventory}))


def _ssh(data: Any) -> dict[str, Any]:  # noqa: ANN401  # pyinfra's HostData answers to any name
    found = {key: value for key, value in data.dict().items() if key.startswith(("ssh_", "_"))}
    return {key: value for key, value in found.items() if value is not None and _is_plain(value)}


def _is_plain(value: object) -> bool:
    """Say whether a value can be written down; a function cannot."""
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def write(path: Path, data: Mapping[str, Mapping[str, Any]]) -> None:
    """Write down an inventory that says this: what `load` returned, and a test changed."""
    lines = "".join(f"    ({name!r}, {dict(host)!r}),\n" for name, host in data.items())
    path.write_text(
        "from podnet.ssh import nodelay_transport\n\n"
        f"hosts = (\n[\n{lines}],\n"
        '{"ssh_paramiko_connect_kwargs": {"transport_factory": nodelay_transport}},\n)\n'
    )


if __name__ == "__main__":
    main(sys.argv[1])
