"""Modes that containers lack: what reboots leave, what `--disruptive` shows, and a switch from vxlan and back."""

from collections.abc import Iterator

import pytest

from tests.lab.at import CLONE, At
from tests.lab.proof import MODES, lacking_here, needs
from tests.vms.test_modes import (
    BOTH,
    HOSTS,
    test_it_is_there_again_after_all_hosts_lost_power_and_does_not_wait_for_the_slow,
)

__all__ = ["test_it_is_there_again_after_all_hosts_lost_power_and_does_not_wait_for_the_slow"]

FOLDER = CLONE / "podnet/verify/disruptive"
BUT_REBOOTS = sorted(file for file in FOLDER.glob("test_*.py") if file.name != "test_reboot.py")


@pytest.fixture(scope="module", params=[mode for mode in MODES if lacking_here(mode)])
def mode(request: pytest.FixtureRequest, at: At) -> Iterator[str]:
    """Put two VMs into each mode."""
    needs(at, request.param)
    at.into("vxlan")
    at.into(request.param)
    yield request.param
    at.into("vxlan")
    assert [at.differences(node) for node in sorted(BOTH)] == [[], []]


def test_every_disruptive_scenario_holds(at: At, mode: str) -> None:
    """None fails, none is skipped, what was lost is told, and the hosts are as they were."""
    done = at.verify("--disruptive", *BUT_REBOOTS, mode=mode, hosts=HOSTS)
    assert done.code == 0, done.said
    assert "skipped" not in done.out
    assert "a second apply: 0 of " in done.out
    assert {host: at.differences(host, mode) for host in BOTH} == {host: [] for host in BOTH}
