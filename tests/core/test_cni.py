"""What container runtimes and flannel's tools find on a host: in their formats, and of the mode that it is in."""

import json
import re
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_interface, ip_network
from typing import Any

import pytest

from podnet import marks, modes
from podnet.cluster import Cluster
from podnet.inventory import read
from podnet.marks import CONFLIST, LINE, SUBNET_ENV, TMPFILES, Marks
from podnet.obstacles import obstacles
from podnet.ownership import owned
from podnet.state import Address, Bridge, File, Reservation, State, Symlink
from tests.core import examples, goldens
from tests.core.examples import cluster

ENV = """FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.1.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""
"""As flannel's WriteSubnetFile (pkg/subnet/subnet.go) writes it."""
ENV_KEYS = (
    *("FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK", "FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"),
    *("FLANNEL_MTU", "FLANNEL_IPMASQ"),
)
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


@dataclass(frozen=True)
class Env:
    """What flannel's CNI plugin takes from the file."""

    networks: tuple[IPv4Network | IPv6Network, ...]
    subnets: tuple[IPv4Network | IPv6Network, ...]
    mtu: int
    masquerade: bool


def loaded(text: str) -> Env:
    """Read subnet.env as that plugin does (flannel.go, loadFlannelSubnetEnv), and refuse what it would pass over.

    A line is a key and all that comes after its first `=`: quotes, blanks and comments would be part of the value.
    """
    said: dict[str, str] = {}
    assert text.endswith("\n")
    for line in text.removesuffix("\n").split("\n"):
        key, equals, value = line.partition("=")
        assert equals, f"{line!r} has no value: the plugin would crash"
        assert key in ENV_KEYS, f"{key!r} is no key of flannel's"
        assert key not in said, f"{key} is there twice"
        said[key] = value
    assert {"FLANNEL_MTU", "FLANNEL_IPMASQ"} <= said.keys(), "it is missing"
    networks = [net for key in ENV_KEYS[:2] if key in said for net in said[key].split(",")]
    subnets = [said[key] for key in ENV_KEYS[2:4] if key in said]
    assert networks, "FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK are missing"
    assert subnets, "FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET are missing"
    assert re.fullmatch("[0-9]+", said["FLANNEL_MTU"]), "FLANNEL_MTU is no number"
    assert int(said["FLANNEL_MTU"]) < 2**32, "FLANNEL_MTU is too large"
    assert said["FLANNEL_IPMASQ"] in {"true", "false"}, "FLANNEL_IPMASQ would be false"
    return Env(
        tuple(map(cidr, networks)),
        tuple(map(cidr, subnets)),
        int(said["FLANNEL_MTU"]),
        said["FLANNEL_IPMASQ"] == "true",
    )


def cidr(text: str) -> IPv4Network | IPv6Network:
    """Read what Go's net.ParseCIDR reads: an address, a slash, a length; bits behind that are masked away."""
    assert re.fullmatch(r"[0-9a-f.:]+/(0|[1-9]\d*)", text), text
    return ip_interface(text).network


@pytest.mark.parametrize("mode", sorted({*goldens.MODES} - APART))
@pytest.mark.parametrize("group", [{}, {"masquerade": False}, {"vni": 7}, {"underlay_mtu": 9000}], ids=repr)
def test_flannels_plugin_can_read_what_is_written(mode: str, group: dict[str, Any]) -> None:
    """The network, the node's subnet, the pods' own MTU, and who masquerades: of every mode."""
    of = cluster(**group)
    me = of.node("node1")
    eth0 = next(link for pod in wanted(mode, of).pods.values() for link in pod.links if link.dev == "eth0")
    read = loaded(left(mode, SUBNET_ENV, of))
    assert read == Env((of.network,), (me.pod_subnet,), eth0.mtu, of.masquerade)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("FLANNEL_MTU=1450\n", ""), "it is missing"),
        (("FLANNEL_SUBNET=10.244.1.1/24\n", ""), "are missing"),
        (("1450", '"1450"'), "FLANNEL_MTU is no number"),
        (("10.244.1.1/24", "10.244.1.1"), "10.244.1.1"),
        (("true", "True"), "FLANNEL_IPMASQ would be false"),
        (("FLANNEL_MTU=", "FLANNEL_MTU "), "would crash"),
        (("FLANNEL_MTU", "# podnet's"), "is no key"),
        (("/16\n", "/16,10.245.0.0/016\n"), "10.245.0.0/016"),
    ],
)
def test_the_reader_of_these_tests_refuses_what_flannels_would(change: tuple[str, str], words: str) -> None:
    """And what it would read as something else."""
    with pytest.raises(AssertionError, match=re.escape(words)):
        loaded(ENV.replace(*change))


def test_the_reader_of_these_tests_knows_both_families() -> None:
    """And lists of networks, as flannel writes them."""
    both = ENV.replace("/16\n", "/16,10.250.0.0/16\n") + (
        "FLANNEL_IPV6_NETWORK=2001:cafe::/48\nFLANNEL_IPV6_SUBNET=2001:cafe:0:1::1/64\n"
    )
    assert loaded(both) == Env(
        (*map(ip_network, ("10.244.0.0/16", "10.250.0.0/16", "2001:cafe::/48")),),
        (ip_network("10.244.1.0/24"), ip_network("2001:cafe:0:1::/64")),
        1450,
        masquerade=True,
    )


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


def host(*files: File | Symlink, of: State | None = None) -> State:
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


FLANNELS_PLACE = "/run/flannel/subnet.env"
SAID = {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan", "VNI": 5}}


def by_file(number: int = 5) -> tuple[Cluster, State]:
    """Read a cluster from flannel's net-conf.json, and compute what its first node should hold."""
    hosts = examples.hosts()
    own = {
        name: {key: data[key] for key in ("address", "uplink", "pod_subnet", "pods")} for name, data in hosts.items()
    }
    said = {**SAID, "Backend": {"Type": "vxlan", "VNI": number}}
    of = read({name: {**data, "net_conf": said} for name, data in own.items()})
    return of, wanted("vxlan", of)


def seen(want: State) -> State:
    """Return a host's tables that hold that."""
    files = {
        replace(item, text="", marked=False) if isinstance(item, File) and item.path.startswith("/run/") else item
        for item in want.files
    }
    return host(*files, of=want)


def test_flannels_own_file_puts_it_where_flannel_does() -> None:
    """Whatever its VNI; the cluster's own name leads there, and says whose it is."""
    of, want = by_file()
    env = {item.path: item for item in want.files if item.path.startswith("/run/")}
    assert env.keys() == {FLANNELS_PLACE, "/run/flannel/subnet5.env"}
    assert env[FLANNELS_PLACE] == File.of(FLANNELS_PLACE, ENV)
    assert env["/run/flannel/subnet5.env"] == Symlink("/run/flannel/subnet5.env", "subnet.env")
    here = seen(want)
    assert not [line for line in obstacles(want, here, of, "node1") if "subnet" in line]
    assert {item.path for item in owned(State(), here, Marks(5)).files} >= env.keys()
    assert not {item.path for item in owned(State(), here, Marks(1)).files} & env.keys()
    assert File.of(FLANNELS_PLACE, ENV) in by_file(1)[1].files


def test_at_boot_it_is_there_again() -> None:
    """By the same words as all else."""
    _, want = by_file()
    script = next(item.text for item in want.files if isinstance(item, File) and item.path.endswith("podnet5.sh"))
    assert "run install -D -m 644 /dev/stdin /run/flannel/subnet.env.new <<'LINES'\nFLANNEL_NETWORK=" in script
    assert "run ln -sfn subnet.env /run/flannel/subnet5.env.new" in script


def test_two_clusters_cannot_have_the_one_that_flannel_s_tools_read() -> None:
    """Who comes second is refused, in either order; flannel's own is neither's."""
    first, plain = cluster(), wanted("vxlan", cluster())
    (five, of_five), (seven, of_seven) = by_file(), by_file(7)
    words = "/run/flannel/subnet.env is that of the cluster with VNI {}, and flannel's tools look for one there"
    for want, of, have, number in (
        (of_five, five, plain, 1),
        (plain, first, of_five, 5),
        (of_seven, seven, of_five, 5),
    ):
        told = [line for line in obstacles(want, seen(have), of, "node1") if "subnet.env" in line]
        assert [line.startswith(words.format(number)) for line in told] == [True]
    told = [line for line in obstacles(of_five, host(THEIRS), five, "node1") if "subnet.env" in line]
    assert [line for line in told if "and nothing else of podnet's: flannel seems to run" in line] == told != []


def test_the_same_cluster_may_have_it_named_otherwise() -> None:
    """By data beside the file; nothing is refused or left on the way there and back."""
    five, by_flannels = by_file()
    plain = replace(five, subnet_env=False)
    for before, after, of in (
        (by_flannels, wanted("vxlan", plain), plain),
        (wanted("vxlan", plain), by_flannels, five),
    ):
        here = seen(before)
        assert not [line for line in obstacles(after, here, of, "node1") if "subnet" in line]
        gone = {item.path for item in owned(after, here, Marks(5)).files} - {item.path for item in after.files}
        assert gone == {item.path for item in before.files} - {item.path for item in after.files}


def test_a_configuration_of_our_name_is_ours() -> None:
    """It can bear no other mark."""
    path = Marks().place(CONFLIST)
    changed = File.of(path, "{}\n")
    assert changed in owned(State(), host(changed)).files
    assert LINE not in left("vxlan", CONFLIST)
