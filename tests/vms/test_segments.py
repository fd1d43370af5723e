"""Modes that do not mind a router between nodes, where containers cannot show it: three VMs on two segments."""

from collections.abc import Callable

import pytest

from tests.lab.at import At
from tests.lab.proof import lacking_here, needs
from tests.lab.test_modes import CROSSING, TRACES

SHAPE = ("--hosts", "3", "--segments", "2")
ALL = {"node1", "node2", "node3"}


@pytest.mark.parametrize("mode", [mode for mode in CROSSING if lacking_here(mode)])
def test_a_router_between_nodes_is_no_obstacle(
    at: At, mode: str, record_property: Callable[[str, object], None]
) -> None:
    """Applied to bare hosts it is verified as a whole, a second apply is silent, and a teardown leaves no trace."""
    needs(at, mode)
    # The module ipip gives each host a tunl0, which goes with the module only.
    bare = [at.sh(node, f"modprobe ipip\n{TRACES}") for node in sorted(ALL)]
    assert at.into(mode).changed == ALL
    done = at.verify(mode=mode)
    assert done.code == 0, done.said
    assert "skipped" not in done.out
    assert at.into(mode).unchanged == ALL
    assert at.into("teardown").changed == ALL
    assert [at.sh(node, TRACES) for node in sorted(ALL)] == bare
    record_property("proved", mode)
