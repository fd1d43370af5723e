"""`--report DIR`: junit.xml, which pytest writes itself, and report.html, which loads nothing from elsewhere."""

import platform
import shutil
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from pyinfra.api import FactProcessError

from podnet import rendering
from podnet.cluster import Node
from podnet.facts import node as tables
from podnet.facts.reading import strictly
from podnet.state import State
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.mesh import matrix, probe
from podnet.verify.mesh.matrix import UNTRIED, Cell
from podnet.verify.mesh.reach import Mesh
from podnet.verify.numbers import Numbers
from podnet.verify.reporting import topology
from podnet.verify.strangers import observed
from podnet.verify.strangers.observing import Observation

JUNIT, HTML = "junit.xml", "report.html"
WHOLE = 128
"""Pods of which the page shows every pair; of more, every pair of nodes."""
PACKAGES = ("podnet", "pyinfra", "pytest", "pytest-testinfra")
ENDS = {
    pytest.ExitCode.OK: "passed",
    pytest.ExitCode.TESTS_FAILED: "failed",
    pytest.ExitCode.INTERRUPTED: "was interrupted: what is not here was not tried",
    pytest.ExitCode.NO_TESTS_COLLECTED: "had nothing to do",
}


@dataclass(frozen=True)
class Outcome:
    """How one test ended, and what it said."""

    test: str
    word: str
    seconds: float
    said: str = ""


@dataclass(frozen=True)
class Row:
    """A row of the matrix: its name, and its cells by the names of their columns."""

    name: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class Host:
    """A line of the list of hosts."""

    name: str
    address: str
    reached_as: str
    kernel: str
    problem: str


@dataclass(eq=False)  # a plugin is told from others by what it is
class Run:
    """What a run of the verification gathers for its report."""

    fleet: Fleet
    mode: str
    numbers: Numbers
    folder: Path
    junit: Path
    """Where pytest writes it: in that folder, unless `--junitxml` says another place."""
    command: str
    began: datetime = field(default_factory=lambda: datetime.now().astimezone())
    mesh: Mesh | None = None
    observation: Observation | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test ended; of its setup and teardown only what went wrong."""
        if report.when == "call" or not report.passed:
            self.outcomes.append(Outcome(report.nodeid, report.outcome, report.duration, _said(report)))

    @pytest.hookimpl
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what could not even be begun."""
        if report.failed:
            self.outcomes.append(Outcome(report.nodeid, report.outcome, 0.0, report.longreprtext))

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, exitstatus: int) -> Generator[None]:
        """Write the page, also when the run was interrupted or no host could be reached; pytest writes JUnit first."""
        yield
        (self.folder / HTML).write_text(page(self, exitstatus), encoding="utf-8")
        if self.junit.is_file() and self.junit.resolve() != (self.folder / JUNIT).resolve():
            shutil.copyfile(self.junit, self.folder / JUNIT)


def _said(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):  # of a skip: file, line, reason
        return str(report.longrepr[2])
    return report.longreprtext


def page(run: Run, exitstatus: int) -> str:
    """Write the page."""
    names = [node.name for node in run.fleet.nodes if node.pods]
    pods = [probe.label(node, pod) for node in run.fleet.nodes for pod in node.pods]
    found: Mapping[tuple[str, str], Cell] = matrix.cells(run.mesh) if run.mesh else {}
    if len(pods) > WHOLE:
        found, pods = matrix.by_node(found), names
    boxes = [
        topology.box(node, run.fleet.cluster.marks, have(run, node), [*faults(run, node)]) for node in run.fleet.nodes
    ]
    return rendering.render(
        "report.html.j2",
        run=run,
        ended=ENDS.get(pytest.ExitCode(exitstatus), "could not be carried out"),
        good=exitstatus == pytest.ExitCode.OK,
        seconds=(datetime.now().astimezone() - run.began).total_seconds(),
        count=Counter(outcome.word for outcome in run.outcomes),
        failures=[outcome for outcome in run.outcomes if outcome.word == "failed"],
        skipped=[outcome for outcome in run.outcomes if outcome.word == "skipped"],
        versions=[*_versions()],
        hosts=[_host(run, node) for node in run.fleet.nodes],
        picture=topology.picture(run.fleet.cluster, run.numbers, boxes, run.mesh),
        rows=[Row(row, {column: found.get((row, column), Cell(UNTRIED, "")) for column in pods}) for row in pods],
        signs={sign: matrix.SIGNS[sign] for sign in matrix.SIGNS if any(c.sign == sign for c in found.values())},
        otherwise=observed.told(run.observation.scene) if run.observation else [],
        notes=[*matrix.refusals(run.mesh), *([run.mesh.sample.told] if run.mesh.sample else [])] if run.mesh else [],
    )


def have(run: Run, node: Node) -> State | None:
    """Return what the node said that it holds, if it was asked and could be understood."""
    if run.observation and node.name in run.observation.scene.seen:
        return run.observation.scene.seen[node.name].have
    answer = run.answers.get(node.name)
    if answer is None or answer.problem:
        return None
    try:
        with strictly(f"what {node.name} told of its tables"):
            return tables.parse(answer.printed.splitlines())
    except FactProcessError:
        return None  # the tests that compare tables say what is wrong with it


def faults(run: Run, node: Node) -> Iterator[str]:
    """Say what is wrong with a node itself, beside its way to others: no answer, or a test of its own that failed."""
    if problem := _problem(run, node):
        yield problem
    cells = matrix.by_node(matrix.cells(run.mesh)) if run.mesh else {}
    if (own := cells.get((node.name, node.name))) and own.bad:
        yield from own.faults
    for outcome in run.outcomes:
        if outcome.word == "failed" and f"[{node.name}]" in outcome.test and "test_reach" not in outcome.test:
            yield outcome.said


def _problem(run: Run, node: Node) -> str:
    looked = run.observation.answers if run.observation else run.answers
    asked = [answers.get(node.name) for answers in (looked, run.mesh.answers if run.mesh else {})]
    return next((answer.problem for answer in asked if answer and answer.problem), "")


def _host(run: Run, node: Node) -> Host:
    answer = run.mesh.answers.get(node.name) if run.mesh else None
    backend = run.fleet.hosts[node.name].backend
    kernel = probe.kernel(answer.printed) if answer else ""
    return Host(node.name, f"{node.uplink} {node.address}", backend.get_pytest_id(), kernel, _problem(run, node))


def _versions() -> Iterator[str]:
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:  # run in a clone without being installed
            yield f"{package} of this clone"
    yield f"Python {platform.python_version()}"
