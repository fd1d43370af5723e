"""flannel's net-conf.json: what is taken, with which defaults, and what is refused, in which words."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import Inventory
from pyinfra.api.exceptions import InventoryError
from pyinfra.api.host import HostData

from podnet import inventory, modes, net_conf, preflight
from podnet.cluster import Cluster, Node
from podnet.errors import ClusterError
from podnet.marks import Marks
from podnet.modes import Mode, host_gw, vxlan
from podnet.obstacles import obstacles
from podnet.ownership import clusters
from podnet.state import Address, Nic, Port, Reservation, State
from tests.core import examples
from tests.core.goldens import MODES

NETWORK = "10.244.0.0/16"
NONE = "0.0.0.0"  # noqa: S104  # nobody listens there
SUBNETS = ("10.244.1.0/24", "10.244.255.0/24")
KUBE = """
{
  "Network": "10.244.0.0/16",
  "EnableNFTables": false,
  "Backend": {
    "Type": "vxlan"
  }
}
"""
"""What flannel's own manifest for Kubernetes has."""

VALID: dict[str, tuple[Mapping[str, Any], str, tuple[str, str], Mapping[str, object]]] = {
    "no backend is udp": ({}, "udp", SUBNETS, {}),
    "vxlan": ({"Backend": {"Type": "vxlan"}}, "vxlan", SUBNETS, {}),
    "a type in capitals": ({"Backend": {"Type": "VXLAN"}}, "vxlan", SUBNETS, {}),
    "keys in small letters": ({"backend": {"type": "vxlan", "vni": 7}}, "vxlan", SUBNETS, {"vni": 7}),
    "a VNI": ({"Backend": {"Type": "vxlan", "VNI": 4096}}, "vxlan", SUBNETS, {"vni": 4096}),
    "a port": ({"Backend": {"Type": "vxlan", "Port": 4789}}, "vxlan", SUBNETS, {"vxlan_port": 4789}),
    "the kernel's port": ({"Backend": {"Type": "vxlan", "Port": 0}}, "vxlan", SUBNETS, {"vxlan_port": 8472}),
    "an underlay's MTU": ({"Backend": {"Type": "vxlan", "MTU": 9000}}, "vxlan", SUBNETS, {"underlay_mtu": 9000}),
    "the device's MTU": ({"Backend": {"Type": "vxlan", "MTU": 0}}, "vxlan", SUBNETS, {"underlay_mtu": 1500}),
    "direct routing": ({"Backend": {"Type": "vxlan", "DirectRouting": True}}, "vxlan_direct_routing", SUBNETS, {}),
    "no direct routing": ({"Backend": {"Type": "vxlan", "DirectRouting": False}}, "vxlan", SUBNETS, {}),
    "what is off anyway": ({"Backend": {"Type": "vxlan", "GBP": False, "Learning": False}}, "vxlan", SUBNETS, {}),
    "what is for Windows": ({"Backend": {"Type": "vxlan", "MacPrefix": "0E-2A", "Name": "x"}}, "vxlan", SUBNETS, {}),
    "host-gw": ({"Backend": {"Type": "host-gw"}}, "host_gw", SUBNETS, {}),
    "ipip": ({"Backend": {"Type": "ipip"}}, "ipip", SUBNETS, {}),
    "ipip across routers": ({"Backend": {"Type": "ipip", "DirectRouting": True}}, "ipip_direct_routing", SUBNETS, {}),
    "udp": ({"Backend": {"Type": "udp"}}, "udp", SUBNETS, {"udp_port": 8285}),
    "udp on a port": ({"Backend": {"Type": "udp", "Port": 7890}}, "udp", SUBNETS, {"udp_port": 7890}),
    "wireguard": ({"Backend": {"Type": "wireguard"}}, "wireguard", SUBNETS, {"wireguard_port": 51820}),
    "wireguard's port": (
        {"Backend": {"Type": "wireguard", "ListenPort": 51999, "ListenPortV6": 51998, "MTU": 1600}},
        *("wireguard", SUBNETS, {"wireguard_port": 51999, "underlay_mtu": 1600}),
    ),
    "wireguard's usual mode": (
        {"Backend": {"Type": "wireguard", "Mode": "separate", "PSK": ""}},
        "wireguard",
        SUBNETS,
        {},
    ),
    "wireguard without keepalives": (
        {"Backend": {"Type": "wireguard", "PersistentKeepaliveInterval": 0, "Mode": "ipv4"}},
        *("wireguard", SUBNETS, {}),
    ),
    "wireguard with keepalives": (
        {"Backend": {"Type": "wireguard", "PersistentKeepaliveInterval": 25}},
        *("wireguard", SUBNETS, {"wireguard_keepalive": 25}),
    ),
    "wireguard with the family it finds": (
        {"Backend": {"Type": "wireguard", "Mode": "auto"}},
        "wireguard",
        SUBNETS,
        {},
    ),
    "subnets and nothing else": ({"Backend": {"Type": "alloc"}}, "bridge", SUBNETS, {}),
    "the article's": (
        {
            "Network": "10.0.0.0/8",
            "SubnetLen": 20,
            "SubnetMin": "10.10.0.0",
            "SubnetMax": "10.99.0.0",
            "Backend": {"Type": "udp", "Port": 7890},
        },
        *("udp", ("10.10.0.0/20", "10.99.0.0/20"), {"udp_port": 7890}),
    ),
    "host bits": ({"Network": "10.244.7.9/16"}, "udp", SUBNETS, {}),
    "a /22": ({"Network": "10.244.0.0/22"}, "udp", ("10.244.1.0/24", "10.244.3.0/24"), {}),
    "a /23, whose subnets are smaller": (
        {"Network": "10.244.0.0/23"},
        "udp",
        ("10.244.0.128/25", "10.244.1.128/25"),
        {},
    ),
    "the smallest": ({"Network": "10.244.0.0/28"}, "udp", ("10.244.0.4/30", "10.244.0.12/30"), {}),
    "a length": ({"SubnetLen": 26}, "udp", ("10.244.0.64/26", "10.244.255.192/26"), {}),
    "no length": ({"SubnetLen": 0}, "udp", SUBNETS, {}),
    "the longest length": ({"SubnetLen": 30}, "udp", ("10.244.0.4/30", "10.244.255.252/30"), {}),
    "the shortest length": ({"SubnetLen": 18}, "udp", ("10.244.64.0/18", "10.244.192.0/18"), {}),
    "the very first subnet": ({"SubnetMin": "10.244.0.0"}, "udp", ("10.244.0.0/24", SUBNETS[1]), {}),
    "one subnet": (
        {"SubnetMin": "10.244.9.0", "SubnetMax": "10.244.9.0"},
        *("udp", ("10.244.9.0/24", "10.244.9.0/24"), {}),
    ),
    "null is as good as nothing": ({"SubnetMin": None, "SubnetLen": None}, "udp", SUBNETS, {}),
    "what flannel does not look at": (
        {"EnableIPv6": False, "IPv6Network": "2001:cafe::/48", "IPv6SubnetLen": 64, "IPv6SubnetMin": "2001:cafe::"},
        *("udp", SUBNETS, {}),
    ),
    "the smallest IPv6 network": ({"IPv6Network": "2001:cafe::/124"}, "udp", SUBNETS, {}),
    "a short IPv6 length": (
        {"IPv6Network": "2001:cafe::/48", "IPv6SubnetLen": 50, "IPv6SubnetMax": "2001:cafe:0:4000::"},
        "udp",
        SUBNETS,
        {},
    ),
    "addresses of all zeros, which are none": (
        {"SubnetMin": NONE, "SubnetMax": NONE, "IPv6Network": "2001:cafe::/48", "IPv6SubnetMin": "::"},
        *("udp", SUBNETS, {}),
    ),
    "what is on anyway": ({"EnableIPv4": True, "EnableNFTables": True}, "udp", SUBNETS, {}),
}


@pytest.mark.parametrize("name", VALID)
def test_what_flannel_takes_is_taken_with_its_defaults(name: str) -> None:
    """The mode, the first and the last subnet, and what a cluster then has."""
    said, mode, (first, last), has = VALID[name]
    conf = net_conf.read("here", {"Network": NETWORK, **said})
    assert (conf.mode, str(conf.first), str(conf.last)) == (mode, first, last)
    cluster = read({"Network": NETWORK, **said}, ["a"], pods=1)
    assert cluster.mode == mode
    assert {key: getattr(cluster, key) for key in has} == has
    assert str(cluster.nodes[0].pod_subnet) == first


INVALID: dict[str, tuple[object, str]] = {
    "no object": ([NETWORK], "it must be a JSON object, or the path of a file that holds one"),
    "no network": ({"Backend": {"Type": "vxlan"}}, "Network is missing; give all pods' network"),
    "a network without a length": ({"Network": "10.244.0.0"}, "it must be an IPv4 network with its prefix length"),
    "a network with a mask": (
        {"Network": "10.244.0.0/255.255.0.0"},
        "it must be an IPv4 network with its prefix length",
    ),
    "a length with a nought before it": ({"Network": "10.244.0.0/016"}, "like 10.244.0.0/16"),
    "an octet with a nought before it": ({"Network": "010.244.0.0/16"}, "it must be an IPv4 network"),
    "a length longer than an address": ({"Network": "10.244.0.0/33"}, "it must be an IPv4 network"),
    "a network with blanks": ({"Network": " 10.244.0.0/16"}, "it must be an IPv4 network"),
    "an empty network": ({"Network": ""}, 'Network is ""; it must be an IPv4 network'),
    "an IPv6 network": ({"Network": "2001:cafe::/48"}, "it must be an IPv4 network with its prefix length"),
    "a network that is a number": ({"Network": 10}, "Network is 10; it must be a text, in quotes"),
    "a wireguard mode that is a list": (
        {"Backend": {"Type": "wireguard", "Mode": ["ipv4"]}},
        "Backend.Mode is ['ipv4']; it must be a text, in quotes",
    ),
    "a backend whose type is nothing": ({"Backend": {"Type": None}}, "Backend.Type is missing; give one: podnet has"),
    "a network that is too long": ({"Network": "10.244.0.0/29"}, "the smallest that is of use is a /28"),
    "a network of nobody's pods": ({"Network": "127.0.0.0/8"}, "it holds loopback addresses"),
    "a length of a single address": ({"SubnetLen": 31}, "SubnetLen is 31; it must be /30 or shorter"),
    "a length with room for two": ({"SubnetLen": 17}, "10.244.0.0/16 must have room for four subnets: /18 or longer"),
    "a length below nought": ({"SubnetLen": -1}, "it must be a whole number, not below 0"),
    "a length in quotes": ({"SubnetLen": "24"}, 'SubnetLen is "24"; it must be a whole number'),
    "a length with a fraction": ({"SubnetLen": 24.5}, "it must be a whole number"),
    "a length that is true": ({"SubnetLen": True}, "SubnetLen is true; it must be a whole number"),
    "a first subnet outside": ({"SubnetMin": "10.245.0.0"}, 'SubnetMin is "10.245.0.0"; it must lie in 10.244.0.0/16'),
    "a last subnet outside": ({"SubnetMax": "10.243.0.0"}, 'SubnetMax is "10.243.0.0"; it must lie in 10.244.0.0/16'),
    "a first subnet between two": ({"SubnetMin": "10.244.1.16"}, "no /24 begins there; 10.244.1.0/24 would"),
    "a last subnet between two": ({"SubnetMax": "10.244.9.255"}, "no /24 begins there; 10.244.9.0/24 would"),
    "a first subnet with a length": ({"SubnetMin": "10.244.1.0/24"}, "it must be an IPv4 address"),
    "first and last exchanged": (
        {"SubnetMin": "10.244.9.0", "SubnetMax": "10.244.8.0"},
        "the first subnet, 10.244.9.0, lies behind the last, 10.244.8.0",
    ),
    "no family": ({"EnableIPv4": False}, "EnableIPv4 and EnableIPv6 are both false; no pod would have an address"),
    "IPv6 alone": ({"EnableIPv4": False, "EnableIPv6": True}, "EnableIPv4 is false; podnet's pods have IPv4 only"),
    "both families": (
        {"EnableIPv6": True, "IPv6Network": "2001:cafe::/48"},
        "EnableIPv6 is true; podnet's pods have IPv4",
    ),
    "a family that is a text": ({"EnableIPv4": "yes"}, 'EnableIPv4 is "yes"; it must be true or false'),
    "an IPv6 network that is none": ({"IPv6Network": "10.0.0.0/8"}, "it must be an IPv6 network"),
    "an IPv6 length of a single address": ({"IPv6SubnetLen": 127}, "IPv6SubnetLen is 127; it must be /126 or shorter"),
    "an IPv6 length below nought": ({"IPv6SubnetLen": -1}, "IPv6SubnetLen is -1; it must be a whole number"),
    "an IPv6 length in quotes": ({"IPv6SubnetLen": "64"}, 'IPv6SubnetLen is "64"; it must be a whole number'),
    "an IPv6 length with room for two": (
        {"IPv6Network": "2001:cafe::/48", "IPv6SubnetLen": 49},
        "IPv6SubnetLen is 49; 2001:cafe::/48 must have room for four subnets: /50 or longer",
    ),
    "an IPv6 network that is too long": (
        {"IPv6Network": "2001:cafe::/125"},
        'IPv6Network is "2001:cafe::/125"; it is too small; the smallest that is of use is a /124',
    ),
    "a first IPv6 subnet outside": (
        {"IPv6Network": "2001:cafe::/48", "IPv6SubnetMin": "2001:beef::"},
        'IPv6SubnetMin is "2001:beef::"; it must lie in 2001:cafe::/48',
    ),
    "a last IPv6 subnet between two": (
        {"IPv6Network": "2001:cafe::/48", "IPv6SubnetMax": "2001:cafe:0:1::1"},
        "no /64 begins there; 2001:cafe:0:1::/64 would",
    ),
    "first and last IPv6 subnet exchanged": (
        {"IPv6Network": "2001:cafe::/48", "IPv6SubnetMin": "2001:cafe:0:2::", "IPv6SubnetMax": "2001:cafe:0:1::"},
        "the first subnet, 2001:cafe:0:2::, lies behind the last, 2001:cafe:0:1::",
    ),
    "an IPv6 subnet that is none": (
        {"IPv6SubnetMin": "10.244.1.0"},
        'IPv6SubnetMin is "10.244.1.0"; it must be an IPv6',
    ),
    "a misspelt key": ({"SubnetLenght": 24}, "SubnetLenght is nothing that flannel knows; it knows EnableIPv4"),
    "a key twice": ({"Network": NETWORK, "network": NETWORK}, "Network is given twice"),
    "a backend that is a text": ({"Backend": "vxlan"}, 'Backend is "vxlan"; it must be an object'),
    "a backend that is null": ({"Backend": None}, "Backend is null; it must be an object"),
    "a backend without a type": ({"Backend": {"VNI": 1}}, "Backend.Type is missing; give one: podnet has vxlan"),
    "an unknown backend": ({"Backend": {"Type": "gre"}}, 'Backend.Type is "gre"; flannel has no such backend'),
    "an empty type": ({"Backend": {"Type": ""}}, "flannel has no such backend"),
    "extension": ({"Backend": {"Type": "extension"}}, "that backend runs commands of your own; podnet has vxlan"),
    "ipsec": ({"Backend": {"Type": "ipsec", "PSK": "x" * 96}}, "that backend needs strongSwan; podnet has vxlan"),
    "another cloud": ({"Backend": {"Type": "ali-vpc"}}, "that backend speaks to a cloud; podnet has vxlan"),
    "a third cloud": ({"Backend": {"Type": "aws-vpc"}}, "that backend speaks to a cloud; podnet has vxlan"),
    "a fourth cloud": ({"Backend": {"Type": "gce"}}, "that backend speaks to a cloud; podnet has vxlan"),
    "a cloud": ({"Backend": {"Type": "tencent-vpc"}}, "that backend speaks to a cloud; podnet has vxlan"),
    "a key of another backend": (
        {"Backend": {"Type": "host-gw", "VNI": 1}},
        "Backend.VNI is nothing that flannel knows",
    ),
    "policies": ({"Backend": {"Type": "vxlan", "GBP": True}}, "Backend.GBP is true; podnet's tunnels carry no group"),
    "learning": ({"Backend": {"Type": "vxlan", "Learning": True}}, "podnet's tunnels learn nothing"),
    "a VNI of nought": ({"Backend": {"Type": "vxlan", "VNI": 0}}, "`net_conf: Backend.VNI` is 0; it must be a VXLAN"),
    "a VNI of 25 bits": ({"Backend": {"Type": "vxlan", "VNI": 2**24}}, "a whole number from 1 to 16777215"),
    "a port that is none": (
        {"Backend": {"Type": "udp", "Port": 65536}},
        "`net_conf: Backend.Port` is 65536; it must be a UDP",
    ),
    "an MTU that is too small": ({"Backend": {"Type": "vxlan", "MTU": 50}}, "`net_conf: Backend.MTU` is 50"),
    "direct routing in quotes": ({"Backend": {"Type": "ipip", "DirectRouting": "true"}}, "it must be true or false"),
    "a preshared key": (
        {"Backend": {"Type": "wireguard", "PSK": "abc"}},
        "podnet hands no secret around, so there is no preshared key; leave",
    ),
    "keepalives below nought": (
        {"Backend": {"Type": "wireguard", "PersistentKeepaliveInterval": -1}},
        "Backend.PersistentKeepaliveInterval is -1; it must be a whole number, not below 0",
    ),
    "keepalives in words": (
        {"Backend": {"Type": "wireguard", "PersistentKeepaliveInterval": "25s"}},
        'Backend.PersistentKeepaliveInterval is "25s"; it must be a whole number',
    ),
    "keepalives that come too late": (
        {"Backend": {"Type": "wireguard", "PersistentKeepaliveInterval": 65536}},
        "`net_conf: Backend.PersistentKeepaliveInterval` is 65536; it must be seconds, 0 for never",
    ),
    "a port of wireguard's that is none": (
        {"Backend": {"Type": "wireguard", "ListenPort": 65536}},
        "`net_conf: Backend.ListenPort` is 65536; it must be a UDP port",
    ),
    "a port of wireguard's in quotes": (
        {"Backend": {"Type": "wireguard", "ListenPortV6": "51821"}},
        'Backend.ListenPortV6 is "51821"; it must be a whole number',
    ),
    "a VNI in quotes": ({"Backend": {"Type": "vxlan", "VNI": "1"}}, 'Backend.VNI is "1"; it must be a whole number'),
    "a prefix of MACs that is none": (
        {"Backend": {"Type": "vxlan", "MacPrefix": 14}},
        "Backend.MacPrefix is 14; it must be a text, in quotes",
    ),
    "a name that is none": ({"Backend": {"Type": "vxlan", "Name": 1}}, "Backend.Name is 1; it must be a text"),
    "nftables in quotes": ({"EnableNFTables": "true"}, 'EnableNFTables is "true"; it must be true or false'),
    "a last IPv6 subnet that is none": ({"IPv6SubnetMax": 1}, "IPv6SubnetMax is 1; it must be a text, in quotes"),
    "wireguard over IPv6": ({"Backend": {"Type": "wireguard", "Mode": "ipv6"}}, "podnet's tunnels have IPv4 outside"),
    "a mode that is none": ({"Backend": {"Type": "wireguard", "Mode": "ipv5"}}, "one of auto, ipv4, ipv6, separate"),
}


def test_every_key_and_backend_has_an_example_that_is_taken_and_one_that_is_refused() -> None:
    """What podnet has none of is only refused, and what flannel has no limits for only taken."""
    taken = {word for said, *_ in VALID.values() for word in words_of(said)}
    refused = {word for said, _ in INVALID.values() for word in words_of(said)}
    for word in (*net_conf.TOP, "Type", *(key for each in net_conf.BACKENDS.values() for key in each.keys)):
        assert word in taken, f"{word} is in no valid example"
        assert word in refused, f"{word} is in no invalid example"
    assert {*net_conf.BACKENDS} <= taken
    assert {*net_conf.NOT_OURS} <= refused
    assert min(len(VALID), len(INVALID)) >= 40


def words_of(said: object) -> Iterator[str]:
    """Take keys and texts out of an example."""
    for key, value in said.items() if isinstance(said, dict) else ():
        yield key
        if isinstance(value, str):
            yield value
        yield from words_of(value)


@pytest.mark.parametrize("name", INVALID)
def test_what_cannot_be_is_refused_with_a_sentence(name: str) -> None:
    """Before any host is contacted; the host, the field and the key are named."""
    said, words = INVALID[name]
    if isinstance(said, dict) and "Network" not in said and name != "no network":
        said = {"Network": NETWORK, **said}
    with pytest.raises(ClusterError) as refused:
        read(said, ["a"])
    assert str(refused.value).startswith("a: `net_conf")
    assert words in str(refused.value)


def hosts_of(said: object, names: list[str], **more: object) -> dict[str, dict[str, object]]:
    """Make an inventory of hosts with those names."""
    return {
        name: {"address": f"192.168.56.{number}/24", "uplink": "eth0", "pods": 2, "net_conf": said, **more}
        for number, name in enumerate(names, 11)
    }


def read(said: object, names: list[str], **more: object) -> Cluster:
    """Make an inventory of hosts with those names, and read it."""
    return inventory.read(hosts_of(said, names, **more))


def inventoried(said: object) -> Inventory:
    """Make pyinfra's own inventory of one host."""
    group = (["a"], {"address": "192.168.56.11/24", "uplink": "eth0", "net_conf": said})
    return Inventory(group)  # type: ignore[no-untyped-call]  # pyinfra's own


def test_a_file_is_read_as_flannels_own_manifest_has_it(tmp_path: Path) -> None:
    """By its path, as a text or as a Path, and the same as the dict that it holds."""
    file = tmp_path / "net-conf.json"
    file.write_text(KUBE)
    read = [preflight.data(inventoried(said)) for said in (str(file), file, json.loads(KUBE))]
    assert read[0] == read[1] == read[2]
    assert preflight.cluster(inventoried(file)).mode == "vxlan"


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "cannot be read: No such file"), ('{"Network": }', "is no JSON: Expecting value: line 1")],
)
def test_a_file_that_cannot_be_read_is_named(text: str | None, words: str, tmp_path: Path) -> None:
    """With what is wrong with it."""
    file = tmp_path / "net-conf.json"
    if text:
        file.write_text(text)
    with pytest.raises(InventoryError, match=f"a: `net_conf` is '{file}', which {words}"):
        preflight.cluster(inventoried(file))


WRONG = {"Network": NETWORK, "SubnetLen": 99}
TAKEN_AWAY: dict[str, tuple[Mapping[str, object], Marks | None]] = {
    "no file": ({}, Marks(1)),
    "no file, and a VNI": ({"vni": 9}, Marks(9)),
    "a good one": ({"net_conf": {"Network": NETWORK, "Backend": {"Type": "vxlan", "VNI": 5}}}, Marks(5)),
    "one without a VNI": ({"net_conf": {"Network": NETWORK}}, Marks(1)),
    "a VNI beside one without": ({"net_conf": {"Network": NETWORK}, "vni": 9}, Marks(9)),
    "a bad one": ({"net_conf": {**WRONG, "Backend": {"Type": "vxlan", "VNI": 5}}}, Marks(5)),
    "a bad one in small letters": ({"net_conf": {"backend": {"vni": 5}}}, Marks(5)),
    "a bad one of another backend": ({"net_conf": {"Backend": {"Type": "gre", "VNI": 5}}}, Marks(5)),
    "a bad one without a VNI": ({"net_conf": WRONG}, Marks(1)),
    "no object": ({"net_conf": ["x"]}, Marks(1)),
    "a missing one": ({"net_conf": "/nowhere/net-conf.json"}, None),
    "a missing one, and a VNI": ({"net_conf": "/nowhere/net-conf.json", "vni": 9}, Marks(9)),
    "no JSON": ({"net_conf": __file__}, None),
}


@pytest.mark.parametrize("name", TAKEN_AWAY)
def test_what_cannot_be_applied_can_still_be_taken_away(name: str) -> None:
    """Whatever else is wrong with a file, its VNI says whose things they are; without a file the host must."""
    said, whose = TAKEN_AWAY[name]
    assert preflight.marks("a", data_of(said)) == whose


def test_a_number_that_can_be_nobodys_is_refused() -> None:
    """Something else would be taken away."""
    with pytest.raises(InventoryError, match=r"a: `net_conf: Backend.VNI` is 0; it must be a VXLAN network identifier"):
        preflight.marks("a", data_of({"net_conf": {"Backend": {"VNI": 0}}}))
    with pytest.raises(InventoryError, match="a: `vni` is '5'; it must be a VXLAN network identifier"):
        preflight.marks("a", data_of({"vni": "5"}))


def data_of(said: Mapping[str, object]) -> HostData:
    """Make pyinfra's own data of a host."""
    inventory = Inventory((["a"], dict(said)))  # type: ignore[no-untyped-call]  # pyinfra's own
    return inventory.get_host("a").data


def test_a_host_tells_whose_things_it_has() -> None:
    """By its tables, for a teardown that nobody tells: one cluster's, or several's."""
    of_five, of_one = (
        running(read({"Network": NETWORK, "Backend": {"Type": "vxlan", "VNI": number}}, ["a"]), "a")
        for number in (5, 1)
    )
    assert (clusters(State()), clusters(of_five), clusters(of_one)) == (set(), {Marks(5)}, {Marks(1)})
    assert clusters(of_five | of_one) == {Marks(1), Marks(5)}


def test_subnets_are_allotted_in_the_inventorys_order_around_those_that_are_given() -> None:
    """A given one may be of another length; what it touches is given to nobody."""
    hosts: dict[str, dict[str, object]] = {
        name: {"address": f"192.168.56.{number}/24", "uplink": "eth0", "net_conf": {"Network": NETWORK}}
        for number, name in enumerate("abcde", 11)
    }
    hosts["b"]["pod_subnet"] = "10.244.2.128/25"
    hosts["d"]["pod_subnet"] = "10.244.4.0/23"
    cluster = inventory.read(hosts)
    assert [str(node.pod_subnet) for node in cluster.nodes] == [
        *("10.244.1.0/24", "10.244.2.128/25", "10.244.3.0/24", "10.244.4.0/23", "10.244.6.0/24")
    ]
    assert [node.allotted for node in cluster.nodes] == [True, False, True, False, True]


def test_hosts_for_whom_no_subnet_is_left_are_refused() -> None:
    """The first of them is named."""
    read({"Network": "10.244.0.0/28"}, ["a", "b", "c"], pods=1)
    with pytest.raises(ClusterError, match=r"d: no subnet is left for it; from 10.244.0.4/30 to .* there are 3"):
        read({"Network": "10.244.0.0/28"}, ["a", "b", "c", "d"], pods=1)


def test_what_the_file_says_is_said_once() -> None:
    """Two places that may contradict each other are refused even if they do not."""
    with pytest.raises(ClusterError, match=r"a: `network` is .*; `net_conf` gives it as well \(Network"):
        read({"Network": NETWORK}, ["a"], network=NETWORK)
    assert read({"Network": NETWORK}, ["a"], vni=9).vni == 9


@pytest.mark.parametrize("mode", sorted({mode for _, mode, *_ in VALID.values()}))
def test_the_deploy_applies_the_mode_that_the_file_says(mode: str) -> None:
    """And computes what that mode computes."""
    said = next(said for said, named, *_ in VALID.values() if named == mode)
    cluster = read({"Network": NETWORK, **said}, ["a", "b"])
    (me, _) = cluster.nodes
    assert mode in MODES
    module = __import__(f"podnet.modes.{mode}", fromlist=["state"])
    assert modes.wanted(net_conf, cluster, me) == modes.wanted(module, cluster, me)


@pytest.mark.parametrize("name", VALID)
def test_what_the_file_says_can_be_spelled_out(name: str) -> None:
    """The same cluster in podnet's words, which may be in any mode; hosts that leave it renumber nobody."""
    said = {"Network": NETWORK, **VALID[name][0]}
    names = ["a", "b", "c"][: net_conf.read("here", said).room]
    hosts = hosts_of(said, names, pods=1)
    spelled = inventory.spelled_out(hosts)
    cluster, same = inventory.read(hosts), inventory.read(spelled)
    nodes = tuple(replace(node, allotted=True) for node in same.nodes)
    assert replace(same, mode=cluster.mode, nodes=nodes) == cluster
    modes.wanted(host_gw, same, same.nodes[0])
    last = inventory.read({names[-1]: spelled[names[-1]]})
    assert last.nodes[0].pod_subnet == cluster.nodes[-1].pod_subnet
    assert inventory.spelled_out(spelled) == spelled


def test_another_mode_than_the_file_says_is_refused() -> None:
    """One of the two is a mistake."""
    cluster = read({"Network": NETWORK, "Backend": {"Type": "vxlan"}}, ["a"])
    modes.wanted(vxlan, cluster, cluster.nodes[0])
    with pytest.raises(ClusterError, match=r"a: `net_conf` says vxlan, not host_gw; apply deploys/net_conf.py"):
        modes.wanted(host_gw, cluster, cluster.nodes[0])
    with pytest.raises(ClusterError, match="a: `net_conf` is missing; give it as group data"):
        modes.wanted(net_conf, replace(cluster, mode=""), cluster.nodes[0])


def test_an_uplink_that_carries_less_than_is_assumed_is_told() -> None:
    """Where a file says no MTU, and podnet takes 1500; group data may say another one."""
    few = Nic("eth0", 1400, "0a:00:00:00:00:01")
    for more, words in (
        ({}, "`underlay_mtu` is 1500 (Backend.MTU in `net_conf`, or group data, or else 1500), but eth0 has an MTU"),
        ({"underlay_mtu": 1400}, ""),
    ):
        of = read({"Network": NETWORK, "Backend": {"Type": "vxlan", "MTU": 0}}, ["a"], **more)
        have = State(links=frozenset({few}), addresses=frozenset({Address("eth0", of.nodes[0].address)}))
        told = [line for line in obstacles(modes.wanted(net_conf, of, of.nodes[0]), have, of, "a") if "mtu" in line]
        assert [line.startswith(words) for line in told] == ([True] if words else [])


def test_a_host_that_runs_with_another_subnet_is_not_renumbered() -> None:
    """A host that left the inventory would move those behind it; with `pod_subnet` it is somebody's wish."""
    three, two = (read({"Network": NETWORK}, names) for names in (["a", "b", "c"], ["a", "c"]))
    have = running(three, "c")
    told = obstacles(modes.wanted(net_conf, two, two.node("c")), have, two, "c")
    assert any("it would be allotted 10.244.2.0/24, and runs with 10.244.3.0, 10.244.3.1, " in line for line in told)
    same = obstacles(modes.wanted(net_conf, three, three.node("c")), have, three, "c")
    assert not [line for line in same if "allotted" in line]
    given = replace(two, nodes=tuple(replace(node, allotted=False) for node in two.nodes))
    wished = obstacles(modes.wanted(net_conf, given, given.node("c")), have, given, "c")
    assert not [line for line in wished if "allotted" in line]


def test_a_subnet_of_another_size_is_another_subnet() -> None:
    """Though it begins in the same place."""
    as_it_runs, asked = (
        read({"Network": NETWORK, "SubnetMin": "10.244.1.0", "SubnetLen": length}, ["a"]) for length in (24, 25)
    )
    have = running(as_it_runs, "a")
    told = obstacles(modes.wanted(net_conf, asked, asked.nodes[0]), have, asked, "a")
    assert any("it would be allotted 10.244.1.0/25, and runs with 10.244.1.0, 10.244.1.1" in line for line in told)


def test_containers_do_not_lose_their_gateway_unless_they_may() -> None:
    """Where the inventory gives a node another subnet than containers on its bridge have addresses of."""
    before, after = (examples.cluster(1), examples.cluster(1))
    moved = replace(after.nodes[0], pod_subnet=IPv4Network("10.244.5.0/24"), pods=())
    after = replace(after, nodes=(moved,))
    box = State(
        ports=frozenset({Port("veth0", "cni0", hairpin=True)}),
        reservations=frozenset({Reservation("podnet", IPv4Address("10.244.1.9"), "c1")}),
    )
    have = running(before, "node1", vxlan) | box
    words = "the subnet of cni0 would be removed, and veth0 would be cut off"
    assert [line for line in told(have, after, moved) if line.startswith(words)]
    assert not [line for line in told(have, after, moved, cut_off=True) if "cut off" in line]
    assert not [line for line in told(have, before, before.nodes[0]) if "cut off" in line]


def told(have: State, cluster: Cluster, me: Node, *, cut_off: bool = False) -> list[str]:
    """Say what stands in the way of vxlan."""
    return obstacles(modes.wanted(vxlan, cluster, me), have, cluster, me.name, cut_off=cut_off)


def running(cluster: Cluster, name: str, mode: Mode = net_conf) -> State:
    """Return what a host holds that was applied to."""
    me = cluster.node(name)
    return modes.wanted(mode, cluster, me) | State(addresses=frozenset({Address(me.uplink, me.address)}))
