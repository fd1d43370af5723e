"""A second apply would change nothing."""

from pathlib import Path

import pytest

from podnet.verify import applying
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.plugin import SOURCE

pytestmark = pytest.mark.of_ours


@pytest.mark.scenario(9)
def test_second_apply_changes_nothing(
    fleet: Fleet,
    answers: dict[str, Answer],  # noqa: ARG001  # now it is known who is reached
    pytestconfig: pytest.Config,
    tmp_path: Path,
) -> None:
    """Asked what it would do (`--dry`), pyinfra itself finds no host to change."""
    silent = {node.name: fleet.silent(node.name) for node in fleet.nodes}
    problems = [problem for problem in silent.values() if problem]
    if reached := [name for name, problem in silent.items() if not problem]:
        deploy = tmp_path / "deploy.py"
        deploy.write_text(applying.of_mode(pytestconfig.getoption("mode")))
        again = applying.run(pytestconfig.stash[SOURCE], deploy, reached, dry=True)
        if again.code or again.failed:
            problems.append(f"what a second apply would do is not known, since pyinfra --dry failed: {again.said}")
        elif again.changed:
            problems.append(f"a second apply would change {', '.join(sorted(again.changed))}: {again.said}")
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
