"""Two clusters with different VNIs on the same hosts: neither sees, hears or disturbs the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.at import At

ALL = {"node1", "node2", "node3"}
SECOND = """
import runpy
hosts, data = runpy.run_path({inventory!r})["nodes"]
for number, (name, host) in enumerate(hosts, 1):
    host["pod_subnet"] = f"10.245.{{number}}.0/24"
nodes = (hosts, {{**data, "network": "10.245.0.0/16", "vni": 7}})
"""
OF_THE_FIRST = """
ip -d link show cni0 | grep -v bridge_id; ip -d link show flannel.1; ip route show proto 77
ip neigh show nud permanent | grep 10.244; bridge fdb show dev flannel.1 | grep dst
iptables-save | grep PODNET-; ip netns list | grep podnet- | sed 's/ .*//' | sort
cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/cni0/forwarding
"""


@pytest.fixture(scope="module")
def second(at: At, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the inventory of a second cluster on the same hosts."""
    file = tmp_path_factory.mktemp("second") / "inventory.py"
    file.write_text(SECOND.format(inventory=str(at.inventory)))
    return file


@pytest.fixture(scope="module")
def both(at: At, second: Path) -> Iterator[At]:
    """Put both clusters into the mode vxlan."""
    assert at.into("vxlan").changed == ALL
    before = at.sh("node1", OF_THE_FIRST)
    assert at.into("vxlan", inventory=second).changed == ALL
    assert at.sh("node1", OF_THE_FIRST) == before
    yield at
    at.into("teardown")


def test_each_is_verified_as_if_it_were_alone(both: At, second: Path) -> None:
    """State, reach, and its own VNI on the wire; a second apply of either is silent."""
    for inventory in (both.inventory, second):
        done = both.verify(inventory=inventory)
        assert done.code == 0, done.said
        assert both.into("vxlan", inventory=inventory).unchanged == ALL


def test_their_things_are_named_after_the_vni(both: At) -> None:
    """Devices, namespaces, chains and routes of the second can be told from the first's at a glance."""
    said = both.sh("node1", "ip -br link; ip netns; iptables-save; ip route show proto 107")
    for name in ("cni.7", "flannel.7", "podnet7-pod1", "PODNET7-FWD", "10.245.2.0/24 via 10.245.2.0 dev flannel.7"):
        assert name in said


@pytest.mark.parametrize("to", ["10.245.1.2", "10.245.2.2"], ids=["on the same node", "on another node"])
def test_they_do_not_hear_each_other(both: At, to: str) -> None:
    """No packet of a pod of one reaches a pod of the other, on this node or another, although a node routes both."""
    watch = "ip netns exec podnet7-pod1 timeout 2 tcpdump -i eth0 -nn -c 1 src net 10.244.0.0/16"
    node = "node1" if to.startswith("10.245.1.") else "node2"
    both.sh(node, f"({watch} >/run/heard 2>&1) & until grep -q listening /run/heard; do :; done")
    ping = both.try_sh("node1", f"ip netns exec podnet-pod1 ping -n -c 2 -i 0.2 -w 1 {to}")
    assert ping.code == 1, ping.said
    heard = both.sh(node, "while pgrep -x tcpdump >/dev/null; do sleep 0.1; done; cat /run/heard")
    assert "0 packets captured" in heard
    assert both.try_sh("node1", f"ip netns exec podnet7-pod2 ping -n -c 1 -w 2 {to}").code == 0


def test_one_is_taken_away_and_the_other_stays(both: At, second: Path) -> None:
    """Teardown of the first leaves the second whole, with the settings that both need; the last gives them back.

    A container hangs on the second's bridge: it hinders the second's teardown, and nobody else's.
    """
    both.sh("node1", "ip link add box0 type veth peer box1; ip link set box0 master cni.7 up")
    assert both.into("teardown").changed == ALL
    assert "1" in both.sh("node1", "cat /proc/sys/net/ipv4/ip_forward")
    done = both.verify(inventory=second)
    assert done.code == 0, done.said
    refused = both.apply("deploys/teardown.py", inventory=second)
    assert refused.failed == {"node1"}
    assert "cni.7 would be removed, and box0 would be cut off" in refused.log
    both.sh("node1", "ip link del box0")
    assert both.into("teardown", inventory=second).changed == {"node1"}
    assert both.sh("node1", "cat /proc/sys/net/ipv4/ip_forward").strip() == "0"
    assert both.sh("node1", "ip netns list; ls /etc/podnet 2>/dev/null || test $? = 2") == ""


def test_a_network_that_another_cluster_has_is_refused(both: At, second: Path, tmp_path: Path) -> None:
    """The same pods' network under another VNI: both would need the same routes."""
    both.into("vxlan")
    same = tmp_path / "inventory.py"
    same.write_text(second.read_text().replace("10.245", "10.244"))
    applied = both.apply(inventory=same)
    assert applied.code != 0
    assert all(f"overlaps 10.244.{number}." in applied.log for number in (1, 2, 3))
    assert both.into("vxlan").unchanged == ALL
