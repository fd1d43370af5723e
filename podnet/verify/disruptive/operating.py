"""Whoever changes hosts for a test, and gives them back as they were, whatever happens meanwhile."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from podnet import inventory as ours
from podnet.cluster import Cluster, Node
from podnet.verify import applying, inventory
from podnet.verify.applying import Applied
from podnet.verify.disruptive import dump, health
from podnet.verify.disruptive.losses import Loss, NotCountedError, Pings
from podnet.verify.fleet import Fleet
from podnet.verify.numbers import NUMBERS, Numbers

Data = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Arrangement:
    """What hosts are put into, and should then be: an inventory, and a mode."""

    data: Data
    mode: str

    @cached_property
    def cluster(self) -> Cluster:
        return ours.read(self.data)

    @property
    def numbers(self) -> Numbers:
        return NUMBERS[self.mode]

    def without(self, name: str) -> "Arrangement":
        return replace(self, data={host: data for host, data in self.data.items() if host != name})

    def moved(self, name: str, address: str) -> "Arrangement":
        return replace(self, data={**self.data, name: {**self.data[name], "address": address}})

    def into(self, mode: str) -> "Arrangement":
        return replace(self, mode=mode)


@dataclass
class Operator:
    """The hosts that were named, as `given`; `now` is how they all are, if that is known."""

    hosts: Fleet
    given: Arrangement
    source: Path
    folder: Path
    disconnect: Callable[[], None]
    say: Callable[[str], None]
    left: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Believe at first that the hosts are as given."""
        self.now: Arrangement | None = self.given

    def fleet(self, arrangement: Arrangement) -> Fleet:
        """Return those of the hosts that are in an arrangement, as nodes of its cluster."""
        return Fleet(arrangement.cluster, self.hosts.only(arrangement.data).hosts)

    def apply(self, arrangement: Arrangement) -> Applied:
        """Put the hosts of an arrangement into it; fail the test if one of them is not changed as it should."""
        self.now = None
        fleet = self.fleet(arrangement)
        source = self.source
        if arrangement.data != self.given.data:
            source = self.folder / "inventory.py"
            inventory.write(source, arrangement.data)
        applied = self._run(source, applying.of_mode(arrangement.mode), fleet.nodes, f"apply {arrangement.mode}")
        if len(fleet.nodes) == len(self.hosts.nodes):
            self.now = arrangement
        return applied

    def teardown(self, node: Node) -> Applied:
        """Take all of podnet's away from a host."""
        self.now = None
        return self._run(self.source, applying.TEARDOWN, [node], "the teardown")

    def _run(self, source: Path, deploy: str, nodes: Iterable[Node], what: str) -> Applied:
        script = self.folder / "deploy.py"
        script.write_text(deploy)
        done = applying.run(source, script, [node.name for node in nodes])
        if done.code or done.failed:
            who = ", ".join(sorted(done.failed)) or "every host"
            pytest.fail(f"{what} failed on {who}: {done.said}", pytrace=False)
        return done

    def wrong(self, arrangement: Arrangement) -> list[str]:
        """Say what is not as the arrangement says, of tables and reach."""
        problems = health.wrong(self.fleet(arrangement), arrangement.mode)
        if problems:
            self.now = None
        return problems

    @contextmanager
    def borrowed(self, how: str) -> Iterator[None]:
        """Change the hosts inside; if they are not as given at the end, they are put back. `how` they may be left."""
        if self.left:
            pytest.fail(f"nothing more is changed: {self.left[0]}", pytrace=False)
        try:
            yield
        finally:
            self.put_back(how)

    def put_back(self, how: str) -> None:
        """Apply what was given, unless all hosts are known to be so, and look whether they are; note it if not."""
        if self.now == self.given:
            return
        self.say(f"podnet: putting {self.names} back as they were; wait for it")
        problems = ["it was interrupted"]
        try:
            self.apply(self.given)
            problems = self.wrong(self.given)
        except pytest.fail.Exception as e:
            problems = [str(e)]
        finally:
            if problems:
                self.left.append(f"{how}, and could not be put back: {'; '.join(problems)}")

    @property
    def names(self) -> str:
        """Name the hosts in a sentence."""
        return ", ".join(node.name for node in self.hosts.nodes)

    @contextmanager
    def counting(self, what: str, nodes: Iterable[Node], numbers: Numbers | None = None) -> Iterator[list[Loss]]:
        """Count in the list what is lost between these nodes' pods while something is done inside."""
        losses: list[Loss] = []
        try:
            pings = Pings(self.hosts, nodes, numbers or self.given.numbers)
            try:
                yield losses
            finally:
                losses += pings.end()
        except NotCountedError as e:
            pytest.fail(f"{what}: lost packets could not be counted: {e}", pytrace=False)
        self.lost.append(told(what, losses, numbers or self.given.numbers))

    def undo(self, node: Node, script: str, left: str) -> None:
        """Take back what was changed on a host beside podnet; note how it is `left` if that fails."""
        problem = "it was interrupted"
        try:
            problem = self.hosts.run(node, script).problem
        finally:
            if problem:
                self.left.append(f"{left}: {problem}")

    def dump(self) -> dict[str, str]:
        """Write down every host; fail the test if one does not answer."""
        return {name: answer.read() for name, answer in self.hosts.run_all(lambda _: dump.SCRIPT).items()}

    def run(self, node: Node, script: str) -> str:
        """Run a script on one host, and return what it printed; fail the test if it fails."""
        return self.hosts.run(node, script).read()


def fail_if(problems: Iterable[object], when: str) -> None:
    """Fail the test with all of them, if there are any, and say when that was seen."""
    if lines := [f"  {problem}" for problem in problems]:
        pytest.fail("\n".join([f"{when}:", *lines]), pytrace=False)


def fail_if_lost(losses: Iterable[Loss], during: str) -> None:
    """Fail the test if a packet was lost, and name the pairs; skip it if nothing could be lost."""
    fail_if([loss for loss in losses if loss.lost], f"expected no packet to be lost during {during}, saw")
    if not losses:
        pytest.skip(f"nothing was counted during {during}: that takes a host with two pods, or two hosts with pods")


NONE_ACROSS = "no pair across nodes was looked at: that takes two hosts with pods that stay as they are"


def told(what: str, losses: list[Loss], numbers: Numbers) -> str:
    """Sum up for the end of the run, and say if nothing was looked at of what the mode connects."""
    sent, lost = sum(loss.sent for loss in losses), sum(loss.lost for loss in losses)
    worst = max(losses, key=lambda loss: loss.in_a_row, default=None)
    pause = f"; at worst {worst}" if worst and worst.lost else ""
    unseen = f"; {NONE_ACROSS}" if numbers.across and not any(loss.pair.crosses for loss in losses) else ""
    return f"{what}: {lost} of {sent} packets lost between {len(losses)} pairs{pause}{unseen}"
