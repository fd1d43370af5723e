"""What grows with the cluster, counted and not timed: commands on hosts, what planning holds, how a run ends.

tests/core/test_scale.py has the growth of planning itself.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.planning import ENTRIES, apart
from podnet import thresholds
from podnet.verify import inventory
from tests.lab.at import At


@pytest.fixture
def larger() -> Iterator[At]:
    """Return the name of a further lab, which is removed at the end."""
    lab = At("larger")
    yield lab
    lab.down()


def asked(at: At, *, fewer: Path) -> list[int]:
    """Count the most commands that any host of a lab runs for each kind of apply."""
    hosts = sorted(inventory.load(at.inventory))
    said = inventory.load(at.inventory)
    inventory.write(fewer, {host: said[host] for host in hosts[:-1]})

    def most(file: Path) -> int:
        before = {host: at.commands(host) for host in hosts}
        at.into("vxlan", inventory=file)
        return max(at.commands(host) - count for host, count in before.items())

    first, joined, nothing = most(fewer), most(at.inventory), most(at.inventory)
    at.sh(hosts[0], "ip neigh del 10.244.2.0 dev flannel.1")
    return [first, joined, nothing, most(at.inventory)]


def test_no_kind_of_apply_asks_a_host_for_more_where_there_are_more(at: At, larger: At, tmp_path: Path) -> None:
    """First, with a peer more, with nothing to do, with an entry gone: on 3 hosts and on 8."""
    larger.up("--hosts", "8")
    counts = [2, 2, 1, 2]
    assert asked(at, fewer=tmp_path / "two.py") == counts
    assert asked(larger, fewer=tmp_path / "seven.py") == counts


def test_a_thousand_nodes_are_planned_in_a_gigabyte() -> None:
    """Every host's whole batch, of three million entries, each said for now and for the next boot."""
    planned = apart(1000, 1000)
    assert planned.peak < 1024
    assert planned.sent > 2 * 1000 * 999 * len(ENTRIES) * len("neigh replace 10.0.1.0 dev flannel.1")


def test_a_run_ends_with_a_line_for_each_host_that_did_not_do_as_asked(vxlan: At) -> None:
    """Who cannot be reached, and who refuses, with the reason; nobody else, and nothing after it."""
    vxlan.sh("node2", "ip link set eth0 mtu 1400")
    vxlan.sh("node3", "systemctl stop ssh")
    applied = vxlan.apply()
    vxlan.sh("node3", "systemctl start ssh")
    vxlan.sh("node2", "ip link set eth0 mtu 1500")
    assert applied.failed == {"node2", "node3"}
    *_, title, second, third = applied.log.splitlines()
    assert title == "--> 2 of 3 hosts did not do what was asked:"
    assert second.startswith("    [node2] nothing was changed: `underlay_mtu` is 1500, but eth0 has an MTU of 1400")
    assert third.startswith("    [node3] it could not be reached: ")
    applied = vxlan.apply()
    assert applied.code == 0
    assert "did not do" not in applied.log


def test_a_container_is_refused_room_in_its_machines_neighbour_table(at: At) -> None:
    """In a sentence, and nothing is written: the setting is the machine's, which the run is to be told of instead."""
    applied = at.apply("deploys/thresholds.py")
    assert applied.code != 0
    *_, title, _, _, last = applied.log.splitlines()
    assert title == "--> 3 of 3 hosts did not do what was asked:"
    assert last.startswith(
        "    [node3] nothing was changed: there is no net/ipv4/neigh/default/gc_thresh1 on this host: it is a container"
    )
    assert at.try_sh("node1", f"test -e {thresholds.FILE}").code == 1
