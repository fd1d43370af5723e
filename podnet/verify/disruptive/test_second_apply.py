"""An apply of what is there already changes nothing, and nobody notices."""

from dataclasses import dataclass

import pytest

from podnet.verify.applying import Applied
from podnet.verify.disruptive import dump
from podnet.verify.disruptive.losses import Loss
from podnet.verify.disruptive.operating import Operator, fail_if, fail_if_lost


@dataclass(frozen=True)
class Again:
    """What came of it."""

    applied: Applied
    losses: list[Loss]
    differences: list[str]


@pytest.fixture(scope="module")
def again(operator: Operator) -> Again:
    """Apply the mode once more, really, while pods ping each other."""
    before = operator.dump()
    with (
        operator.borrowed(f"{operator.names} were applied to once more"),
        operator.counting("a second apply", operator.hosts.nodes) as losses,
    ):
        applied = operator.apply(operator.given)
    return Again(applied, losses, [*dump.compared(before, operator.dump())])


@pytest.mark.scenario(9)
def test_second_apply_changes_nothing(again: Again) -> None:
    """Pyinfra says so of every host, and no line of any table, setting or file is another."""
    changed = [f"{name}, of which pyinfra says: {again.applied.said}" for name in sorted(again.applied.changed)]
    fail_if(changed, "expected a second apply to change no host, saw changed")
    fail_if(again.differences, "expected a second apply to change nothing on any host, saw")


@pytest.mark.scenario(14)
def test_second_apply_loses_no_packet(again: Again) -> None:
    """Between no pods, of one node or of two."""
    fail_if_lost(again.losses, "a second apply")
