"""What a failed test says beyond what it has seen: for every pair the first table on its way that is wrong."""

import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Protocol

from pyinfra.api import FactProcessError

from podnet import boot, nics, pods
from podnet.cluster import Cluster, Node, Pod
from podnet.facts import node as tables
from podnet.facts.reading import strictly
from podnet.keys import resolve
from podnet.state import Ipip, State, Vxlan, Wireguard
from podnet.verify import capture
from podnet.verify.diagnosis import evidence
from podnet.verify.diagnosis.causes import Cause, End, Host, Trip, cables_of, causes, outside, tried, untold
from podnet.verify.diagnosis.evidence import WINDOW, Evidence, Ping
from podnet.verify.diagnosis.refusals import ICMP
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.traffic import transfer

TUNNELS = (Vxlan, Ipip, Wireguard)
MOST = 8
"""How many of a node's failed pairs are pinged once more, and how many of their causes are told."""


@dataclass(frozen=True)
class Problem:
    """What is wrong between two pods, NODE/POD each, or a node and a pod; the packets' size if it is about that.

    `protocol` is the number of what fails, `outside` the address of an end that is no member; `passes`: packets arrive,
    and only the way is in doubt.
    """

    source: str
    target: str
    said: str
    size: int | None = None
    protocol: int = ICMP
    outside: IPv4Address | None = None
    passes: bool = False


class Explains(Protocol):
    """Who says why something failed."""

    def explained(self, problems: Sequence[Problem]) -> list[str]:
        """Say each problem with its cause, if there is any."""
        ...


@dataclass(frozen=True)
class Unexplained:
    """Leaves problems as they are: of somebody else's hosts the tests of their tables name what is wrong."""

    captures: "Captures | None" = None

    def explained(self, problems: Sequence[Problem]) -> list[str]:
        """Say each problem."""
        told = [problem.said for problem in problems]
        return [*told, *self.captures.of(problems[0])] if problems and self.captures else told


def ends_of(fleet: Fleet, problem: Problem) -> tuple[End, End] | None:
    """Find the two ends; None if one of them is nobody whose tables are known."""
    source, target = (_end(fleet, label, problem.outside) for label in (problem.source, problem.target))
    return (source, target) if source and target else None


def _end(fleet: Fleet, label: str, address: IPv4Address | None) -> End | None:
    """Find a pod by its label, or a node by its name."""
    if address and label == fleet.outside:
        return outside(label, address)
    name, _, pod = label.partition("/")
    nodes = [node for node in fleet.nodes if node.name == name]
    found = [End(node, each) for node in nodes for each in node.pods if pod == each.name]
    return next(iter(found if pod else map(End, nodes)), None)


@dataclass(frozen=True)
class Captures:
    """What both ends see of a pair, on cables, tunnels and uplinks, while the pair tries again.

    `devices` names those of a node that packets of some of its pods pass, beside the uplink.
    """

    fleet: Fleet
    devices: Callable[[Node, Sequence[Pod]], Sequence[str]]
    _taken: dict[tuple[str, str, int | None, int], list[str]] = field(default_factory=dict)

    def of(self, problem: Problem) -> list[str]:
        """Show it; what several tests fail for is captured once."""
        what = (problem.source, problem.target, problem.size, problem.protocol)
        if what not in self._taken:
            self._taken[what] = list(self._take(problem))
        return self._taken[what]

    def _take(self, problem: Problem) -> Iterator[str]:
        ends = ends_of(self.fleet, problem)
        if ends is None:
            return
        source, target = ends
        # A node speaks to pods from the address of whichever device leads to them.
        inner = " and ".join(f"host {end.address}" for end in ends if end.pod)
        outer = f"host {source.node.ip} and host {target.node.ip} and not tcp"
        again = capture.slowly(target.address, problem.size)
        if problem.protocol != ICMP and problem.size is None:
            again = evidence.knock(problem.protocol, target.address)
        again = f"enter {source.pod.name} {again}" if source.pod else again

        def script(node: Node) -> str:
            own = self.devices(node, [end.pod for end in ends if end.node == node and end.pod])
            uplink = f"({inner}) or ({outer})" if source.node != target.node else inner
            filters = dict.fromkeys(own, inner) | {node.uplink: uplink}
            tries = again if node == source.node else "true"
            return capture.seen(filters, self.fleet.enter(node), tries)

        scripts = {end.node.name: script(end.node) for end in ends if end.node in self.fleet.nodes}
        answers = self.fleet.run_each(scripts | again_from_outside(self.fleet, [ends]))
        for name in scripts:
            answer = answers[name]
            yield f"  {problem.source} -> {problem.target} as {name} sees it:"
            yield textwrap.indent(answer.problem or answer.printed.rstrip(), "    ")


def again_from_outside(fleet: Fleet, trips: Iterable[tuple[End, End]]) -> dict[str, str]:
    """Spell how the host outside tries again to reach pods, handed to their nodes as before; nothing if it need not."""
    tried = [(source.address, target) for source, target in trips if source.node.name == fleet.outside]
    pings = [transfer.Ping(target.node.ip, WINDOW) for _, target in tried]
    pings += [transfer.Ping(target.address, WINDOW, via=target.node.ip) for _, target in tried]
    ends = [transfer.End("", str(own)) for own, _ in tried[:1]]
    asked = transfer.Asked(of_host=tuple(dict.fromkeys(pings)))
    return {fleet.outside: transfer.ask("", "again", ends, asked)} if tried else {}


def keys(haves: Mapping[str, State], cluster: Cluster) -> dict[str, str]:
    """Collect the public keys of the nodes that have any."""
    return {name: key for name, have in haves.items() if (key := have.keys.get(cluster.marks.alias))}


@dataclass
class Inquiry:
    """Reads further when the first pair has failed, and of two nodes where that tells nothing; then explains any."""

    fleet: Fleet
    want: Mapping[str, State]
    tables: Callable[[], Mapping[str, Answer]]
    """Reads what all hosts hold, or has read it: where nothing fails nobody is asked."""
    shows: bool = False
    """Whether captures are wanted."""
    _asked: list[dict[str, Host]] = field(default_factory=list)
    """What the hosts told, each time that they were asked."""
    _silent: dict[str, str] = field(default_factory=dict)
    _unread: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take captures where what is there is known."""
        self.captures = Captures(self.fleet, self._passed) if self.shows else None

    def explained(self, problems: Sequence[Problem]) -> list[str]:
        """Say each problem with its cause, if there is any."""
        self._ask_for(problems)
        told = [f"{problem.said}{self._cause(problem)}" for problem in problems]
        return [*told, *self.captures.of(problems[0])] if problems and self.captures else told

    def named(self, problems: Sequence[Problem]) -> list[str]:
        """Name what is wrong on the way of any of these pairs, which may fail or not; nothing if no table is."""
        self._ask_for(problems)
        found = [f"  cause: {cause}" for problem in problems for cause in self._found(problem)[:1]]
        return list(dict.fromkeys(found))

    def _ask_for(self, problems: Sequence[Problem]) -> None:
        """Ask all hosts once; those between which nothing was sent again, and no table is wrong, once more."""
        if problems and not self._asked:
            self._ask(problems[:MOST], self.fleet.nodes)
        between: dict[frozenset[str], Problem] = {}
        for problem in problems:
            if (trip := self._trip(problem)) and untold(trip):
                between.setdefault(frozenset(node.name for node in trip.nodes), problem)
        if between:
            again = [*between.values()][:MOST]
            names = frozenset[str]().union(*[*between][:MOST])
            self._ask(again, [node for node in self.fleet.nodes if node.name in names])

    def _trip(self, problem: Problem) -> Trip | None:
        """Find two ends whose tables are known, and what the hosts told when these two were tried again."""
        ends = ends_of(self.fleet, problem)
        if ends is None or any(end.node.name in self._silent for end in ends):
            return None
        tables_only = problem.passes or bool(self._pingless(ends))
        trips = [
            Trip(self.fleet.cluster, hosts, *ends, problem.size, problem.protocol, tables_only) for hosts in self._asked
        ]
        return next(filter(tried, trips), trips[0])

    def _found(self, problem: Problem) -> list[Cause]:
        """Find what is wrong between two ends."""
        trip = self._trip(problem)
        return causes(trip) if trip else []

    def _pingless(self, ends: Iterable[End]) -> list[str]:
        """Name the ends' nodes that could not try again, so that counters tell nothing."""
        names, told = dict.fromkeys(end.node.name for end in ends), next(iter(self._asked), {})
        return [name for name in names if name in told and not told[name].more.pings]

    def _cause(self, problem: Problem) -> str:
        ends = ends_of(self.fleet, problem)
        if ends is None:
            return ""
        for end in ends:
            if end.node.name in self._silent:
                return f"\n  cause: {self._silent[end.node.name]}"
        found = self._found(problem)
        if not found and (pingless := self._pingless(ends)):
            who = ", ".join(pingless)
            return f"\n  cause: no table that was read is wrong; {who} has no ping to try again: install iputils-ping"
        if not found:
            unread = [said for end in ends if (said := self._unread.get(end.node.name))]
            also = f" (further tables were not read: {unread[0]})" if unread else ""
            return (
                f"\n  cause: no table that was read is wrong on either node; --captures shows where packets end{also}"
            )
        also = f"; and {len(found) - 1} more behind it" if len(found) > 1 else ""
        return f"\n  cause: {found[0]}{also}"

    def _passed(self, node: Node, own: Sequence[Pod]) -> list[str]:
        """Name the cables of these pods, and the tunnels, that are there."""
        want = self.want[node.name]
        told = next(iter(self._asked), {})
        there = {link.dev for link in told[node.name].have.links} if node.name in told else set()
        found = cables_of(self.fleet.cluster, want, [End(node, pod) for pod in own])
        found += sorted(link.dev for link in want.links if isinstance(link, TUNNELS))
        return [dev for dev in found if dev in there]

    def _ask(self, again: Sequence[Problem], nodes: Sequence[Node]) -> None:
        """Have these hosts tell more, at the same time, while those that failed try again."""
        read = self.tables()
        haves = {}
        for name, answer in read.items():
            try:
                with strictly(f"what {name} told of its tables"):
                    haves[name] = tables.parse(answer.printed.splitlines())
            except FactProcessError as e:
                self._silent[name] = answer.problem or str(e)
        told = keys(haves, self.fleet.cluster)
        pings = {node.name: self._pings(node, haves.get(node.name, State()), again) for node in nodes}
        scripts = {
            node.name: self._script(node, haves.get(node.name, State()), pings[node.name], again) for node in nodes
        }
        outward = [ends for problem in again if (ends := ends_of(self.fleet, problem))]
        answers = self.fleet.run_each(scripts | again_from_outside(self.fleet, outward))
        hosts = dict(self._asked[0]) if self._asked else {}
        for node in nodes:
            if node.name not in self._silent:
                more = replace(self._further(node.name, answers[node.name]), tried=tuple(pings[node.name]))
                hosts[node.name] = self._host(node, haves[node.name], more, told)
        self._asked.append(hosts)

    def _further(self, name: str, answer: Answer) -> Evidence:
        try:
            with strictly(f"what {name} told further"):
                return evidence.parse(answer.printed)
        except FactProcessError as e:
            self._unread[name] = answer.problem or str(e)
            return Evidence()

    def _host(self, node: Node, have: State, more: Evidence, told: Mapping[str, str]) -> Host:
        want = resolve(self.want[node.name], told, have)
        want = boot.fitted(want, self.fleet.cluster, node, have)
        return Host(node, nics.placed(want, have, self.fleet.cluster.marks), have, more)

    def _there(self, node: Node, have: State) -> list[str]:
        """List the pods' namespaces: only one that is there can be asked, of one that is missing the tables tell."""
        names = [pods.netns(pod, self.fleet.cluster.marks) for pod in node.pods]
        return [netns for netns in names if netns in have.pods and have.pods[netns].links]

    def _pings(self, node: Node, have: State, again: Iterable[Problem]) -> list[Ping]:
        """List what this node sends again. Both ends do: so both count for as long, and each direction is tried."""
        marks, there = self.fleet.cluster.marks, self._there(node, have)
        trips = [(*ends, problem.size, problem.protocol) for problem in again if (ends := ends_of(self.fleet, problem))]
        trips += [(target, source, size, protocol) for source, target, size, protocol in trips]
        return [
            Ping(netns, target.address, size, protocol)
            for source, target, size, protocol in dict.fromkeys(trips)
            if source.node == node and (netns := pods.netns(source.pod, marks) if source.pod else "") in {"", *there}
        ]

    def _script(self, node: Node, have: State, pings: Collection[Ping], again: Iterable[Problem]) -> str:
        """Spell what this node is asked."""
        ends = [end for problem in again for end in ends_of(self.fleet, problem) or ()]
        peers = {end.node.ip for end in ends} - {node.ip}
        return evidence.script(pings, map(str, sorted(peers)), self._there(node, have))
