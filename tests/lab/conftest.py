"""Labs for tests: each module has its own, which costs about a second."""

from collections.abc import Iterator

import pytest

from tests.lab.at import At
from tests.lab.by_hand import Hand, Shells


@pytest.fixture(scope="module")
def at(request: pytest.FixtureRequest) -> Iterator[At]:
    """Return a lab of three bare hosts on one segment; a module that wants another says so in SHAPE."""
    lab = At(f"{request.module.__name__.rpartition('.')[2].removeprefix('test_').replace('_', '-')}"[:20])
    lab.up(*getattr(request.module, "SHAPE", ()))
    yield lab
    lab.down()


@pytest.fixture(scope="module")
def vxlan(at: At) -> At:
    """Return the same lab in the mode vxlan."""
    applied = at.apply()
    assert applied.code == 0, applied.log
    return at


@pytest.fixture(scope="module")
def shells(at: At) -> Iterator[Shells]:
    """Return shells of the lab's hosts."""
    shells = Shells(at)
    yield shells
    shells.close()


@pytest.fixture
def hand(shells: Shells) -> Iterator[Hand]:
    """Return the lab for an experiment by hand, and take away what that made."""
    hand = Hand(shells)
    yield hand
    hand.clean()


@pytest.fixture(scope="module")
def labs() -> Iterator[dict[str, At]]:
    """Return what is up, one lab at a time (tests.lab.pages)."""
    up: dict[str, At] = {}
    yield up
    for at in up.values():
        at.down()
