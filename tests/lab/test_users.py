"""Other ways in: a user with sudo, an installed wheel, a deploy of one's own."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.lab.at import At, run

ALL = {"node1", "node2", "node3"}
TABLES = """
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from podnet import pods as on
from podnet.cluster import Cluster, Node, Pod
from podnet.firewall import Verdict
from podnet.operations.addresses import addresses
from podnet.operations.chains import chains
from podnet.operations.fdb import fdb
from podnet.operations.links import links
from podnet.operations.neighbours import neighbours
from podnet.operations.pods import pods
from podnet.operations.ports import ports
from podnet.operations.routes import routes
from podnet.operations.sysctls import sysctls
from podnet.state import Bridge, Chain, FdbEntry, Jump, Neighbour, Port, Route, Sysctl, Veth, Vxlan

network = IPv4Network("10.9.0.0/16")
a = Pod("a", IPv4Address("10.9.1.2"))
me = Node("me", IPv4Interface("192.168.56.11/24"), "eth0", IPv4Network("10.9.1.0/24"), (a,))
tunnel = Vxlan("vx9", 1450, "02:00:00:00:09:01", 9, 8472, IPv4Address("192.168.56.11"), "eth0")
there, mac = IPv4Address("10.9.2.0"), "02:00:00:00:09:02"
cable = Veth("veth9", 1450, "stranger", "02:00:00:00:09:09", peer="eth9")
links(name="links", want=[tunnel, Bridge("cni0", 1450, "02:00:00:00:09:03"), cable])
addresses(name="addresses", dev="cni0", want=[IPv4Interface("10.9.1.1/24")])
neighbours(name="neighbours", dev="vx9", want=[Neighbour("vx9", there, mac)])
fdb(name="fdb", dev="vx9", want=[FdbEntry("vx9", mac, "192.168.56.12")])
sysctls(name="sysctls", want=[Sysctl("net/ipv4/conf/vx9/rp_filter", "2")])
chains(name="chains", want=[Chain("filter", "PODNET-OWN", (Jump("FORWARD"),), (Verdict("accept", network),))])
pods(name="pods", want=on.on_bridge(Cluster(network, (me,)), me, 1450))
ports(name="ports", want=[Port("vx9", "cni0", hairpin=False)])
routes(name="routes", want=[Route(IPv4Network("10.9.2.0/24"), "vx9", there, onlink=True)])
"""
NO_TABLES = """
from podnet.operations.addresses import addresses
from podnet.operations.chains import chains
from podnet.operations.links import links
from podnet.operations.pods import pods
from podnet.operations.routes import routes
from podnet.state import State

routes(name="routes", want=[])
pods(name="pods", want=State())
chains(name="chains", want=[])
addresses(name="addresses", dev="cni0", want=[])
links(name="links", want=[], absent=["vx9", "cni0", "veth9"])
"""


@pytest.fixture
def as_admin(at: At, tmp_path: Path) -> Path:
    """Return an inventory by which the same hosts are reached as a user with passwordless sudo."""
    inventory = tmp_path / "admin.py"
    inventory.write_text(
        f"import runpy\nhosts, data = runpy.run_path({str(at.inventory)!r})['nodes']\n"
        "nodes = (hosts, data | {'ssh_user': 'admin', '_sudo': True})\n"
    )
    return inventory


def test_user_with_sudo_can_do_it_all(at: At, as_admin: Path) -> None:
    """Deploy, verify and teardown work through sudo, at the same number of commands."""
    start = at.commands("node1")
    assert at.apply(inventory=as_admin).changed == ALL
    assert at.commands("node1") - start == 2
    assert at.apply(inventory=as_admin).unchanged == ALL
    done = at.verify(inventory=as_admin)
    assert done.code == 0, done.said
    assert at.apply("deploys/teardown.py", inventory=as_admin).changed == ALL


def test_asking_first_costs_one_command_more(at: At) -> None:
    """Without -y pyinfra looks twice, before and after its question: 3 commands on a host."""
    start = at.commands("node1")
    done = run("pyinfra", at.inventory, "deploys/vxlan.py", given="\n")
    assert done.code == 0, done.said
    assert at.commands("node1") - start == 3
    assert at.apply("deploys/teardown.py").changed == ALL


def test_tables_can_be_used_one_by_one(at: At, tmp_path: Path) -> None:
    """A deploy of one's own uses the operation of each table; a second run finds nothing to do; it can be undone."""
    own, none = tmp_path / "own.py", tmp_path / "none.py"
    own.write_text(TABLES)
    none.write_text(NO_TABLES)
    at.sh("node1", "ip netns add stranger")
    before = at.sh(
        "node1", "ip -o link | sed 's/@.*//' | cut -d: -f2; ip route; iptables-save | grep -c PODNET || test $? = 1"
    )
    words: list[str | Path] = ["--limit", "node1", at.inventory]
    assert run("pyinfra", "-y", *words, own).code == 0
    seen = at.sh("node1", "ip route; ip neigh; bridge fdb; iptables-save; ip netns; bridge link")
    for word in (
        "10.9.2.0/24 via 10.9.2.0 dev vx9",
        "10.9.2.0 dev vx9 lladdr 02:00",
        "dst 192.168.56.12",
        "PODNET-OWN",
    ):
        assert word in seen
    assert re.search("vx9: .* master cni0", seen)
    assert "ttl=64" in at.sh("node1", "ip netns exec podnet-a ping -c 1 -w 3 10.9.1.1")
    again = run("pyinfra", "-y", *words, own)
    assert again.said.count("No changes") == 9, again.said
    assert run("pyinfra", "-y", *words, none).code == 0
    after = at.sh(
        "node1", "ip -o link | sed 's/@.*//' | cut -d: -f2; ip route; iptables-save | grep -c PODNET || test $? = 1"
    )
    assert after == before


def test_facts_can_be_asked_from_the_command_line(vxlan: At) -> None:
    """`pyinfra INVENTORY fact` reads each table."""
    names = ["addresses.Addresses", "chains.Chains", "fdb.Fdb", "links.Links", "neighbours.Neighbours"]
    names += ["node.Node", "pods.Pods", "ports.Ports", "routes.Routes"]
    done = run("pyinfra", vxlan.inventory, "fact", *(f"podnet.facts.{name}" for name in names))
    assert done.code == 0, done.said
    for word in ("flannel.1", "10.244.2.0", "PODNET-FWD", "podnet-pod1", '"hairpin": true'):
        assert word in done.said
    assert "null" not in done.out


def test_installed_wheel_deploys_and_verifies_from_any_directory(vxlan: At, installed: Path, tmp_path: Path) -> None:
    """Two lines in an empty directory are a deploy, and `pytest --pyargs podnet.verify` proves it."""
    (tmp_path / "deploy.py").write_text(
        "from podnet.modes import vxlan\nfrom podnet.operations import node\n\nnode.apply(vxlan)\n"
    )
    vxlan.sh("node2", "ip link del flannel.1")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def inside(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [str(installed / words[0]), *map(str, words[1:])]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    applied = inside("pyinfra", "-y", inventory_without_clone(vxlan, tmp_path), "deploy.py")
    assert applied.returncode == 0, applied.stderr
    assert vxlan.differences("node2") == []
    for words in (["--pyargs", "podnet.verify"], []):
        done = inside("pytest", *words, "--hosts=node1,node2,node3", f"--inventory={tmp_path / 'nodes.py'}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "40 passed" in done.stdout


@pytest.mark.parametrize("words", [["--connection=paramiko"], ["--hosts=paramiko://node1,paramiko://node2,node3"]])
def test_paramiko_verifies_as_ssh_does(vxlan: At, as_admin: Path, words: list[str]) -> None:
    """With the option or host by host, and by sudo as well: the same tests, and each host's key is looked at."""
    done = run("pytest", f"--inventory={as_admin}", *words)
    assert done.code == 0, done.said
    assert "40 passed" in done.out
    assert vxlan.differences("node1") == []


@pytest.mark.parametrize("hosts", ["node1,node2,node3", "paramiko://node1,ssh://node2,node3"])
def test_an_ssh_config_alone_says_how_hosts_are_reached(vxlan: At, tmp_path: Path, hosts: str) -> None:
    """To ssh, paramiko, and pyinfra, which is asked what a second apply would do, where the inventory is silent."""
    (tmp_path / "nodes.py").write_text(
        re.sub(r"'ssh_\w+': '[^']*',? ?", "", inventory_without_clone(vxlan, tmp_path).read_text())
    )
    assert "ssh" not in (tmp_path / "nodes.py").read_text()
    words = (f"--hosts={hosts}", f"--inventory={tmp_path / 'nodes.py'}", f"--ssh-config={vxlan.path / 'ssh_config'}")
    done = run("pytest", *words)
    assert done.code == 0, done.said
    assert "40 passed" in done.out
    done = run("pytest", *words, "--disruptive", "podnet/verify/disruptive/test_second_apply.py")
    assert done.code == 0, done.said
    assert "a second apply: 0 of " in done.out


def test_a_run_leaves_the_users_own_connections_alone(vxlan: At) -> None:
    """Those that an ssh_config shares are the user's, or another run's."""
    config = vxlan.path / "ssh_config"
    words = ["ssh", "-F", str(config), "-o", "BatchMode=yes"]
    subprocess.run([*words, "-M", "-N", "-f", "node1"], check=True, capture_output=True)
    done = run("pytest", "--hosts=node1", f"--inventory={vxlan.inventory}", f"--ssh-config={config}", "--collect-only")
    assert done.code == 0, done.said
    subprocess.run([*words, "-O", "check", "node1"], check=True, capture_output=True)
    subprocess.run([*words, "-O", "exit", "node1"], check=True, capture_output=True)


def test_paramiko_refuses_a_host_whose_key_is_another(vxlan: At, tmp_path: Path) -> None:
    """Or that nobody knows; the others are verified."""
    inventory = inventory_without_clone(vxlan, tmp_path)
    known = (vxlan.path / "known_hosts").read_text().splitlines()
    first, second, third = (line.split() for line in known[:3])
    (tmp_path / "known").write_text(f"{' '.join(first)}\n{' '.join([second[0], *third[1:]])}\n")
    inventory.write_text(inventory.read_text().replace(str(vxlan.path / "known_hosts"), str(tmp_path / "known")))
    done = run("pytest", f"--inventory={inventory}", "--connection=paramiko", "podnet/verify/test_state.py")
    assert done.code == 1, done.said
    assert "node2 cannot be reached: paramiko: Host key for server '127.0.0.1' does not match" in done.out
    assert re.search(
        r"node3 cannot be reached: paramiko: Server '\[127.0.0.1\]:\d+' not found in known_hosts", done.out
    )
    assert "2 passed" in done.out


def inventory_without_clone(at: At, folder: Path) -> Path:
    """Write an inventory of the lab's hosts as plain data, which needs nothing of the clone."""
    hosts = [
        (
            f"node{i}",
            {
                "address": f"192.168.56.{10 + i}/24",
                "uplink": "eth0",
                "pod_subnet": f"10.244.{i}.0/24",
                "pods": 2,
                "ssh_config_file": str(at.path / "ssh_config"),
                "ssh_known_hosts_file": str(at.path / "known_hosts"),
                "ssh_strict_host_key_checking": "yes",
            },
        )
        for i in (1, 2, 3)
    ]
    data = {"network": "10.244.0.0/16", "underlay_mtu": 1500, "vni": 1, "vxlan_port": 8472, "masquerade": True}
    path = folder / "nodes.py"
    path.write_text(f"nodes = ({hosts!r}, {data!r})\n")
    return path
