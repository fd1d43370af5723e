"""Firewall rules as values, and their words in the two languages that hosts speak: iptables and nft.

A rule is said once, as a `Verdict`; a host is told it in the language that it has. Only rules that podnet would
write are values: whatever else stands in a chain of ours stays text, which equals no wanted rule.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import NamedTuple, TypeAlias

IPTABLES, LEGACY, VARIANT, NFT, ORPHAN = "iptables", "iptables-legacy", "iptables-nft", "nft", "nft of iptables"
"""By what a chain is written: the host's own iptables, of whichever kind; the kind that is not its own, of which
there are two; nft; and nft for what an iptables that is gone has left."""


@dataclass(frozen=True, slots=True)
class Outside:
    """All addresses but those of a network."""

    network: IPv4Network


Addresses: TypeAlias = IPv4Network | Outside | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the packets that match, in a chain where the first match decides.

    `act` is accept, drop, return (let whoever asked go on) or masquerade (under the address of the device that it
    leaves by, from a random port). `out` is that device; `*` at its end stands for any ending. `mark` is set in the
    packet's own. What is not said matches every packet.
    """

    act: str
    source: Addresses = None
    destination: Addresses = None
    out: str | None = None
    mark: int | None = None


Line: TypeAlias = Verdict | str
"""A rule of a chain: one of ours, or the words of one that podnet would not write."""


class Base(NamedTuple):
    """Where a base chain of nft's is."""

    family: str
    table: str
    chain: str


@dataclass(frozen=True, slots=True)
class Firewall:
    """What a host filters with: seen, never configured.

    `tool` writes our chains. `also` is the other kind of iptables, where it may drop packets as well; `dropping` are
    the nft chains of others that may.
    """

    tool: str = IPTABLES
    also: str | None = None
    dropping: frozenset[Base] = frozenset()


IN_IPTABLES = {"accept": "ACCEPT", "drop": "DROP", "return": "RETURN", "masquerade": "MASQUERADE --random-fully"}
IN_NFT = {"accept": "accept", "drop": "drop", "return": "return", "masquerade": "masquerade fully-random"}

_SAVED = re.compile(
    r"(?:(?P<not_source>! )?-s (?P<source>[\d.]+/\d+) )?(?:(?P<not_destination>! )?-d (?P<destination>[\d.]+/\d+) )?"
    r"(?:-o (?P<out>\S+) )?(?:-m mark --mark 0x(?P<mark>[\da-f]+)/0x(?P=mark) )?-j (?P<act>.+)"
)


def in_iptables(line: Line) -> str:
    """Spell a rule as iptables-save(8) prints it."""
    if isinstance(line, str):
        return line
    words = [
        *_addresses(line.source, "-s {}", "! -s {}"),
        *_addresses(line.destination, "-d {}", "! -d {}"),
        *([f"-o {_plus(line.out)}"] if line.out is not None else []),
        *([f"-m mark --mark {line.mark:#x}/{line.mark:#x}"] if line.mark is not None else []),
    ]
    return " ".join([*words, f"-j {IN_IPTABLES[line.act]}"])


def of_iptables(words: str) -> Line:
    """Read a rule that iptables-save has printed; its own words if podnet would not write it."""
    found = _SAVED.fullmatch(words)
    acts = {said: act for act, said in IN_IPTABLES.items()}
    if not found or found["act"] not in acts:
        return words
    read = Verdict(
        acts[found["act"]],
        _read(found["source"], found["not_source"]),
        _read(found["destination"], found["not_destination"]),
        f"{found['out'][:-1]}*" if (found["out"] or "").endswith("+") else found["out"],
        int(found["mark"], 16) if found["mark"] else None,
    )
    return read if in_iptables(read) == words else words


def in_nft(line: Line) -> str:
    """Spell a rule as nft(8) takes it."""
    if isinstance(line, str):
        return line
    words = [
        *_addresses(line.source, "ip saddr {}", "ip saddr != {}"),
        *_addresses(line.destination, "ip daddr {}", "ip daddr != {}"),
        *([f'oifname "{line.out}"'] if line.out is not None else []),
        *([f"meta mark & {line.mark:#x} == {line.mark:#x}"] if line.mark is not None else []),
    ]
    return " ".join([*words, IN_NFT[line.act]])


def _addresses(of: Addresses, inside: str, outside: str) -> list[str]:
    match of:
        case None:
            return []
        case Outside(network):
            return [outside.format(network)]
        case IPv4Network():
            return [inside.format(of)]


def _read(network: str | None, outside: str | None) -> Addresses:
    if network is None:
        return None
    return Outside(IPv4Network(network, strict=False)) if outside else IPv4Network(network, strict=False)


def _plus(device: str) -> str:
    return f"{device[:-1]}+" if device.endswith("*") else device
