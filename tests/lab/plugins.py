"""The reference CNI plugins, called as a container runtime calls them, with the list that podnet has left on a host."""

import json
from typing import Any

from podnet.marks import CONFLIST, FIRST
from tests.lab.at import At

STORE = "/var/lib/cni/networks/podnet"
"""Where host-local has a file for each address that it has given out."""


def called(at: At, host: str, command: str, name: str, **more: object) -> dict[str, Any]:
    """Have the first plugin of the host's list do something for the container of that name."""
    conflist = json.loads(at.sh(host, f"cat {FIRST.place(CONFLIST)}"))
    plugin = conflist["plugins"][0]
    conf = {"cniVersion": conflist["cniVersion"], "name": conflist["name"], **plugin, **more}
    names = f"CNI_CONTAINERID={name} CNI_NETNS=/run/netns/{name} CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni"
    call = f"CNI_COMMAND={command} {names} /usr/lib/cni/{plugin['type']}"
    said = at.sh(host, f"{call} <<'CONF'\n{json.dumps(conf)}\nCONF")
    read: dict[str, Any] = json.loads(said or "{}")
    return read
