"""What several tests stand on and what takes seconds: made once a session."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

SKIPPED: list[str] = []
ROOT = Path(__file__).parents[1]


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


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect what was skipped under tests/: nothing there may be."""
    if report.skipped and report.nodeid.startswith("tests/"):
        SKIPPED.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that skipped a test of the project's own: a promise without proof."""
    if SKIPPED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which."""
    for nodeid in SKIPPED:
        terminalreporter.write_line(f"{nodeid} was skipped, and no skip is expected: the run fails", red=True)
