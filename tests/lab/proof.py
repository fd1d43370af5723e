"""Which modes there are, and which of them a lab's kernel can be asked to prove."""

import importlib
import pkgutil
import subprocess
from typing import Any

import pytest

from podnet import modes
from podnet.facts import kinds
from tests.core.examples import cluster
from tests.lab import nics
from tests.lab.at import At

MODES = sorted(module.name for module in pkgutil.iter_modules(modes.__path__))
LACKS, HAS = "the kernel of this lab lacks", "the kernel of this lab has"
NICS = "NICs that an inventory gives to pods"


def kinds_of(mode: str) -> set[str]:
    """Name the kinds of devices that a mode makes."""
    module: Any = importlib.import_module(f"podnet.modes.{mode}")
    want = modes.wanted(module, cluster(), cluster().node("node1"))
    return {kind for space in (want, *want.pods.values()) for kind in kinds.of(space)}


def lends_nics(mode: str) -> bool:
    """Whether the mode gives pods NICs, which only an inventory of their own names: tests/vms/test_sriov.py."""
    return nics.needed(importlib.import_module(f"podnet.modes.{mode}"))


def lacking(at: At, mode: str) -> frozenset[str]:
    """Name the kinds that the mode needs and the lab's kernel lacks; no lab's own inventory gives NICs to pods."""
    if lends_nics(mode):
        return frozenset({NICS})
    return kinds.parse(at.sh("node1", kinds.script(sorted(kinds_of(mode)))).splitlines())


def needs(at: At, mode: str) -> None:
    """Skip a mode that this lab cannot prove; the run fails unless another lab proves it (tests/conftest.py)."""
    if missing := lacking(at, mode):
        pytest.skip(f"{LACKS} {', '.join(sorted(missing))}, which {mode} needs")


def lacking_here(mode: str) -> frozenset[str]:
    """Name the kinds that the mode needs and this machine's kernel lacks, and with it every container."""
    script = kinds.script(sorted(kinds_of(mode)))
    done = subprocess.run(["sh", "-c", f"{script}\n:"], capture_output=True, text=True, check=True)
    return kinds.parse(done.stdout.splitlines())
