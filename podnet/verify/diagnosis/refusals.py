"""What a host's firewall refuses: rules that drop or reject, and policies, with how many packets each has met.

Rules that translate addresses are among them: what should be seen as it is would not be.

Rules are not run here. Which one takes a packet the kernel tells by its counters, before and after some pings; what a
rule says of addresses, protocol and port only excludes rules that counted somebody else's packets.
"""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from podnet.marks import ANY_ALIAS, ANY_CHAIN, ANY_TABLE, of

REFUSING = {"DROP", "REJECT"}
TRANSLATING = {"MASQUERADE", "SNAT", "DNAT", "REDIRECT", "NETMAP"}
NFT_TRANSLATING = {word.lower() for word in TRANSLATING}
COUNTED = re.compile(r"\[(\d+):\d+\] (-A (\S+) .*)")
POLICY = re.compile(r":(\S+) (\S+) \[(\d+):\d+\]")
HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress", "egress")
ICMP = 1
LOCAL = {"input", "output"}
PROTOCOLS = {"icmp": 1, "ipencap": 4, "ipip": 4, "tcp": 6, "udp": 17}
WITH_PORTS = {6, 17}


@dataclass(frozen=True)
class Packet:
    """What of a packet rules ask for; `port` is UDP's destination."""

    source: IPv4Address
    target: IPv4Address
    protocol: int
    port: int | None = None


@dataclass(frozen=True)
class Refusal:
    """A rule or a policy by which packets are lost: where, its words, and how many it took (None: it does not count).

    `asks` are the conditions that are understood: (what, negated, value); `plain` if there are some, and no others.
    `local` if it only meets what comes to the host itself or from it, `translates` if packets go on otherwise.
    """

    where: str
    words: str
    look: str
    packets: int | None
    asks: tuple[tuple[str, bool, str], ...] = field(default=(), compare=False)
    plain: bool = False
    local: bool = False
    translates: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by, whatever it has counted."""
        return (self.where, self.words)

    def may_take(self, packets: Iterable[Packet]) -> bool:
        """Say whether one of these packets could have met it; a port that is not known may be any."""
        return any(all(_holds(packet, *ask) is not False for ask in self.asks) for packet in packets)

    def takes(self, packets: Iterable[Packet]) -> bool:
        """Say whether one of these packets meets all that is understood."""
        return any(all(_holds(packet, *ask) for ask in self.asks) for packet in packets)


def _holds(packet: Packet, what: str, negated: bool, value: str) -> bool | None:  # noqa: FBT001  # as the rule says it
    """Say whether a condition holds; None if the packet's port is not known."""
    match what:
        case "source" | "target":
            found = getattr(packet, what) in IPv4Network(value, strict=False)
        case "protocol":
            number = PROTOCOLS.get(value, int(value) if value.isdigit() else None)
            found = number == packet.protocol
        case _ if packet.port is None:
            return None if packet.protocol in WITH_PORTS else negated
        case _:
            ports = [part.partition(":") for part in value.split(",")]
            found = any(int(low) <= packet.port <= int(high or low) for low, _, high in ports if low.isdigit())
    return found != negated


def of_iptables(lines: Iterable[str], tool: str) -> Iterator[Refusal]:
    """Read what `iptables-save -c` printed. What our own chains drop, between clusters, is compared elsewhere."""
    table = ""
    for line in lines:
        table = line[1:] if line.startswith("*") else table
        if (policy := POLICY.fullmatch(line)) and policy[2] == "DROP":
            where = f"{tool} {table} {policy[1]}"
            yield Refusal(where, "policy DROP", f"{tool} -t {table} -nvL {policy[1]}", int(policy[3]))
        if (counted := COUNTED.fullmatch(line)) and not of(ANY_CHAIN, counted[3]):
            words = shlex.split(counted[2])
            target = words[words.index("-j") + 1] if "-j" in words else ""
            if target in REFUSING | TRANSLATING:
                where, look = f"{tool} {table} {counted[3]}", f"{tool} -t {table} -nvL {counted[3]}"
                asks, translates = tuple(_asks(words)), target in TRANSLATING
                yield Refusal(where, counted[2], look, int(counted[1]), asks, translates=translates)


WORDS = {"-s": "source", "-d": "target", "-p": "protocol", "--dport": "port", "--dports": "port"}


def _asks(words: list[str]) -> Iterator[tuple[str, bool, str]]:
    for i, word in enumerate(words[:-1]):
        if word in WORDS:
            yield WORDS[word], words[i - 1] == "!", words[i + 1]


def of_nft(said: str, beside_iptables: bool) -> Iterator[Refusal]:  # noqa: FBT001  # named by its callers
    """Read what `nft -j list ruleset` printed, without what iptables made there if it tells that itself."""
    items = [next(iter(item.items())) for item in json.loads(said)["nftables"]]
    local = {_chain(entry) for kind, entry in items if kind == "chain" and entry.get("hook") in LOCAL}
    for kind, entry in items:
        place = _chain(entry)
        if kind not in {"chain", "rule"} or place[0] == "ip6" or of(ANY_TABLE, str(place[1])):
            continue
        if beside_iptables and place[0] == "ip" and place[1] in {"filter", "nat", "mangle", "raw", "security"}:
            continue
        where = "nft {} {} {}".format(*place)
        look = "nft -a list chain {} {} {}".format(*place)
        if kind == "chain" and entry.get("policy") == "drop" and entry.get("hook") in HOOKS:
            yield Refusal(where, "policy drop", look, None, local=place in local)
        if kind == "rule" and not of(ANY_ALIAS, str(entry.get("comment", ""))):
            taking = {"drop", "reject"} | NFT_TRANSLATING
            verdicts = [word for part in entry["expr"] for word in part if word in taking]
            if verdicts:
                counts = [part["counter"]["packets"] for part in entry["expr"] if part.get("counter")]
                words = f"rule handle {entry['handle']}: {verdicts[0]}"
                asks = tuple(_nft_asks(entry["expr"]))
                plain = 0 < len(asks) == sum("match" in part for part in entry["expr"])
                translates = verdicts[0] in NFT_TRANSLATING
                yield Refusal(
                    where, words, look, counts[0] if counts else None, asks, plain, place in local, translates
                )


def _chain(entry: Mapping[str, Any]) -> tuple[object, object, object]:
    return (entry.get("family"), entry.get("table"), entry.get("chain", entry.get("name")))


NFT_WORDS = {
    ("ip", "saddr"): "source",
    ("ip", "daddr"): "target",
    ("ip", "protocol"): "protocol",
    ("udp", "dport"): "port",
    ("th", "dport"): "port",
}


def _nft_asks(expr: list[Mapping[str, Any]]) -> Iterator[tuple[str, bool, str]]:
    """Find the conditions that are understood. What a set holds is not read: its name (@name) is no value."""
    for part in expr:
        match part:
            case {"match": {"op": "==" | "!=" as op, "left": left, "right": right}} if what := _nft_word(left):
                match right:
                    case str() | int() if not str(right).startswith("@"):
                        yield what, op == "!=", str(right)
                    case {"prefix": {"addr": address, "len": length}}:
                        yield what, op == "!=", f"{address}/{length}"


def _nft_word(left: Mapping[str, Any]) -> str | None:
    match left:
        case {"meta": {"key": "l4proto"}}:
            return "protocol"
        case {"payload": {"protocol": protocol, "field": name}}:
            return NFT_WORDS.get((protocol, name))
        case _:
            return None


def risen(before: Iterable[Refusal], after: Iterable[Refusal]) -> dict[tuple[str, str], int]:
    """Say by how much each has counted on in between."""
    first: dict[tuple[str, str], int] = {}
    for refusal in before:
        first[refusal.key] = first.get(refusal.key, 0) + (refusal.packets or 0)
    last: dict[tuple[str, str], int] = {}
    for refusal in after:
        last[refusal.key] = last.get(refusal.key, 0) + (refusal.packets or 0)
    return {key: packets - first.get(key, 0) for key, packets in last.items()}
