"""A second apply would change nothing."""

from pathlib import Path

import pytest

from podnet.verify import applying
from podnet.verify.fleet import Fleet
from podnet.verify.plugin import SOURCE

pytestmark = pytest.mark.of_ours


@pytest.mark.scenario(9)
def test_second_apply_changes_nothing(fleet: Fleet, pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """Asked what it would do (`--dry`), pyinfra itself finds no host to change."""
    deploy = tmp_path / "deploy.py"
    deploy.write_text(applying.of_mode(pytestconfig.getoption("mode")))
    again = applying.run(pytestconfig.stash[SOURCE], deploy, [node.name for node in fleet.nodes], dry=True)
    if again.code or again.failed:
        pytest.fail(
            f"what a second apply would do is not known, since pyinfra --dry failed: {again.said}", pytrace=False
        )
    if again.changed:
        pytest.fail(f"a second apply would change {', '.join(sorted(again.changed))}: {again.said}", pytrace=False)
