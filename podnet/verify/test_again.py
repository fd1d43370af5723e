"""A second apply would change nothing."""

from pathlib import Path

import pytest

from podnet.verify import applying
from podnet.verify.fleet import Fleet
from podnet.verify.plugin import inventory_of

pytestmark = pytest.mark.of_ours


@pytest.mark.scenario(9)
def test_second_apply_changes_nothing(fleet: Fleet, pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """Asked what it would do (`--dry`), pyinfra itself finds no host to change."""
    deploy = tmp_path / "deploy.py"
    deploy.write_text(applying.of_mode(pytestconfig.getoption("mode")))
    again = applying.run(inventory_of(pytestconfig), deploy, [node.name for node in fleet.nodes], dry=True)
    assert again.code == 0, f"pyinfra --dry failed: {again.said}"
    assert not again.changed, f"a second apply would change {', '.join(sorted(again.changed))}: {again.said}"
