"""Who asks whom, over what: all hosts at once, in three remote commands each, whatever the number of pairs."""

import random
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address
from typing import TypeVar

import pytest

from podnet.cluster import Cluster, Node, Pod
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.mesh.probe import label
from podnet.verify.mesh.sampling import any_seed
from podnet.verify.numbers import Numbers
from podnet.verify.traffic import nodes, transfer
from podnet.verify.traffic.nodes import Promise, Source
from podnet.verify.traffic.transfer import (
    DEADLINE,
    LARGE,
    LONG,
    QUIET,
    SMALL,
    Asked,
    End,
    NotToldError,
    Ping,
    Ports,
    Seen,
    Talk,
    Told,
)

T = TypeVar("T")
Said = dict[str, Answer]
MOST = 64  # pods that a pod asks
NEXT = 15  # nodes with which a node exchanges much: among 16, all


@dataclass
class Exchange:
    """What was asked for, and what all hosts told; a host that told nothing fails the tests that ask it."""

    fleet: Fleet
    numbers: Numbers
    seed: int = field(default_factory=any_seed)
    """What draws whom pods ask, where there are too many."""
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    ports: dict[IPv4Address, Ports] = field(default_factory=dict)
    outside: IPv4Address | None = None
    served: Said = field(default_factory=dict)
    asked: Said = field(default_factory=dict)
    ended: Said = field(default_factory=dict)
    _told: dict[str, list[Told]] = field(default_factory=dict)
    _asked_by: dict[str, list[tuple[Node, Pod, Ports]]] = field(default_factory=dict)
    _seen: dict[str, list[Seen]] = field(default_factory=dict)

    @property
    def cluster(self) -> Cluster:
        """Return what the inventory says."""
        return self.fleet.cluster

    def run(self) -> None:
        """Listen, ask, and end it, whatever happens in between."""
        self.served = self.fleet.run_each(
            {name: transfer.serve(self._enter(name), self.token, self.ends(name)) for name in self.names}
        )
        try:
            for name in self.up:
                self._take(name, _strictly(name, partial(transfer.parse_ports, self.served[name].printed)))
            self.asked = self.fleet.run_each({name: self._ask(name) for name in self.up})
        finally:
            ends = {name: transfer.end(self._enter(name), self.token, self.ends(name)) for name in self.up}
            self.ended = self.fleet.run_each(ends)

    def _take(self, name: str, ports: dict[IPv4Address, Ports]) -> None:
        self.ports |= ports
        if name == self.fleet.outside:
            (self.outside,) = ports

    @property
    def names(self) -> list[str]:
        """All hosts: the nodes, and the one outside."""
        return [node.name for node in self.fleet.nodes] + ([self.fleet.outside] if self.fleet.outside else [])

    @property
    def up(self) -> list[str]:
        """The hosts on which all ends listen."""
        return [name for name in self.names if not self.served[name].problem]

    def ends(self, name: str) -> list[End]:
        """List where exchange.pl runs on a host: in all its pods, and on itself."""
        if name == self.fleet.outside:
            return [End("", str(self.outside or f"toward:{self.fleet.nodes[0].ip}"))]
        node = self._node(name)
        return [*(End(pod.name, str(pod.address)) for pod in node.pods), End("", str(node.ip))]

    def _node(self, name: str) -> Node:
        """Return a node with those of its pods that take part."""
        return next(node for node in self.fleet.nodes if node.name == name)

    def _enter(self, name: str) -> str:
        """Spell how a host's pods are entered; the one outside has none."""
        return "" if name == self.fleet.outside else self.fleet.enter(self._node(name))

    def _ask(self, name: str) -> str:
        asked = Asked(of_host=tuple(self.pings_of_outside()))
        if name != self.fleet.outside:
            node = self._node(name)
            talks, large = tuple(self.short(node)), tuple(self.large(node))
            asked = Asked(talks, large, tuple(self.pings_of_pods(node)), tuple(self.pings_of_node(node)))
        return transfer.ask(self._enter(name), self.token, self.ends(name), asked)

    def others(self) -> Iterator[tuple[Node, Pod, Ports]]:
        """Go through all pods that listen."""
        for node in self.fleet.nodes:
            for pod in node.pods:
                if pod.address in self.ports:
                    yield node, pod, self.ports[pod.address]

    def asked_by(self, node: Node) -> list[tuple[Node, Pod, Ports]]:
        """Return the pods that a node and its pods ask: all, or where there are too many, some by chance."""
        if node.name not in self._asked_by:
            everybody = list(self.others())
            draw = random.Random(f"{self.seed} {node.name}")  # noqa: S311  # a sample, no secret
            some = sorted(draw.sample(range(len(everybody)), min(MOST, len(everybody))))
            self._asked_by[node.name] = [everybody[number] for number in some]
        return self._asked_by[node.name]

    @property
    def left_out(self) -> str:
        """Say how likely a broken pair of pods is missed, if not all were asked."""
        if (every := len(list(self.others()))) <= MOST:
            return ""
        return (
            f"podnet: each pod tried TCP and UDP with {MOST} of {every} pods, drawn with --pairs-seed={self.seed}: "
            f"one broken pair is missed with a probability of {1 - MOST / every:.0%}; large transfers were tried with "
            f"{NEXT} nodes"
        )

    @property
    def nobody_outside(self) -> str:
        """Say what was not looked at, if no host outside was named."""
        if self.fleet.outside:
            return ""
        return (
            "podnet: how a host that is no member reaches pods, and sees them, was not looked at: name one with "
            "--outside=HOST"
        )

    def connected(self, node: Node, peer: Node) -> bool:
        """Say whether the mode lets pods of the one reach pods of the other."""
        return node == peer or self.numbers.across is not None

    def short(self, node: Node) -> Iterator[Talk]:
        """Ask every pod for a short exchange; exchange.pl leaves out the pod that asks."""
        for peer, pod, ports in self.asked_by(node):
            seconds = DEADLINE if self.connected(node, peer) else QUIET
            yield Talk("tcp", pod.address, ports.tcp, SMALL, seconds)
            yield Talk("udp", pod.address, ports.udp, SMALL, seconds)

    def large(self, node: Node) -> Iterator[Talk]:
        """Ask the first pod of the nodes that follow, and the last one of this node, for much."""
        if not node.pods:
            return
        where = self.fleet.nodes.index(node)
        peers = [*self.fleet.nodes[where + 1 :], *self.fleet.nodes[:where]][:NEXT]
        far = [peer.pods[0] for peer in peers if peer.pods and self.connected(node, peer)]
        mtu = self.cluster.underlay_mtu - self.numbers.less
        for pod in [*far, *node.pods[1:][-1:]]:
            if ports := self.ports.get(pod.address):
                yield Talk("tcp", pod.address, ports.tcp, LARGE, LONG)
                yield Talk("whole", pod.address, ports.udp, mtu - transfer.HEADERS, DEADLINE)
                yield Talk("udp", pod.address, ports.udp, mtu, DEADLINE)  # with its headers two fragments

    def talks(self, node: Node) -> set[tuple[IPv4Address, Talk]]:
        """Say which pod of a node is asked for which exchange."""
        small = {(pod.address, talk) for pod in node.pods for talk in self.short(node) if talk.to != pod.address}
        return small | {(node.pods[0].address, talk) for talk in self.large(node)}

    def pings_of_pods(self, node: Node) -> Iterator[Ping]:
        """Ask all nodes, and the host outside."""
        beyond = self.numbers.beyond
        for peer in self.fleet.nodes:
            yield Ping(peer.ip, _patience(nodes.pod_to_node(beyond, self.cluster, node, peer)))
        if self.outside:
            yield Ping(self.outside, _patience(nodes.pod_to_outside(beyond, self.cluster, node, self.outside)))

    def pings_of_node(self, node: Node) -> Iterator[Ping]:
        """Ask all pods."""
        for peer, pod, _ in self.asked_by(node):
            yield Ping(pod.address, _patience(nodes.node_to_pod(self.numbers.beyond, node, peer)))

    def pings_of_outside(self) -> Iterator[Ping]:
        """Ask the nodes on its segment, and their pods by way of them."""
        for node in self.fleet.nodes:
            if self.outside and self.outside in node.address.network:
                yield Ping(node.ip, DEADLINE)
                for pod in node.pods:
                    yield Ping(pod.address, _patience(Promise(self.numbers.beyond.inward)), via=node.ip)

    def told(self, name: str) -> list[Told]:
        """Return how a host's exchanges ended; fail the test if it did not say."""
        self.served[name].read()
        if name not in self._told:
            self._told[name] = _strictly(name, partial(transfer.parse_told, self.asked[name].read()))
        return self._told[name]

    def seen(self, name: str) -> list[Seen]:
        """Return whose pings a host has seen; fail the test if it did not say."""
        self.served[name].read()
        if name not in self._seen:
            printed, ends = self.ended[name].read(), len(self.ends(name))
            self._seen[name] = _strictly(name, partial(transfer.parse_seen, printed, ends))
        return self._seen[name]

    def told_outside(self) -> IPv4Address:
        """Return the address of the host outside; fail the test if it did not tell."""
        if self.outside is None:
            self.served[self.fleet.outside].read()
            pytest.fail(f"{self.fleet.outside} told nothing", pytrace=False)
        return self.outside

    def broken(self, source: IPv4Address, target: IPv4Address, promise: Promise | None) -> Iterator[str]:
        """Say how a ping broke its promise, if there is one."""
        (told,) = (t for t in self.told(self.host(source)) if (t.kind, t.source, t.target) == ("icmp", source, target))
        if promise and not promise.kept(told.ttl):
            seen = f"TTL {told.ttl}" if told.ttl else told.problem
            yield f"{self.pair(source, target)}: expected {promise}, saw {seen}"

    def unlike(self, host: str, sender: IPv4Address, target: IPv4Address, source: Source) -> Iterator[str]:
        """Say what is wrong with the source addresses that pings bore when they arrived on a host."""
        seen = {each.source for each in self.seen(host) if (each.sender, each.target) == (sender, target)}
        if fault := source.fault(self.cluster, seen):
            yield f"{self.pair(sender, target)}: {fault}"

    def host(self, address: IPv4Address) -> str:
        """Return the name of the host that has this end."""
        return self.called[address].partition("/")[0]

    def pair(self, source: IPv4Address, target: IPv4Address, kind: str = "") -> str:
        """Name who asked whom."""
        return f"{self.called[source]} -> {self.called[target]}" + (f": {kind}" if kind else "")

    def home(self, address: IPv4Address) -> Node:
        """Return the node that gives out a pod's address."""
        return next(node for node in self.cluster.nodes if address in node.pod_subnet)

    @property
    def called(self) -> Mapping[IPv4Address, str]:
        """How all ends are called."""
        names = {pod.address: label(node, pod) for node in self.cluster.nodes for pod in node.pods}
        names |= {node.ip: node.name for node in self.cluster.nodes}
        return names | ({self.outside: self.fleet.outside} if self.outside and self.fleet.outside else {})


def _patience(promise: Promise | None) -> int:
    """Say how long to wait for a reply: where none is promised, shortly."""
    return DEADLINE if promise and promise.ttl else QUIET


def _strictly(name: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except NotToldError as e:
        pytest.fail(f"{name}: {e}", pytrace=False)
