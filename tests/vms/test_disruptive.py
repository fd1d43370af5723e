"""What `--disruptive` shows of the modes that containers lack: two VMs, which reboot by themselves."""

from collections.abc import Callable

import pytest

from tests.lab.at import At
from tests.lab.proof import MODES, lacking_here, needs

BOTH = ("node1", "node2")


@pytest.mark.parametrize("mode", [mode for mode in MODES if lacking_here(mode)])
def test_every_scenario_holds(at: At, mode: str, record_property: Callable[[str, object], None]) -> None:
    """None fails, none is skipped, what was lost is told, and the hosts are as they were."""
    needs(at, mode)
    at.into(mode)
    done = at.verify("--disruptive", "podnet/verify/disruptive", mode=mode, hosts=",".join(BOTH))
    assert done.code == 0, done.said
    assert "skipped" not in done.out
    assert "a second apply: 0 of " in done.out
    assert {host: at.differences(host, mode) for host in BOTH} == {host: [] for host in BOTH}
    record_property("proved", mode)
