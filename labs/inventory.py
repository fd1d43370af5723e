"""A lab as pyinfra sees it: the hosts' data and their group's."""

from pathlib import Path
from typing import Any

from pyinfra.api.exceptions import InventoryError

from podnet.labs.error import LabError
from podnet.labs.home import DEFAULT, Home, running
from podnet.ssh import nodelay_transport

Group = tuple[list[tuple[str, dict[str, Any]]], dict[str, Any]]


def group(directory: str) -> Group:
    """Describe the nodes of the lab in this directory."""
    home = Home(Path(directory))
    try:
        lab, _ = home.load()
    except LabError as error:
        raise InventoryError(str(error)) from error
    ssh = {
        "ssh_config_file": str(home.ssh_config),
        "ssh_known_hosts_file": str(home.known_hosts),  # pyinfra splits the one in ssh_config at spaces
        "ssh_strict_host_key_checking": "yes",
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
        "ssh_paramiko_connect_kwargs": {"transport_factory": nodelay_transport},
    }
    nodes = [
        (
            node.name,
            {
                "address": str(node.address),
                "uplink": node.nics[0].dev,
                "pod_subnet": f"10.244.{number}.0/24",
                "pods": 2,
                **ssh,
            },
        )
        for number, node in enumerate(lab.nodes, 1)
    ]
    return nodes, {
        "network": "10.244.0.0/16",
        "underlay_mtu": lab.mtu,
        "vni": 1,
        "vxlan_port": 8472,
        "masquerade": True,
    }


def of_the_running_lab() -> Group:
    """Describe the lab that is up: the one called `lab`, else the only one."""
    homes = {home.name: home for home in running()}
    if not homes:
        raise InventoryError("no lab is up: start one with `podnet lab up`")
    if DEFAULT not in homes and len(homes) > 1:
        others = " or ".join(str(home.inventory) for home in homes.values())
        raise InventoryError(f"several labs are up, and none is called {DEFAULT}: use {others}")
    home = homes.get(DEFAULT) or next(iter(homes.values()))
    return group(str(home.path))
