"""Every mode's life on a lab: applied, verified, found in place, damaged, healed, and taken away."""

from collections.abc import Callable, Iterator

import pytest

from tests import shown
from tests.lab.at import At
from tests.lab.damage import one_of_each
from tests.lab.proof import HAS, MODES, kinds_of, lacking, needs

ALL = {"node1", "node2", "node3"}
CROSSING = ("vxlan", "vxlan_direct_routing", "ipip", "ipip_direct_routing", "udp", "wireguard", "bridge", "veth_pair")
"""Modes that do not mind a router between nodes, or that do not care about other nodes at all."""

TRACES = """
ip -br link | grep -Ev '^(lo|eth0)' || test $? = 1
ip route show proto 77; ip netns list; ip neigh show nud permanent
bridge fdb show | grep dst || test $? = 1
iptables-save | grep -i podnet || test $? = 1
nft list tables | grep -i podnet || test $? = 1
ls /etc/podnet 2>/dev/null || test $? = 2
"""
"""What lists nothing on a host without any trace of podnet."""


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest, at: At) -> Iterator[str]:
    """Put a lab of three bare hosts into each mode in turn, and take it away again."""
    needs(at, request.param)
    applied = at.into(request.param)
    assert applied.changed == ALL
    yield request.param
    assert at.into("teardown").changed == ALL
    assert [at.sh(node, TRACES) for node in sorted(ALL)] == ["", "", ""]


def test_it_is_verified(at: At, mode: str, record_property: Callable[[str, object], None]) -> None:
    """State, reach, sizes, and what is on the wire are as promised, and the verification skips nothing."""
    done = at.verify(mode=mode)
    assert done.code == 0, done.said
    assert "skipped" not in done.out
    record_property("proved", mode)


def test_a_second_apply_is_silent(at: At, mode: str) -> None:
    """It changes nothing anywhere, and costs each host one command."""
    before = at.commands("node1")
    assert at.into(mode).unchanged == ALL
    assert at.commands("node1") == before + 1


def test_what_is_removed_by_hand_is_named_and_healed(at: At, mode: str) -> None:
    """One item of each table of the host and of a pod: the difference is told, and what an apply does mends it.

    At last all at once, and an apply changes that host alone.
    """
    damages = [*one_of_each(at.possible("node2", mode))]
    assert damages
    for script, words in damages:
        at.sh("node2", script)
        found, todo = at.look("node2", mode)
        assert any(words in sentence for sentence in found), f"{script}: expected {words!r} in {found}"
        at.carry_out("node2", todo)
        assert at.differences("node2", mode) == [], script
    for script, _ in damages:
        at.try_sh("node2", script)  # what one has taken away another may not find
    assert at.into(mode).changed == {"node2"}
    assert at.differences("node2", mode) == []
    shown.note(15, mode, at.kind)


@pytest.mark.parametrize("mode", ["ipip", "ipvlan", "udp", "wireguard"])
def test_a_mode_whose_devices_the_kernel_lacks_is_refused(at: At, mode: str) -> None:
    """Every host is failed with the module's name, and nothing is touched on any."""
    missing = lacking(at, mode)
    if not missing:
        pytest.skip(f"{HAS} {', '.join(sorted(kinds_of(mode)))}, so nothing is to be refused")
    applied = at.apply(f"deploys/{mode}.py")
    assert applied.code != 0
    for kind in missing:  # when it is found, and once more at the end
        assert applied.log.count(f"this kernel lacks the module {kind}, which the mode needs") == 2 * len(ALL)
    assert [at.sh(node, TRACES) for node in sorted(ALL)] == ["", "", ""]


@pytest.fixture(scope="module")
def apart() -> Iterator[At]:
    """Return a lab of three hosts on two segments, with a router between them."""
    lab = At("apart")
    lab.up("--hosts", "3", "--segments", "2")
    yield lab
    lab.down()


@pytest.mark.parametrize("mode", CROSSING)
def test_a_router_between_nodes_is_no_obstacle(apart: At, mode: str) -> None:
    """Nodes of two segments are applied to and verified like those of one, and a second apply is silent."""
    needs(apart, mode)
    apart.into(mode)
    done = apart.verify(mode=mode)
    assert done.code == 0, done.said
    assert apart.into(mode).changed == set()
    apart.into("teardown")


@pytest.mark.parametrize("mode", sorted(set(MODES) - set(CROSSING)))
def test_a_router_between_nodes_is_refused_before_anything_is_touched(apart: At, mode: str) -> None:
    """Where a mode needs one segment, no command at all is run on any host, and the reason names two of them."""
    before = [apart.commands(node) for node in sorted(ALL)]
    applied = apart.apply(f"deploys/{mode}.py")
    assert applied.code != 0
    assert "node2 (192.168.57.12/24) is not on the segment of node1 (192.168.56.11/24)" in applied.log
    assert [apart.commands(node) for node in sorted(ALL)] == before
