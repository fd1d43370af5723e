"""What container runtimes and flannel's tools find on a host: in their formats, and of the mode that it is in."""

import json
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from podnet import marks, modes
from podnet.cluster import Cluster
from podnet.marks import CONFLIST, LINE, SUBNET_ENV, TMPFILES, Marks
from podnet.obstacles import obstacles
from podnet.ownership import owned
from podnet.state import Address, Bridge, File, Reservation, State
from tests.core import goldens
from tests.core.examples import cluster

ENV = """FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""
"""As flannel's WriteSubnetFile (pkg/subnet/subnet.go) writes it."""
APART = {"macvlan", "ipvlan", "sriov", "veth_pair"}
"""Modes in which a node has no way to its pods that a plugin could add to."""


def wanted(mode: str, of: Cluster) -> State:
    """Compute what the first node should hold."""
    return modes.wanted(goldens.mode(mode), of, of.node("node1"))


def left(mode: str, place: str, of: Cluster | None = None) -> str:
    """Return the text of the file that a mode leaves in a place, or nothing."""
    of = of or cluster()
    path = of.marks.place(place)
    return next((file.text for file in wanted(mode, of).files if isinstance(file, File) and file.path == path), "")


def test_subnet_env_is_as_flannel_writes_it() -> None:
    """To the byte, and with what the group says of masquerading."""
    assert left("vxlan", SUBNET_ENV) == ENV
    assert left("host_gw", SUBNET_ENV) == ENV.replace("1450", "1500")
    assert left("vxlan", SUBNET_ENV, cluster(masquerade=False)) == ENV.replace("true", "false")


def conflist(mode: str, of: Cluster | None = None) -> dict[str, Any]:
    """Read the CNI configuration list that a mode leaves."""
    read: dict[str, Any] = json.loads(left(mode, CONFLIST, of))
    return read


@pytest.mark.parametrize("mode", sorted({*goldens.MODES} - APART))
def test_a_plugin_adds_a_container_as_the_mode_adds_a_pod(mode: str) -> None:
    """On the mode's bridge, or by a cable and a route; with the pods' MTU, and an address of the node's subnet."""
    found = conflist(mode)
    assert (found["name"], found["cniVersion"]) == ("podnet", "1.0.0")
    plugin, portmap = found["plugins"]
    assert portmap == {"type": "portmap", "capabilities": {"portMappings": True}}
    assert plugin["ipam"]["type"] == "host-local"
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]
    want = wanted(mode, cluster())
    (eth0,) = (link for link in want.pods["podnet-pod1"].links if link.dev == "eth0")
    assert plugin["mtu"] == eth0.mtu
    assert plugin["ipMasq"] is False
    if bridges := [link for link in want.links if isinstance(link, Bridge)]:
        assert plugin["type"] == "bridge"
        assert plugin["bridge"] == bridges[0].dev
        assert (plugin["isDefaultGateway"], plugin["hairpinMode"]) == (True, True)
        assert plugin["ipam"]["routes"] == [{"dst": "10.244.0.0/16", "gw": "10.244.1.1"}]
    else:
        assert plugin["type"] == "ptp"
        assert plugin["ipam"]["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}]


def test_a_cluster_of_one_node_has_no_way_but_its_own_wire() -> None:
    """Where its subnet is the whole network a route to that by the gateway would come before the wire's own."""
    alone = cluster(1, network="10.244.1.0/24")
    assert json.loads(left("vxlan", CONFLIST, alone))["plugins"][0]["ipam"]["routes"] == []


@pytest.mark.parametrize("mode", sorted({*goldens.MODES} - APART))
def test_no_plugin_gives_a_container_the_address_of_a_pod(mode: str) -> None:
    """host-local gives nobody what stands in its store: all pods of the node do, each by its namespace."""
    assert wanted(mode, cluster()).reservations == {
        Reservation("podnet", IPv4Address("10.244.1.2"), "podnet-pod1"),
        Reservation("podnet", IPv4Address("10.244.1.3"), "podnet-pod2"),
    }
    other = wanted(mode, cluster(vni=7)).reservations
    assert {(item.network, item.container) for item in other} == {
        ("podnet7", "podnet7-pod1"),
        ("podnet7", "podnet7-pod2"),
    }


def test_a_reboot_takes_their_addresses_back_from_containers_alone() -> None:
    """By systemd's own way of doing something at boot only; the pods' addresses stay reserved."""
    store = "/var/lib/cni/networks/podnet"
    assert left("vxlan", TMPFILES).splitlines()[-3:] == [
        f"r! {store}/[0-9]*.[0-9]*.[0-9]*.[0-9]*",
        rf"f! {store}/10.244.1.2 0600 root root - podnet-pod1\r\neth0",
        rf"f! {store}/10.244.1.3 0600 root root - podnet-pod2\r\neth0",
    ]
    assert left("vxlan", TMPFILES, cluster(pods=0)).splitlines()[-1].startswith("r! ")
    assert {left(mode, TMPFILES) for mode in APART} == {""}


@pytest.mark.parametrize("mode", sorted(APART))
def test_a_mode_without_a_way_to_its_pods_leaves_nothing_for_others(mode: str) -> None:
    """A runtime that read it would make containers that nobody reaches."""
    assert wanted(mode, cluster()).reservations == frozenset()
    assert (left(mode, CONFLIST), left(mode, SUBNET_ENV)) == ("", "")


def test_another_cluster_has_files_of_its_own() -> None:
    """Named after its number, as its bridge and its network are."""
    other = cluster(vni=7)
    assert (other.marks.place(CONFLIST), other.marks.place(SUBNET_ENV)) == (
        "/etc/cni/net.d/10-podnet7.conflist",
        "/run/flannel/subnet7.env",
    )
    assert left("vxlan", SUBNET_ENV, other) == ENV
    found = conflist("vxlan", other)
    assert (found["name"], found["plugins"][0]["bridge"]) == ("podnet7", "cni.7")
    assert marks.of_file("/run/flannel/subnet7.env") == Marks(7)
    assert marks.of_file("/run/flannel/subnets.env") is None


def host(*files: File, of: State | None = None) -> State:
    """Return a host's tables: bare, or what it should hold, and these files."""
    at = cluster().node("node1")
    bare = State(addresses=frozenset({Address(at.uplink, at.address)}))
    return replace(of or State(), files=frozenset(files)) | bare


FLANNELS = File.of(Marks().place(SUBNET_ENV), ENV.replace("10.244.1", "10.244.9"))
THEIRS = replace(FLANNELS, marked=False, text="")


def test_flannels_own_subnet_env_is_neither_overwritten_nor_removed() -> None:
    """It can bear no mark: whose it is shows in what else is on the host."""
    want, of = wanted("vxlan", cluster()), cluster()
    told = obstacles(want, host(THEIRS), of, "node1")
    assert [line for line in told if "/run/flannel/subnet.env is there, and nothing else of podnet's: flannel" in line]
    assert THEIRS not in owned(State(), host(THEIRS)).files
    here = host(THEIRS, of=want)
    assert not [line for line in obstacles(want, here, of, "node1") if "subnet.env" in line]
    assert THEIRS in owned(State(), here).files


def test_a_configuration_of_our_name_is_ours() -> None:
    """It can bear no other mark."""
    path = Marks().place(CONFLIST)
    changed = File.of(path, "{}\n")
    assert changed in owned(State(), host(changed)).files
    assert LINE not in left("vxlan", CONFLIST)
