"""A cluster that somebody else set up, as it was seen, beside what a mode computes for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address
from typing import TypeAlias

from podnet.cluster import Cluster, Node, Pod
from podnet.state import MAIN, Bridge, Ipip, Link, Route, Rule, State, Sysctl, Vxlan, Wireguard
from podnet.verify.numbers import Numbers
from podnet.verify.strangers.filtering import Filters

Tunnel: TypeAlias = Vxlan | Ipip | Wireguard

FORWARD = Sysctl("net/ipv4/ip_forward", "1")
OUTSIDE = IPv4Address("198.51.100.1")
"""An address for documentation (RFC 5737), which stands for the rest of the world."""


@dataclass(frozen=True)
class Inside:
    """The network namespace of a pod: the path by which nsenter(1) enters it, and its tables."""

    path: str
    holds: State


@dataclass(frozen=True)
class Seen:
    """What a host printed of itself."""

    have: State
    filters: Filters = field(default_factory=Filters)
    pods: Mapping[IPv4Address, Inside] = field(default_factory=dict)
    rules: frozenset[Rule] = frozenset()
    elsewhere: frozenset[Route] = frozenset()
    """Routes of all tables, to which rules of policy routing may lead."""

    def sysctl(self, path: str) -> str | None:
        """Return a setting's value, if there is such a setting."""
        return next((item.value for item in self.have.sysctls if item.path == path), None)

    def link(self, dev: str | None) -> Link | None:
        """Return a device by its name."""
        return next((link for link in self.have.links if link.dev == dev), None)

    def held(self, dev: str) -> list[IPv4Address]:
        """Return a device's addresses."""
        return sorted(item.address.ip for item in self.have.addresses if item.dev == dev)


@dataclass(frozen=True)
class Finding:
    """In what a node is otherwise than the mode computes: the table, a sentence, and the command that shows it."""

    node: str
    table: str
    says: str
    look: str
    fault: bool

    def __str__(self) -> str:
        """Tell it whole."""
        return f"{self.node}: {self.table}: {self.says}; look: {self.look}"


@dataclass(frozen=True)
class Scene:
    """The cluster as it was seen, and as the mode computes it; `seen` has the nodes that answered."""

    cluster: Cluster
    numbers: Numbers
    wants: Mapping[str, State]
    seen: Mapping[str, Seen]

    def tunnel(self, node: Node) -> Tunnel | None:
        """Return the device that is the node's end of the tunnel: of the wanted kind, and as alike as there is one."""
        return self.tunnels.get(node.name)

    def wanted_tunnel(self, node: Node) -> Tunnel | None:
        """Return what the mode computes for it; None if its packets cross the underlay bare."""
        return next((link for link in self.wants[node.name].links if isinstance(link, Tunnel)), None)

    @cached_property
    def tunnels(self) -> dict[str, Tunnel]:
        """The same for all nodes that answered."""
        nodes = (self.cluster.node(name) for name in self.seen)
        return {node.name: tunnel for node in nodes if (tunnel := self._choose(node))}

    def _choose(self, node: Node) -> Tunnel | None:
        want, have = self.wanted_tunnel(node), self.seen[node.name].have
        used = {route.dev for route in have.routes if route.to.subnet_of(self.cluster.network)}
        alike = [link for link in have.links if isinstance(link, Tunnel) and type(link) is type(want)]
        return max(alike, key=lambda link: (link.claim == getattr(want, "claim", ()), link.dev in used), default=None)

    def routes(self, node: Node) -> bool:
        """Say whether the mode has the node route its pods' packets."""
        return FORWARD in self.wants[node.name].sysctls

    def inwards(self, node: Node) -> set[str]:
        """Name the devices by which the node reaches its own pods, or would."""
        seen = self.seen[node.name]
        targets = [pod.address for pod in node.pods] or [node.gateway.ip]
        ways = [lookup(seen.have.routes, to) for to in targets]
        return {way.dev for way in ways if way and way.dev and way.to.prefixlen and way.to.overlaps(node.pod_subnet)}

    def passed(self, node: Node, pods: Iterable[Pod]) -> list[str]:
        """Name the devices of a node that packets of these pods of its own pass, beside the uplink."""
        if (seen := self.seen.get(node.name)) is None:
            return []
        ways = [lookup(seen.have.routes, pod.address) for pod in pods]
        tunnel = self.tunnel(node)
        found = [*(way.dev for way in ways if way), tunnel.dev if tunnel else None]
        return [dev for dev in dict.fromkeys(found) if dev and dev != node.uplink]

    def cabled(self, node: Node) -> bool:
        """Say whether the node reaches its pods by a cable each, without a bridge."""
        seen = self.seen[node.name]
        links = [seen.link(dev) for dev in self.inwards(node)]
        return bool(node.pods and links) and not any(isinstance(link, Bridge) for link in links)


def lookup(routes: Iterable[Route], to: IPv4Address, table: str = MAIN) -> Route | None:
    """Choose a route of a table as the kernel does: the longest prefix, then the lowest metric."""
    fit = [route for route in routes if route.table == table and not route.tos and to in route.to]
    return min(fit, key=lambda route: (-route.to.prefixlen, route.metric), default=None)


def largest(inside: Inside) -> int | None:
    """Return the MTU of the device by which a pod sends to others."""
    way = lookup(inside.holds.routes, OUTSIDE)
    return next((link.mtu for link in inside.holds.links if way and link.dev == way.dev), None)


@dataclass(frozen=True)
class Teller:
    """Who tells of one table of one node."""

    node: str
    table: str

    def fault(self, says: str, look: str) -> Finding:
        return Finding(self.node, self.table, says, look, fault=True)

    def difference(self, says: str, look: str) -> Finding:
        return Finding(self.node, self.table, says, look, fault=False)


def listed(addresses: Iterable[IPv4Address]) -> str:
    """Tell some addresses, or that there are none."""
    return ", ".join(map(str, addresses)) or "none"
