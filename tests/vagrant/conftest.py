"""One world for all tests of the run, and the state of this machine before it."""

from collections.abc import Iterator

import pytest

from podnet.labs import box
from tests.vagrant import init, machine
from tests.vagrant.world import CONSOLES, World, world


@pytest.fixture(scope="session")
def before() -> list[str]:
    """Return what this machine's own network namespace held before anything was started."""
    return machine.state()


@pytest.fixture(scope="session")
def there(before: list[str], request: pytest.FixtureRequest) -> Iterator[World]:
    """Return a world that knows the box; show what its machines said if a test has failed."""
    assert before
    made = box.made()
    with world() as there:
        there.did("vagrant", "box", "add", "--name", box.NAME, made)
        yield there
        if request.session.testsfailed:
            there.run("sh", "-c", f"tail --lines=20 {CONSOLES}/* {init.LOG}")
