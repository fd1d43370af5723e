"""A host whose MAC changes needs nothing, and one whose address changes is found again by one apply."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

import pytest

from podnet.cluster import Node
from podnet.verify.disruptive import health, moving
from podnet.verify.disruptive.losses import Loss
from podnet.verify.disruptive.operating import Operator, fail_if, fail_if_lost

FOUND_WITHIN = 60
"""Seconds until a peer asks by ARP again: it believes an old MAC up to 45 s (base_reachable_time_ms), and 5 more."""


@contextmanager
def another_mac(operator: Operator, node: Node) -> Iterator[None]:
    """Have the node's uplink bear another MAC inside."""
    dev = node.uplink
    old = operator.run(node, f"cat /sys/class/net/{dev}/address").strip()
    answer = operator.hosts.run(node, moving.mac_script(dev, moving.other_mac(old)))
    if "busy" in answer.problem:
        pytest.skip(f"{node.name}: the driver of {dev} lets nobody change its MAC while it is up: {answer.problem}")
    try:
        answer.read()
        yield
    finally:
        operator.undo(node, moving.mac_script(dev, old), f"{dev} of {node.name} has not its own MAC {old}")


@pytest.mark.scenario(12)
def test_a_new_mac_of_the_uplink_needs_no_apply(operator: Operator) -> None:
    """Peers find it by ARP, tables are exact as they were, and an apply has nothing to do; the same on the way back."""
    *others, node = operator.hosts.nodes
    with operator.borrowed(f"{node.name} had another MAC"):
        with another_mac(operator, node), operator.counting(f"new MAC of {node.name}", others) as losses:
            fail_if(_unfound(operator), f"{node.uplink} of {node.name} has a new MAC, and not all was as it should be")
            applied = operator.apply(operator.given)
        fail_if(sorted(applied.changed), "expected an apply after a change of a MAC to change no host, saw changed")
        fail_if(_unfound(operator), f"{node.uplink} of {node.name} has its old MAC again, and not all was as before")
        fail_if_lost(losses, f"a change of the MAC of {node.name}")


def _unfound(operator: Operator) -> list[str]:
    """Wait until ARP has done its work, then say what is wrong."""
    given = operator.given
    fleet = operator.fleet(given)
    reach = health.wrong_reach(fleet, given.numbers, FOUND_WITHIN)
    return reach + health.wrong_state(fleet, health.wanted(fleet, given.mode))


@dataclass(frozen=True)
class Move:
    """What came of it: what was wrong before the apply, after it, and back; and what others lost."""

    node: Node
    new: IPv4Interface
    before: list[str]
    after: list[str]
    back: list[str]
    losses: list[Loss]


@pytest.fixture(scope="module")
def move(operator: Operator, pytestconfig: pytest.Config) -> Move:
    """Move the last of the hosts to another address and back, its old address remaining for whoever logs in by it."""
    *others, node = operator.hosts.nodes
    new = _spare(operator, node, pytestconfig.getoption("spare_address"))
    moved = operator.given.moved(node.name, str(new))
    with operator.borrowed(f"{node.name} was moved to {new}"):
        with another_address(operator, node, new), operator.counting(f"move of {node.name}", others) as losses:
            before = health.wrong_reach(operator.fleet(operator.given), operator.given.numbers, FOUND_WITHIN)
            operator.apply(moved)
            after = operator.wrong(moved)
            operator.apply(operator.given)
        back = operator.wrong(operator.given)
    return Move(node, new, before, after, back, losses)


def _spare(operator: Operator, node: Node, given: str | None) -> IPv4Interface:
    """Take the address that was given, or find one that no member has and nobody on the segment answers for."""
    segment = node.address.network
    members = [peer.ip for peer in operator.given.cluster.nodes]
    asked = [IPv4Address(given)] if given else moving.candidates(segment, members)
    found = operator.run(node, moving.free_script(node.uplink, asked)).strip()
    if not found:
        tried = ", ".join(map(str, asked)) or "no address"
        pytest.fail(f"no address for {node.name} is free on {segment}: {tried} tried; give it --spare-address")
    return IPv4Interface((found, segment.prefixlen))


@contextmanager
def another_address(operator: Operator, node: Node, new: IPv4Interface) -> Iterator[None]:
    """Have the node speak from another address inside."""
    folder = operator.run(node, moving.move_script(node.uplink, node.address, new)).strip()
    try:
        yield
    finally:
        back = moving.back_script(node.uplink, new, folder)
        operator.undo(node, back, f"{node.uplink} of {node.name} has the address {new} beside its own")


@pytest.mark.scenario(12)
def test_a_new_address_does_no_harm_before_the_apply(move: Move) -> None:
    """As long as the host still has the old one, all pairs reach each other, from wherever it speaks."""
    fail_if(move.before, f"{move.node.name} has {move.new} beside its own, and not all pairs reach each other")


@pytest.mark.scenario(12)
def test_a_new_address_is_known_to_all_after_one_apply(move: Move) -> None:
    """The inventory says it: tables are exact, and all pairs reach each other."""
    fail_if(move.after, f"{move.node.name} is at {move.new}, and not all was as it should be")


@pytest.mark.scenario(12)
def test_the_old_address_is_known_to_all_again(move: Move) -> None:
    """Nothing of the new one is left."""
    fail_if(move.back, f"{move.node.name} is at {move.node.address} again, and not all was as before")


@pytest.mark.scenario(12)
def test_a_move_loses_no_packet_of_the_others(move: Move) -> None:
    """Between no pods of the other nodes."""
    fail_if_lost(move.losses, f"the move of {move.node.name}")
