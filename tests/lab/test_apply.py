"""What an apply costs, what it says, whom it disturbs, and what happens when a host does not play along."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.at import At, run, until

ALL = {"node1", "node2", "node3"}
PING = "ip netns exec podnet-pod1 ping -n -q -i 0.01 -w {seconds} 10.244.2.2"


@pytest.fixture
def other() -> Iterator[At]:
    """Return the name of a further lab, which is removed at the end."""
    lab = At("other")
    yield lab
    lab.down()


def cost(at: At, node: str) -> tuple[int, int]:
    """Count the commands of a first and of a second apply on one host."""
    start = at.commands(node)
    first = at.apply()
    middle = at.commands(node)
    second = at.apply()
    end = at.commands(node)
    assert (first.code, second.code) == (0, 0), first.log + second.log
    assert second.changed == set(), second.log
    return middle - start, end - middle


def test_cost_does_not_grow_with_the_cluster(at: At, other: At) -> None:
    """In a lab of 3 and in one of 16 a first apply runs 2 commands on a host, a second 1, and a mesh 2: one pings."""
    other.up("--hosts", "16")
    assert cost(at, "node1") == cost(other, "node1") == (2, 1)
    all_hosts = [f"node{i}" for i in range(1, 17)]
    before = [other.commands(host) for host in all_hosts]
    done = other.verify("podnet/verify/test_reach.py", hosts=",".join(all_hosts))
    assert done.code == 0, done.said
    assert "TTL 62: 960 pairs, TTL 64: 64 pairs" in done.out
    assert [other.commands(host) - start for host, start in zip(all_hosts, before, strict=True)] == [2] * 16
    done = other.verify(hosts=",".join(all_hosts))
    assert done.code == 0, done.said


def test_two_segments_are_joined_by_the_tunnel(other: At) -> None:
    """Peers behind a router are reached like neighbours, and a second apply finds nothing to do."""
    other.up("--hosts", "3", "--segments", "2")
    assert other.apply().changed == ALL
    assert other.apply().unchanged == ALL
    done = other.verify()
    assert done.code == 0, done.said


@pytest.mark.parametrize("mtu", [1300, 9000])
def test_mtu_of_the_underlay_is_used_whole(other: At, mtu: int) -> None:
    """Pods get 50 bytes less, and the largest packet still fills it, also where a device is too small for IPv6."""
    other.up("--hosts", "2", "--mtu", str(mtu))
    assert other.apply().changed == {"node1", "node2"}
    assert f"mtu {mtu - 50}" in other.sh("node1", "ip -n podnet-pod1 link show eth0")
    assert other.apply().unchanged == {"node1", "node2"}
    done = other.verify(hosts="node1,node2")
    assert done.code == 0, done.said


def test_dry_run_shows_the_lines_and_changes_nothing(vxlan: At) -> None:
    """`--dry` prints exactly what would be sent; `-y` prints how many things of each table change."""
    vxlan.sh("node2", "ip route del 10.244.3.0/24")
    done = run("pyinfra", "--dry", vxlan.inventory, "deploys/vxlan.py")
    assert "route replace 10.244.3.0/24 via 10.244.3.0 dev flannel.1 onlink proto 77" in done.said
    assert vxlan.differences("node2") != []
    assert "[node2] routes +1" in vxlan.apply().log
    assert vxlan.differences("node2") == []


def test_no_packet_is_lost_by_an_apply_that_changes_nothing(vxlan: At) -> None:
    """A pod's pings, a hundred a second, all come back while podnet runs again."""
    vxlan.sh("node1", f"({PING.format(seconds=3)} >/run/ping) & true")
    assert vxlan.apply().unchanged == ALL
    assert lost(vxlan) == 0


def lost(at: At) -> int:
    """Wait for the pings to end and count those without a reply."""
    said = at.sh("node1", "while pgrep -x ping >/dev/null; do sleep 0.1; done; cat /run/ping")
    sent, received = map(int, re.findall(r"(\d+) (?:packets transmitted|received)", said))
    assert sent > 100, said
    return sent - received


def test_peers_come_and_go_without_disturbing_the_others(at: At, vxlan: At) -> None:
    """A host more and a host less change what they must on every host, and lose no packet between the others."""
    vxlan.sh("node1", f"({PING.format(seconds=8)} >/run/ping) & true")
    at.up("--hosts", "4")
    assert vxlan.apply().changed == ALL | {"node4"}
    done = vxlan.verify("podnet/verify/test_state.py", "podnet/verify/test_reach.py", hosts="node1,node2,node3,node4")
    assert done.code == 0, done.said
    at.up("--hosts", "3")
    assert "10.244.4.0/24" in vxlan.sh("node1", "ip route")
    assert vxlan.apply().changed == ALL
    assert vxlan.apply().unchanged == ALL
    assert "10.244.4.0" not in vxlan.sh("node1", "ip route; ip neigh; bridge fdb")
    assert lost(vxlan) == 0


def test_stopped_host_is_named_and_the_others_are_configured(vxlan: At) -> None:
    """With a host off, the run goes on, says which it was, and does not exit with 0; once it is back it catches up."""
    vxlan.sh("node1", "ip link del flannel.1")
    vxlan.sh("node3", "systemctl --quiet disable podnet.service")  # what it was in will not come back by itself
    vxlan.try_sh("node3", "systemctl poweroff")
    until(lambda: "stopped" in run("podnet", "lab", "status", "--name", vxlan.name).out, 20, "node3 has stopped")
    applied = vxlan.apply()
    assert applied.code != 0
    assert applied.failed == {"node3"}
    assert applied.changed == {"node1"}
    assert "node3" in applied.log
    unreachable = vxlan.verify("podnet/verify/test_state.py")
    assert unreachable.code != 0
    assert "node3 cannot be reached" in unreachable.out
    vxlan.up()
    assert vxlan.apply().changed == {"node3"}
    assert vxlan.differences("node3") == []


def test_failing_line_is_quoted_with_the_kernels_words(vxlan: At) -> None:
    """When the kernel refuses a line, the host is failed with that line; once the reason is gone, it is completed."""
    socket = (
        'socket(S, 2, 2, 17); bind(S, sockaddr_in(8472, INADDR_ANY)) or die; open(F, ">/run/bound"); close F; sleep'
    )
    vxlan.sh(
        "node2",
        f"ip link del flannel.1; (perl -MSocket -e '{socket}' >/dev/null 2>&1 & echo $! >/run/pid); "
        "until [ -e /run/bound ]; do :; done",
    )
    applied = vxlan.apply()
    assert applied.code != 0
    assert applied.failed == {"node2"}
    assert applied.unchanged == {"node1", "node3"}
    assert "failed at `link set flannel.1 alias podnet up`" in applied.log
    assert "Address already in use" in applied.log
    vxlan.sh("node2", "kill $(cat /run/pid); rm /run/bound /run/pid")
    assert vxlan.apply().changed == {"node2"}
    assert vxlan.differences("node2") == []


def test_unreadable_tables_are_no_empty_tables(vxlan: At) -> None:
    """A host whose tables cannot be read is failed and not touched."""
    vxlan.sh("node2", "mv /usr/sbin/nft /usr/sbin/nft-away; ln -s /bin/false /usr/sbin/nft")
    applied = vxlan.apply()
    vxlan.sh("node2", "mv /usr/sbin/nft-away /usr/sbin/nft")
    assert applied.code != 0
    assert applied.failed == {"node2"}
    assert vxlan.differences("node2") == []


@pytest.mark.parametrize(
    ("script", "undo", "words"),
    [
        (
            "ip link set eth0 mtu 1400",
            "ip link set eth0 mtu 1500",
            "`underlay_mtu` is 1500, but eth0 has an MTU of 1400",
        ),
        (
            "ip link add docker0 type bridge; ip addr add 10.244.200.1/24 dev docker0",
            "ip link del docker0",
            "overlaps 10.244.200.1/24 of the device docker0",
        ),
        (
            "ip addr del 192.168.56.12/24 dev eth0; ip addr add 192.168.56.112/24 dev eth0",
            (
                "ip addr del 192.168.56.112/24 dev eth0; ip addr add 192.168.56.12/24 dev eth0;"
                "ip route add default via 192.168.56.1"
            ),
            "`address` 192.168.56.12/24 is not on eth0, which has 192.168.56.112/24",
        ),
    ],
)
def test_host_that_is_not_as_the_inventory_says_is_left_alone(vxlan: At, script: str, undo: str, words: str) -> None:
    """It is failed with a sentence, before anything is changed on it; the others go on."""
    vxlan.sh("node2", script)
    applied = vxlan.apply()
    vxlan.sh("node2", undo)
    assert applied.code != 0
    assert applied.failed == {"node2"}
    assert words in applied.log
    assert vxlan.apply().code == 0


def test_pods_come_and_go(at: At, vxlan: At, tmp_path: Path) -> None:
    """Renamed, moved, taken away to the last, and given back: each time one apply does it, and a second nothing."""
    own = tmp_path / "own.py"
    for pods in (["b", "a"], {"a": "10.244.1.9"}, 0, 5, 2):
        own.write_text(
            f"import runpy\nhosts, data = runpy.run_path({str(at.inventory)!r})['nodes']\n"
            f"hosts[0][1]['pods'] = {pods!r}\nnodes = (hosts, data)\n"
        )
        assert vxlan.apply(inventory=own).changed == {"node1"}
        assert vxlan.apply(inventory=own).unchanged == ALL
        done = vxlan.verify("podnet/verify/test_state.py", "podnet/verify/test_reach.py", inventory=own)
        assert done.code == 0, done.said


def test_one_node_alone_may_have_the_whole_network(other: At, tmp_path: Path) -> None:
    """Its subnet is then the network, and pods need no route to it."""
    other.up("--hosts", "1")
    own = tmp_path / "own.py"
    own.write_text(
        f"import runpy\nhosts, data = runpy.run_path({str(other.inventory)!r})['nodes']\n"
        "hosts[0][1]['pod_subnet'] = data['network']\nnodes = (hosts, data)\n"
    )
    assert other.apply(inventory=own).changed == {"node1"}
    assert other.apply(inventory=own).unchanged == {"node1"}
    done = other.verify("podnet/verify/test_state.py", "podnet/verify/test_reach.py", hosts="node1", inventory=own)
    assert done.code == 0, done.said


def test_leased_address_on_the_uplink_is_as_good_as_any(vxlan: At) -> None:
    """A host that has its underlay address from DHCP, with a lifetime, is applied to and verified like others."""
    vxlan.sh("node2", "ip addr change 192.168.56.12/24 dev eth0 valid_lft 600 preferred_lft 600")
    assert vxlan.apply().unchanged == ALL
    assert vxlan.verify_state().code == 0
    vxlan.sh("node2", "ip addr change 192.168.56.12/24 dev eth0 valid_lft forever preferred_lft forever")


def test_json_report_says_what_would_change(vxlan: At) -> None:
    """A script can ask what an apply would do: only the damaged host is listed."""
    vxlan.sh("node3", "ip neigh del 10.244.1.0 dev flannel.1")
    done = run("pyinfra", "--dry", "--json", vxlan.inventory, "deploys/vxlan.py")
    (operation,) = json.loads(done.out)["plan"]
    assert operation["hosts_with_change"] == ["node3"]
    assert vxlan.apply().changed == {"node3"}
