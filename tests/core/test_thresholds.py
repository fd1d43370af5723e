"""Room in the neighbour table: how much a host is given, and when it is left as it is."""

import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from benchmarks import planning
from podnet import thresholds
from podnet.cluster import Cluster
from podnet.inventory import read
from podnet.operations.writing import script
from podnet.state import Sysctl
from tests.core.examples import cluster

FOLDER = "net/ipv4/neigh/default"


def table(*values: int) -> list[Sysctl]:
    """Say what a host allows."""
    return [Sysctl(f"{FOLDER}/gc_thresh{number}", str(value)) for number, value in enumerate(values, 1)]


def values(of: Cluster) -> list[int]:
    """Say what the first host is to allow."""
    return [int(item.value) for item in thresholds.wanted(of, of.nodes[0])]


def test_few_neighbours_need_no_more_than_the_kernels_own_room() -> None:
    """128, 512 and 1024 do for three hosts."""
    assert values(cluster()) == [128, 512, 1024]


def test_many_neighbours_all_stay_and_four_and_eight_times_as_many_have_room() -> None:
    """A thousand hosts of one segment, of which each talks to all others, to a router and to two pods of its own."""
    of = read(planning.inventory(1000))
    assert values(of) == [1002, 4008, 8016]


def test_who_is_behind_a_router_takes_no_room() -> None:
    """The router's entry stands for all of them."""
    said = planning.inventory(1000)
    for number, host in enumerate(list(said.values())[200:]):
        host["address"] = f"{IPv4Address('172.31.0.0') + 1 + number}/16"
    assert values(read(said)) == [202, 808, 1616]


def test_smaller_thresholds_are_raised_and_larger_ones_stay(tmp_path: Path) -> None:
    """The file says what holds after the next boot: never less than now."""
    todo = thresholds.sections(thresholds.raised(table(1002, 4008, 8016), table(128, 5000, 1024)))
    sent = script(todo).replace(thresholds.FILE, str(tmp_path / "file")).replace("sysctl -q -p", "cat")
    done = subprocess.run(["sh"], input=sent, capture_output=True, text=True, check=True)
    written = [thresholds.FIRST_LINE, *(f"{FOLDER}/gc_thresh{n} = {v}" for n, v in [(1, 1002), (2, 5000), (3, 8016)])]
    assert (tmp_path / "file").read_text().splitlines() == written
    assert written == [line for line in done.stdout.splitlines() if "podnet==" not in line]


@pytest.mark.parametrize("have", [(1002, 4008, 8016), (20_000, 50_000, 100_000)])
def test_where_there_is_room_nothing_is_done(have: tuple[int, ...]) -> None:
    """Not even a file is written: whoever set larger ones has one."""
    assert thresholds.raised(table(1002, 4008, 8016), table(*have)) == ()


@pytest.mark.parametrize("want", [Sysctl("net/ipv4/ip_forward", "1"), Sysctl(f"{FOLDER}/gc_thresh1", "many")])
def test_what_is_no_threshold_is_refused_by_name(want: Sysctl) -> None:
    """Whoever gives thresholds by a deploy of one's own may misspell them."""
    assert thresholds.strange([want]).startswith(f"{want.path} = {want.value} is no threshold; say {FOLDER}/gc_thresh1")
    assert thresholds.strange(table(1, 2, 3)) == ""


def test_containers_of_the_cni_plugins_are_neighbours_too() -> None:
    """They are on the host's bridge, as its pods are."""
    said = planning.inventory(3)
    next(iter(said.values()))["cni_pods"] = [f"web{number}" for number in range(150)]
    assert values(read(said)) == [155, 620, 1240]


def test_a_container_is_told_that_its_machine_decides() -> None:
    """The kernel has one table for all network namespaces, and shows its settings in the first one alone."""
    assert thresholds.lacking([]).startswith(f"there is no {FOLDER}/gc_thresh1 on this host: it is a container")
    assert thresholds.lacking(table(1, 2, 3)) == ""
