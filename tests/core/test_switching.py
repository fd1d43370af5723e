"""From any mode to any other, on the small kernel: as if the other one had been there from the start."""

import itertools
import re
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from podnet import modes
from podnet.batch import sections
from podnet.cluster import Cluster
from podnet.differences import differences
from podnet.errors import ClusterError
from podnet.inventory import read
from podnet.plan import plan
from podnet.section import Section
from podnet.state import State
from tests.core import goldens
from tests.core.examples import cluster, hosts
from tests.core.goldens import MODES
from tests.core.kernel import FALLBACK, Kernel, machine

NONE = "none"
PAIRS = list(itertools.permutations([NONE, *MODES], 2))
THOROUGH = [
    *[(NONE, "udp"), ("udp", NONE), ("udp", "ipip"), ("ipip", "udp"), ("udp", "host_gw"), ("vxlan", "veth_pair")],
    *[("veth_pair", "vxlan"), ("veth_pair", "proxy_arp"), ("proxy_arp", "veth_pair"), ("bridge", "macvlan")],
    *[("sriov", NONE), (NONE, "sriov"), ("sriov", "vxlan"), ("vxlan", "sriov"), ("sriov", "macvlan")],
    *[("macvlan", "bridge"), ("macvlan", "ipvlan"), ("ipvlan", "macvlan"), ("veth_pair", NONE), ("proxy_arp", "ipip")],
]
"""Pairs of which every line is a place to be cut at: each way in which a pod's device can get in another's way."""
BROUGHT = rf"^net/bridge/|/{FALLBACK}/"
ONE_SEGMENT = cluster(pods=["a", "b"])
OTHER_PODS = cluster(pods=["b", "c"])
"""One pod goes, one comes, and one stays, under another address."""


def behind_a_router() -> Cluster:
    """Put node3 on a segment of its own."""
    said = hosts(pods=["a", "b"])
    said["node3"]["address"] = "192.168.57.13/24"
    return read(said)


TWO_SEGMENTS = behind_a_router()


def want_of(name: str, cluster: Cluster = ONE_SEGMENT) -> State:
    """Say what node1 should hold in that mode; nothing in none."""
    return State() if name == NONE else modes.wanted(goldens.mode(name), cluster, cluster.node("node1"))


def crosses_routers(name: str) -> bool:
    """Say whether the mode can be had with a router between two nodes."""
    try:
        want_of(name, TWO_SEGMENTS)
    except ClusterError:
        return False
    return True


def todo(kernel: Kernel, want: State) -> list[Section]:
    """Say what must be done to reach `want`."""
    return sections(plan(want, kernel.see(want)))


def run(kernel: Kernel, want: State) -> list[str]:
    """Do it: no line is refused, no pod's namespace goes, and then nothing differs and nothing is to be done."""
    there = dict(kernel.pods)
    done = todo(kernel, want)
    for section in done:
        kernel.run(section)
    assert differences(want, kernel.see(want)) == []
    assert todo(kernel, want) == []
    assert all(kernel.pods[netns] is pod for netns, pod in there.items() if netns in want.pods)
    return [line for section in done for line in section.lines]


@cache
def steps(name: str, cluster: Cluster) -> list[Section]:
    """Return what puts a fresh host into the mode."""
    kernel, want = machine(), want_of(name, cluster)
    done = todo(kernel, want)
    run(kernel, want)
    return done


def applied(name: str, cluster: Cluster = ONE_SEGMENT) -> Kernel:
    """Return a host that is in the mode."""
    kernel = machine()
    for section in steps(name, cluster):
        kernel.run(section)
    return kernel


def remains(kernel: Kernel) -> dict[str, Any]:
    """Return all of a host and its pods, apart from the order of tables and from what modules brought for good."""
    tables = {
        table: sorted(repr(item) for item in items if getattr(item, "dev", "") != FALLBACK)
        for table, items in kernel.tables.items()
    }
    kept = {path: value for path, value in kernel.sysctls.items() if not re.search(BROUGHT, path)}
    pods = {name: remains(pod) for name, pod in kernel.pods.items()}
    return {**tables, "settings": kept, "rules": kernel.rules, "files": kernel.files, "pods": pods}


@cache
def fresh(name: str, cluster: Cluster = ONE_SEGMENT) -> dict[str, Any]:
    """Return what a host holds that never knew another mode."""
    return remains(applied(name, cluster))


@pytest.mark.parametrize(("before", "after"), PAIRS)
@pytest.mark.parametrize("then", [ONE_SEGMENT, OTHER_PODS], ids=["same pods", "other pods"])
def test_a_mode_leaves_nothing_to_the_next(before: str, after: str, then: Cluster) -> None:
    """The host is what it would be had the other mode never been there, and pods that stay keep their namespaces."""
    kernel, want = applied(before), want_of(after, then)
    said = run(kernel, want)
    assert remains(kernel) == fresh(after, then)
    assert not {f"netns del {netns}" for netns in want.pods} & set(said)


@pytest.mark.parametrize(
    ("before", "after"), [pair for pair in PAIRS if all(name == NONE or crosses_routers(name) for name in pair)]
)
def test_a_mode_leaves_nothing_to_the_next_across_routers(before: str, after: str) -> None:
    """Some peers are adjacent and some are not."""
    kernel = applied(before, TWO_SEGMENTS)
    run(kernel, want_of(after, TWO_SEGMENTS))
    assert remains(kernel) == fresh(after, TWO_SEGMENTS)


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_teardown_after_a_switch_leaves_the_bare_host(before: str, after: str) -> None:
    """Whatever there was before, and before that."""
    kernel = applied(before)
    run(kernel, want_of(after))
    run(kernel, State())
    assert remains(kernel) == remains(machine())


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_switch_that_was_cut_between_commands_is_completed_by_the_next(before: str, after: str) -> None:
    """Whichever command was the last, the next run ends where the whole one would have."""
    whole = todo(applied(before), want_of(after))
    for end in range(1, len(whole)):
        assert completed(before, whole[:end], after) == fresh(after)


@pytest.mark.parametrize(("before", "after"), THOROUGH)
def test_a_switch_that_was_cut_at_any_line_is_completed_by_the_next(before: str, after: str) -> None:
    """Nor does it matter which line was the last, where lines are carried out one by one."""
    whole = todo(applied(before), want_of(after, OTHER_PODS))
    for end, section in enumerate(whole):
        if section.command.endswith(("-batch -", "sysctl -q -p -")):
            for line in range(1, len(section.lines)):
                cut = replace(section, lines=section.lines[:line])
                assert completed(before, [*whole[:end], cut], after, OTHER_PODS) == fresh(after, OTHER_PODS)


def completed(before: str, part: list[Section], after: str, then: Cluster = ONE_SEGMENT) -> dict[str, Any]:
    """Carry out a part on a host in `before`, then put it into `after`; return what it holds."""
    kernel = applied(before)
    for section in part:
        kernel.run(section)
    run(kernel, want_of(after, then))
    return remains(kernel)
