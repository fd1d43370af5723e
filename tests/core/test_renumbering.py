"""Who runs with another subnet than it is allotted, and who is known to, by its peers' tables alone."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest

from podnet import inventory, modes, net_conf
from podnet.cluster import Cluster
from podnet.keys import resolve
from podnet.operations.telling import Told
from podnet.renumbering import moves, stale
from podnet.state import Address, Reservation, State

BACKENDS: Mapping[str, Mapping[str, Any]] = {
    "vxlan": {"Type": "vxlan"},
    "vxlan of another VNI": {"Type": "vxlan", "VNI": 7},
    "direct routing": {"Type": "vxlan", "DirectRouting": True},
    "host-gw": {"Type": "host-gw"},
    "ipip": {"Type": "ipip"},
    "udp": {"Type": "udp"},
    "wireguard": {"Type": "wireguard"},
}
ADDRESSES = {"a": "192.168.56.11/24", "b": "192.168.56.12/24", "c": "192.168.56.13/24", "x": "192.168.56.14/24"}
TOLD = {name: name * 43 + "=" for name in ADDRESSES}


def cluster(names: str, backend: Mapping[str, Any], **subnets: str) -> Cluster:
    """Read an inventory of these hosts, in this order."""
    said = {"Network": "10.244.0.0/16", "Backend": dict(backend)}
    hosts: dict[str, dict[str, object]] = {
        name: {"address": ADDRESSES[name], "uplink": "eth0", "pods": 4, "net_conf": said} for name in names
    }
    for name, subnet in subnets.items():
        hosts[name]["pod_subnet"] = subnet
    return inventory.read(hosts)


def running(of: Cluster, name: str) -> State:
    """Return what a host holds that was applied to, whose peers have told their keys."""
    me = of.node(name)
    want = resolve(modes.wanted(net_conf, of, me), TOLD, State())
    return want | State(addresses=frozenset({Address(me.uplink, me.address)}))


def told(after: Cluster, name: str, have: State) -> dict[str, str]:
    """Say which peers a host knows by other subnets."""
    return dict(stale(after, after.node(name), have))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_host_knows_which_of_its_peers_would_move(backend: str) -> None:
    """Whatever tables the mode has: a limited run, or one that does not reach them, asks the others' tables."""
    before, after = (cluster(names, BACKENDS[backend]) for names in ("abc", "acb"))
    said = told(after, "a", running(before, "a"))
    assert said.keys() == {"b", "c"}
    assert said["c"] == (
        "c, which this run has not asked, would be allotted 10.244.2.0/24, and a reaches it by 10.244.3.0/24; run it "
        "for c as well, or give that host 10.244.3.0/24 as `pod_subnet`"
    )
    assert told(before, "a", running(before, "a")) == {}


@pytest.mark.parametrize("backend", BACKENDS)
def test_new_peers_and_given_subnets_are_nothing_to_tell(backend: str) -> None:
    """A host that comes last moves nobody, and what somebody has written down is his wish."""
    before = cluster("ab", BACKENDS[backend])
    assert told(cluster("abx", BACKENDS[backend]), "a", running(before, "a")) == {}
    assert told(cluster("xab", BACKENDS[backend]), "a", running(before, "a")).keys() == {"b"}
    given = cluster("xab", BACKENDS[backend], a="10.244.1.0/24", b="10.244.9.0/24")
    assert told(given, "a", running(before, "a")) == {}
    assert told(cluster("xab", BACKENDS[backend]), "x", State()) == {}


def test_a_host_with_few_words_names_what_to_write_down() -> None:
    """Not each pod's address."""
    before, after = (cluster(names, BACKENDS["vxlan"]) for names in ("abc", "ac"))
    me = after.node("c")
    (said,) = moves(me, running(before, "c"), after.marks)
    assert said == (
        "it would be allotted 10.244.2.0/24, and runs with 10.244.3.0, 10.244.3.1, 10.244.3.2, ...; give it "
        "10.244.3.0/24 as `pod_subnet`, so that it keeps that, or run deploys/teardown.py there first, if its pods may "
        "get other addresses"
    )
    assert [*moves(me, State(), after.marks)] == []
    given = cluster("ac", BACKENDS["vxlan"], c="10.244.2.0/24")
    assert [*moves(given.node("c"), running(before, "c"), given.marks)] == []


def test_a_host_that_has_not_come_up_knows_its_subnet_all_the_same() -> None:
    """By what it has written down of its pods' addresses, which stays over a boot."""
    before, after = (cluster(names, BACKENDS["vxlan"]) for names in ("abc", "ac"))
    booted = State(reservations=running(before, "c").reservations)
    (said,) = moves(after.node("c"), booted, after.marks)
    assert said.startswith(
        "it would be allotted 10.244.2.0/24, and runs with 10.244.3.2, 10.244.3.3, 10.244.3.4, ...; "
    )
    box = State(reservations=frozenset({Reservation("podnet", IPv4Address("10.244.3.9"), "a container's")}))
    assert [*moves(after.node("c"), box, after.marks)] == []


def test_one_host_that_would_move_holds_all_others_back() -> None:
    """Also those that could be changed by themselves; itself it has been told already."""
    heard = Told(moving={"a": [], "b": ["it would be allotted another"], "c": []})
    assert heard.renumbered("a") == ["b would be renumbered: it would be allotted another"]
    assert heard.renumbered("b") == []
    heard.moving |= {"c": ["so would it"], "d": ["and it"]}
    assert heard.renumbered("a") == [
        "b would be renumbered: it would be allotted another",
        "so would 2 more",
    ]


def test_what_others_know_of_a_host_counts_until_it_tells_itself() -> None:
    """After its teardown their tables are out of date, and it knows."""
    heard = Told(moving={"a": [], "b": []}, stale={"a": {"b": "of b", "c": "of c"}, "b": {"c": "of c, too"}})
    assert heard.renumbered("a") == heard.renumbered("b") == ["of c, too"]
    assert heard.renumbered("a", soon={"c"}) == []
    heard.moving["c"] = []
    assert heard.renumbered("a") == []


def test_a_bridge_may_have_addresses_of_a_strangers_network() -> None:
    """They are no subnet of podnet's: only those are whose MAC the bridge has, computed from them."""
    of = cluster("a", BACKENDS["vxlan"])
    have = running(of, "a")
    for theirs in ("172.16.0.1/24", "10.244.1.254/28"):
        beside = have | State(addresses=frozenset({Address("cni0", IPv4Interface(theirs))}))
        assert [*moves(of.node("a"), beside, of.marks)] == []
    before, after = (cluster(names, BACKENDS["vxlan"]) for names in ("abc", "ac"))
    moved = State(links=running(before, "c").links, addresses=running(before, "c").addresses)
    (said,) = moves(after.node("c"), moved, after.marks)
    assert said.startswith("it would be allotted 10.244.2.0/24, and runs with 10.244.3.0, 10.244.3.1; give it 10.244.3")
