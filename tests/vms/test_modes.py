"""Every mode on hosts with Debian's own kernel, each switched to from vxlan and back: the whole of its life."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.at import At
from tests.lab.damage import one_of_each
from tests.lab.proof import MODES, lacking_here, needs

BOTH = frozenset({"node1", "node2"})
HOSTS = ",".join(sorted(BOTH))


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest, at: At) -> Iterator[str]:
    """Put two VMs into vxlan, and from there into each mode."""
    needs(at, request.param)
    at.into("vxlan")
    at.into(request.param)
    yield request.param
    at.into("vxlan")
    assert [at.differences(node) for node in sorted(BOTH)] == [[], []]


def test_it_is_verified(at: At, mode: str, record_property: Callable[[str, object], None]) -> None:
    """State, reach, sizes, and what is on the wire are as promised, and the verification skips nothing."""
    done = at.verify(mode=mode, hosts=HOSTS)
    assert done.code == 0, done.said
    assert "skipped" not in done.out
    record_property("proved", mode)


def test_what_is_removed_by_hand_is_named_and_healed(at: At, mode: str) -> None:
    """One item of each table of a host and of a pod, where containers could not show it."""
    if not lacking_here(mode):
        return
    for script, words in one_of_each(at.wanted("node2", mode)[0]):
        at.sh("node2", script)
        found = at.differences("node2", mode)
        assert any(words in sentence for sentence in found), f"{script}: expected {words!r} in {found}"
        assert at.into(mode).changed == {"node2"}, script
        assert at.differences("node2", mode) == [], script


def test_it_comes_back_after_all_hosts_lost_power_at_once(at: At, mode: str) -> None:
    """Without the controller: nothing is missing or too much, pods reach whom they should, an apply finds no work."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: at.reboot(node, "--hard"), sorted(BOTH)))
    at.back(*BOTH, seconds=180)
    assert [at.differences(node, mode) for node in sorted(BOTH)] == [[], []]
    done = at.verify("podnet/verify/test_reach.py", mode=mode, hosts=HOSTS)
    assert done.code == 0, done.said
    assert at.into(mode).unchanged == BOTH
