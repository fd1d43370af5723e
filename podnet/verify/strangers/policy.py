"""Rules of policy routing, which are asked before the main table: whether they lead pods' packets another way."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from podnet.cluster import Node
from podnet.differences import words
from podnet.state import Route, Rule
from podnet.verify.strangers.scene import Finding, Scene, Teller, lookup

MAINS = 32766
"""The priority of the kernel's own rule for the main table."""
LOCAL = "local"
"""The table of what is the host's own, to which no pod belongs."""
ACTION = "action "
"""How ip(8) begins to say that a rule refuses packets, and names no table."""
NOT = "not"
"""How it says that a rule is for those packets for which its other words do not hold."""
SUPPRESS = "suppress_prefixlen "
"""How it says that a rule passes over what it finds with a prefix so short, or shorter: mostly the default route."""
THROW = "throw"
"""A route that leads back to the rules: the next one is asked."""


@dataclass(frozen=True)
class Detour:
    """A rule, and the route by which it leads a packet elsewhere than the main table would; None if it refuses it.

    `surely`: it asks for nothing but addresses.
    """

    rule: Rule
    route: Route | None
    surely: bool

    @property
    def said(self) -> str:
        """Spell the rule with all that it asks for."""
        added = words(self.rule)
        if NOT in self.rule.options:
            added = added.replace("rule add", "rule add not", 1)
        return ", ".join([added, *(option for option in self.rule.options if option != NOT)])

    @property
    def does(self) -> str:
        """Say what becomes of the packet."""
        return f"goes {by(self.route)}" if self.route else "is refused"

    @property
    def look(self) -> str:
        """Return the command that shows it."""
        return f"ip rule show; ip route show table {self.rule.table or 'all'}"


def detours(
    rules: Iterable[Rule], routes: Iterable[Route], source: IPv4Address, target: IPv4Address
) -> Iterator[Detour]:
    """Follow the rules that come before the main table, as the kernel does: the first that finds a route ends it."""
    known = list(routes)
    usual = lookup(known, target)
    for rule in sorted((rule for rule in rules if rule.priority < MAINS), key=lambda rule: rule.key):
        holds = _holds(rule, source, target)
        if rule.table == LOCAL or holds is False:
            continue
        refuses, surely = any(option.startswith(ACTION) for option in rule.options), holds is True
        found = lookup(known, target, rule.table)
        if not refuses and (found is None or found.kind == THROW or found.to.prefixlen <= _suppressed(rule)):
            continue
        if refuses or _way(found) != _way(usual):
            yield Detour(rule, None if refuses else found, surely)
        if surely:
            break


def policy(scene: Scene, node: Node) -> Iterator[Finding]:
    """Follow the rules for what goes to pods of a peer, and what comes from there."""
    seen, tell = scene.seen[node.name], Teller(node.name, "rule")
    for way, source, target in _ways(scene, node):
        usual = lookup(seen.have.routes, target)
        for each in detours(seen.rules, seen.have.routes | seen.elsewhere, source, target):
            if each.surely:
                main = f"goes {by(usual)}" if usual else "goes nowhere"
                says = f"what goes {way} {each.does}, and by the main table {main}: {each.said}"
                yield tell.fault(says, each.look)
            else:
                says = f"what goes {way} {each.does} under conditions that are not read here: {each.said}"
                yield tell.difference(says, each.look)


def _ways(scene: Scene, node: Node) -> Iterator[tuple[str, IPv4Address, IPv4Address]]:
    own = next((pod.address for pod in node.pods), node.gateway.ip)
    for peer in scene.cluster.peers(node) if scene.routes(node) and scene.numbers.across else ():
        to = next((pod.address for pod in peer.pods), peer.gateway.ip)
        yield f"to pods of {peer.name}", own, to
        yield f"from pods of {peer.name}", to, own


def _holds(rule: Rule, source: IPv4Address, target: IPv4Address) -> bool | None:
    """Say whether a rule is for a packet; None if it asks for more than addresses."""
    ends = ((rule.source, source), (rule.target, target))
    more = [option for option in rule.options if option != NOT and not option.startswith((ACTION, SUPPRESS))]
    if all(network is None or address in network for network, address in ends):
        said = None if rule.iif or rule.fwmark or more else True
    else:
        said = False
    return said if said is None or NOT not in rule.options else not said


def _suppressed(rule: Rule) -> int:
    lengths = [option.removeprefix(SUPPRESS) for option in rule.options if option.startswith(SUPPRESS)]
    return int(lengths[0]) if lengths else -1


def _way(route: Route | None) -> tuple[object, ...]:
    return (route.dev, route.via, route.kind) if route else ()


def by(route: Route) -> str:
    """Say how a packet goes by a route."""
    told = [f"via {route.via}" if route.via else "", f"dev {route.dev}" if route.dev else route.kind]
    return " ".join(word for word in told if word)
