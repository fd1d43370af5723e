"""The whole life of a mode that containers cannot show, on three VMs: on two segments, if it does not mind a router."""

from collections.abc import Callable, Iterator

import pytest

from tests import shown
from tests.lab.at import At
from tests.lab.damage import one_of_each
from tests.lab.proof import MODES, lacking_here, needs
from tests.lab.test_modes import CROSSING, TRACES

SHAPE = ("--hosts", "3", "--segments", "2")
ALL = {"node1", "node2", "node3"}
ALONE = [mode for mode in MODES if lacking_here(mode)]


@pytest.fixture(scope="module")
def together() -> Iterator[At]:
    """Return a lab of three VMs on one segment."""
    lab = At("vm-together")
    lab.up("--vms", "--hosts", "3")
    yield lab
    lab.down()


@pytest.mark.parametrize("mode", [mode for mode in ALONE if mode in CROSSING])
def test_its_whole_life_across_a_router(at: At, mode: str, record_property: Callable[[str, object], None]) -> None:
    """Applied to bare hosts it is verified as a whole, a second apply is silent, and damage is named and healed."""
    needs(at, mode)
    assert faults(at, mode) == []
    record_property("proved", mode)


@pytest.mark.parametrize("mode", [mode for mode in ALONE if mode not in CROSSING])
def test_its_whole_life_on_one_segment(together: At, mode: str, record_property: Callable[[str, object], None]) -> None:
    """The same, for those that need their peers nearby."""
    needs(together, mode)
    assert faults(together, mode) == []
    record_property("proved", mode)


def faults(at: At, mode: str) -> list[str]:
    """Go through all of it, to the teardown that leaves no trace; say what was not as it must be."""
    # The module ipip gives each host a tunl0, which goes with the module only.
    bare = [at.sh(node, f"modprobe ipip\n{TRACES}") for node in sorted(ALL)]
    hosts = {"changed by the first apply": at.into(mode).changed}
    done = at.verify(mode=mode)
    hosts["left alone by the second"] = at.into(mode).unchanged
    unhealed = [*damaged(at, mode)]
    hosts["changed by the teardown"] = at.into("teardown").changed
    left = [at.sh(node, TRACES) for node in sorted(ALL)]
    return [
        *(f"{what}: {sorted(those)}" for what, those in hosts.items() if those != ALL),
        *([done.said] if done.code or "skipped" in done.out else []),
        *unhealed,
        *(f"left: {now}" for now, before in zip(left, bare, strict=True) if now != before),
    ]


def damaged(at: At, mode: str) -> Iterator[str]:
    """Take away one item of each table of a host and of a pod; tell what is not named, or not healed by an apply."""
    for script, words in one_of_each(at.possible("node2", mode)):
        at.sh("node2", script)
        found, todo = at.look("node2", mode)
        if not any(words in sentence for sentence in found):
            yield f"{script}: expected {words!r} in {found}"
        at.carry_out("node2", todo)
        if left := at.differences("node2", mode):
            yield f"{script}: what an apply does has left {left}"
    at.sh("node2", "if [ -e /sys/class/net/cni0 ]; then ip link del cni0; else ip netns del podnet-pod1; fi")
    if at.into(mode).changed != {"node2"} or at.differences("node2", mode):
        yield "an apply has not healed node2, and nobody else"
    shown.note(15, mode, at.kind)
