"""Verification that is not asked to disrupt changes nothing: hosts are to the letter what they were before.

What is compared, and what cannot be, is said in tests/lab/dump.py.
"""

import pytest

from tests.lab.at import At, until
from tests.lab.dump import Dump, dump, unlike
from tests.lab.strangers_state import STRANGERS, inventory, observe, standing

NODES = ("node1", "node2", "node3")


def dumps(at: At) -> dict[str, Dump]:
    """Look at all hosts, as soon as none has an IPv6 address that it still asks others about."""
    return {node: settled(at, node) for node in NODES}


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
    return "\n".join(f"{node}: {line}" for node in NODES for line in unlike(before[node], dump(at, node)))


@pytest.mark.parametrize("mode", ["vxlan", "proxy_arp"])
def test_the_default_run_changes_nothing(at: At, mode: str) -> None:
    """All tables of hosts and pods, all settings, files and processes stay, in a mode with a bridge and without.

    Taken for a stranger's (`--observe`), the same cluster is in nothing otherwise than podnet would have it.
    """
    at.into(mode)
    before = dumps(at)
    done = at.verify(mode=mode)
    assert done.code == 0, done.said
    assert all(f"test_{name}.py ." in done.out for name in ("again", "counters", "nodes", "reach", "transfer", "wire"))
    done = observe(at.inventory, mode)
    assert done.code == 0, done.said
    assert "test_transfer.py ." in done.out
    assert f"podnet would have otherwise in {mode} ==" in done.out
    assert "\nnothing\n" in done.out
    assert changes(at, before) == ""


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
