"""What is ours in nft's ruleset: rules in chains of others, and chains of our own."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, NamedTuple

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import HEADING, Table, strictly
from podnet.firewall import NFT, ORPHAN, Addresses, Base, Line, Outside, Verdict
from podnet.marks import ANY_ALIAS, ANY_CHAIN, ANY_TABLE, of
from podnet.spell_chains import PRIORITIES
from podnet.state import Chain, Jump, Opening

COMMAND = "nft -j -t list ruleset"
"""-t: without the elements of sets, of which some hosts have a hundred thousand."""

TABLES_OF_IPTABLES = {"filter", "nat", "mangle", "raw", "security"}
REFUSING = {"drop", "reject", "queue", "xt"}
"""Statements by which a packet may be lost; nft does not tell what an extension of iptables' (xt) does."""

Entry = dict[str, Any]


class Openings(FactBase[Table[Opening] | None]):
    """Rules with a comment of ours in nft chains of others, as podnet.state.Opening.

    .. code:: python

        openings = host.get_fact(Openings)
        assert any((opening.table, opening.chain) == ("firewalld", "filter_FORWARD") for opening in openings)
    """

    @override
    def command(self) -> str:
        return f"echo '{HEADING}'; {COMMAND}"

    @override
    def process(self, output: list[str]) -> Table[Opening] | None:
        with strictly("nft's ruleset"):
            return Table(read("".join(line for line in output if line != HEADING), shared=True).openings)


class Ours(NamedTuple):
    """All that concerns us in nft's ruleset: what is ours, and the chains of others that may drop packets."""

    chains: frozenset[Chain]
    openings: frozenset[Opening]
    dropping: frozenset[Base]


NOTHING = Ours(frozenset(), frozenset(), frozenset())


@dataclass(frozen=True)
class Ruleset:
    """What nft holds: tables, what else they contain than rules, and the rules of each chain in their order."""

    tables: Mapping[tuple[str, str], Entry]
    contents: Mapping[tuple[str, str], list[tuple[str, Entry]]]
    rules: Mapping[Base, list[Entry]]

    def chains(self) -> Iterator[tuple[Base, Entry]]:
        """Go through all chains."""
        for (family, table), contents in self.contents.items():
            yield from ((Base(family, table, entry["name"]), entry) for kind, entry in contents if kind == "chain")


def read(said: str, *, shared: bool) -> Ours:
    """Read what COMMAND printed; `shared`: also what iptables has left behind in tables of its own."""
    ruleset = _ruleset(said)
    strange = [(base, entry) for base, entry in ruleset.chains() if not _is_ours(base)]
    strange = [(base, entry) for base, entry in strange if shared or not _is_of_iptables(base)]
    chains = {_chain(ruleset, family, name) for family, name in ruleset.tables if _is_ours(Base(family, name, ""))}
    orphans = {_orphan(ruleset, base) for base, _ in strange if base.family == "ip" and of(ANY_CHAIN, base.chain)}
    return Ours(
        frozenset(chains | orphans),
        frozenset(opening for base in ruleset.rules if not _is_ours(base) for opening in _openings(ruleset, base)),
        frozenset(base for base, entry in strange if _may_drop(ruleset, base, entry)),
    )


def _ruleset(said: str) -> Ruleset:
    tables, contents, rules = {}, defaultdict(list), defaultdict(list)
    try:
        items = json.loads(said)["nftables"]
    except ValueError as e:
        raise ValueError(f"nft's ruleset is no JSON ({e}); nft 1.0.6 cannot list a table that has flags") from e
    for item in items:
        ((kind, entry),) = item.items()
        match kind:
            case "metainfo":
                pass
            case "table":
                tables[entry["family"], entry["name"]] = entry
            case "rule":
                rules[Base(entry["family"], entry["table"], entry["chain"])].append(entry)
            case _ if "table" in entry:
                contents[entry["family"], entry["table"]].append((kind, entry))
    return Ruleset(tables, contents, rules)


def _is_ours(base: Base) -> bool:
    return base.family == "ip" and of(ANY_TABLE, base.table) is not None


def _is_of_iptables(base: Base) -> bool:
    return base.family == "ip" and base.table in TABLES_OF_IPTABLES


def _chain(ruleset: Ruleset, family: str, name: str) -> Chain:
    """Read a table of ours: it holds the one chain, and whatever else it holds is wrong with that chain."""
    mine, kind = of(ANY_TABLE, name), name.rpartition("-")[2]
    chain = mine.chain(kind) if mine else name
    contents = ruleset.contents.get((family, name), [])
    hooks = tuple(_jump(kind, entry) for what, entry in contents if (what, entry["name"]) == ("chain", chain))
    odd = [f"{what} {entry['name']}" for what, entry in contents if (what, entry["name"]) != ("chain", chain)]
    odd += [f"flags {flag}" for flag in _flags(ruleset.tables[family, name])]
    lines = map(_line, ruleset.rules.get(Base(family, name, chain), []))
    return Chain(kind, chain, hooks, (*lines, *odd), NFT)


def _jump(kind: str, entry: Entry) -> Jump:
    """Read how the kernel calls a base chain of ours; what is not as it should be counts as a condition."""
    said = (entry.get("type"), entry.get("prio"), entry.get("policy"))
    match = "" if said == (kind, PRIORITIES[kind][1], "accept") else "type {} priority {} policy {}".format(*said)
    return Jump(str(entry.get("hook")).upper(), match=match)


def _orphan(ruleset: Ruleset, base: Base) -> Chain:
    """Read a chain of ours that iptables made, in its table, where iptables is no more."""
    calls = tuple(
        Jump(other.chain, match=f"handle {entry['handle']}")
        for other, entries in ruleset.rules.items()
        for entry in entries
        if other[:2] == base[:2] and base.chain in _targets(entry)
    )
    return Chain(base.table, base.chain, calls, tuple(map(_line, ruleset.rules.get(base, []))), ORPHAN)


def _openings(ruleset: Ruleset, base: Base) -> Iterator[Opening]:
    """Find the rules with comments of ours; those of all clusters come first, in any order."""
    entries = ruleset.rules[base]
    comments = [str(entry.get("comment", "")) for entry in entries]
    for comment in sorted({comment for comment in comments if of(ANY_ALIAS, comment)}):
        own = [entry for entry, other in zip(entries, comments, strict=True) if other == comment]
        last = max(i for i, other in enumerate(comments) if other == comment)
        first = all(of(ANY_ALIAS, other) for other in comments[:last])
        handles = tuple(entry["handle"] for entry in own)
        yield Opening(*base, tuple(map(_line, own)), comment, first, handles)


def _may_drop(ruleset: Ruleset, base: Base, entry: Entry) -> bool:
    """Say whether packets that are forwarded may be lost in a base chain, or in a chain that it leads to.

    A table that its program keeps to itself (flags owner) is none that we could open.
    """
    kept = "owner" in _flags(ruleset.tables[base[:2]])
    asked = (entry.get("type"), entry.get("hook")) == ("filter", "forward") and base.family in {"ip", "inet"}
    return asked and not kept and (entry["policy"] == "drop" or _refuses(ruleset, base, set()))


def _flags(table: Entry) -> list[str]:
    """List a table's flags; nft tells one flag as a word."""
    flags = table.get("flags", [])
    return [flags] if isinstance(flags, str) else list(flags)


def _refuses(ruleset: Ruleset, base: Base, asked: set[Base]) -> bool:
    """Look for a statement that refuses a packet; each chain is looked at once, chains of ours not at all."""
    asked.add(base)
    entries = [entry for entry in ruleset.rules.get(base, []) if not of(ANY_ALIAS, str(entry.get("comment", "")))]
    if any(
        word in REFUSING or (word, type(value)) == ("data", str) for e in entries for word, value in _words(e["expr"])
    ):
        return True
    leads_to = {
        base._replace(chain=target) for entry in entries for target in _targets(entry) if not of(ANY_CHAIN, target)
    }
    return any(_refuses(ruleset, other, asked) for other in sorted(leads_to - asked))


def _targets(entry: Entry) -> set[str]:
    return {value["target"] for word, value in _words(entry["expr"]) if word in {"jump", "goto"}}


def _words(said: object) -> Iterator[tuple[str, Any]]:
    """Go through all that a rule says, however deep."""
    match said:
        case dict():
            for word, value in said.items():
                yield word, value
                yield from _words(value)
        case list():
            for part in said:
                yield from _words(part)


def _line(entry: Entry) -> Line:
    """Read a rule; its own words if podnet would not write it."""
    *matches, act = entry["expr"]
    said: dict[str, Any] = {}
    for match in matches:
        found = _match(match)
        if found is None or found[0] in said:
            return json.dumps(entry["expr"])
        said |= {found[0]: found[1]}
    match act:
        case {"accept": None} | {"drop": None} | {"return": None}:
            return Verdict(*act, **said)
        case {"masquerade": {"flags": "fully-random" | ["fully-random"]}}:
            return Verdict("masquerade", **said)
        case _:
            return json.dumps(entry["expr"])


def _match(match: Entry) -> tuple[str, Addresses | str | int] | None:
    """Read one condition of a rule: its field of a Verdict, and its value."""
    match match.get("match"):
        case {"op": "==" | "!=" as op, "left": {"payload": {"protocol": "ip", "field": field}}, "right": right}:
            network = _network(right)
            name = {"saddr": "source", "daddr": "destination"}.get(field)
            return (name, network if op == "==" else Outside(network)) if name and network else None
        case {"op": "==", "left": {"meta": {"key": "oifname"}}, "right": str(device)}:
            return "out", device
        case {"op": "==", "left": {"&": [{"meta": {"key": "mark"}}, int(mask)]}, "right": int(mark)} if mask == mark:
            return "mark", mark
        case _:
            return None


def _network(said: object) -> IPv4Network | None:
    match said:
        case {"prefix": {"addr": address, "len": length}}:
            return IPv4Network((address, length))
        case str() if "." in said and ":" not in said:
            return IPv4Network(said)
        case _:
            return None
