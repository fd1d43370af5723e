"""pyinfra as a user runs it, in a process of its own, and who was changed by it."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEARDOWN = "from podnet.operations import node\n\nnode.teardown()\n"


@dataclass(frozen=True)
class Applied:
    """What a run did, or with `--dry` would do; `said` is pyinfra's own text."""

    code: int
    changed: frozenset[str]
    failed: frozenset[str]
    said: str


def of_mode(mode: str) -> str:
    """Spell the deploy of a mode."""
    return f"from podnet.modes import {mode}\nfrom podnet.operations import node\n\nnode.apply({mode})\n"


def run(inventory: Path, deploy: Path, hosts: Iterable[str], *, dry: bool = False) -> Applied:
    """Run a deploy on those hosts of an inventory, to its end: one that is cut leaves a host half changed.

    Ctrl-C is kept from pyinfra; it is heeded here as soon as the run is over. A second one does not wait.
    """
    limits = [word for name in hosts for word in ("--limit", name)]
    words = ["--dry" if dry else "-y", "--json", *limits, str(inventory), str(deploy)]
    process = subprocess.Popen(
        [sys.executable, "-m", "pyinfra", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, said = process.communicate()
    except KeyboardInterrupt:
        process.communicate()
        raise
    report: dict[str, Any] = json.loads(out) if out else {}  # with no host left pyinfra reports nothing
    results = report.get("results") or {}  # null with `--dry`
    changed = [host for operation in report.get("plan", ()) for host in operation["hosts_with_change"]] if dry else []
    changed += [host for operation in results.get("operations", ()) for host in operation["success"]]
    return Applied(process.returncode, frozenset(changed), frozenset(results.get("failed_hosts", ())), said.strip())
