"""Modes on hosts with kernels of their own: what reboots leave of them. Those that containers lack: test_alone."""

from collections.abc import Callable

import pytest

from tests import shown
from tests.lab.at import At
from tests.lab.proof import MODES, lacking_here, lends_nics

BOTH = frozenset({"node1", "node2"})
HOSTS = ",".join(sorted(BOTH))
STATE, REACH = "podnet/verify/test_state.py", "podnet/verify/test_reach.py"


@pytest.fixture(scope="module", params=[mode for mode in MODES if not lacking_here(mode) and not lends_nics(mode)])
def mode(request: pytest.FixtureRequest, at: At) -> str:
    """Put two VMs into each mode."""
    at.into(request.param)
    return str(request.param)


def test_it_is_there_again_after_all_hosts_lost_power_and_does_not_wait_for_the_slow(
    at: At, mode: str, record_property: Callable[[str, object], None]
) -> None:
    """Without the controller: node1 is right while node2 is still away, and later the whole verification passes."""
    at.off("node2")
    at.crash("node1")
    at.back("node1", seconds=180)
    assert at.differences("node1", mode) == []
    at.up("--vms", "--hosts", "2")
    at.back("node2", seconds=180)
    done = at.verify(mode=mode, hosts=HOSTS)
    assert done.code == 0, done.said
    assert "skipped" not in done.out
    shown.note(11, mode, at.kind)
    record_property("proved", mode)


def test_a_switch_is_what_comes_back(at: At) -> None:
    """After `systemctl reboot` of all at once nothing is left of the mode before, and after a teardown of any."""
    at.into("vxlan")
    at.into("host_gw")
    at.reboot(*BOTH)
    at.back(*BOTH, seconds=180)
    done = at.verify(STATE, REACH, mode="host_gw", hosts=HOSTS)
    assert done.code == 0, done.said
    at.into("teardown")
    at.reboot("node1")
    assert at.sh("node1", "ip -br link | grep -E 'cni|veth|flannel' || test $? = 1") == ""
    assert at.sh("node1", "ls /run/netns /etc/podnet 2>&1 | grep -c podnet- || test $? = 1").strip() == "0"


@pytest.mark.parametrize("before", ["mv /etc/podnet/podnet.sh.new", "ip -batch"])
def test_reboot_in_the_middle_of_an_apply_ends_with_the_next(at: At, before: str) -> None:
    """A switch is cut before its script or before its routes; after the reboot one apply makes the host right."""
    at.into("host_gw")
    todo = at.todo("node1", "vxlan")
    last = max(i for i, section in enumerate(todo) if section.command.startswith(before))
    at.carry_out("node1", todo[:last])
    at.reboot("node1", "--hard")
    at.back("node1", seconds=180)
    at.into("vxlan")
    assert at.differences("node1") == []
    at.reboot("node1", "--hard")
    at.back("node1", seconds=180)
    assert at.differences("node1") == []
    at.into("teardown")
