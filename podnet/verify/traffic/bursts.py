"""Bursts of pings on all hosts, and what all devices counted of them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from podnet.cluster import Node
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.numbers import Numbers
from podnet.verify.traffic import counters
from podnet.verify.traffic.counters import BURST, Burst, Device, Place, Rise

TRIES = 3
"""Whoever works in pods has packets of his own, and a wire may lose one; but what is wrong is wrong each time."""
PATIENCE = 3  # seconds: some NICs' drivers ask the hardware for its counters every other second only

Said = Mapping[str, Answer]


@dataclass(frozen=True)
class Step:
    """What all hosts counted before and after some bursts, and what ping said; `idle` ones pass no device."""

    bursts: Sequence[Burst]
    before: Said
    sent: Said
    after: Said
    idle: bool


@dataclass
class Bursts:
    """What was measured: between nodes and within them, once, and once more where something seems wrong."""

    fleet: Fleet
    numbers: Numbers
    made: list[list[Step]] = field(default_factory=list)

    def faults(self, node: Node) -> list[str]:
        """Say what is wrong with what a node has counted, each time."""
        found: list[str] = []
        for number in range(TRIES):
            if len(self.made) <= number:
                self.made.append(list(self._measure(again=number > 0)))
            found = list(self._faults(node, self.made[number]))
            # Where no ping comes back at all, nothing is to be gained by another look.
            if not found or any(self._unanswered(step, node) for step in self.made[number]):
                break
        return found

    @property
    def all(self) -> list[Burst]:
        """All bursts that pass devices: those between nodes first."""
        return [burst for step in self._steps for burst in step]

    @property
    def lost(self) -> set[Burst]:
        """The bursts of which, the last time, no ping came back."""
        return {
            burst
            for step in (self.made[-1] if self.made else ())
            for node in self.fleet.nodes
            for burst, count in zip(
                (burst for burst in step.bursts if burst.node == node),
                counters.answered(step.sent[node.name].printed),
                strict=False,  # a host that was not reached has told of none
            )
            if not count
        }

    @property
    def _steps(self) -> list[list[Burst]]:
        nodes = [node for node in self.fleet.nodes if not self.fleet.silent(node.name)]
        return [counters.across(nodes) if self.numbers.across else [], counters.within(nodes)]

    def _measure(self, *, again: bool) -> Iterator[Step]:
        nodes = self.fleet.nodes
        before = self._read()
        if again:  # who counts packets without any burst?
            itself = counters.itself(nodes)
            yield (step := Step(itself, before, self._send(itself), self._read(), idle=True))
            before = step.after
        for each in self._steps:
            yield (step := self._step(each, before, PATIENCE if again else 0))
            before = step.after

    def _step(self, bursts: Sequence[Burst], before: Said, patience: float) -> Step:
        step = Step(bursts, before, self._send(bursts), self._read(), idle=False)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self._lacking(step):
            step = Step(bursts, before, step.sent, self._read(), idle=False)
        return step

    def _send(self, bursts: Sequence[Burst]) -> Said:
        return self.fleet.run_all(partial(counters.sending, self.fleet.cluster, bursts))

    def _read(self) -> Said:
        return self.fleet.run_all(partial(counters.script, self.fleet.cluster))

    def _lacking(self, step: Step) -> bool:
        """Say whether pings came back that some device has not counted."""
        up = [
            node for node in self.fleet.nodes if not (step.before[node.name].problem or step.after[node.name].problem)
        ]
        whole = not any(self._unanswered(step, node) for node in up)
        return whole and any(rise.lacks for node in up for rise in self._rises(node, step, {})[1])

    def _unanswered(self, step: Step, node: Node) -> bool:
        said = step.sent[node.name].printed
        return any(count == 0 for count in counters.answered(said))

    def _counted(self, node: Node, said: Said) -> dict[Place, Device]:
        return counters.parse(self.fleet.cluster, node, said[node.name].read())

    def _rises(self, node: Node, step: Step, busy: Mapping[Place, int]) -> tuple[list[Burst], list[Rise]]:
        """Return the bursts that a node was to see, and what rose on it."""
        before, after = (self._counted(node, said) for said in (step.before, step.after))
        ways = {burst: counters.way(burst, node, after, self.fleet.cluster, self.numbers) for burst in step.bursts}
        return [burst for burst, way in ways.items() if way], list(
            counters.rises(node, before, after, ways.values(), busy)
        )

    def _absent(self, node: Node, step: Step) -> Iterator[str]:
        after = self._counted(node, step.after)
        for burst in step.bursts:
            yield from counters.absent(burst, node, after, self.fleet.cluster, self.numbers)

    def _faults(self, node: Node, steps: Sequence[Step]) -> Iterator[str]:
        busy: dict[Place, int] = {}
        for step in steps:
            step.sent[node.name].read()
            mine, rises = self._rises(node, step, busy)
            if step.idle:
                busy = {rise.device.place: max(rise.rx, rise.tx) for rise in rises}
                continue
            for burst in mine:
                step.sent[burst.node.name].read()
            sent = ", ".join(map(str, mine)) or "elsewhere"
            faults = [*dict.fromkeys(self._absent(node, step)), *(fault for rise in rises if (fault := rise.fault()))]
            for fault in faults:
                yield f"{node.name}: {fault}, while there were {BURST} pings each: {sent}"
