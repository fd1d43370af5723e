"""Rules of policy routing, which are asked before the main table: whether they lead pods' packets another way."""

from collections.abc import Iterator
from ipaddress import IPv4Address

from podnet.cluster import Node
from podnet.differences import words
from podnet.state import MAIN, Route, Rule
from podnet.verify.strangers.scene import Finding, Scene, Teller, lookup

MAINS = 32766
"""The priority of the kernel's own rule for the main table."""
ACTION = "action "
"""How ip(8) begins to say that a rule refuses packets, and names no table."""


def policy(scene: Scene, node: Node) -> Iterator[Finding]:
    """Follow the rules that come before the main table, for what goes to pods of a peer, and what comes from there."""
    seen, tell = scene.seen[node.name], Teller(node.name, "rule")
    earlier = sorted((rule for rule in seen.rules if rule.priority < MAINS), key=lambda rule: rule.key)
    for way, source, target in _ways(scene, node):
        usual = lookup(seen.have.routes, target)
        for rule in earlier:
            if rule.table in {"local", MAIN} or not _fits(rule, source, target):
                continue
            refuses = any(option.startswith(ACTION) for option in rule.options)
            conditional = bool(rule.iif or rule.fwmark) or len(rule.options) > refuses
            found = lookup(seen.elsewhere, target, rule.table)
            if not refuses and found is None:
                continue
            if refuses or _way(found) != _way(usual):
                does = f"goes {_by(found)}" if found else "is refused"
                said = ", ".join([words(rule), *rule.options])
                look = f"ip rule show; ip route show table {rule.table or 'all'}"
                if conditional:
                    says = f"what goes {way} {does} under conditions that are not read here: {said}"
                    yield tell.difference(says, look)
                else:
                    main = f"goes {_by(usual)}" if usual else "goes nowhere"
                    yield tell.fault(f"what goes {way} {does}, and by the main table {main}: {said}", look)
            if not conditional:
                break


def _ways(scene: Scene, node: Node) -> Iterator[tuple[str, IPv4Address, IPv4Address]]:
    own = next((pod.address for pod in node.pods), node.gateway.ip)
    for peer in scene.cluster.peers(node) if scene.routes(node) and scene.numbers.across else ():
        to = next((pod.address for pod in peer.pods), peer.gateway.ip)
        yield f"to pods of {peer.name}", own, to
        yield f"from pods of {peer.name}", to, own


def _fits(rule: Rule, source: IPv4Address, target: IPv4Address) -> bool:
    ends = ((rule.source, source), (rule.target, target))
    return all(network is None or address in network for network, address in ends)


def _way(route: Route | None) -> tuple[object, ...]:
    return (route.dev, route.via, route.kind) if route else ()


def _by(route: Route) -> str:
    told = [f"via {route.via}" if route.via else "", f"dev {route.dev}" if route.dev else route.kind]
    return " ".join(word for word in told if word)
