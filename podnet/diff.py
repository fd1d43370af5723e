"""The difference between what is wanted and what is seen. It knows nothing but keys and equality."""

import itertools
from collections import defaultdict
from collections.abc import Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

from podnet.state import Key


class Keyed(Protocol):
    """Anything that the kernel allows only one of per key."""

    @property
    def key(self) -> Key: ...


T = TypeVar("T", bound=Keyed)


class Diff(NamedTuple, Generic[T]):
    """What to add, what to change (from, to) and what to remove, each in the order of the keys."""

    add: tuple[T, ...] = ()
    change: tuple[tuple[T, T], ...] = ()
    remove: tuple[T, ...] = ()


def diff(want: Iterable[T], have: Iterable[T]) -> Diff[T]:
    """Compare two sets of one table.

    One seen item of a wanted item's key is changed into it; further ones of that key are removed, since the
    kernel has been talked into holding two.
    """
    want, have = frozenset(want), frozenset(have)
    wrong: dict[Key, list[T]] = defaultdict(list)
    for item in sorted(have - want, key=_order):
        wrong[item.key].append(item)
    add, change = [], []
    for item in sorted(want - have, key=_key):
        if others := wrong.get(item.key):
            change.append((others.pop(0), item))
        else:
            add.append(item)
    return Diff(tuple(add), tuple(change), tuple(itertools.chain.from_iterable(wrong.values())))


def _key(item: Keyed) -> Key:
    return item.key


def _order(item: Keyed) -> tuple[Key, str]:
    """Two items of one key come in a fixed order as well: same input, same bytes out."""
    return item.key, repr(item)
