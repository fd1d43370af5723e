"""An inventory whose cluster is flannel's net-conf.json, on hosts."""

import json
from pathlib import Path

import pytest

from tests.lab.at import At

HOSTS = ("node1", "node2", "node3")
INVENTORY = """
import runpy
_hosts, _data = runpy.run_path({inventory!r})["nodes"]
for _, _host in _hosts:
    del _host["pod_subnet"]
_data = {{key: value for key, value in _data.items() if key.startswith("ssh_")}}
nodes = ([host for host in _hosts if host[0] in {members!r}], {{**_data, "net_conf": {file!r}}})
"""


def inventory(at: At, folder: Path, *members: str, **said: object) -> Path:
    """Write flannel's file, and an inventory of these members that points to it."""
    file = folder / "net-conf.json"
    file.write_text(json.dumps(said))
    path = folder / "inventory.py"
    path.write_text(INVENTORY.format(inventory=str(at.inventory), members=members, file=str(file)))
    return path


@pytest.mark.parametrize(
    ("backend", "mode", "subnets"),
    [
        ({"Type": "vxlan", "VNI": 9, "Port": 4789}, "vxlan", ["10.10.0.1/20", "10.10.16.1/20", "10.10.32.1/20"]),
        ({"Type": "host-gw"}, "host_gw", ["10.10.0.1/20", "10.10.16.1/20", "10.10.32.1/20"]),
    ],
)
def test_hosts_become_what_the_file_says(
    at: At, tmp_path: Path, backend: dict[str, object], mode: str, subnets: list[str]
) -> None:
    """One deploy for all backends; the verification knows the mode, a second apply is silent, a teardown takes all."""
    said = {"Network": "10.0.0.0/8", "SubnetLen": 20, "SubnetMin": "10.10.0.0", "SubnetMax": "10.99.0.0"}
    file = inventory(at, tmp_path, *HOSTS, **said, Backend=backend)
    assert at.into("net_conf", inventory=file).changed == {*HOSTS}
    bridge = f"cni.{backend['VNI']}" if "VNI" in backend else "cni0"
    held = [at.sh(host, f"ip -br -4 addr show dev {bridge}").split()[-1] for host in HOSTS]
    assert held == subnets
    done = at.verify(mode="", inventory=file)
    assert done.code == 0, done.said
    switched = at.verify("--disruptive", "podnet/verify/disruptive/test_switch.py", mode="", inventory=file)
    assert switched.code == 0, switched.said
    assert at.into("net_conf", inventory=file).unchanged == {*HOSTS}
    refused = at.apply(f"deploys/{'vxlan' if mode == 'host_gw' else 'host_gw'}.py", inventory=file)
    assert refused.code != 0
    assert f"`net_conf` says {mode}, not" in refused.log
    assert at.into("teardown", inventory=file).changed == {*HOSTS}
    assert at.into("teardown", inventory=file).unchanged == {*HOSTS}
    assert at.try_sh("node1", f"ip link show {bridge}").code != 0


def test_hosts_are_not_renumbered_when_one_leaves(at: At, tmp_path: Path) -> None:
    """Those that would get another subnet are left alone, and told; what they have goes on."""
    said = {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}
    at.into("net_conf", inventory=inventory(at, tmp_path, *HOSTS, **said))
    before = at.sh("node3", "ip -4 addr; ip route; cat /etc/podnet/podnet.sh")
    refused = at.apply("deploys/net_conf.py", inventory=inventory(at, tmp_path, "node1", "node3", **said))
    assert refused.failed == {"node3"}
    assert "it would be allotted 10.244.2.0/24, and runs with 10.244.3.0" in refused.log
    assert at.sh("node3", "ip -4 addr; ip route; cat /etc/podnet/podnet.sh") == before
    at.into("teardown")
