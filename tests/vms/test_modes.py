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
    """Put two VMs into each mode; from vxlan and back to it where containers could not show that."""
    needs(at, request.param)
    alone = bool(lacking_here(request.param))
    if alone:
        at.into("vxlan")
    at.into(request.param)
    yield request.param
    if alone:
        at.into("vxlan")
        assert [at.differences(node) for node in sorted(BOTH)] == [[], []]


def test_it_is_there_again_after_all_hosts_lost_power_at_once(
    at: At, mode: str, record_property: Callable[[str, object], None]
) -> None:
    """Without the controller: the whole verification passes, state, reach, wire, and nothing is left to apply."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: at.reboot(node, "--hard"), sorted(BOTH)))
    at.back(*BOTH, seconds=180)
    done = at.verify(mode=mode, hosts=HOSTS)
    assert done.code == 0, done.said
    assert "skipped" not in done.out
    record_property("proved", mode)


def test_what_is_removed_by_hand_is_named_and_healed(at: At, mode: str) -> None:
    """One item of each table of a host and of a pod, where containers could not show it."""
    if not lacking_here(mode):
        return
    for script, words in one_of_each(at.possible("node2", mode)):
        at.sh("node2", script)
        found = at.differences("node2", mode)
        assert any(words in sentence for sentence in found), f"{script}: expected {words!r} in {found}"
        assert at.into(mode).changed == {"node2"}, script
        assert at.differences("node2", mode) == [], script


def test_a_switch_is_what_comes_back(at: At) -> None:
    """A soft reboot this time; of the mode before nothing is left, and after a teardown nothing comes back."""
    at.into("vxlan")
    at.into("host_gw")
    at.reboot("node1")
    at.back("node1", seconds=180)
    assert at.differences("node1", "host_gw") == []
    at.into("teardown")
    at.reboot("node1")
    assert at.sh("node1", "ip -br link | grep -E 'cni|veth|flannel' || test $? = 1") == ""
    assert at.sh("node1", "ls /run/netns /etc/podnet 2>&1 | grep -c podnet- || test $? = 1").strip() == "0"
