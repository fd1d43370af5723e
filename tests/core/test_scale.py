"""What planning costs grows with the number of peers, not with its square: counts and ratios, no seconds."""

import cProfile
import pstats
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
from pyinfra.api import Config, Inventory
from pyinfra.api import State as Run

from benchmarks.planning import ENTRIES, batch, damaged, inventory, seconds
from podnet import modes, preflight
from podnet.batch import sections
from podnet.cluster import Cluster
from podnet.differences import differences
from podnet.inventory import read
from podnet.keys import nodes, resolve, twins
from podnet.modes import Mode, host_gw, vxlan, wireguard
from podnet.plan import plan
from podnet.state import State
from tests.core import goldens

SMALL, LARGE = 200, 400
TWICE = 2.2
FEW, MANY = 1000, 4000
BETWEEN = 8.0
"""Four times as many peers cost about 4 times as much; what grows with their square costs 16 times as much."""


@cache
def cluster(count: int) -> Cluster:
    """Read a cluster of so many nodes once."""
    return read(inventory(count))


def calls(work: Callable[[], object]) -> int:
    """Count the calls of functions."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]  # typeshed lacks it


def grows(work: Callable[[int], Callable[[], object]]) -> float:
    """Say how many times as much the processor has to do for MANY as for FEW: the least of some tries each."""
    few, many = (min(seconds(work(count)) for _ in range(5)) for count in (FEW, MANY))
    return many / few


@pytest.mark.parametrize("name", sorted({*goldens.MODES} - {"sriov"}))
def test_planning_a_host_is_twice_the_work_for_twice_the_peers(name: str) -> None:
    """In every mode: computed, planned and spelled, with the file for the next boot."""
    mode = goldens.mode(name)
    batch(cluster(3), cluster(3).nodes[0], mode)  # templates are read once
    small, large = (calls(partial(batch, of, of.nodes[0], mode)) for of in map(cluster, (SMALL, LARGE)))
    assert large < TWICE * small


def test_reading_an_inventory_is_twice_the_work_for_twice_the_hosts() -> None:
    """Uniqueness and overlaps are found without comparing all pairs."""
    small, large = (calls(partial(read, inventory(count))) for count in (SMALL, LARGE))
    assert large < TWICE * small


def begun(count: int) -> Inventory:
    """Have pyinfra begin with so many hosts, one of which has a longer name, as its command line does."""
    hosts = {"longest-of-all": {}, **inventory(count)}
    said = Inventory(([*hosts.items()], {}))  # type: ignore[no-untyped-call]  # pyinfra's own
    with preflight.measured_once(said):
        Run().init(said, Config())  # type: ignore[no-untyped-call]  # pyinfra's own
    return said


def test_pyinfra_begins_in_twice_the_time_for_twice_the_hosts() -> None:
    """It looks for the longest name once, pads all names to that, and each host has its whole inventory afterwards."""
    assert {len(host.name + host.print_prefix_padding) for host in begun(3)} == {len("longest-of-all")}
    assert {len(host.inventory) for host in begun(3)} == {4}
    small, large = (calls(partial(begun, count)) for count in (SMALL, LARGE))
    assert large < TWICE * small


@pytest.mark.parametrize("mode", [vxlan, host_gw, wireguard])
def test_the_time_of_planning_grows_with_the_peers(mode: Mode) -> None:
    """What calls do not show, a search in a list for every entry, shows here."""
    assert grows(lambda count: lambda: batch(cluster(count), cluster(count).nodes[0], mode)) < BETWEEN


def harmed(count: int) -> tuple[State, State]:
    """Say what the first host of a cluster should hold, and what it holds after some damage."""
    want, seen = (modes.wanted(vxlan, of, of.nodes[0]) for of in (cluster(count), read(inventory(count))))
    return want, damaged(seen)


def test_the_time_of_a_comparison_grows_with_the_entries() -> None:
    """Missing, wrong and extra ones, to be told and to be mended."""
    states = {count: harmed(count) for count in (FEW, MANY)}
    assert grows(lambda count: lambda: differences(*states[count])) < BETWEEN
    assert grows(lambda count: lambda: sections(plan(*states[count]))) < BETWEEN


def test_a_comparison_finds_all_damage() -> None:
    """What the comparison above is measured by: each kind of damage in each table."""
    want, have = harmed(SMALL)
    found = differences(want, have)
    each = len(ENTRIES) * SMALL // 100
    assert [sum(line.startswith(word) for line in found) for word in ("missing", "wrong", "extra")] == [each] * 3


def test_the_time_of_learning_keys_grows_with_the_peers() -> None:
    """Peers whose keys were told, those whose keys the kernel has, and twins among them."""

    def work(count: int) -> Callable[[], object]:
        want = modes.wanted(wireguard, cluster(count), cluster(count).nodes[0])
        told = {name: f"{name:=<44}" for name in sorted(nodes(want))}
        have = resolve(want, told, State())
        half: Any = dict(list(told.items())[: count // 2])
        return lambda: (resolve(want, half, have), [*twins(told, "podnet")])

    assert grows(work) < BETWEEN


def test_hosts_of_a_thousand_nodes_are_planned_alike() -> None:
    """Each costs the same, whichever it is: nothing is heaped up from host to host."""
    of = cluster(1000)
    first, *_, last = [calls(partial(batch, of, me)) for me in of.nodes[:10]]
    assert last <= first * 1.05
