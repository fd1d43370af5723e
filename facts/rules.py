"""Policy routing: `ip rule`."""

from ipaddress import IPv4Network
from typing import Any

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import Table, document, strictly
from podnet.state import Rule

COMMAND = "ip -d -j rule show"
KNOWN = {"priority", "table", "src", "srclen", "dst", "dstlen", "iif", "fwmark", "fwmask", "protocol"}


class Rules(FactBase[Table[Rule] | None]):
    """All rules of policy routing, whoever made them, the kernel's three among them, as podnet.state.Rule.

    .. code:: python

        rules = host.get_fact(Rules)
        ours = {rule for rule in rules if rule.proto == "77"}
    """

    @override
    def command(self) -> str:
        return COMMAND

    @override
    def process(self, output: list[str]) -> Table[Rule] | None:
        with strictly("the list of rules"):
            return Table(parse(document(output)))


def parse(rules: list[dict[str, Any]]) -> frozenset[Rule]:
    """Read what `ip -d -j rule show` printed. What a stranger's rule says beyond our words is told as it is."""
    return frozenset(
        Rule(
            priority=entry["priority"],
            table=entry.get("table", ""),  # a rule may also forbid, and names no table then
            source=_network(entry, "src"),
            target=_network(entry, "dst"),
            iif=entry.get("iif"),
            fwmark="/".join(entry[word] for word in ("fwmark", "fwmask") if word in entry) or None,
            proto=entry["protocol"],
            options=tuple(
                sorted(
                    name if value is None else f"{name} {value}" for name, value in entry.items() if name not in KNOWN
                )
            ),
        )
        for entry in rules
    )


def _network(entry: dict[str, Any], side: str) -> IPv4Network | None:
    address = entry.get(side, "all")
    return None if address == "all" else IPv4Network((address, entry.get(f"{side}len", 32)))
