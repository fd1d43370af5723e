"""Our iptables chains: `iptables-save`."""

from collections import defaultdict

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import HEADING, Table, strictly
from podnet.marks import ANY_CHAIN, of
from podnet.state import Chain, Jump

COMMAND = "iptables-save"


class Chains(FactBase[Table[Chain] | None]):
    """The chains whose names begin with PODNET-, and where they are jumped to, as podnet.state.Chain.

    .. code:: python

        chains = host.get_fact(Chains)
        assert any(chain.chain == "PODNET-FWD" and chain.jumps == (Jump("FORWARD"),) for chain in chains)
    """

    @override
    def command(self) -> str:
        return f"echo '{HEADING}'; {COMMAND}"

    @override
    def process(self, output: list[str]) -> Table[Chain] | None:
        with strictly("the firewall"):
            return Table(parse(output))


def parse(output: list[str]) -> frozenset[Chain]:
    """Read what `iptables-save` printed."""
    if sum(line.startswith("*") for line in output) != output.count("COMMIT"):
        raise ValueError("it was cut short")
    rules: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in output:
        word, _, rest = line.partition(" ")
        match line[:1]:
            case "*":
                table = line[1:]
            case ":":
                rules[table, word[1:]] = []
            case "-":
                chain, _, rule = rest.partition(" ")
                rules[table, chain].append(rule)
    jumps: dict[tuple[str, str], list[Jump]] = defaultdict(list)
    for (table, chain), lines in rules.items():
        calls = [f" {rule}".rpartition(" -j ") for rule in lines]
        owners = [of(ANY_CHAIN, target) for _, _, target in calls]
        for i, (match, _, target) in enumerate(calls):
            if owners[i]:
                # The jumps of all clusters come first, in any order: another's does not make ours the second.
                before = [owner for owner in owners[:i] if owner in {None, owners[i]}]
                jumps[table, target].append(Jump(chain, len(before) + 1, match.strip()))
    return frozenset(
        Chain(table, chain, tuple(jumps[table, chain]), tuple(lines))
        for (table, chain), lines in rules.items()
        if of(ANY_CHAIN, chain)
    )
