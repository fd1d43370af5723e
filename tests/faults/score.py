"""Measure what the verification detects: break one thing at a time, and see whether it says which.

    python -m tests.faults.score --modes vxlan,host_gw

Each fault is inflicted on a lab in each mode that it applies to; then the verification runs as a user runs it. It must
fail, and its message must name the cause: not only the symptom, and no other table before it. An apply, and for what a
stranger has done its undoing, mend the damage. Between modes the lab is healthy and verified some times: nothing may
be found. The results go to docs/faults.json, from which docs/faults.md is made.
"""

import argparse
import itertools
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from xml.etree import ElementTree as ET

from tests.faults import wire
from tests.faults.faults import Damage, faults
from tests.faults.page import DATA, PAGE, rendered
from tests.faults.place import Place
from tests.lab.at import At
from tests.lab.nics import Lending, carriers
from tests.lab.proof import lends_nics

CONTAINERS = ("vxlan", "vxlan_direct_routing", "host_gw", "bridge", "veth_pair", "proxy_arp", "macvlan")
"""Modes that a lab of containers shows on any kernel that podnet's own labs need."""
TWO_SEGMENTS = ("vxlan_direct_routing", "ipip_direct_routing")
"""Modes that do something else for peers behind a router."""
VICTIM = "node3"
"""Whom the faults strike: with two segments it has one peer on its own, and one on the other."""
HEALTHY = 20
"""How often a healthy lab is verified, in all modes together."""
TRIES = 3
"""How often to break what mends itself before it is looked at: WireGuard takes an endpoint from whatever comes in."""
CAUSE = "  cause: "
QUICK = ("podnet/verify/test_state.py", "podnet/verify/test_reach.py")
FORGET = """
ip route flush cache
for path in /run/netns/*; do if [ -e "$path" ]; then ip -n "${path##*/}" route flush cache; fi; done
"""
"""What a router has once said of a path's MTU is believed for ten minutes."""
WRITING = Lock()
WHOLE = ("podnet/verify",)
"""What is run: what catches nearly all faults; and all of it, where that finds nothing, and on healthy labs."""


@dataclass(frozen=True)
class Failed:
    """A test that went red, and what it said."""

    test: str
    said: tuple[str, ...]

    @property
    def causes(self) -> list[str]:
        """What it names as the cause of each pair's failure."""
        return [line.removeprefix(CAUSE) for line in self.said if line.startswith(CAUSE)]


@dataclass(frozen=True)
class Result:
    """What came of one fault in one mode."""

    tests: tuple[str, ...]
    cause: str
    right: bool
    seconds: float

    @property
    def caught(self) -> bool:
        return bool(self.tests)

    def __str__(self) -> str:
        """Say it in a line."""
        verdict = "right" if self.right else "caught, another cause" if self.caught else "MISSED"
        return f"{verdict} ({self.seconds} s): {self.cause}"


def failed(at: At, mode: str, files: Sequence[str]) -> list[Failed]:
    """Run the verification of these files, and return what failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        done = at.verify(*files, "-q", f"--junitxml={report}", mode=mode)
        if done.code not in {0, 1}:
            raise RuntimeError(f"the verification could not run: {done.said}")
        cases = ET.parse(report).iter("testcase")  # noqa: S314  # our own file
        return [
            Failed(case.get("name", "").partition("[")[0], tuple((found[0].text or "").splitlines()))
            for case in cases
            if (found := [*case.iter("failure"), *case.iter("error")])
        ]


def judged(damage: Damage, found: Sequence[Failed], seconds: float) -> Result:
    """Say whether a right cause is named, and no wrong one for any pair.

    Where pairs fail it is their causes that count, all of them; else what the tests of the tables say.
    """
    told = [cause for failure in found for cause in failure.causes]
    lines = told or [line for failure in found for line in failure.said]
    fitting = [line for line in lines if re.search(damage.cause, line)]
    right = bool(fitting) and (not told or len(fitting) == len(told))
    tests = tuple(dict.fromkeys(failure.test for failure in found))
    wrong = [line for line in told if line not in fitting]
    return Result(tests, (wrong or fitting or lines or [""])[0].strip(), right, seconds)


def place(at: At, mode: str) -> Place:
    """Say where the faults strike: in what the host can have of what is wanted."""
    return Place(at.cluster, at.cluster.node(VICTIM), at.possible(VICTIM, mode))


def lacking(at: At, mode: str) -> list[str]:
    """Name the faults that the host cannot have, since it has nothing there to break."""
    want, cluster = at.wanted(VICTIM, mode)
    return [name for name in faults(Place(cluster, cluster.node(VICTIM), want)) if name not in faults(place(at, mode))]


def inflicted(at: At, mode: str, damage: Damage, *, vms: bool) -> Result:
    """Break one thing, verify, and mend it."""
    found: list[Failed] = []
    for _ in range(TRIES):
        started = time.monotonic()
        if damage.wire:
            wire.lose(at, VICTIM, damage.wire, vms=vms)
        else:
            at.sh(VICTIM, damage.script)
        found = failed(at, mode, QUICK) or failed(at, mode, WHOLE)
        if found or damage.wire or damage.undo or at.differences(VICTIM, mode):
            break
    result = judged(damage, found, round(time.monotonic() - started, 1))
    mend(at, mode, damage, vms=vms)
    return result


def mend(at: At, mode: str, damage: Damage, *, vms: bool) -> None:
    """Undo what a stranger did, and have an apply do the rest; it must be well again."""
    if damage.wire:
        wire.keep(at, VICTIM, vms=vms)
    if damage.undo:
        at.sh(VICTIM, damage.undo)
    found, todo = at.look(VICTIM, mode)
    if found and not at.wanted(VICTIM, mode)[0].peers:
        # What an apply would do there, without starting pyinfra; which is asked where peers' keys must be told as well.
        at.carry_out(VICTIM, todo)
        found = at.differences(VICTIM, mode)
    if found:
        at.into(mode)
        found = at.differences(VICTIM, mode)
    plugged_in(at)
    for node in at.cluster.nodes:
        at.sh(node.name, FORGET)
    if found:
        raise RuntimeError(f"{mode}: after `{damage.told}` and an apply there is still: {found}")


def lab(name: str, mode: str, *, vms: bool) -> At:
    """Make the lab that a mode is shown on."""
    at = At(f"{name}-{mode}"[:20].replace("_", "-").rstrip("-"))
    at.up("--hosts", "3", "--segments", "2" if mode in TWO_SEGMENTS else "1", *(["--vms"] if vms else []))
    if lends_nics(mode):
        at = Lending(at.name)
        at.make()
    at.into(mode)
    plugged_in(at)
    return at


def plugged_in(at: At) -> None:
    """Wait for what is not at once as it was: VFs that were reset."""
    if isinstance(at, Lending):
        carriers(at)


def scored(mode: str, *, vms: bool, runs: int, only: str) -> dict[str, Any]:
    """Go through all faults of a mode, on a lab of its own."""
    at = lab("faults", mode, vms=vms)
    try:
        alarms = [failure for _ in range(runs) for failure in failed(at, mode, WHOLE)]
        for failure in alarms:
            print(f"{mode}: ALARM: {failure.test}: {failure.said}", flush=True)
        every, lacks = faults(place(at, mode)), lacking(at, mode)
        found = {name: damage for name, damage in every.items() if re.search(only, name)}
        results = {}
        for name, damage in found.items():
            results[name] = inflicted(at, mode, damage, vms=vms)
            print(f"{mode}: {name}: {results[name]}", flush=True)
    except Exception as e:  # it is told at once, not only when all other modes are through
        print(f"{mode}: the measurement has ended: {e}", flush=True)
        raise
    finally:
        at.down()
    measured = {
        "lacks": lacks,
        "runs": runs,
        "alarms": [failure.said for failure in alarms],
        "faults": told(found, results),
    }
    note(mode, measured, [*every])
    return measured


def note(mode: str, measured: dict[str, Any], every: Sequence[str]) -> None:
    """Write down what was measured, and the page made of it. What was not measured now stays as it was."""
    with WRITING:
        data = json.loads(DATA.read_text()) if DATA.exists() else {}
        before = data.get(mode, {"runs": 0, "alarms": [], "faults": {}})
        results = before["faults"] | measured["faults"]
        healthy = measured if measured["runs"] else before
        data[mode] = {
            "lacks": measured["lacks"],
            "runs": healthy["runs"],
            "alarms": healthy["alarms"],
            "faults": {name: results[name] for name in every if name in results},
        }
        DATA.write_text(json.dumps(dict(sorted(data.items())), indent=1) + "\n")
        PAGE.write_text(rendered(data))


def told(damages: dict[str, Damage], results: dict[str, Result]) -> dict[str, Any]:
    """Say the results in JSON's types."""
    return {
        name: {
            "damage": damages[name].told,
            "tests": list(result.tests),
            "cause": result.cause,
            "right": result.right,
            "seconds": result.seconds,
        }
        for name, result in results.items()
    }


def options(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.score", description=__doc__.splitlines()[0])
    parser.add_argument("--modes", default=",".join(CONTAINERS), help="the modes to measure, with commas")
    parser.add_argument("--vms", action="store_true", help="on labs of VMs, for what this kernel lacks")
    parser.add_argument("--only", default="", help="only faults whose names match this; the others' results stay")
    parser.add_argument("--jobs", type=int, default=1, help="how many labs at once")
    parser.add_argument("--healthy", type=int, default=HEALTHY, help="how often healthy labs are verified")
    return parser.parse_args(words)


def shares(total: int, parts: int) -> Iterator[int]:
    """Divide a number of runs among labs."""
    for i in range(parts):
        yield total // parts + (i < total % parts)


def main(words: Sequence[str]) -> int:
    """Measure, write, and say how it went: 1 if something was missed, or found where nothing was."""
    asked = options(words)
    modes = asked.modes.split(",")
    with ThreadPoolExecutor(asked.jobs) as pool:
        runs = zip(modes, shares(asked.healthy, len(modes)), strict=True)
        futures = {
            mode: pool.submit(scored, mode, vms=asked.vms, runs=healthy, only=asked.only) for mode, healthy in runs
        }
        measured = {mode: future.result() for mode, future in futures.items()}
    return summed_up(measured)


def summed_up(measured: dict[str, Any]) -> int:
    """Print the score."""
    every = [*itertools.chain.from_iterable(of["faults"].values() for of in measured.values())]
    caught, right = sum(bool(each["tests"]) for each in every), sum(each["right"] for each in every)
    runs, alarms = (sum(of["runs"] for of in measured.values()), sum(len(of["alarms"]) for of in measured.values()))
    print(f"{len(every)} faults: {caught} caught, {right} with the right cause; {runs} healthy runs: {alarms} alarms")
    return int(caught < len(every) or right < 0.95 * len(every) or alarms > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
