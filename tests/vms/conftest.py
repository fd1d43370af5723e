"""Labs of VMs for tests: each module has its own. The first one of its shape boots, which takes a minute or more."""

from collections.abc import Iterator

import pytest

from tests.lab.at import At
from tests.lab.conftest import hand, labs, shells

__all__ = ["at", "hand", "labs", "shells"]


@pytest.fixture(scope="module")
def at(request: pytest.FixtureRequest) -> Iterator[At]:
    """Return a lab of two VMs on one segment; a module that wants another says so in SHAPE."""
    lab = At(f"vm-{request.module.__name__.rpartition('.')[2].removeprefix('test_')}"[:20].replace("_", "-"))
    lab.up("--vms", *getattr(request.module, "SHAPE", ("--hosts", "2")))
    yield lab
    lab.down()
