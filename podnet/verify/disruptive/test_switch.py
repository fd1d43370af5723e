"""From one mode to another and back: each is exactly itself, and nothing of the other is left."""

from dataclasses import dataclass, replace

import pytest

from podnet.errors import ClusterError
from podnet.facts import kinds
from podnet.state import TABLES, State
from podnet.verify.disruptive import dump, health
from podnet.verify.disruptive.losses import BURST, Loss
from podnet.verify.disruptive.operating import Operator, fail_if
from podnet.verify.fleet import Fleet
from podnet.verify.numbers import NUMBERS, Numbers


@dataclass(frozen=True)
class Switch:
    """What came of it: what was wrong in the other mode and back in the first, and what is left of the other."""

    other: str
    between: list[str]
    after: list[str]
    leavings: list[str]
    losses: list[Loss]


@pytest.fixture(scope="module")
def switch(operator: Operator, pytestconfig: pytest.Config) -> Switch:
    """Switch to the other mode and back, while pods ping each other."""
    given = operator.given
    before = operator.dump()
    other = given.into(pytestconfig.getoption("other_mode") or unlike(operator.hosts, given.mode))
    both = connected(given.numbers, other.numbers)
    way = f"{given.mode} to {other.mode}"
    with operator.borrowed(f"{operator.names} were switched from {way}"):
        with operator.counting(f"switch from {way}", operator.hosts.nodes, both) as there:
            operator.apply(other)
            between = operator.wrong(other)
        with operator.counting(f"switch from {other.mode} to {given.mode}", operator.hosts.nodes, both) as back:
            operator.apply(given)
            after = operator.wrong(given)
        leavings = [*dump.compared(before, operator.dump())]
    return Switch(other.mode, between, after, leavings, there + back)


def unlike(hosts: Fleet, mode: str) -> str:
    """Choose the mode that has least in common with this one, of those that the inventory and all kernels allow.

    One that lends hardware is only switched to if it is asked for.
    """
    found = {}
    for name in sorted(NUMBERS.keys() - {mode}):
        try:
            want = health.wanted(hosts, name)
        except ClusterError:
            continue
        if not any(state.vfs for state in want.values()):
            found[name] = want
    needed = sorted({kind for want in found.values() for state in want.values() for kind in kinds_of(state)})
    answers = hosts.run_all(lambda _: f"{kinds.script(needed)}\n:")
    lacking = {kind for answer in answers.values() for kind in kinds.parse(answer.read().splitlines())}
    possible = {
        name: want for name, want in found.items() if not any(needs(state) & lacking for state in want.values())
    }
    if not possible:
        pytest.skip(f"these hosts can be in no other mode than {mode}: there is nothing to switch to")
    here = health.wanted(hosts, mode)
    return min(possible, key=lambda name: sum(common(here[host], want) for host, want in possible[name].items()))


def kinds_of(want: State) -> set[str]:
    """Name the kinds of devices that a host needs for this."""
    return {kind for space in (want, *want.pods.values()) for kind in kinds.of(space)}


def needs(want: State) -> set[str]:
    """Name the kinds, and the tools that they need."""
    return kinds_of(want) | {kinds.TOOLS[kind] for kind in kinds_of(want) & kinds.TOOLS.keys()}


def common(here: State, there: State) -> int:
    """Count what two states have in common, in pods too."""
    spaces = [(here, there), *((here.pods[netns], there.pods[netns]) for netns in here.pods.keys() & there.pods.keys())]
    return sum(len(getattr(a, table) & getattr(b, table)) for a, b in spaces for table in TABLES)


def connected(a: Numbers, b: Numbers) -> Numbers:
    """Say which pods both modes connect."""
    return replace(a, across=a.across and b.across, same_node=min(a.same_node, b.same_node))


@pytest.mark.scenario(13)
def test_the_other_mode_is_exactly_itself(switch: Switch) -> None:
    """Tables are exact and pairs reach each other as it promises; nothing of the mode before is left."""
    fail_if(switch.between, f"in {switch.other} not all was as it should be")


@pytest.mark.scenario(13)
def test_the_first_mode_is_exactly_itself_again(switch: Switch) -> None:
    """Tables are exact, and pairs reach each other."""
    fail_if(switch.after, f"back from {switch.other} not all was as it should be")


@pytest.mark.scenario(13)
def test_the_switch_leaves_nothing(switch: Switch) -> None:
    """Every host is line by line as it was: tables, settings, files, strangers' things and pods."""
    fail_if(switch.leavings, f"expected {switch.other} to leave no line of any host other than it was, saw")


@pytest.mark.scenario(14)
def test_the_packets_it_loses_are_counted(switch: Switch) -> None:
    """How many they are is printed at the end; those that were sent last arrive."""
    cut_off = [loss for loss in switch.losses if loss.at_the_end > BURST]
    fail_if(cut_off, f"expected packets to arrive again after a switch to {switch.other} or back, saw")
