"""Why a pair fails: the first table on its way that is wrong is named, with the command to look at it."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest

from podnet import boot, modes
from podnet.state import Address, Route, State, Sysctl
from podnet.verify.causes import End, Host, Trip, causes
from podnet.verify.evidence import Evidence, Moved, Way
from podnet.verify.refusals import Packet, Refusal, of_iptables, of_nft, risen
from tests.core import goldens
from tests.core.examples import cluster

ONE, TWO = "node1", "node2"
Change = Callable[[State], State]


def trip(mode: str, changes: dict[str, Change] | None = None, more: dict[str, Evidence] | None = None) -> Trip:
    """Have the first pods of two nodes fail; the nodes hold what they should, but for `changes`."""
    of = cluster()
    hosts = {}
    for node in of.nodes:
        bare = State(folders=frozenset({"/etc/systemd", "/etc/modules-load.d", "/etc/sysctl.d"}))
        want = boot.fitted(modes.wanted(goldens.mode(mode), of, node), of, node, bare.firewall)
        have = replace(want, sysctls=want.sysctls | {Sysctl("net/ipv6/conf/all/accept_ra", "1")})
        connected = {
            Route(item.address.network, item.dev, proto="kernel")
            for item in want.addresses
            if item.address.network.prefixlen < 32
        }
        have = replace(have, routes=have.routes | connected)
        change = (changes or {}).get(node.name)
        hosts[node.name] = Host(node, want, change(have) if change else have, (more or {}).get(node.name, Evidence()))
    source, target = of.node(ONE), of.node(TWO)
    return Trip(of, hosts, End(source, source.pods[0]), End(target, target.pods[0]))


def without(table: str, **fields: object) -> Change:
    """Take away the items of a table that have these fields."""

    def change(have: State) -> State:
        kept = frozenset(
            item for item in getattr(have, table) if any(getattr(item, k) != v for k, v in fields.items())
        )
        assert kept != getattr(have, table)
        changed: dict[str, Any] = {table: kept}
        return replace(have, **changed)

    return change


def first(of: Trip) -> str:
    """Say the first cause."""
    return str(causes(of)[0])


def test_a_missing_fdb_entry_is_named_with_the_command() -> None:
    """The route and the neighbour are right: it is the third table, on the node that lacks the entry."""
    of = cluster()
    said = first(trip("vxlan", {TWO: without("fdb", to=str(of.node(ONE).ip))}))
    assert said.startswith(f"node2: missing FDB entry: fdb replace {of.node(ONE).vtep_mac} dev flannel.1")
    assert said.endswith("(look: ssh node2 bridge fdb show dev flannel.1)")
