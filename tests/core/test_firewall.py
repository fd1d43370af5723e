"""Rules are said once: both languages carry them there and back, and mean the same."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from podnet import spell
from podnet.batch import sections
from podnet.differences import differences
from podnet.errors import ClusterError
from podnet.facts import chains, node, openings
from podnet.firewall import (
    IPTABLES,
    LEGACY,
    NFT,
    ORPHAN,
    VARIANT,
    Base,
    Firewall,
    Outside,
    Verdict,
    in_iptables,
    in_nft,
    of_iptables,
)
from podnet.forwarding import fitted
from podnet.marks import Marks
from podnet.plan import compare, plan
from podnet.section import Section
from podnet.state import Chain, Item, Jump, Opening, State, plain
from tests.core.examples import cluster
from tests.core.goldens import MODES, mode
from tests.core.nft import Nft

SAMPLES = Path(__file__).parent / "samples" / "nft"
NETWORK = IPv4Network("10.244.0.0/16")
ACCEPT = Verdict("accept", source=NETWORK)
OPENED = Opening("inet", "filter", "forward", (ACCEPT, Verdict("accept", destination=NETWORK)))
DROPS = Base("inet", "filter", "forward")
HAVE_NFT = Firewall(NFT)


def wanted(name: str = "vxlan", **group: object) -> State:
    """Compute the chains of a mode alone, for node1; none for a mode that refuses the example."""
    of = cluster(2, 2, **group)
    try:
        return State(chains=mode(name).state(of, of.node("node1")).chains)
    except ClusterError:
        return State()


def ours(host: Firewall) -> list[str]:
    """Spell the chains and openings of the mode vxlan as a host is told them."""
    want = fitted(wanted(), host)
    items: list[Item] = [*sorted(want.chains, key=lambda item: item.key), *want.openings]
    return [line for item in items for line in spell.add(item)]


RULES = sorted(
    {rule for name in MODES for vni in (1, 7) for c in wanted(name, vni=vni).chains for rule in c.rules}, key=repr
)


def test_modes_say_rules_as_values() -> None:
    """There is something to carry, and none of it is text."""
    assert len(RULES) > 9
    assert all(isinstance(rule, Verdict) for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_rule_of_every_mode_goes_through_iptables_and_back(rule: Verdict) -> None:
    """What iptables-save prints of it is read as the same value."""
    assert of_iptables(in_iptables(rule)) == rule


@pytest.mark.parametrize("name", MODES)
def test_every_chain_of_every_mode_goes_through_nft_and_back(name: str) -> None:
    """What nft lists of it is read as the same value."""
    nft, want = Nft(), fitted(wanted(name), HAVE_NFT)
    nft.run([line for chain in want.chains for line in spell.add(chain)])
    assert openings.read(nft.listed(), shared=True) == (want.chains, frozenset(), frozenset())


@pytest.mark.parametrize(
    ("rule", "iptables", "nft"),
    [
        (
            Verdict("return", source=Outside(NETWORK), destination=IPv4Network("10.244.1.0/24")),
            "! -s 10.244.0.0/16 -d 10.244.1.0/24 -j RETURN",
            "ip saddr != 10.244.0.0/16 ip daddr 10.244.1.0/24 return",
        ),
        (
            Verdict("drop", source=NETWORK, out="cni.*"),
            "-s 10.244.0.0/16 -o cni.+ -j DROP",
            'ip saddr 10.244.0.0/16 oifname "cni.*" drop',
        ),
        (
            Verdict("return", mark=0x4000),
            "-m mark --mark 0x4000/0x4000 -j RETURN",
            "meta mark & 0x4000 == 0x4000 return",
        ),
        (
            Verdict("masquerade", source=NETWORK, destination=Outside(IPv4Network("224.0.0.0/4"))),
            "-s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully",
            "ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random",
        ),
        (Verdict("accept"), "-j ACCEPT", "accept"),
    ],
)
def test_one_rule_in_both_languages(rule: Verdict, iptables: str, nft: str) -> None:
    """As an administrator would type it."""
    assert (in_iptables(rule), in_nft(rule)) == (iptables, nft)


@pytest.mark.parametrize(
    "words",
    [
        "-s 10.244.0.0/16 -j MASQUERADE",
        "-s 10.244.0.0/16 -i eth0 -j ACCEPT",
        "-s 10.244.0.0/16 -j REJECT --reject-with icmp-port-unreachable",
        "-s 10.244.0.0/16 -p tcp -m tcp --dport 80 -j ACCEPT",
        "-m mark --mark 0x4000/0x8000 -j RETURN",
        "-s 10.244.0.1/16 -j ACCEPT",
        "-m comment --comment podnet",
    ],
)
def test_a_rule_that_podnet_would_not_write_stays_text(words: str) -> None:
    """It equals no wanted one, so it is named and replaced."""
    assert of_iptables(words) == words
    assert in_iptables(words) == words


@pytest.mark.parametrize("version", ["1.0.6", "1.1.3"])
def test_the_small_nft_lists_what_a_real_one_does(version: str) -> None:
    """Tables, chains and rules of ours, but for their handles."""
    nft = Nft()
    nft.tables, nft.rules = {("inet", "filter"): {"forward": {}}}, {("inet", "filter", "forward"): []}
    nft.run(ours(Firewall(NFT, dropping=frozenset({DROPS}))))
    real, small = bare((SAMPLES / f"{version}.json").read_text()), bare(nft.listed())
    assert [item for item in small if item not in real] == [
        {"metainfo": {"json_schema_version": 1}},
        {"chain": {"family": "inet", "table": "filter", "name": "forward"}},
    ]
    assert len(small) > 15


def bare(said: str) -> list[Any]:
    """Leave out the handles."""

    def without(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in pairs if key != "handle"}

    items: list[Any] = json.loads(said, object_pairs_hook=without)["nftables"]
    return items


@pytest.mark.parametrize("version", ["1.0.6", "1.1.3"])
def test_a_strangers_ruleset_is_read_as_far_as_it_concerns_us(version: str) -> None:
    """What is ours, what an iptables that is gone has left, and which of his chains may drop what is forwarded."""
    read = openings.read((SAMPLES / f"{version}.json").read_text(), shared=True)
    assert {chain for chain in read.chains if chain.by == NFT} == fitted(wanted(), HAVE_NFT).chains
    (orphan,) = {chain for chain in read.chains if chain.by == ORPHAN}
    assert (orphan.table, orphan.chain, [jump.hook for jump in orphan.jumps]) == ("filter", "PODNET-FWD", ["FORWARD"])
    (opening,) = read.openings
    assert opening == replace(OPENED, rules=accepts())
    assert len(opening.handles) == len(opening.rules)
    others = {"forward", "looked_up", "listed"}
    assert read.dropping == {
        *(Base("inet", "filter", chain) for chain in others),
        Base("inet", "firewalld", "filter_FORWARD"),
        Base("ip", "filter", "FORWARD"),
    }


@pytest.mark.parametrize("version", ["1.0.6", "1.1.3"])
def test_tables_of_iptables_are_left_to_iptables(version: str) -> None:
    """Where iptables, of the kind that writes nft, is there to read them."""
    read = openings.read((SAMPLES / f"{version}.json").read_text(), shared=False)
    assert {chain.by for chain in read.chains} == {NFT}
    assert Base("ip", "filter", "FORWARD") not in read.dropping


def accepts() -> tuple[Verdict | str, ...]:
    """List what is accepted by the mode vxlan."""
    (chain,) = (chain for chain in wanted().chains if chain.table == "filter")
    return tuple(rule for rule in chain.rules if isinstance(rule, Verdict) and rule.act == "accept")


def listing(*items: dict[str, Any], table: dict[str, Any] | None = None) -> str:
    """Print a ruleset of a table `inet filter` with a chain on hook forward, and what else is given."""
    place = {"family": "inet", "table": "filter"}
    hook = {"type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}
    tables = [{"table": {"family": "inet", "name": "filter", **(table or {})}}]
    rules = [{"rule": {**place, "chain": "forward", "handle": i, **item}} for i, item in enumerate(items)]
    return json.dumps({"nftables": [*tables, {"chain": {**place, "name": "forward", **hook}}, *rules]})


@pytest.mark.parametrize(
    ("act", "drops"),
    [
        ({"drop": None}, True),
        ({"reject": {"type": "tcp reset"}}, True),
        ({"queue": {"num": 1}}, True),
        ({"xt": None}, True),
        ({"goto": {"target": "forward"}}, False),
        ({"accept": None}, False),
        ({"return": None}, False),
        ({"log": {"prefix": "drop "}}, False),
    ],
)
def test_what_may_drop(act: dict[str, Any], drops: bool) -> None:  # noqa: FBT001  # a column of the table above
    """Whatever may refuse a packet is opened; a chain that only counts, logs or accepts is not touched."""
    assert bool(openings.read(listing({"expr": [{"counter": None}, act]}), shared=True).dropping) is drops


def test_what_an_iptables_that_is_gone_has_left_of_ours_drops_nothing() -> None:
    """It goes with this apply: an opening because of it would be too many with the next."""
    said = json.loads(listing({"expr": [{"jump": {"target": "PODNET-FWD"}}]}))
    place = {"family": "inet", "table": "filter"}
    left: list[dict[str, Any]] = [{"chain": {**place, "name": "PODNET-FWD"}}]
    left += [{"rule": {**place, "chain": "PODNET-FWD", "handle": 9, "expr": [{"drop": None}]}}]
    assert openings.read(json.dumps({"nftables": said["nftables"] + left}), shared=True).dropping == frozenset()


@pytest.mark.parametrize("flags", ["owner", ["owner"], ["owner", "persist"]])
def test_a_table_that_its_program_keeps_to_itself_is_left_alone(flags: object) -> None:
    """The kernel lets nobody else write there (flags owner), so that an apply would fail for ever."""
    drop = {"expr": [{"drop": None}]}
    assert openings.read(listing(drop, table={"flags": flags}), shared=True).dropping == frozenset()


def test_an_opening_behind_a_strangers_rule_is_not_first() -> None:
    """Behind another cluster's it is: those come first in any order."""
    own = {"comment": "podnet", "expr": [{"accept": None}]}
    other, strange = own | {"comment": "podnet7"}, {"expr": [{"drop": None}]}
    found = {o.comment: o.first for o in openings.read(listing(other, own, strange, other), shared=True).openings}
    assert found == {"podnet": True, "podnet7": False}


def test_both_iptables_and_nft_are_read_in_one_answer() -> None:
    """The host's own iptables is the tool; the other kind and nft are asked what they may drop."""
    legacy = ["*filter", ":FORWARD DROP [0:0]", ":PODNET-FWD - [0:0]", "-A FORWARD -j PODNET-FWD", "COMMIT"]
    said = ["# by iptables nf_tables", "# Generated", *legacy, "# by iptables-legacy", *legacy, "# by nft", listing()]
    seen = chains.read(said)
    assert {chain.by for chain in seen.chains} == {IPTABLES, LEGACY}
    assert seen.firewall == Firewall(IPTABLES, LEGACY)
    assert chains.read(said[:1]).firewall == Firewall(IPTABLES)
    assert chains.read(["# by nft", listing()]).firewall == Firewall(NFT)


@pytest.mark.parametrize(
    ("lines", "drops"),
    [
        ([":FORWARD DROP [0:0]"], True),
        ([":FORWARD ACCEPT [0:0]", "-A FORWARD -j DOCKER"], True),
        ([":FORWARD ACCEPT [0:0]", ":PODNET-FWD - [0:0]", "-A FORWARD -j PODNET-FWD"], False),
        ([":FORWARD ACCEPT [0:0]", ":INPUT DROP [0:0]", "-A INPUT -j DROP"], False),
    ],
)
def test_when_the_other_kind_of_iptables_may_drop(lines: list[str], drops: bool) -> None:  # noqa: FBT001  # a column
    """By its policy, or by any rule but the call of our own chain."""
    assert chains.may_drop(["*filter", *lines, "COMMIT"]) is drops


@pytest.mark.parametrize("said", [[], ["# podnet"], ["# by nft"], ["# by nft", "{}"], ["# by iptables strange"]])
def test_an_answer_that_is_not_whole_is_an_error(said: list[str]) -> None:
    """Never an empty firewall, which would be filled, or emptied, for nothing."""
    with pytest.raises((ValueError, LookupError)):
        chains.read(said)


def test_a_listing_that_an_old_nft_could_not_end_is_explained() -> None:
    """Up to 1.0.6 it reads a table's flags from memory that it has given back, and stops where they are no text."""
    with pytest.raises(ValueError, match=r"nft 1\.0\.6 cannot list a table that has flags"):
        openings.read('{"nftables": [{"table": {"family": "ip", "name": "x", "handle": 1, "flags": ', shared=True)


def test_rules_are_fitted_to_what_the_host_has() -> None:
    """By its tool; accepted also by the other kind of iptables and in chains that may drop; masqueraded once."""
    want = fitted(wanted(), Firewall(IPTABLES, VARIANT, frozenset({DROPS})))
    assert sorted((chain.by, chain.table) for chain in want.chains) == [
        (IPTABLES, "filter"),
        (IPTABLES, "nat"),
        (VARIANT, "filter"),
    ]
    assert want.openings == {replace(OPENED, rules=accepts())}
    assert fitted(want, Firewall(NFT)).openings == frozenset()
    second = fitted(wanted(vni=7), Firewall(NFT, dropping=frozenset({DROPS})))
    assert {opening.comment for opening in second.openings} == {"podnet7"}


def said(want: State, have: State) -> list[Section]:
    """Spell the way from one to the other."""
    return sections(plan(want, have))


def test_nft_replaces_its_tables_in_one_transaction() -> None:
    """All chains are the lines of one nft; the rules in chains of others are those of a second."""
    host = Firewall(NFT, dropping=frozenset({DROPS}))
    tables, others = said(wanted(), State(firewall=host))
    assert (tables.command, others.command) == ("nft -f -", "nft -f -")
    assert tables.lines[:4] == (
        "table ip podnet-filter",
        "delete table ip podnet-filter",
        "table ip podnet-filter {",
        "chain PODNET-FWD {",
    )
    assert "table ip podnet-nat {" in tables.lines
    assert others.lines[-1] == (
        'insert rule inet filter forward ip saddr 10.244.0.0/16 ip daddr 10.244.0.0/16 accept comment "podnet"'
    )


def test_a_ruleset_is_opened_mended_and_left_as_it_was() -> None:
    """One apply makes it so, a second does nothing, damage is mended, and a teardown leaves what was there."""
    nft = Nft()
    nft.run(["table inet filter {", "chain forward {", "type filter hook forward priority filter; policy drop;"])
    nft.run(["insert rule inet filter forward return"])
    before = bare(nft.listed())

    def see() -> State:
        seen = openings.read(nft.listed(), shared=True)
        return State(chains=seen.chains, openings=seen.openings, firewall=Firewall(NFT, None, seen.dropping))

    def apply(want: State) -> int:
        todo = said(want, see())
        for section in todo:
            nft.run(section.lines)
        return len(todo)

    assert [apply(wanted()), apply(wanted())] == [2, 0]
    for damage in (
        "delete table ip podnet-nat",
        "insert rule inet filter forward drop",
        "insert rule ip podnet-filter PODNET-FWD accept",
        'insert rule inet filter forward accept comment "podnet"',
    ):
        nft.run([damage])
        assert len(differences(wanted(), see())) == 1
        assert [apply(wanted()), apply(wanted())] == [1, 0]
    assert apply(State()) == 2
    assert [item for item in bare(nft.listed()) if "rule" not in item] == [i for i in before if "rule" not in i]
    assert see() == State(firewall=Firewall(NFT, None, frozenset({DROPS})))


@pytest.mark.parametrize(
    ("old", "new"), [(NFT, IPTABLES), (IPTABLES, NFT), (ORPHAN, NFT), (LEGACY, IPTABLES), (VARIANT, IPTABLES)]
)
def test_a_host_that_changes_its_firewall_is_told_anew_before_the_old_rules_go(old: str, new: str) -> None:
    """At no moment are there none, and at the end there are none of the old."""
    have = State(chains=frozenset(replace(c, by=old) for c in wanted().chains), firewall=Firewall(new))
    todo = plan(wanted(), have).tables["chains"]
    assert [getattr(chain, "by", "") for chain in todo.add] == [new, new]
    assert [getattr(chain, "by", "") for chain in todo.remove] == [old, old]
    first, *_, last = said(wanted(), have)
    assert ("PODNET-FWD" in " ".join(first.lines), first.command.partition("-restore")[0]) == (
        True,
        new if new != NFT else "nft -f -",
    )
    assert any(
        word in " ".join(last.lines) for word in ("delete table ip podnet-nat", "-X PODNET-POSTRTG", "delete chain")
    )


def test_an_orphan_is_removed_with_its_calls() -> None:
    """The jump is known to nft by its handle."""
    orphan = Chain("filter", "PODNET-FWD", (Jump("FORWARD", match="handle 4"),), (), ORPHAN)
    assert spell.remove(orphan) == [
        "delete rule ip filter FORWARD handle 4",
        "flush chain ip filter PODNET-FWD",
        "delete chain ip filter PODNET-FWD",
    ]


def test_an_opening_is_mended_by_its_handles() -> None:
    """Ours go and come in one transaction; the order of rules is kept."""
    seen = replace(OPENED, first=False, handles=(4, 9))
    assert spell.change(seen, OPENED) == [
        "delete rule inet filter forward handle 4",
        "delete rule inet filter forward handle 9",
        'insert rule inet filter forward ip daddr 10.244.0.0/16 accept comment "podnet"',
        'insert rule inet filter forward ip saddr 10.244.0.0/16 accept comment "podnet"',
    ]
    assert spell.remove(seen) == spell.change(seen, OPENED)[:2]


def test_a_chain_of_anothers_that_vanished_took_our_rules_along() -> None:
    """Nothing is wanted in it any more, nothing is seen of it, and nothing is said."""
    have = State(chains=fitted(wanted(), HAVE_NFT).chains, firewall=HAVE_NFT)
    assert said(wanted(), have) == []
    assert differences(wanted(), have) == []


def test_teardown_takes_the_cluster_s_own_alone() -> None:
    """Tables and openings of another cluster stay."""
    host = Firewall(NFT, dropping=frozenset({DROPS}))
    both = [fitted(wanted(vni=vni), host) for vni in (1, 7)]
    have = replace(both[0] | both[1], firewall=host)
    todo = compare(State(), have, Marks(7))
    assert set(todo["chains"].remove) == fitted(wanted(vni=7), host).chains
    assert set(todo["openings"].remove) == fitted(wanted(vni=7), host).openings


def test_differences_speak_the_hosts_language() -> None:
    """A rule that is wrong on a host with nft is told in nft's words."""
    want = fitted(wanted(masquerade=False), HAVE_NFT)
    (chain,) = want.chains
    have = State(chains=frozenset({replace(chain, rules=(ACCEPT,))}), firewall=HAVE_NFT)
    (sentence,) = differences(wanted(masquerade=False), have)
    assert sentence.startswith(
        "wrong firewall chain: nft filter PODNET-FWD: rules is 'ip saddr 10.244.0.0/16 accept', and"
    )


def test_a_firewall_is_told_as_json() -> None:
    """Rules field by field, for who prints a fact."""
    told = plain(
        Chain("nat", "PODNET-POSTRTG", (Jump("POSTROUTING"),), (Verdict("return", Outside(NETWORK)), "-j LOG"))
    )
    assert json.loads(json.dumps(told))["rules"] == [
        {"act": "return", "source": "! 10.244.0.0/16", "destination": None, "out": None, "mark": None},
        "-j LOG",
    ]


def test_the_script_asks_for_one_of_two_packages() -> None:
    """A host that has neither is told both names."""
    assert "podnet needs iptables-save or nft on this host: install the package iptables, or the package nftables" in (
        node.script()
    )


if __name__ == "__main__":
    sys.stdout.write("\n".join([*ours(Firewall(NFT, dropping=frozenset({DROPS}))), ""]))
