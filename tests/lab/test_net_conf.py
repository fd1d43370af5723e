"""An inventory whose cluster is flannel's net-conf.json, on hosts."""

import json
from pathlib import Path

import pytest

from tests.lab.at import At, run

ENV = "/run/flannel/subnet.env"
DEPLOY = "deploys/net_conf.py"
HOSTS = ("node1", "node2", "node3")
INVENTORY = """
import runpy
_hosts, _data = runpy.run_path({inventory!r})["nodes"]
for _, _host in _hosts:
    del _host["pod_subnet"]
_data = {{key: value for key, value in _data.items() if key.startswith("ssh_")}}
_given = dict(_hosts)
nodes = ([(name, _given[name]) for name in {members!r}], {{**_data, "net_conf": {file!r}}})
"""


def inventory(at: At, folder: Path, *members: str, **said: object) -> Path:
    """Write flannel's file, and an inventory of these members that points to it."""
    file = folder / "net-conf.json"
    file.write_text(json.dumps(said))
    path = folder / "inventory.py"
    path.write_text(INVENTORY.format(inventory=str(at.inventory), members=members, file=str(file)))
    return path


def refused(at: At, *hosts: str, file: Path | None, deploy: str = "net_conf", options: tuple[str, ...] = ()) -> str:
    """Run a deploy that changes nobody, and refuses each of these hosts; return what it said."""
    applied = at.apply(f"deploys/{deploy}.py", *options, inventory=file)
    assert applied.code != 0
    assert applied.changed == frozenset()
    for host in hosts:
        assert f"[{host}] nothing was changed: " in applied.log
    return applied.log


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
    mtu = 1450 if mode == "vxlan" else 1500
    for host, subnet in zip(HOSTS, subnets, strict=True):
        env = f"FLANNEL_NETWORK=10.0.0.0/8\nFLANNEL_SUBNET={subnet}\nFLANNEL_MTU={mtu}\nFLANNEL_IPMASQ=true\n"
        assert at.sh(host, f"cat {ENV}; stat -c '%a %F' {ENV}") == f"{env}644 regular file\n"
    done = at.verify(mode="", inventory=file)
    assert done.code == 0, done.said
    switched = at.verify("--disruptive", "podnet/verify/disruptive/test_switch.py", mode="", inventory=file)
    assert switched.code == 0, switched.said
    assert at.into("net_conf", inventory=file).unchanged == {*HOSTS}
    other = at.apply(f"deploys/{'vxlan' if mode == 'host_gw' else 'host_gw'}.py", inventory=file)
    assert other.code != 0
    assert f"`net_conf` says {mode}, not" in other.log
    assert at.into("teardown", inventory=file).changed == {*HOSTS}
    assert at.into("teardown", inventory=file).unchanged == {*HOSTS}
    assert at.try_sh("node1", f"ip link show {bridge}").code != 0
    assert at.sh("node1", "ls -A /run/flannel 2>/dev/null || test $? = 2") == ""


def test_subnet_env_is_where_flannel_has_it_whatever_the_vni(at: At, tmp_path: Path) -> None:
    """After a reboot, too; mended if somebody changes it; and left alone by another cluster, which cannot have it."""
    said = {"Network": "10.245.0.0/16", "Backend": {"Type": "vxlan", "VNI": 5}}
    file = inventory(at, tmp_path, *HOSTS, **said)
    at.into("net_conf", inventory=file)
    held = at.sh("node2", f"cat {ENV}")
    assert held.startswith("FLANNEL_NETWORK=10.245.0.0/16\nFLANNEL_SUBNET=10.245.2.1/24\n")
    at.reboot("node2")
    unit = "podnet5.service"
    at.sh("node2", f"timeout 30 sh -c 'until systemctl -q is-active {unit}; do sleep 0.2; done'")
    assert at.sh("node2", f"cat {ENV} /run/flannel/subnet5.env; stat -c %F {ENV}") == f"{held}{held}regular file\n"
    assert at.into("net_conf", inventory=file).unchanged == {*HOSTS}
    for damage in (f"rm {ENV}", f"echo >>{ENV}", "rm /run/flannel/subnet5.env"):
        at.sh("node2", damage)
        assert at.into("net_conf", inventory=file).changed == {"node2"}
        assert at.sh("node2", f"cat {ENV} /run/flannel/subnet5.env") == held * 2
    words = f"{ENV} is that of the cluster with VNI {{}}, and flannel's tools look for one there".format
    assert words(5) in refused(at, *HOSTS, file=None, deploy="vxlan")
    at.into("macvlan")
    at.into("teardown")
    assert at.sh("node2", f"cat {ENV}") == held
    at.into("teardown", inventory=file)
    assert at.sh("node2", "ls -A /run/flannel 2>/dev/null || test $? = 2") == ""
    at.into("vxlan")
    assert words(1) in refused(at, *HOSTS, file=file)
    file.write_text(file.read_text().replace('"net_conf":', '"subnet_env": False, "net_conf":'))
    assert at.into("net_conf", inventory=file).changed == {*HOSTS}
    assert at.sh("node2", f"cat {ENV}").startswith("FLANNEL_NETWORK=10.244.0.0/16\n")
    assert (
        at.sh("node2", "cat /run/flannel/subnet5.env; stat -c %F /run/flannel/subnet5.env") == f"{held}regular file\n"
    )
    at.into("teardown", inventory=file)
    at.into("teardown")


VXLAN = {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}
HELD = "ip -4 addr; ip route; bridge fdb; ip neigh show nud permanent; cat /etc/podnet/podnet.sh"


def reach(at: At, *subnets: int) -> None:
    """Have the pods of three hosts, in the lab's order, reach each other at these subnets."""
    for host in HOSTS:
        for subnet in subnets:
            at.sh(host, f"ip netns exec podnet-pod1 ping -n -q -c 1 -W 2 10.244.{subnet}.2")


@pytest.mark.parametrize("kind", ["vxlan", "host-gw", "alloc"])
def test_nobody_is_changed_when_one_would_be_renumbered(at: At, tmp_path: Path, kind: str) -> None:
    """One that leaves, another order: those that would keep their subnets are refused, too, and all pods go on."""
    said = {**VXLAN, "Backend": {"Type": kind}}
    at.into("net_conf", inventory=inventory(at, tmp_path, *HOSTS, **said))
    before = {host: at.sh(host, HELD) for host in HOSTS}
    for members in (("node1", "node3"), ("node1", "node3", "node2")):
        file = inventory(at, tmp_path, *members, **said)
        assert "[node3] it would be refused: it would be allotted" in run("pyinfra", "--dry", file, DEPLOY).said
        log = refused(at, *members, file=file)
        assert "it would be allotted 10.244.2.0/24, and runs with 10.244.3." in log
        assert "give it 10.244.3.0/24 as `pod_subnet`" in log
        assert "[node1] nothing was changed: node" in log
        assert {host: at.sh(host, HELD) for host in HOSTS} == before
        if kind != "alloc":
            reach(at, 1, 2, 3)
    at.into("teardown")


def test_a_new_host_that_comes_first_is_not_set_up_among_others(at: At, tmp_path: Path) -> None:
    """It would get the subnet of one that runs with it; to be told so costs it one command, as ever."""
    at.into("net_conf", inventory=inventory(at, tmp_path, "node2", "node3", **VXLAN))
    commands = at.commands("node1")
    refused(at, *HOSTS, file=inventory(at, tmp_path, *HOSTS, **VXLAN))
    assert at.commands("node1") == commands + 1
    assert at.sh("node1", "ip -br link show type bridge; ls /etc/podnet 2>/dev/null || test $? = 2") == ""
    at.sh("node2", "ip netns exec podnet-pod1 ping -n -q -c 1 -W 2 10.244.2.2")
    two = inventory(at, tmp_path, "node2", "node3", **VXLAN)
    assert at.into("net_conf", inventory=two).unchanged == {"node2", "node3"}
    at.into("teardown")


def test_hosts_that_a_run_does_not_ask_are_not_renumbered_either(at: At, tmp_path: Path) -> None:
    """By --limit, or for want of an answer: their peers' own tables say by which subnet they are reached."""
    at.into("net_conf", inventory=inventory(at, tmp_path, *HOSTS, **VXLAN))
    other = inventory(at, tmp_path, "node1", "node3", "node2", **VXLAN)
    limited = refused(at, "node1", file=other, options=("--limit", "node1"))
    assert "which this run has not asked, would be allotted 10.244." in limited
    refused(at, *HOSTS, file=other, options=("--serial",))
    at.sh("node3", "systemctl stop ssh.socket ssh.service")
    try:
        short = inventory(at, tmp_path, "node1", "node3", **VXLAN)
        unasked = refused(at, "node1", file=short)
    finally:
        at.sh("node3", "systemctl start ssh")
    assert "node3, which this run has not asked, would be allotted 10.244.2.0/24, and node1 reaches it" in unasked
    reach(at, 1, 2, 3)
    whole = inventory(at, tmp_path, *HOSTS, **VXLAN)
    assert at.into("net_conf", inventory=whole).unchanged == {*HOSTS}
    at.into("teardown")


def test_a_host_whose_uplink_carries_less_is_refused(at: At, tmp_path: Path) -> None:
    """The file says nothing of it, and flannel would take each uplink's own; as group data it can be said."""
    at.sh("node2", "ip link set eth0 mtu 1400")
    try:
        file = inventory(at, tmp_path, *HOSTS, **VXLAN)
        applied = at.apply("deploys/net_conf.py", inventory=file)
        assert applied.failed == {"node2"}
        assert "(Backend.MTU in `net_conf`, or group data, or else 1500), but eth0 has an MTU of 1400" in applied.log
        less = inventory(at, tmp_path, *HOSTS, **{**VXLAN, "Backend": {"Type": "vxlan", "MTU": 1400}})
        assert at.into("net_conf", inventory=less).changed == {*HOSTS}
        assert "FLANNEL_MTU=1350\n" in at.sh("node2", f"cat {ENV}")
        at.into("teardown")
    finally:
        at.sh("node2", "ip link set eth0 mtu 1500")


def test_a_host_that_was_torn_down_gets_another_subnet(at: At, tmp_path: Path) -> None:
    """Though its peers' tables say by which it was reached: it has told that it runs with none."""
    at.into("net_conf", inventory=inventory(at, tmp_path, *HOSTS, **VXLAN))
    two = inventory(at, tmp_path, "node1", "node3", **VXLAN)
    assert at.apply("deploys/teardown.py", "--limit", "node3", inventory=two).changed == {"node3"}
    assert at.into("net_conf", inventory=two).changed == {"node1", "node3"}
    at.sh("node1", "ip netns exec podnet-pod1 ping -n -q -c 1 -W 2 10.244.2.2")
    at.into("teardown")


def test_what_is_there_is_taken_away_without_the_file(at: At, tmp_path: Path) -> None:
    """A host that has one cluster knows whose things they are; one that has two must be told."""
    said = {"Network": "10.245.0.0/16", "Backend": {"Type": "vxlan", "VNI": 7}}
    file = inventory(at, tmp_path, *HOSTS, **said)
    at.into("net_conf", inventory=file)
    at.into("macvlan")
    (tmp_path / "net-conf.json").unlink()
    log = refused(at, *HOSTS, file=file, deploy="teardown")
    assert "there are clusters with the VNIs 1, 7; say which one to take away, by --data vni=NUMBER" in log
    assert at.apply("deploys/teardown.py", "--data", "vni=1", inventory=file).changed == {*HOSTS}
    assert "flannel.7" in at.sh("node1", "ip -br link")
    assert at.into("teardown", inventory=file).changed == {*HOSTS}
    assert at.sh("node1", "ip netns list; ls /etc/podnet 2>/dev/null || test $? = 2") == ""
    assert at.into("teardown", inventory=file).unchanged == {*HOSTS}
