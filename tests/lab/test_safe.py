"""Verification that is not asked to disrupt changes nothing: hosts are to the letter what they were before.

What is compared, and what cannot be, is said in tests/lab/dump.py.
"""

import textwrap
from pathlib import Path

import pytest

from tests.lab.at import At, until
from tests.lab.dump import Dump, dump, unlike
from tests.lab.strangers_state import STRANGERS, inventory, observe, standing

SHAPE = ("--hosts", "4")
NODES = ("node1", "node2", "node3")
OUTSIDE = "node4"


@pytest.fixture
def members(at: At, tmp_path: Path) -> Path:
    """Write an inventory of the first three hosts; the fourth is no member."""
    path = tmp_path / "inventory.py"
    path.write_text(
        textwrap.dedent(f"""\
            import runpy

            _hosts, _data = runpy.run_path({str(at.inventory)!r})["nodes"]
            nodes = (_hosts[:3], _data)
            """)
    )
    return path


def dumps(at: At) -> dict[str, Dump]:
    """Look at all hosts, as soon as none has an IPv6 address that it still asks others about."""
    return {node.name: settled(at, node.name) for node in at.cluster.nodes}


def settled(at: At, node: str) -> Dump:
    """Look at a host once its addresses, and its pods', stand."""
    looks: list[Dump] = []

    def stands() -> bool:
        looks.append(dump(at, node))
        return not any("tentative" in line for lines in looks[-1].values() for line in lines)

    until(stands, 10, f"no address of {node} is tentative")
    return looks[-1]


def changes(at: At, before: dict[str, Dump]) -> str:
    """Say in what the hosts are not as they were."""
    return "\n".join(f"{node}: {line}" for node, was in before.items() for line in unlike(was, dump(at, node)))


@pytest.mark.parametrize("mode", ["vxlan", "proxy_arp"])
def test_the_default_run_changes_nothing(at: At, members: Path, mode: str) -> None:
    """All tables of hosts and pods, all settings, files and processes stay, in a mode with a bridge and without.

    So they do on a host outside. Taken for a stranger's (`--observe`), the same cluster is in nothing otherwise than
    podnet would have it.
    """
    at.into(mode, inventory=members)
    before = dumps(at)
    done = at.verify(f"--outside={OUTSIDE}", mode=mode, inventory=members)
    assert done.code == 0, done.said
    files = ("again", "counters", "nodes", "outside", "reach", "transfer", "wire")
    assert all(f"test_{name}.py ." in done.out for name in files)
    done = observe(members, mode)
    assert done.code == 0, done.said
    assert "test_transfer.py ." in done.out
    assert f"podnet would have otherwise in {mode} ==" in done.out
    assert "\nnothing\n" in done.out
    assert changes(at, before) == ""


def test_a_run_that_looks_for_causes_changes_nothing(at: At, members: Path, tmp_path: Path) -> None:
    """Where pings fail, all hosts are asked further, and both ends are captured: by looking alone."""
    at.into("vxlan", inventory=members)
    at.sh("node2", "iptables -I FORWARD -s 10.244.1.0/24 -j DROP")
    before = dumps(at)
    done = at.verify("--captures", f"--report={tmp_path}", "podnet/verify/test_reach.py", inventory=members)
    assert done.code == 1, done.said
    assert "as node2 sees it:" in done.out
    assert "cause: node2: firewall: iptables filter FORWARD has refused" in done.out
    assert changes(at, before) == ""
    at.sh("node2", "iptables -D FORWARD -s 10.244.1.0/24 -j DROP")


@pytest.mark.parametrize("name", ["flannel-vxlan", "calico-bgp"])
def test_observing_somebody_elses_cluster_changes_nothing(name: str) -> None:
    """Neither flannel's nor Calico's state differs after a run with `--observe`."""
    stranger = STRANGERS[name]
    with standing(stranger, "safe") as at:
        before = dumps(at)
        done = observe(inventory(at, stranger), stranger.mode)
        assert done.code == 0, done.said
        assert changes(at, before) == ""


IN_POD = "ip netns exec podnet-pod1"
CHANGES = {
    "host link": "ip link set cni0 txqueuelen 77",
    "host address": "ip addr add 10.9.9.9/32 dev lo",
    "host route": "ip route add 10.9.0.0/16 dev eth0",
    "host rule": "ip rule add from 10.9.0.0/16 table 9",
    "host neighbour": "ip neigh add 10.9.9.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
    "host FDB": "bridge fdb add 02:00:00:00:00:09 dev flannel.1 dst 192.168.56.13",
    "host qdisc": "tc qdisc add dev eth0 root pfifo",
    "host nft": "nft add table ip nine",
    "host iptables": "iptables -A INPUT -s 10.9.9.9 -j DROP",
    "host sysctl": "sysctl -q -w net.ipv4.conf.eth0.arp_notify=1",
    "namespace": "ip netns add nine",
    "file": "chmod 600 /etc/hosts",
    "folder": "mkdir /run/nine",
    "process": "systemd-run --quiet --unit=nine sleep 99",
    "/run/netns/podnet-pod1 route": f"{IN_POD} ip route add 10.9.0.0/16 dev eth0",
    "/run/netns/podnet-pod1 sysctl": f"{IN_POD} sysctl -q -w net.ipv4.conf.eth0.arp_notify=1",
}
"""A change of each table."""


def test_the_comparison_notices_every_change(at: At) -> None:
    """What proves that nothing was changed must be able to see a change: one of each kind."""
    at.into("vxlan")
    before = settled(at, "node1")
    at.sh("node1", "\n".join(CHANGES.values()))
    seen = {line.partition(": ")[0] for line in unlike(before, dump(at, "node1"))}
    assert CHANGES.keys() - seen == set()
