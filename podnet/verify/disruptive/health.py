"""What must hold of hosts whenever nothing is being changed: exact tables, and every pod as far away as promised."""

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from pyinfra.api import FactProcessError

from podnet import boot, modes
from podnet.differences import differences
from podnet.facts import node as tables
from podnet.facts.reading import strictly
from podnet.keys import resolve
from podnet.obstacles import obstacles
from podnet.state import State
from podnet.verify.fleet import Fleet
from podnet.verify.mesh.probe import SMALL
from podnet.verify.mesh.reach import probed
from podnet.verify.mesh.sampling import Sample
from podnet.verify.numbers import NUMBERS, Numbers

PATIENCE = 30
"""Seconds for what settles by itself: ARP, WireGuard's next try after 5 s, a NIC that looks for its carrier."""
STEP = 0.2


def wanted(fleet: Fleet, mode: str) -> dict[str, State]:
    """Compute what every host should hold. ClusterError if the mode cannot be had with this inventory."""
    module: Any = importlib.import_module(f"podnet.modes.{mode}")
    return {node.name: modes.wanted(module, fleet.cluster, node) for node in fleet.nodes}


def wrong(fleet: Fleet, mode: str, sample: Sample | None) -> list[str]:
    """Say what of the tables and of the reach is not as it should be, hosts and pairs by name."""
    state = wrong_state(fleet, wanted(fleet, mode))
    # What is wrong in the tables does not settle by itself.
    return state + wrong_reach(fleet, NUMBERS[mode], sample, 0 if state else PATIENCE)


def wrong_state(fleet: Fleet, want: dict[str, State]) -> list[str]:
    """Compare every host's tables, read anew, with what it should hold."""
    have, problems = seen(fleet, want)
    alias = fleet.cluster.marks.alias
    told = {name: key for name, state in have.items() if (key := state.keys.get(alias))}
    for node in fleet.nodes:
        if state := have.get(node.name):
            here = boot.fitted(resolve(want[node.name], told, state), fleet.cluster, node, state)
            found = differences(here, state, fleet.cluster.marks)
            found += obstacles(want[node.name], state, fleet.cluster, node.name)
            problems += [f"{node.name}: {sentence}" for sentence in found]
    return problems


def seen(fleet: Fleet, want: Mapping[str, State]) -> tuple[dict[str, State], list[str]]:
    """Read every host's tables, by one remote command each, and say of which hosts that was not possible."""
    answers = fleet.run_all(lambda node: tables.script(**tables.asked(want.get(node.name, State()))))
    have, problems = {}, []
    for name, answer in answers.items():
        if answer.problem:
            problems.append(answer.problem)
            continue
        try:
            with strictly(f"what {name} told of its tables"):
                have[name] = tables.parse(answer.printed.splitlines())
        except FactProcessError as e:
            problems.append(str(e))
    return have, problems


def wrong_reach(fleet: Fleet, numbers: Numbers, sample: Sample | None, patience: float) -> list[str]:
    """Ping from every pod to every pod, or as far as a sample goes, until all is as promised or `patience` is over."""
    return until_nothing(lambda: _wrong_reach(fleet, numbers, sample), patience)


def _wrong_reach(fleet: Fleet, numbers: Numbers, sample: Sample | None) -> list[str]:
    mesh = probed(fleet, numbers, sample)
    problems = [mesh.answers[node.name].problem or mesh.untold(node) for node in fleet.nodes]
    return [*filter(None, problems), *(problem for reply in mesh.all(SMALL) if (problem := mesh.fault(reply)))]


def until_nothing(problems: Callable[[], list[str]], patience: float) -> list[str]:
    """Ask again until there is no problem any more, or return those of the last time."""
    deadline = time.monotonic() + patience
    while (found := problems()) and time.monotonic() < deadline:
        time.sleep(STEP)
    return found
