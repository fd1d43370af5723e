"""An nft small enough to read: it takes the lines that podnet spells, lists them as JSON, and refuses every other.

tests/core/samples/nft holds it against real ones.
"""

import json
import re
from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any

HOOK = re.compile(r"type (\w+) hook (\w+) priority (\w+)(?: ([+-]) (\d+))?; policy (\w+);")
NUMBERS = {"filter": 0, "srcnat": 100}  # linux/netfilter_ipv4.h
RULE = re.compile(
    r"""(?:ip\ saddr\ (?P<saddr>(?:!=\ )?\S+)\ )?(?:ip\ daddr\ (?P<daddr>(?:!=\ )?\S+)\ )?(?:oifname\ "(?P<out>\S+)"\ )?
    (?:meta\ mark\ &\ (?P<mark>0x[\da-f]+)\ ==\ (?P=mark)\ )?
    (?P<act>accept|drop|return|masquerade\ fully-random)(?:\ comment\ "(?P<comment>\w+)")?""",
    re.VERBOSE,
)


class Nft:
    """One ruleset: chains by table, rules by chain."""

    def __init__(self) -> None:
        """Be empty."""
        self.tables: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self.rules: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        self.handle = 0

    def run(self, lines: Sequence[str]) -> None:
        """Carry out what stands on the standard input of `nft -f -`."""
        inside: list[tuple[str, ...]] = []
        for line in lines:
            match line.split():
                case ["table", family, table, *brace] if not inside:
                    self.tables.setdefault((family, table), {})
                    inside += [(family, table)] if brace else []
                case ["delete", "table", family, table]:
                    del self.tables[family, table]
                    self.rules = {place: rules for place, rules in self.rules.items() if place[:2] != (family, table)}
                case ["chain", chain, "{"] if len(inside) == 1:
                    inside.append((*inside[0], chain))
                    self.tables[inside[0][0], inside[0][1]][chain] = {}
                    self.rules[inside[0][0], inside[0][1], chain] = []
                case ["}"]:
                    inside.pop()
                case ["type", *_]:
                    family, table, chain = inside[1]
                    self.tables[family, table][chain] = _hook(line)
                case ["insert", "rule", family, table, chain, *_]:
                    self.rules[family, table, chain].insert(0, self._rule(line.split(" ", 5)[5]))
                case ["delete", "rule", family, table, chain, "handle", handle]:
                    rules = self.rules[family, table, chain]
                    rules.remove(next(rule for rule in rules if rule["handle"] == int(handle)))
                case _ if len(inside) == 2:
                    family, table, chain = inside[1]
                    self.rules[family, table, chain].append(self._rule(line))
                case _:
                    raise AssertionError(f"nft does not know {line!r}")

    def _rule(self, line: str) -> dict[str, Any]:
        found = RULE.fullmatch(line)
        assert found, f"nft does not know {line!r}"
        self.handle += 1
        addresses = [
            _match({"payload": {"protocol": "ip", "field": f}}, found[f]) for f in ("saddr", "daddr") if found[f]
        ]
        out = [_match({"meta": {"key": "oifname"}}, found["out"])] if found["out"] else []
        mark = int(found["mark"] or "0", 16)
        marked = (
            [{"match": {"op": "==", "left": {"&": [{"meta": {"key": "mark"}}, mark]}, "right": mark}}] if mark else []
        )
        act, _, flags = found["act"].partition(" ")
        said = {"comment": found["comment"]} if found["comment"] else {}
        return {
            "handle": self.handle,
            **said,
            "expr": [*addresses, *out, *marked, {act: {"flags": flags} if flags else None}],
        }

    def listed(self) -> str:
        """Print what `nft -j list ruleset` would."""
        items: list[dict[str, Any]] = [{"metainfo": {"json_schema_version": 1}}]
        for (family, table), chains in self.tables.items():
            place = {"family": family, "table": table}
            items.append({"table": {"family": family, "name": table}})
            items += [{"chain": {**place, "name": chain, **hook}} for chain, hook in chains.items()]
            items += [{"rule": {**place, "chain": c, **rule}} for c in chains for rule in self.rules[family, table, c]]
        return json.dumps({"nftables": items})


def _hook(line: str) -> dict[str, Any]:
    found = HOOK.fullmatch(line)
    assert found, f"nft does not know {line!r}"
    kind, hook, base, sign, number, policy = found.groups()
    return {"type": kind, "hook": hook, "prio": NUMBERS[base] + int(f"{sign or ''}{number or 0}"), "policy": policy}


def _match(left: dict[str, Any], said: str) -> dict[str, Any]:
    value = said.removeprefix("!= ")
    network = IPv4Network(value) if "/" in value else None
    right = {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}} if network else value
    return {"match": {"op": "!=" if value != said else "==", "left": left, "right": right}}
