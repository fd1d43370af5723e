"""Our firewall chains: `iptables-save`, of both kinds, and `nft list ruleset`."""

from collections import defaultdict
from typing import NamedTuple

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts import openings
from podnet.facts.reading import HEADING, Table, strictly
from podnet.firewall import IPTABLES, LEGACY, NFT, VARIANT, Firewall, of_iptables
from podnet.marks import ANY_CHAIN, of
from podnet.state import Chain, Jump, Opening

BY = "# by "
"""How the heading of each program's answer begins."""
KIND = {"nf_tables": VARIANT, "legacy": LEGACY}
"""What a host's own iptables says of its kind."""

PORTMAP = ("nat", "POSTROUTING", "CNI-HOSTPORT-MASQ")
"""Where the CNI plugin portmap calls the chain that masquerades what portmap itself has marked.

It puts that in front with the first port that a container publishes: before us it takes none of our packets.
"""

# Asking the legacy kind makes it load modules where nobody uses it, unless a file says that somebody does.
SCRIPT = f"""\
if command -v iptables-save >/dev/null; then
case $(iptables-save -V) in
*nf_tables*) echo '{BY}{IPTABLES} nf_tables'; other={LEGACY} ;;
*) echo '{BY}{IPTABLES} legacy'; other={VARIANT} ;;
esac
iptables-save
if [ $other = {LEGACY} ] && ! {{ [ -e /proc/net/ip_tables_names ] && grep -q . /proc/net/ip_tables_names; }}; then :
elif command -v $other-save >/dev/null; then echo "{BY}$other"; $other-save
fi
fi
if command -v nft >/dev/null; then echo '{BY}{NFT}'; {openings.COMMAND}; fi"""


class Chains(FactBase[Table[Chain] | None]):
    """The chains whose names begin with PODNET-, and where they are jumped to, as podnet.state.Chain.

    .. code:: python

        chains = host.get_fact(Chains)
        assert any(chain.chain == "PODNET-FWD" and chain.jumps == (Jump("FORWARD"),) for chain in chains)
    """

    @override
    def command(self) -> str:
        return f"echo '{HEADING}'; {SCRIPT}"

    @override
    def process(self, output: list[str]) -> Table[Chain] | None:
        with strictly("the firewall"):
            return Table(read(output).chains)


class Seen(NamedTuple):
    """All that concerns us in a host's firewall."""

    chains: frozenset[Chain]
    openings: frozenset[Opening]
    firewall: Firewall


def read(output: list[str]) -> Seen:
    """Read what SCRIPT printed."""
    said: dict[str, list[str]] = {}
    own = ""
    for line in output:
        if line.startswith(BY):
            tool, _, kind = line.removeprefix(BY).partition(" ")
            said[tool] = []
            own = KIND[kind] if tool == IPTABLES else own
        elif said:
            said[tool].append(line)
    if not said:
        raise ValueError("it names neither iptables nor nft")
    kinds = {own, *said}
    seen = openings.read("".join(said[NFT]), shared=VARIANT not in kinds) if NFT in said else openings.NOTHING
    iptables = {tool: lines for tool, lines in said.items() if tool != NFT}
    chains = [parse(lines, tool) for tool, lines in iptables.items()]
    return Seen(
        frozenset().union(*chains, seen.chains),
        seen.openings,
        Firewall(
            tool=IPTABLES if iptables else NFT,
            also=next((tool for tool in (LEGACY, VARIANT) if may_drop(iptables.get(tool, []))), None),
            dropping=seen.dropping,
        ),
    )


def parse(output: list[str], tool: str = IPTABLES) -> frozenset[Chain]:
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
        called = [f" {rule}".rpartition(" -j ") for rule in lines]
        calls = [call for call in called if (table, chain, call[2]) != PORTMAP]
        owners = [of(ANY_CHAIN, target) for _, _, target in calls]
        for i, (match, _, target) in enumerate(calls):
            if owners[i]:
                # The jumps of all clusters come first, in any order: another's does not make ours the second.
                before = [owner for owner in owners[:i] if owner in {None, owners[i]}]
                jumps[table, target].append(Jump(chain, len(before) + 1, match.strip()))
    return frozenset(
        Chain(table, chain, tuple(jumps[table, chain]), tuple(map(of_iptables, lines)), tool)
        for (table, chain), lines in rules.items()
        if of(ANY_CHAIN, chain)
    )


def may_drop(output: list[str]) -> bool:
    """Say whether FORWARD, as `iptables-save` printed it, does anything else than to call us."""
    table = ""
    for line in output:
        table = line[1:] if line.startswith("*") else table
        ruled = line.startswith("-A FORWARD ") and not of(ANY_CHAIN, line.rpartition(" -j ")[2])
        if table == "filter" and (ruled or line.startswith(":FORWARD DROP ")):
            return True
    return False
