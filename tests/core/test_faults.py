"""The published score of what the verification detects: complete, current, and good enough."""

import json
from typing import Any

import pytest

from podnet import modes
from podnet.cluster import Cluster
from podnet.inventory import read
from podnet.labs.plan import Lab
from tests.core import goldens
from tests.core.examples import GROUP
from tests.faults.faults import Damage, faults
from tests.faults.page import DATA, PAGE, rendered
from tests.faults.place import Place
from tests.faults.score import CONTAINERS, TWO_SEGMENTS, VICTIM, Failed, judged
from tests.lab.nics import FIRST, SECOND

MEASURED: dict[str, Any] = json.loads(DATA.read_text())


def of_lab(mode: str) -> Cluster:
    """Read the inventory of the lab that a mode's score is measured on."""
    lab = Lab("faults", 3, 2 if mode in TWO_SEGMENTS else 1)
    return read(
        {
            node.name: {
                "address": str(node.address),
                "uplink": node.nics[0].dev,
                "pod_subnet": f"10.244.{number}.0/24",
                "pods": 2,
                "nics": {"pod1": FIRST, "pod2": SECOND} if mode == "sriov" else {},
                **GROUP,
            }
            for number, node in enumerate(lab.nodes, 1)
        }
    )


def inflicted(mode: str) -> dict[str, Damage]:
    """Name all faults that apply to a mode."""
    of = of_lab(mode)
    victim = of.node(VICTIM)
    return faults(Place(of, victim, modes.wanted(goldens.mode(mode), of, victim)))


def test_the_page_is_made_of_the_data() -> None:
    """Nobody has edited the one without the other: `python -m tests.faults.page` writes it anew."""
    assert PAGE.read_text() == rendered(MEASURED)


@pytest.mark.parametrize("mode", goldens.MODES)
def test_each_fault_of_the_list_was_inflicted(mode: str) -> None:
    """A fault that was added, or that is gone, shows that the score must be measured again: `make fault-score`."""
    of = MEASURED[mode]
    assert [*of["faults"]] == [name for name in inflicted(mode) if name not in of["lacks"]]
    assert set(of["lacks"]) <= {"checksums not left to the hardware"}


def test_there_are_enough_faults() -> None:
    """They differ, and some modes can be broken in many ways."""
    names = {name for mode in CONTAINERS for name in inflicted(mode)}
    assert len(names) >= 40


@pytest.mark.parametrize("mode", sorted(MEASURED))
def test_the_score_is_good_enough(mode: str) -> None:
    """All were caught, and a healthy lab raised no alarm."""
    assert [name for name, result in MEASURED[mode]["faults"].items() if not result["tests"]] == []
    assert MEASURED[mode]["alarms"] == []


def test_nearly_all_causes_are_named() -> None:
    """At least 95 % of them."""
    results = [result for of in MEASURED.values() for result in of["faults"].values()]
    assert sum(result["right"] for result in results) >= 0.95 * len(results)
    assert sum(of["runs"] for mode, of in MEASURED.items() if mode in CONTAINERS) >= 20


def test_a_cause_is_right_only_if_every_pair_names_it() -> None:
    """One pair that accuses another table makes the whole wrong, and a symptom is no cause."""
    damage = Damage("ip link del flannel.1", "missing link: link add flannel.1")
    good, bad = "  cause: node2: missing link: link add flannel.1", "  cause: node1: missing route"
    state = Failed("test_state", ("node2: missing link: link add flannel.1",))
    assert judged(damage, [state, Failed("test_reach", ("a -> b: no reply", good))], 1.0).right
    assert judged(damage, [state], 1.0).right
    assert not judged(damage, [state, Failed("test_reach", ("a -> b: no reply", good, "a -> c", bad))], 1.0).right
    assert not judged(damage, [Failed("test_reach", ("a -> b: no reply",))], 1.0).right
    assert not judged(damage, [], 1.0).caught
