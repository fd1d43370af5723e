"""What several tests stand on and what takes seconds: made once a session."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # xdist has no types

from tests import shown
from tests.lab.proof import HAS, LACKS, MODES

SKIPPED: list[str] = []
PROVED: set[tuple[str, str]] = set()
SHOWN: set[shown.Shown] = set()
LABS: set[str] = set()
KINDS_OF_LABS = {"lab", "vms"}
ROOT = Path(__file__).parents[1]
FIRST_ROW = ("/test_modes.py", "/test_three_hosts.py", "/test_docs.py", "/test_sriov.py")
"""Of the tests of VMs, those that take half of the time."""


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from the sdist, as a release does; return their folder."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT))
    return folder


@pytest.fixture(scope="session")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an empty environment; return the folder of its commands."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    (wheel,) = dist.glob("*.whl")
    run(str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", str(wheel))
    return folder / "bin"


def run(*words: str) -> None:
    """Run a command that must succeed, and show all that it said if it does not."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class Rows(LoadFileScheduling):  # type: ignore[misc]  # see above
    """A file's tests together, and those of VMs in two rows: emulated, more of them at once are no faster."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return f"vms {file.endswith(FIRST_ROW)}" if file.startswith("tests/vms/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Rows:
    """Deal tests out to workers so."""
    return Rows(config, log)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Report which scenarios were shown meanwhile."""
    item.user_properties.extend(shown.told())


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect which mode was proved on which kind of lab, and which tests were skipped though nothing was lacking."""
    if not report.nodeid.startswith("tests/"):
        return
    if report.skipped:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if LACKS not in why and HAS not in why:
            SKIPPED.append(report.nodeid)
    if report.when == "teardown":
        SHOWN.update(_read(str(said)) for key, said in report.user_properties if key == "shown")
    if report.when == "call":
        LABS.add(report.nodeid.split("/")[1])
        if report.passed:
            proved = [str(mode) for key, mode in report.user_properties if key == "proved"]
            PROVED.update((mode, report.nodeid.split("/")[1]) for mode in proved)


def _read(said: str) -> shown.Shown:
    number, mode, lab = json.loads(said)
    return number, mode, lab


def _unproved() -> list[str]:
    """Name the modes that were proved on no lab, in a run that had every kind of lab."""
    proved = {mode for mode, _ in PROVED}
    return [mode for mode in MODES if mode not in proved] if KINDS_OF_LABS <= LABS else []


def _untrue(config: pytest.Config) -> bool:
    """Say whether this was a whole run, and has shown something else than the docs say.

    What VMs show of modes that containers have may be deselected: CI has no time for it.
    """
    options = config.option
    left_out = options.deselect or []
    picked = options.keyword or options.markexpr or options.ignore or options.ignore_glob
    picked = picked or left_out not in ([], [shown.ON_VMS_TOO])
    whole = LABS >= KINDS_OF_LABS and all(map(os.path.isdir, config.args)) and not picked
    if not whole or hasattr(config, "workerinput"):
        return False
    if left_out:
        return shown.table(shown.once(SHOWN)) != shown.once_in_docs()
    shown.save(SHOWN)
    return shown.table(SHOWN) != shown.in_docs()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that skipped a test though its lab had what it needs, left a mode unproved or disproves docs."""
    if SKIPPED or _unproved() or _untrue(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which."""
    for mode in sorted({mode for mode, _ in PROVED}):
        terminalreporter.write_line(f"{mode} was proved on: {', '.join(sorted(lab for m, lab in PROVED if m == mode))}")
    for mode in _unproved():
        terminalreporter.write_line(f"{mode} was proved on no lab: the run fails", red=True)
    for nodeid in SKIPPED:
        terminalreporter.write_line(f"{nodeid} was skipped, and no skip is expected: the run fails", red=True)
    if _untrue(config):
        terminalreporter.write_line(
            "docs/verification.md says something else than this run has shown; the run fails (python -m tests.shown)",
            red=True,
        )
