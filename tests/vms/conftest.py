"""A lab of VMs for tests: each host has a kernel of its own, with modules, and can be started anew."""

from collections.abc import Iterator

import pytest

from tests.lab.at import At
from tests.lab.conftest import hand, shells

__all__ = ["at", "hand", "shells"]


@pytest.fixture(scope="module")
def at() -> Iterator[At]:
    """Return a lab of two bare VMs on one segment."""
    lab = At("vms")
    lab.up("--vms", "--hosts", "2")
    yield lab
    lab.down()
