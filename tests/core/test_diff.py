"""What is missing, what is wrong and what is too much, of anything that has a key."""

from dataclasses import FrozenInstanceError
from ipaddress import IPv4Interface, IPv4Network
from itertools import permutations

import pytest

from podnet.diff import Diff, diff
from podnet.state import Address, FdbEntry, Nic, Route, State, Sysctl

A, B, C = (FdbEntry("flannel.1", "66:00:00:00:00:01", f"192.168.56.1{i}") for i in (1, 2, 3))  # one key
OTHER = FdbEntry("flannel.1", "66:00:00:00:00:02", "192.168.56.12")


def test_equal_sets_differ_in_nothing() -> None:
    """A run that has nothing to do finds nothing to do."""
    assert diff([A, OTHER], [OTHER, A]) == Diff((), (), ())
    assert not any(diff([A], [A]))


def test_what_is_missing_is_added() -> None:
    """Nothing of that key is there."""
    assert diff([A, OTHER], [A]) == Diff(add=(OTHER,))


def test_what_is_too_much_is_removed() -> None:
    """Nobody wants anything of that key."""
    assert diff([A], [A, OTHER]) == Diff(remove=(OTHER,))


def test_what_is_wrong_is_changed() -> None:
    """The key is the same, the value is not: one change, neither added nor removed."""
    assert diff([A], [B]) == Diff(change=((B, A),))


def test_a_second_item_of_a_right_ones_key_is_removed() -> None:
    """The right one stays as it is."""
    assert diff([A], [A, B]) == Diff(remove=(B,))


def test_of_two_wrong_items_of_one_key_one_is_changed_and_one_removed() -> None:
    """Both are wrong, and one is wanted."""
    assert diff([C], [A, B]) == Diff(change=((A, C),), remove=(B,))


def test_the_result_does_not_depend_on_the_order() -> None:
    """Same input, same bytes: whatever order sets or tables come in."""
    have = [A, B, OTHER]
    assert len({diff([C], order) for order in permutations(have)}) == 1
    assert len({diff(order, [C]) for order in permutations([A, OTHER])}) == 1


def test_items_come_in_the_order_of_their_keys() -> None:
    """10.244.9.0 stands before 10.244.10.0: addresses are ordered as numbers."""
    routes = [Route(IPv4Network(f"10.244.{i}.0/24"), "eth0") for i in (10, 9, 2)]
    assert diff(routes, []).add == tuple(reversed(routes))
    assert diff([], routes).remove == tuple(reversed(routes))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Address("eth0", IPv4Interface("10.0.0.1/24")), Address("eth0", IPv4Interface("10.0.0.1/16"))),
        (Address("eth0", IPv4Interface("10.0.0.1/24")), Address("eth1", IPv4Interface("10.0.0.1/24"))),
        (Route(IPv4Network("10.0.0.0/24"), "eth0"), Route(IPv4Network("10.0.0.0/24"), "eth0", metric=5)),
        (Sysctl("net/ipv4/ip_forward", "1"), Sysctl("net/ipv4/conf/all/forwarding", "1")),
    ],
    ids=lambda item: str(item.key),
)
def test_what_the_kernel_holds_side_by_side_has_two_keys(one: Address, two: Address) -> None:
    """The kernel allows both at once, so that wanting one says nothing about the other."""
    assert diff([one], [two]) == Diff(add=(one,), remove=(two,))


def test_items_are_values() -> None:
    """An item that could be changed after it was compared would make every comparison a guess."""
    with pytest.raises(FrozenInstanceError):
        A.to = B.to  # type: ignore[misc]  # that is the point


def test_states_are_joined_table_by_table_and_pod_by_pod() -> None:
    """A mode is its pods, its forwarding and its tunnel: `|` is how they come together."""
    lo, eth0 = Nic("lo", 65536, ""), Nic("eth0", 1500, "")
    one = State(links=frozenset({lo}), fdb=frozenset({A}), pods={"podnet-a": State()})
    two = State(links=frozenset({eth0}), pods={"podnet-b": State()}, saved=frozenset({Sysctl("a", "1")}))
    both = one | two
    assert both.links == frozenset({lo, eth0})
    assert both.fdb == frozenset({A})
    assert both.saved == frozenset({Sysctl("a", "1")})
    assert list(both.pods) == ["podnet-a", "podnet-b"]
