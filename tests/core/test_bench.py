"""What `make bench` writes into the docs: tables and pictures of what was measured."""

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import converge, hand, kernel, phases, planning, plot, throughput
from benchmarks.converge import AGAIN, Found
from benchmarks.running import Command, Cost, run
from benchmarks.throughput import Reading, Round
from benchmarks.ways import FLOOR, PODNET
from podnet.verify.numbers import NUMBERS
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
    assert said == "- 3 hosts: first apply 0.75 x the floor; no change 0.80 x the first apply; controller 60 MB."


def test_targets_are_said_to_be_met_or_missed() -> None:
    """From 16 hosts on: with fewer, start-up is most of it."""
    found = Found(16)
    found.costs[FLOOR.name] = [cost(2.0)]
    found.costs[PODNET.name] = [cost(2.5)]
    found.costs[AGAIN] = [cost(1.5)]
    found.costs[converge.LOOP] = [cost(200.0)]
    (said,) = converge.targets([found])
    assert "first apply 1.25 x the floor (at most 1: missed)" in said
    assert "no change 0.60 x the first apply (at most 0.8: met)" in said
    assert "its loop 80 x (at least 60: met)" in said


def test_vms_are_asked_for_what_containers_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    """And for one mode that both have; what has a wire of its own is asked for of nobody."""
    asked: dict[str, list[str]] = {}

    def measured(kind: str, modes: Iterable[str], *_: object) -> throughput.Found:
        asked[kind] = list(modes)
        return {mode: [] if mode in {"ipip", "udp"} else rounds((1, 1, 1, 1)) for mode in asked[kind]}

    monkeypatch.setattr(throughput, "measured", measured)
    assert list(throughput.everywhere()) == ["containers", "VMs"]
    assert sorted(asked["containers"]) == sorted(hand.SET_UP)
    assert asked["VMs"] == ["vxlan", "ipip", "udp"]


def test_every_measured_step_has_a_curve() -> None:
    """By the number of peers; the first round was watched."""
    measured = {100: {"first apply": [cost(1.0)]}, 1000: {"first apply": [cost(9.0), cost(5.0), cost(4.0), cost(3.0)]}}
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


def test_what_a_command_has_left_is_looked_for_after_it(tmp_path: Path) -> None:
    """Ansible's masters of ssh would otherwise be waited for until they give up, a minute each time."""
    left = tmp_path / "socket"
    run(
        [Command(["touch", left])],
        after=lambda: [Command(["rm", path]) for path in tmp_path.iterdir()],
    )
    assert not left.exists()


def test_what_is_compared_with_is_of_one_release_each() -> None:
    """A mitogen that knows the Ansible beside it."""
    lines = (CLONE / "benchmarks" / "requirements.txt").read_text().splitlines()
    assert [line.partition("==")[0] for line in lines if "==" in line] == ["ansible-core", "mitogen"]


def reading(one: float) -> Reading:
    """Make up what was measured of a path whose stream has so many Gbit/s."""
    return Reading(one, one, 10, 300, 5)


def rounds(*of: tuple[float, float, float, float]) -> list[Round]:
    """Make up rounds: bare, podnet, bare again, by hand."""
    return [Round(*map(reading, each)) for each in of]


def test_modes_are_told_as_multiples_and_noise_beside_them() -> None:
    """The median of the rounds' own ratios, from the lowest to the highest; a mode that the kernel lacks has no row."""
    found = {"vxlan": rounds((10, 5, 10, 5), (20, 8, 18, 8), (10, 6, 11, 5)), "ipip": []}
    rows = throughput.beside(found, "podnet", "bare")
    assert [row.split(" | ")[:2] for row in rows[2:]] == [
        ["| vxlan", "0.50 (0.40 to 0.60)"],
        ["| noise: bare to bare", "1.00 (0.90 to 1.10)"],
    ]
    assert "lacks what ipip need" in "\n".join(throughput.part("containers", found))


def test_only_what_noise_does_not_explain_is_called_slower() -> None:
    """Compared with what two bare readings of one round differ by."""
    same = {"vxlan": rounds((10, 5, 10.4, 5), (10, 5, 9.6, 5.2))}
    slower = {"vxlan": rounds((10, 4, 10.4, 5), (10, 4, 9.6, 5))}
    assert throughput.verdict(same).startswith("Equal within noise")
    assert "vxlan, 1 stream: 0.80, noise 0.90 to 1.11" in throughput.verdict(slower)


def test_more_readings_of_the_bare_underlay_do_not_hide_a_slower_mode() -> None:
    """Were the widest of all the measure, each further mode would allow all of them more."""
    many = {str(number): rounds((10, 4, 10.4, 5), (10, 5, 9.6, 5)) for number in range(20)}
    one = throughput.explained({"vxlan": many["0"]}, "one", 2)
    assert throughput.explained(many, "one", 2) == pytest.approx(one)
    assert throughput.explained(many, "one", 8)[0] > one[0]


def test_bars_are_as_long_as_their_medians() -> None:
    """Twice as much, twice as long; and a legend for each series."""
    drawn = ET.fromstring(plot.bars("a title", {"a": {"x": [0.4, 0.5, 0.9]}, "b": {"x": [1.0]}}))  # noqa: S314  # our own
    half, whole = (float(bar.get("width", "0")) for bar in drawn.iter(f"{SVG}rect") if bar.get("height") == "8")
    assert whole == pytest.approx(2 * half, abs=0.2)
    assert [text.text for text in drawn.iter(f"{SVG}text")][-1] == "x"


def test_every_mode_that_is_measured_is_set_up_by_hand() -> None:
    """All but those whose pods have a wire of their own."""
    assert sorted(hand.SET_UP) == sorted(mode for mode, numbers in NUMBERS.items() if not numbers.elsewhere)


def noted(seconds: float) -> dict[str, object]:
    """Make up what a watched run has noted: each phase takes the controller half of that, and hosts a quarter."""
    marks = [(name, 7 + i * seconds, i * seconds / 2, 3 + i * seconds / 4) for i, name in enumerate(phases.PHASES)]
    return {"marks": [*marks, ("end", 7 + 6 * seconds, 3 * seconds, 3 + 1.5 * seconds)], "parts": {"compared": 0.25}}


def test_phases_add_up_and_their_medians_are_told() -> None:
    """Parts follow the phase that they are of, and are not counted again."""
    each = [phases.phases(noted(seconds)) for seconds in (1.0, 2.0, 9.0)]
    *rest, whole = phases.medians(each)
    assert [phase.name for phase in rest] == [
        *list(phases.PHASES.values())[:5],
        "— of that, compared",
        phases.PHASES["end"],
    ]
    assert (whole.seconds, whole.controller, whole.hosts) == (12.0, 6.0, 3.0)
    least = [[phases.Phase(phases.ALL, 6.0, 1.0, 2.0)]]
    found = phases.Found({FLOOR.name: least, PODNET.name: each, AGAIN: each}, [{"reading": 0.02}])
    assert "takes 2.00 times as long as the floor" in phases.verdict(found)
    assert "| — of that, compared |  | 0.25 |  |" in list(phases.rows(found))


def test_what_was_not_planned_is_drawn_as_the_rest() -> None:
    """The picture is of all hosts."""
    found = [planning.Planned(5000, 50, 1.0, 6.0, 0.2, 10, 80, 0.1, 0.1)]
    assert planning.curves(found) == {"one host": [(5000, 0.12)], "all hosts": [(5000, 600.0)]}
