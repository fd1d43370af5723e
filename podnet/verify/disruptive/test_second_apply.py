"""An apply of what is there already changes nothing, and nobody notices."""

from dataclasses import dataclass

import pytest

from podnet.verify.applying import Applied
from podnet.verify.disruptive import dump
from podnet.verify.disruptive.losses import Loss
from podnet.verify.disruptive.operating import Operator, fail_if, fail_if_lost

TRIES = 3
"""A wire may lose a packet at any time; what an apply loses it loses each time."""


@dataclass(frozen=True)
class Again:
    """What came of it; of several times, what was lost in the last."""

    applied: list[Applied]
    losses: list[Loss]
    differences: list[str]


@pytest.fixture(scope="module")
def again(operator: Operator) -> Again:
    """Apply the mode once more, really, while pods ping each other; again, if packets are lost."""
    before = operator.dump()
    applied: list[Applied] = []
    losses: list[Loss] = []
    with operator.borrowed(f"{operator.names} were applied to once more"):
        while len(applied) < TRIES:
            with operator.counting("a second apply", operator.hosts.nodes) as losses:
                applied.append(operator.apply(operator.given))
            if not any(loss.lost for loss in losses):
                break
    return Again(applied, losses, [*dump.compared(before, operator.dump())])


@pytest.mark.scenario(9)
def test_second_apply_changes_nothing(again: Again) -> None:
    """Pyinfra says so of every host, and no line of any table, setting or file is another."""
    changed = [f"{name}, of which pyinfra says: {one.said}" for one in again.applied for name in sorted(one.changed)]
    fail_if(changed, "expected a second apply to change no host, saw changed")
    fail_if(again.differences, "expected a second apply to change nothing on any host, saw")


@pytest.mark.scenario(14)
def test_second_apply_loses_no_packet(again: Again) -> None:
    """Between no pods, of one node or of two; where some were lost, they were each time."""
    fail_if_lost(again.losses, "a second apply")
