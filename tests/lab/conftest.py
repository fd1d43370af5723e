"""Labs for tests: each module has its own, which costs about a second."""

from collections.abc import Iterator

import pytest

from tests.lab.at import At


@pytest.fixture(scope="module")
def at(request: pytest.FixtureRequest) -> Iterator[At]:
    """Return a lab of three bare hosts on one segment."""
    lab = At(f"{request.module.__name__.rpartition('.')[2].removeprefix('test_')}"[:20])
    lab.up()
    yield lab
    lab.down()


@pytest.fixture(scope="module")
def vxlan(at: At) -> At:
    """Return the same lab in the mode vxlan."""
    applied = at.apply()
    assert applied.code == 0, applied.log
    return at
