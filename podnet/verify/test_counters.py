"""Packets between pods are counted by the devices that the mode has for them, and by no other of ours."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import pytest

from podnet.cluster import Node
from podnet.verify import counters
from podnet.verify.counters import Burst, Place
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.numbers import Numbers

TRIES = 3
"""Whoever works in pods has packets of his own; but what is wrong is wrong each time."""

Said = Mapping[str, Answer]


@dataclass(frozen=True)
class Step:
    """What all hosts counted before and after some bursts, and what ping said of these."""

    bursts: Sequence[Burst]
    before: Said
    sent: Said
    after: Said

    @property
    def idle(self) -> bool:
        """Say whether the bursts passed no device."""
        return all((burst.node, burst.pod) == (burst.peer, burst.to) for burst in self.bursts)


@dataclass
class Tries:
    """Bursts between nodes and within them; looked at once more only where something seems wrong."""

    fleet: Fleet
    numbers: Numbers
    made: list[list[Step]] = field(default_factory=list)

    def attempt(self, number: int) -> list[Step]:
        """Return the steps of one try; the later ones also see who is busy without any burst."""
        nodes = self.fleet.nodes
        if len(self.made) <= number:
            bursts = [counters.across(nodes) if self.numbers.across else [], counters.within(nodes)]
            self.made.append(list(self._steps(bursts if number == 0 else [*bursts, counters.itself(nodes)])))
        return self.made[number]

    def _steps(self, steps: Sequence[Sequence[Burst]]) -> Iterator[Step]:
        before = self._read()
        for bursts in steps:
            sent = self.fleet.run_all(partial(counters.sending, self.fleet.cluster, bursts))
            after = self._read()
            yield Step(bursts, before, sent, after)
            before = after

    def _read(self) -> Said:
        return self.fleet.run_all(partial(counters.script, self.fleet.cluster))


@pytest.fixture(scope="session")
def tries(fleet: Fleet, numbers: Numbers) -> Tries:
    """Have a place for what is measured."""
    return Tries(fleet, numbers)


def _faults(node: Node, tries: Tries, steps: Sequence[Step]) -> Iterator[str]:
    cluster = tries.fleet.cluster
    busy: dict[Place, int] = {}
    for step in reversed(steps):  # the last one is without bursts, if there is one
        step.sent[node.name].read()
        before, after = (counters.parse(cluster, node, said[node.name].read()) for said in (step.before, step.after))
        ways = {burst: counters.way(burst, node, after, cluster, tries.numbers) for burst in step.bursts}
        rises = list(counters.rises(node, before, after, ways.values(), busy))
        if step.idle:
            busy = {rise.device.place: max(rise.rx, rise.tx) for rise in rises}
            continue
        sent = ", ".join(str(burst) for burst, way in ways.items() if way)
        for rise in rises:
            if fault := rise.fault():
                yield f"{node.name}: {fault}, while there were {counters.BURST} pings each: {sent or 'elsewhere'}"


def test_counters_rise_on_the_way_and_nowhere_else(node: Node, tries: Tries) -> None:
    """A burst of pings is counted both ways by each device that it should pass, at both ends, and by no other."""
    found: list[str] = []
    for number in range(TRIES):
        found = list(_faults(node, tries, tries.attempt(number)))
        if not found:
            return
    pytest.fail("\n".join(found), pytrace=False)
