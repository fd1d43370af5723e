"""What reboots leave of the modes that containers cannot show, and each switched to from vxlan and back."""

from collections.abc import Iterator

import pytest

from tests.lab.at import At
from tests.lab.proof import MODES, lacking_here, needs
from tests.vms.test_modes import (
    BOTH,
    test_it_is_there_again_after_all_hosts_lost_power_and_does_not_wait_for_the_slow,
)

__all__ = ["test_it_is_there_again_after_all_hosts_lost_power_and_does_not_wait_for_the_slow"]


@pytest.fixture(scope="module", params=[mode for mode in MODES if lacking_here(mode)])
def mode(request: pytest.FixtureRequest, at: At) -> Iterator[str]:
    """Put two VMs into each mode."""
    needs(at, request.param)
    at.into("vxlan")
    at.into(request.param)
    yield request.param
    at.into("vxlan")
    assert [at.differences(node) for node in sorted(BOTH)] == [[], []]
