"""What `--disruptive` shows of the modes that containers lack, on two VMs; reboots: test_alone."""

from collections.abc import Callable

import pytest

from tests.lab.at import CLONE, At
from tests.lab.proof import MODES, lacking_here, needs

BOTH = ("node1", "node2")
FOLDER = CLONE / "podnet/verify/disruptive"
FILES = sorted(file for file in FOLDER.glob("test_*.py") if file.name != "test_reboot.py")


@pytest.mark.parametrize("mode", [mode for mode in MODES if lacking_here(mode)])
def test_every_scenario_holds(at: At, mode: str, record_property: Callable[[str, object], None]) -> None:
    """None fails, none is skipped, what was lost is told, and the hosts are as they were."""
    needs(at, mode)
    at.into(mode)
    done = at.verify("--disruptive", *FILES, mode=mode, hosts=",".join(BOTH))
    assert done.code == 0, done.said
    assert "skipped" not in done.out
    assert "a second apply: 0 of " in done.out
    assert {host: at.differences(host, mode) for host in BOTH} == {host: [] for host in BOTH}
    record_property("proved", mode)
