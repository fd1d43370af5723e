"""A second apply would change nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from podnet.verify.fleet import Fleet
from podnet.verify.plugin import inventory_of


@pytest.mark.scenario(9)
def test_second_apply_changes_nothing(fleet: Fleet, pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """Asked what it would do (`--dry`), pyinfra itself finds no host to change."""
    mode = pytestconfig.getoption("mode")
    deploy = tmp_path / "deploy.py"
    deploy.write_text(f"from podnet.modes import {mode}\nfrom podnet.operations import node\n\nnode.apply({mode})\n")
    limits = [word for node in fleet.nodes for word in ("--limit", node.name)]
    words = ["--dry", "--json", *limits, str(inventory_of(pytestconfig)), str(deploy)]
    run = subprocess.run([sys.executable, "-m", "pyinfra", *words], capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"pyinfra --dry failed: {run.stderr.strip()}"
    changed = {host for operation in json.loads(run.stdout)["plan"] for host in operation["hosts_with_change"]}
    assert not changed, f"a second apply would change {', '.join(changed)}: {run.stderr.strip()}"
