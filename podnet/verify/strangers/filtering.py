"""What a host's firewall does with a packet, whoever wrote it, and in whose chains: iptables' and nft's, read alike.

Only what tells one path through a host from another is looked at: addresses, devices, the protocol and the port to
which a tunnel sends, and that the packet begins a connection. Every other condition may hold or not, so that the
answer is a set of outcomes, each with the words that decide it.
"""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NamedTuple, TypeAlias

from podnet.facts.chains import BY
from podnet.facts.openings import TABLES_OF_IPTABLES
from podnet.firewall import NFT

ACCEPT, DROP, MASQUERADE, RETURN, PERHAPS = "accept", "drop", "masquerade", "return", "perhaps"
"""What may become of a packet; `perhaps`: nobody can tell from the rule alone."""
NEW, UNTRACKED, ESTABLISHED = "new", "untracked", "established"
UDP, IP_IN_IP = frozenset({"udp", "17"}), frozenset({"ipencap", "ipv4", "4"})
"""The names that programs have for a protocol."""
TARGETS = {
    "ACCEPT": ACCEPT,
    "DROP": DROP,
    "REJECT": DROP,
    "RETURN": RETURN,
    "MASQUERADE": MASQUERADE,
    "SNAT": MASQUERADE,
    "NFQUEUE": PERHAPS,
}
STATEMENTS = {
    "accept": ACCEPT,
    "drop": DROP,
    "reject": DROP,
    "return": RETURN,
    "masquerade": MASQUERADE,
    "snat": MASQUERADE,
    "queue": PERHAPS,
    "vmap": PERHAPS,
    "xt": PERHAPS,
}
CALLS = ("jump", "goto")
LIMITS = {"limit", "quota", "ct count"}
"""Statements of nft's behind which a rule ends for some packets, and goes on for others."""
CARRIED = {"tcp", "udp", "udplite", "sctp", "dccp", "esp", "ah", "icmp", "icmpv6"}
"""Protocols of whose fields nft asks only packets that are theirs."""
HOOKS = {("filter", hook) for hook in ("input", "forward", "output")} | {("nat", "postrouting")}
"""The chains that are read: by their table in iptables, and by their type in nft."""
EARLY = {("raw", "prerouting"), ("mangle", "prerouting")}
"""Those of iptables before a packet is routed."""


class Packet(NamedTuple):
    """The first packet of a connection, on its way through a host.

    `protocols` has all names of its protocol, none where any is meant. Whether the kernel tracks the connections of a
    tunnel, and knows this one already, cannot be told from outside: it takes the packet for one of `states`.
    """

    source: IPv4Address
    target: IPv4Address
    iif: str | None
    oif: str | None
    protocols: frozenset[str] = frozenset()
    port: int | None = None
    states: frozenset[str] = frozenset({NEW})


Condition: TypeAlias = Callable[[Packet], bool | None]
"""None: it may hold or not."""


class Outcome(NamedTuple):
    """What may become of a packet, and the words of the rule, or of the policy, that decides it."""

    act: str
    words: str


@dataclass(frozen=True)
class Rule:
    """A rule: it does `act`, or has the chain `to` asked, if all conditions hold."""

    conditions: tuple[Condition, ...]
    act: str | None
    to: str | None
    words: str

    def holds(self, packet: Packet) -> bool | None:
        """Say whether the rule is for this packet; None if it may be."""
        said = [condition(packet) for condition in self.conditions]
        return False if False in said else None if None in said else True


@dataclass(frozen=True)
class Base:
    """A chain that the kernel asks by itself, at one of its hooks; `look` is the command that shows it."""

    hook: str
    chain: str
    policy: str
    rules: Mapping[str, Sequence[Rule]]
    look: str

    def outcomes(self, packet: Packet) -> frozenset[Outcome]:
        """Say what may become of a packet here."""
        said = self._walk(self.chain, packet, frozenset())
        policy = Outcome(self.policy, f"the policy of {self.chain}, {self.policy}")
        return frozenset(policy if outcome.act == RETURN else outcome for outcome in said)

    def _walk(self, chain: str, packet: Packet, above: frozenset[str]) -> frozenset[Outcome]:
        found: set[Outcome] = set()
        for rule in () if chain in above else self.rules.get(chain, ()):
            holds = rule.holds(packet)
            if holds is False:
                continue
            if rule.to:
                inner = self._walk(rule.to, packet, above | {chain})
                found |= {outcome for outcome in inner if outcome.act != RETURN}
                ends = all(outcome.act != RETURN for outcome in inner)
            else:
                found |= {Outcome(rule.act, rule.words)} if rule.act else set()
                ends = rule.act not in {None, PERHAPS}
            if holds and ends:
                return frozenset(found)
        return frozenset(found | {Outcome(RETURN, f"the end of {chain}")})


@dataclass(frozen=True)
class Filters:
    """All base chains of a host."""

    bases: tuple[Base, ...] = ()

    def at(self, hook: str) -> Iterator[Base]:
        """Go through those of one hook."""
        return (base for base in self.bases if base.hook == hook)


def read(lines: Iterable[str]) -> Filters:
    """Read what podnet.facts.chains.SCRIPT printed."""
    said: dict[str, list[str]] = {}
    kind = ""
    for line in lines:
        if line.startswith(BY):
            tool, _, of = line.removeprefix(BY).partition(" ")
            kind = of or kind
            current = said.setdefault(tool, [])
        elif said:
            current.append(line)
    # The newer kind of iptables writes tables of nft's, which nft then shows once more.
    shared = kind == "nf_tables" or any(tool.endswith("-nft") for tool in said)
    bases: list[Base] = []
    for tool, printed in said.items():
        bases += _of_nft("".join(printed), shared=shared) if tool == NFT else _of_iptables(printed, f"{tool}-save")
    return Filters(tuple(bases))


def _of_iptables(lines: Iterable[str], program: str) -> Iterator[Base]:
    chains: dict[str, dict[str, list[Rule]]] = {}
    policies: list[tuple[str, str, str]] = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if line.startswith("*"):
            table = line[1:]
            chains[table] = {}
        elif line.startswith(":"):
            chains[table].setdefault(word[1:], [])
            policies += [(table, word[1:], rest.split()[0])] if not rest.startswith("-") else []
        elif line.startswith("-A "):
            chain, _, words = rest.partition(" ")
            chains[table][chain].append(_rule_of_iptables(words, chains[table]))
    for table, chain, policy in policies:
        if (table, chain.lower()) in HOOKS | EARLY:
            yield Base(chain.lower(), chain, policy.lower(), chains[table], f"{program} -t {table}")


def _rule_of_iptables(words: str, chains: Mapping[str, object]) -> Rule:
    conditions: list[Condition] = []
    target = ""
    for negated, name, *values in _options(shlex.split(words)):
        match (name, values):
            case (("-j" | "-g"), [called, *_]):
                target = called
                break  # what follows are the target's own options
            case (("-m" | "--comment"), _):
                pass
            case (("-s" | "-d"), [network]):
                conditions.append(_within(name == "-s", IPv4Network(network, strict=False), negated=bool(negated)))
            case (("-i" | "-o"), [device]):
                conditions.append(_by(name == "-i", device.replace("+", "*"), negated=bool(negated)))
            case (("--ctstate" | "--state"), [states]):
                conditions.append(_in_state(states.lower().split(","), negated=bool(negated)))
            case ("-p", [protocol]):
                conditions.append(_any([_carries(protocol)], negated=bool(negated)))
            case (("--dport" | "--dports"), [ports]):
                ends = [port.partition(":") for port in ports.split(",")]
                tests = [_to_port(int(first), int(last or first)) for first, _, last in ends]
                conditions.append(_any(tests, negated=bool(negated)))
            case _:
                conditions.append(_unknown)
    act = TARGETS.get(target)
    return Rule(tuple(conditions), act, target if act is None and target in chains else None, words)


def _options(words: Sequence[str]) -> list[list[str]]:
    """Split a rule into its options: whether it is negated ("!" or nothing), its name, its values."""
    said: list[list[str]] = []
    negated = ""
    for word in words:
        if word == "!":
            negated = word
        elif word.startswith("-"):
            said.append([negated, word])
            negated = ""
        elif said:
            said[-1].append(word)
    return said


def _of_nft(printed: str, *, shared: bool) -> Iterator[Base]:
    rules: dict[tuple[str, str], dict[str, list[Rule]]] = {}
    hooked: list[dict[str, Any]] = []
    for item in json.loads(printed)["nftables"]:
        ((kind, entry),) = item.items()
        if kind not in {"chain", "rule"} or entry["family"] not in {"ip", "inet"}:
            continue
        if shared and entry["family"] == "ip" and entry["table"] in TABLES_OF_IPTABLES:
            continue
        chains = rules.setdefault((entry["family"], entry["table"]), {})
        if kind == "rule":
            chains.setdefault(entry["chain"], []).append(_rule_of_nft(entry["expr"]))
        elif "hook" in entry:
            hooked.append(entry)
    for entry in hooked:
        family, table, chain = entry["family"], entry["table"], entry["name"]
        if (entry["type"], entry["hook"]) in HOOKS | {("filter", "prerouting")}:
            look = f"nft list table {family} {table}"
            yield Base(entry["hook"], chain, entry.get("policy", ACCEPT), rules[family, table], look)


def _rule_of_nft(said: Sequence[Mapping[str, Any]]) -> Rule:
    words = json.dumps(said)
    conditions = [each for statement in said if "match" in statement for each in _conditions(statement["match"])]
    conditions += [_unknown for statement in said if statement.keys() & LIMITS]
    for statement in said:
        for word, value in statement.items():
            if word in CALLS:
                return Rule(tuple(conditions), None, value["target"], words)
            if word in STATEMENTS:
                return Rule(tuple(conditions), STATEMENTS[word], None, words)
    return Rule(tuple(conditions), None, None, words)


def _conditions(match: Mapping[str, Any]) -> Iterator[Condition]:
    """Read a condition of nft's, and what it asks for unsaid: that there is such a field."""
    yield _condition(match) if match["op"] in {"==", "!=", "in"} else _unknown
    match match["left"]:
        case {"payload": {"protocol": "ip6"}}:
            yield lambda _: False
        case {"payload": {"protocol": str(protocol)}} if protocol in CARRIED:
            yield _carries(protocol)


def _condition(match: Mapping[str, Any]) -> Condition:
    negated = match["op"] == "!="
    right = match["right"]
    values = right["set"] if isinstance(right, dict) and "set" in right else right
    values = values if isinstance(values, list) else [values]
    match match["left"]:
        case {"payload": {"protocol": "ip", "field": "saddr" | "daddr" as field}}:
            networks = [_network(value) for value in values]
            if None in networks:
                return _unknown
            tests = [_within(field == "saddr", network, negated=False) for network in networks if network]
            return _any(tests, negated=negated)
        case {"meta": {"key": "iifname" | "oifname" | "iif" | "oif" as key}}:
            return _any([_by(key.startswith("iif"), str(value), negated=False) for value in values], negated=negated)
        case {"meta": {"key": "nfproto"}}:
            return _any([lambda _: "ipv4" in values], negated=negated)
        case {"meta": {"key": "l4proto"}} | {"payload": {"protocol": "ip", "field": "protocol"}}:
            return _any([_carries(str(value)) for value in values], negated=negated)
        case {"payload": {"protocol": "udp" | "tcp" | "th", "field": "dport"}}:
            return _any([_port(value) for value in values], negated=negated)
        case {"ct": {"key": "state"}}:
            return _in_state([str(value) for value in values], negated=negated)
        case _:
            return _unknown


def _network(said: object) -> IPv4Network | None:
    match said:
        case {"prefix": {"addr": address, "len": length}}:
            return IPv4Network((address, length))
        case str() if not said.startswith("@"):
            return IPv4Network(said)
        case _:
            return None


def _unknown(_: Packet) -> None:
    return None


def _any(tests: Sequence[Condition], *, negated: bool) -> Condition:
    def test(packet: Packet) -> bool | None:
        said = [test(packet) for test in tests]
        return not negated if True in said else None if None in said else negated

    return test


def _within(of_source: bool, network: IPv4Network, *, negated: bool) -> Condition:  # noqa: FBT001  # one of two ends
    return lambda packet: ((packet.source if of_source else packet.target) in network) is not negated


def _by(inwards: bool, device: str, *, negated: bool) -> Condition:  # noqa: FBT001  # one of two ends
    def test(packet: Packet) -> bool | None:
        name = packet.iif if inwards else packet.oif
        if name is None:
            return None
        same = name.startswith(device[:-1]) if device.endswith("*") else name == device
        return same is not negated

    return test


def _in_state(states: Sequence[str], *, negated: bool) -> Condition:
    def test(packet: Packet) -> bool | None:
        known = {state in states for state in packet.states}
        return None if len(known) > 1 else (True in known) is not negated

    return test


def _carries(protocol: str) -> Condition:
    return lambda packet: protocol in packet.protocols if packet.protocols else None


def _port(said: object) -> Condition:
    match said:
        case int():
            return _to_port(said, said)
        case {"range": [int(first), int(last)]}:
            return _to_port(first, last)
        case _:
            return _unknown


def _to_port(first: int, last: int) -> Condition:
    return lambda packet: None if packet.port is None else first <= packet.port <= last
