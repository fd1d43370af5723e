"""A member that goes is forgotten by the others, one that comes is known to all, and nobody else notices either."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

import pytest

from podnet.cluster import Node
from podnet.differences import differences, words
from podnet.state import TABLES, Item, Neighbour, State
from podnet.verify.disruptive import health
from podnet.verify.disruptive.losses import Loss
from podnet.verify.disruptive.operating import Operator, fail_if, fail_if_lost

NETWORK = re.compile(r"\b(\d+(?:\.\d+){3})(?:/(\d+))?\b")


@dataclass(frozen=True)
class Change:
    """What came of a change of members: what is not as it should be, and what was lost between the others."""

    wrong: list[str]
    losses: list[Loss]


@dataclass(frozen=True)
class Story:
    """The last node goes and comes again; `leavings` are what is still there of it, or on it, in between."""

    member: Node
    removal: Change
    leavings: list[str]
    addition: Change


@pytest.fixture(scope="module")
def story(operator: Operator) -> Story:
    """Remove the last of the hosts, apply to the others without it, and add it again, while the others' pods ping."""
    *others, member = operator.hosts.nodes
    if not others:
        pytest.skip("one host alone has no members to remove: name two or more")
    rest = operator.given.without(member.name)
    with operator.borrowed(f"{member.name} was removed from the cluster: others may lack it, and it all of podnet's"):
        with operator.counting(f"removal of {member.name}", others) as lost_by_removal:
            operator.apply(rest)
            operator.teardown(member)
            wrong_without = operator.wrong(rest)
        leavings = [*_of_it(operator, others, member), *_on_it(operator, member)]
        with operator.counting(f"addition of {member.name}", others) as lost_by_addition:
            operator.apply(operator.given)
            wrong_with = operator.wrong(operator.given)
    return Story(member, Change(wrong_without, lost_by_removal), leavings, Change(wrong_with, lost_by_addition))


def _of_it(operator: Operator, others: list[Node], member: Node) -> Iterator[str]:
    """Find what of the member is still in any table of another host, whether it bears a mark of podnet's or not."""
    have, problems = health.seen(operator.hosts.only([node.name for node in others]), {})
    yield from problems
    for name, state in have.items():
        for space, tables in (("", state), *((f"pod {netns}: ", pod) for netns, pod in sorted(state.pods.items()))):
            items = [item for table in TABLES for item in getattr(tables, table) if not _is_learned(item)]
            yield from (f"{name}: {space}{said}" for item in items if names(said := words(item), member))


def _is_learned(item: Item) -> bool:
    """Say whether it is an answer to ARP, which the kernel forgets by itself."""
    return isinstance(item, Neighbour) and not item.permanent


def names(said: str, member: Node) -> bool:
    """Say whether the words that would make an item name a node: its address, its pods', or its VTEP's MAC."""
    for address, length in NETWORK.findall(said):
        network = IPv4Network((address, int(length or 32)), strict=False)
        if IPv4Address(address) == member.ip or network.subnet_of(member.pod_subnet):
            return True
    return member.vtep_mac in said


def _on_it(operator: Operator, member: Node) -> Iterator[str]:
    """Find what is still on the member of podnet's."""
    have, problems = health.seen(operator.hosts.only([member.name]), {})
    yield from problems
    for name, state in have.items():
        yield from (f"{name}: {said}" for said in differences(State(), state, operator.given.cluster.marks))


@pytest.mark.scenario(10)
def test_the_others_are_as_if_it_had_never_been(story: Story) -> None:
    """Their tables are exactly those of the smaller cluster, and all pairs of them reach each other."""
    fail_if(story.removal.wrong, f"without {story.member.name} not all was as it should be")


@pytest.mark.scenario(10)
def test_nothing_is_left_of_it(story: Story) -> None:
    """No table of the others names its address, its pods or its MAC, and on itself nothing is podnet's."""
    fail_if(story.leavings, f"expected no trace of {story.member.name}, saw")


@pytest.mark.scenario(14)
def test_its_removal_loses_no_packet_of_the_others(story: Story) -> None:
    """Between no pods of the other nodes."""
    fail_if_lost(story.removal.losses, f"the removal of {story.member.name}")


@pytest.mark.scenario(10)
def test_it_is_a_member_again_once_it_is_added(story: Story) -> None:
    """All tables are exact, and all pairs reach each other."""
    fail_if(story.addition.wrong, f"with {story.member.name} again not all was as it should be")


@pytest.mark.scenario(14)
def test_its_addition_loses_no_packet_of_the_others(story: Story) -> None:
    """Between no pods of the other nodes."""
    fail_if_lost(story.addition.losses, f"the addition of {story.member.name}")
