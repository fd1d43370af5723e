"""Every command of those pages of the docs that this machine's own kernel cannot show prints what they say."""

import subprocess
from pathlib import Path

import pytest

from podnet import modes
from podnet.facts import kinds, node
from tests.core.examples import cluster
from tests.lab import nics
from tests.lab.at import CLONE, At
from tests.lab.pages import PAGES, follow, lab, lacking, module


def needed(page: Path) -> tuple[str, ...]:
    """Name the kinds of devices that the page's mode needs."""
    return node.asked(modes.wanted(module(page), cluster(), cluster().node("node1")))["device_kinds"]


def lacking_here() -> frozenset[str]:
    """Name those that containers on this machine cannot have."""
    script = kinds.script(sorted({kind for page in PAGES for kind in needed(page)}))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    return kinds.parse(done.stdout.splitlines())


LACKING = lacking_here()
ON_VMS = [page for page in PAGES if LACKING & set(needed(page)) or nics.needed(module(page))]
"""The others are followed by tests/lab."""


@pytest.mark.parametrize("page", ON_VMS, ids=lambda page: str(page.relative_to(CLONE)))
def test_every_console_example_of_the_docs_shows_what_one_sees(labs: dict[str, At], page: Path) -> None:
    """Each command, typed on the host of its prompt, prints what the page says, but for numbers."""
    at = lab(labs, "vm-docs", page, "--vms")
    assert lacking(at, page) == set()
    wrong = follow(at, page)
    assert wrong == [], "\n\n".join(wrong)
