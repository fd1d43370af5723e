"""Every command that the docs show prints what they say."""

from pathlib import Path

import pytest

from tests.lab import nics
from tests.lab.at import CLONE, At
from tests.lab.pages import PAGES, follow, lab, lacking, mode, module


@pytest.mark.parametrize(
    "page", [page for page in PAGES if not nics.needed(module(page))], ids=lambda page: str(page.relative_to(CLONE))
)
def test_every_console_example_of_the_docs_shows_what_one_sees(labs: dict[str, At], page: Path) -> None:
    """Each command, typed on the host of its prompt, prints what the page says, but for numbers.

    Where this machine's kernel cannot make a mode's devices, the page says that the host is refused; what else it
    prints is seen on VMs, by tests/vms.
    """
    at = lab(labs, "docs", page)
    if lacks := lacking(at, page):
        applied = at.apply(f"deploys/{mode(page)}.py")
        assert applied.code != 0
        assert all(f"this kernel lacks the module {kind}" in applied.log for kind in lacks), applied.log
        return
    wrong = follow(at, page)
    assert wrong == [], "\n\n".join(wrong)
