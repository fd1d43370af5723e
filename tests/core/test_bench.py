"""What `make bench` writes into the docs: tables and pictures of what was measured."""

from xml.etree import ElementTree as ET

import pytest

from benchmarks import converge, kernel, plot
from benchmarks.converge import AGAIN, Found
from benchmarks.running import Command, Cost, run
from benchmarks.ways import FLOOR, PODNET
from tests.lab.at import CLONE

SVG = "{http://www.w3.org/2000/svg}"


def cost(seconds: float, memory: float = 60) -> Cost:
    """Make up what a run has cost."""
    return Cost(seconds, seconds / 2, 100_000, memory)


def test_curves_of_powers_are_straight() -> None:
    """Ten times as many, ten times as long: the same step up for every step across."""
    drawn = ET.fromstring(plot.svg("a title", "x", "y", {"linear": [(1, 2), (10, 20), (100, 200)]}))  # noqa: S314  # our own
    (line,) = drawn.iter(f"{SVG}polyline")
    places = [tuple(map(float, point.split(","))) for point in str(line.get("points")).split()]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)
    assert y0 > y1
    assert [text.text for text in drawn.iter(f"{SVG}text")][-1] == "linear"


def test_ways_are_told_as_multiples_of_the_floor() -> None:
    """The round that was watched does not count, if there are others."""
    found = Found(3)
    found.costs[FLOOR.name] = [cost(9.0), cost(1.0), cost(2.0), cost(3.0)]
    found.costs[PODNET.name] = [cost(9.0), cost(1.5)]
    found.costs[AGAIN] = [cost(1.2)]
    rows = converge.ratios([found])
    assert "| podnet, first apply | 0.75 (1.50 s) |" in rows
    assert f"| {FLOOR.name} | 1.00 (2.00 s) |" in rows
    (said,) = converge.targets([found])
    assert "first apply 0.75 x the floor (at most 1); no change 0.80 x the first apply (at most 0.8)" in said


def test_every_measured_step_has_a_curve() -> None:
    """By the number of peers."""
    measured = {100: {"first apply": [cost(1.0)]}, 1000: {"first apply": [cost(3.0), cost(5.0), cost(4.0)]}}
    assert kernel.curves(measured) == {"first apply": [(100, 1.0), (1000, 4.0)]}
    assert "| 1,000 | first apply | 4.00 | 2.00 | 60 | 100 |" in kernel.rows(measured)


def test_what_a_command_costs_includes_what_it_leaves_behind() -> None:
    """A process that goes into the background is waited for, and its memory counted."""
    busy = "import os; os.fork() and os._exit(0); x = b'x' * 50_000_000; n = sum(range(8_000_000))"
    idle = "import time; time.sleep(0.3)"
    alone = run([Command(["python3", "-c", idle])])
    together = run([Command(["python3", "-c", busy]), Command(["python3", "-c", idle])], watched=True)
    assert together.processor > alone.processor + 0.1
    assert together.memory > 50


def test_a_command_that_fails_ends_the_measurement_with_its_words() -> None:
    """Who has done less has not done it."""
    with pytest.raises(SystemExit, match=r"ended with 3:\nno such luck"):
        run([Command(["sh", "-c", "echo no such luck; exit 3"])])


def test_what_is_compared_with_is_of_one_release_each() -> None:
    """A mitogen that knows the Ansible beside it."""
    lines = (CLONE / "benchmarks" / "requirements.txt").read_text().splitlines()
    assert [line.partition("==")[0] for line in lines if "==" in line] == ["ansible-core", "mitogen"]
