"""Each item in the words that an administrator would type."""

import re
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import get_args

import pytest

from podnet import spell
from podnet import state as types
from podnet.firewall import Verdict
from podnet.modes import wanted
from podnet.state import (
    Address,
    Before,
    Bridge,
    Chain,
    Device,
    FdbEntry,
    FouPort,
    Ipip,
    Ipvlan,
    Item,
    Jump,
    KeyOf,
    Link,
    Loan,
    Macvlan,
    Neighbour,
    Nic,
    Offload,
    Opening,
    Port,
    Route,
    Rule,
    State,
    Sysctl,
    Veth,
    Vf,
    Vxlan,
    WgPeer,
    Wireguard,
)
from tests.core import goldens
from tests.core.examples import cluster

MAC = "66:00:00:00:00:01"
VTEP = Vxlan("flannel.1", 1450, MAC, 1, 8472, IPv4Address("192.168.56.11"), "eth0")
CABLE = Veth("veth0", 1450, "podnet-a", "5a:00:00:00:00:01")
IPIP = Ipip("flannel.ipip", 1480, IPv4Address("192.168.56.11"))
WRAPPED = Ipip("flannel.udp", 1472, IPv4Address("192.168.56.11"), fou=8285)
TO_ONE = Ipip("tun0", 1480, IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), ttl=64, pmtudisc=True)
MACVLAN = Macvlan("eth0", 1500, MAC, "eth1")
IPVLAN = Ipvlan("eth0", 1500, "eth1")
WIREGUARD = Wireguard("flannel-wg", 1420, 51820, KeyOf("node1"))
PEER = WgPeer("flannel-wg", KeyOf("node2"), "192.168.56.12:51820", ("10.244.2.0/24",))
NIC = Nic("eth0", 1450, MAC)
ROUTE = Route(IPv4Network("10.244.2.0/24"), "flannel.1", IPv4Address("10.244.2.0"), onlink=True)
RULE = Rule(1000, "100", IPv4Network("10.244.1.2/32"), IPv4Network("10.0.0.0/8"), "cni0", "0x1/0xff")
CHAIN = Chain("filter", "PODNET-FWD", (Jump("FORWARD"),), ("-s 10.244.0.0/16 -j ACCEPT",))
OPENING = Opening("inet", "filter", "forward", (Verdict("accept", source=IPv4Network("10.244.0.0/16")),))

VF = Vf("0000:01:10.0", MAC, vlan=100, trust=True, pf="eth1", index=2)
LOAN = Loan("eth0", 1500, MAC, VF.nic, Before("eth2", "02:57:00:00:00:01", 9000, up=True, vf=Vf(VF.nic, MAC)), "eth2")
NOTED = (
    f"podnet name eth2 address 02:57:00:00:00:01 mtu 9000 up vf mac {MAC} vlan 0 qos 0 max_tx_rate 0 spoofchk on trust "
    "off state auto"
)

ADD: list[tuple[Item, list[str]]] = [
    (
        LOAN,
        [
            f'link set eth2 name eth0 alias "{NOTED}"',
            "link set eth0 up",
            "link set eth0 down",
            f"link set eth0 address {MAC} mtu 1500 up",
        ],
    ),
    (
        VF,
        [f"link set eth1 vf 2 mac {MAC} vlan 100 qos 0 max_tx_rate 0 spoofchk on trust on state auto"],
    ),
    (
        Bridge("cni0", 1450, MAC),
        [f"link add cni0 address {MAC} type bridge", "link set cni0 mtu 1450 alias podnet up"],
    ),
    (
        VTEP,
        [
            (
                f"link add flannel.1 address {MAC} mtu 1450 type vxlan id 1 dev eth0 local 192.168.56.11 dstport 8472 "
                "nolearning"
            ),
            "link set flannel.1 alias podnet up",
        ],
    ),
    (
        CABLE,
        [
            "link add veth0 address 5a:00:00:00:00:01 mtu 1450 type veth peer name eth0 mtu 1450 netns podnet-a",
            "link set veth0 alias podnet up",
        ],
    ),
    (
        IPIP,
        [
            "link add flannel.ipip mtu 1480 type ipip mode any local 192.168.56.11 remote any ttl inherit nopmtudisc",
            "link set flannel.ipip alias podnet up",
        ],
    ),
    (
        WRAPPED,
        [
            (
                "link add flannel.udp mtu 1472 type ipip mode any local 192.168.56.11 remote any ttl inherit "
                "nopmtudisc encap fou encap-sport 8285 encap-dport 8285"
            ),
            "link set flannel.udp alias podnet up",
        ],
    ),
    (
        TO_ONE,
        [
            "link add tun0 mtu 1480 type ipip mode any local 192.0.2.1 remote 192.0.2.2 ttl 64 pmtudisc",
            "link set tun0 alias podnet up",
        ],
    ),
    (
        MACVLAN,
        [
            f"link add eth0 link eth1 address {MAC} mtu 1500 type macvlan mode bridge",
            "link set eth0 alias podnet up",
        ],
    ),
    (IPVLAN, ["link add eth0 link eth1 mtu 1500 type ipvlan mode l2", "link set eth0 alias podnet up"]),
    (WIREGUARD, ["link add flannel-wg mtu 1420 type wireguard", "link set flannel-wg alias podnet up"]),
    (PEER, ["peer key-of-node2 endpoint 192.168.56.12:51820 allowed-ips 10.244.2.0/24"]),
    (NIC, [f"link set eth0 address {MAC} mtu 1450 up"]),
    (
        Port("veth0", "cni0", hairpin=True),
        ["link set veth0 master cni0", "link set veth0 type bridge_slave hairpin on"],
    ),
    (
        Port("veth0", "cni0", hairpin=False),
        ["link set veth0 master cni0"],
    ),
    (Address("cni0", IPv4Interface("10.244.1.1/24")), ["addr replace 10.244.1.1/24 dev cni0"]),
    (Address("flannel.1", IPv4Interface("10.244.1.0")), ["addr replace 10.244.1.0/32 dev flannel.1"]),
    (
        Neighbour("flannel.1", IPv4Address("10.244.2.0"), MAC),
        [f"neigh replace 10.244.2.0 lladdr {MAC} dev flannel.1 nud permanent"],
    ),
    (FdbEntry("flannel.1", MAC, "192.168.56.12"), [f"fdb replace {MAC} dev flannel.1 dst 192.168.56.12"]),
    (FouPort(8285), ["fou add port 8285 ipproto 4"]),
    (Offload("flannel.1", on=False), ["ethtool -K flannel.1 tx-checksum-ip-generic off"]),
    (ROUTE, ["route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink proto 77"]),
    (Route(IPv4Network("0.0.0.0/0"), "eth0"), ["route replace 0.0.0.0/0 dev eth0 proto 77"]),
    (
        Route(IPv4Network("10.244.0.0/16"), None, kind="blackhole", metric=9),
        ["route replace blackhole 10.244.0.0/16 metric 9 proto 77"],
    ),
    (Route(IPv4Network("0.0.0.0/0"), "eth0", table="100"), ["route replace 0.0.0.0/0 dev eth0 table 100 proto 77"]),
    (
        RULE,
        ["rule add priority 1000 from 10.244.1.2/32 to 10.0.0.0/8 iif cni0 fwmark 0x1/0xff table 100 protocol 77"],
    ),
    (Rule(1001, "main"), ["rule add priority 1001 table main protocol 77"]),
    (Sysctl("net/ipv4/conf/flannel.1/rp_filter", "2"), ["net/ipv4/conf/flannel.1/rp_filter = 2"]),
    (OPENING, ['insert rule inet filter forward ip saddr 10.244.0.0/16 accept comment "podnet"']),
    (
        CHAIN,
        [
            "*filter",
            ":PODNET-FWD - [0:0]",
            "-A PODNET-FWD -s 10.244.0.0/16 -j ACCEPT",
            "-I FORWARD 1 -j PODNET-FWD",
            "COMMIT",
        ],
    ),
]

REMOVE: list[tuple[Item, list[str]]] = [
    (LOAN, ["link set eth0 netns 1 name eth2"]),
    (Bridge("cni0", 1450, MAC), ["link del cni0"]),
    (VTEP, ["link del flannel.1"]),
    (CABLE, ["link del veth0"]),
    (IPIP, ["link del flannel.ipip"]),
    (MACVLAN, ["link del eth0"]),
    (IPVLAN, ["link del eth0"]),
    (WIREGUARD, ["link del flannel-wg"]),
    (PEER, ["peer key-of-node2 remove"]),
    (FouPort(8285), ["fou del port 8285"]),
    (Port("veth0", "cni0", hairpin=True), ["link set veth0 nomaster"]),
    (Address("cni0", IPv4Interface("10.244.1.1/24")), ["addr del 10.244.1.1/24 dev cni0"]),
    (Neighbour("flannel.1", IPv4Address("10.244.2.0"), MAC), ["neigh del 10.244.2.0 dev flannel.1"]),
    (
        FdbEntry("flannel.1", MAC, "192.168.56.12 port 4790 vni 9 via eth0"),
        [f"fdb del {MAC} dev flannel.1 dst 192.168.56.12 port 4790 vni 9 via eth0"],
    ),
    (ROUTE, ["route del 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink proto 77"]),
    (Rule(1001, "main"), ["rule del priority 1001 table main protocol 77"]),
    (
        Route(IPv4Network("10.244.0.0/16"), None, kind="unreachable", metric=9),
        ["route del unreachable 10.244.0.0/16 metric 9 proto 77"],
    ),
    (replace(OPENING, handles=(7,)), ["delete rule inet filter forward handle 7"]),
    (
        replace(CHAIN, jumps=(Jump("FORWARD"), Jump("INPUT", 4, "-i cni0"))),
        [
            "*filter",
            "-D FORWARD -j PODNET-FWD",
            "-D INPUT -i cni0 -j PODNET-FWD",
            "-F PODNET-FWD",
            "-X PODNET-FWD",
            "COMMIT",
        ],
    ),
]

CHANGE: list[tuple[Item, Item, list[str]]] = [
    (
        replace(VF, vlan=0, trust=False, state="enable", mac="02:00:00:00:00:01", spoofchk=False, max_tx_rate=7),
        VF,
        [
            f"link set eth1 vf 2 mac {MAC}",
            "link set eth1 vf 2 vlan 100 qos 0",
            "link set eth1 vf 2 max_tx_rate 0",
            "link set eth1 vf 2 spoofchk on",
            "link set eth1 vf 2 trust on",
            "link set eth1 vf 2 state auto",
        ],
    ),
    (
        replace(LOAN, mac="02:00:00:00:00:01"),
        LOAN,
        ["link set eth0 up", "link set eth0 down", f"link set eth0 address {MAC} up"],
    ),
    (replace(LOAN, alias=""), LOAN, [f'link set eth0 alias "{NOTED}"']),
    (replace(VTEP, mtu=1400), VTEP, ["link set flannel.1 mtu 1450"]),
    (replace(VTEP, up=False, alias=""), VTEP, ["link set flannel.1 alias podnet up"]),
    (replace(VTEP, mac="66:00:00:00:00:02"), VTEP, [f"link set flannel.1 address {MAC}"]),
    (
        replace(VTEP, local=IPv4Address("192.168.56.99")),
        VTEP,
        ["link set flannel.1 type vxlan local 192.168.56.11"],
    ),
    (replace(VTEP, learning=True), VTEP, ["link set flannel.1 type vxlan nolearning"]),
    (replace(CABLE, mtu=1500, up=False), CABLE, ["link set veth0 mtu 1450 up"]),
    (replace(CABLE, mac=MAC), CABLE, ["link set veth0 address 5a:00:00:00:00:01"]),
    (
        replace(IPIP, pmtudisc=True),
        IPIP,
        ["link set flannel.ipip type ipip mode any local 192.168.56.11 remote any ttl inherit nopmtudisc"],
    ),
    (FouPort(8285, ipproto=41), FouPort(8285), ["fou del port 8285", "fou add port 8285 ipproto 4"]),
    (replace(NIC, mtu=1500, up=False), NIC, ["link set eth0 mtu 1450 up"]),
    (
        replace(PEER, endpoint=None, allowed=(), keepalive=9, options=("preshared-key",)),
        PEER,
        [
            (
                "peer key-of-node2 endpoint 192.168.56.12:51820 allowed-ips 10.244.2.0/24 persistent-keepalive off "
                "preshared-key /dev/null"
            )
        ],
    ),
    (
        replace(PEER, keepalive=9),
        replace(PEER, keepalive=25),
        ["peer key-of-node2 endpoint 192.168.56.12:51820 allowed-ips 10.244.2.0/24 persistent-keepalive 25"],
    ),
    (
        Port("veth0", "br0", hairpin=True),
        Port("veth0", "cni0", hairpin=True),
        ["link set veth0 master cni0", "link set veth0 type bridge_slave hairpin on"],
    ),
    (replace(ROUTE, dev="eth0"), ROUTE, spell.add(ROUTE)),
    (Rule(1001, "100"), Rule(1001, "main"), [*spell.add(Rule(1001, "main")), *spell.remove(Rule(1001, "100"))]),
    (
        replace(CHAIN, rules=(), jumps=(Jump("FORWARD", 3), Jump("FORWARD", 5))),
        CHAIN,
        [
            "*filter",
            "-D FORWARD -j PODNET-FWD",
            "-D FORWARD -j PODNET-FWD",
            ":PODNET-FWD - [0:0]",
            "-A PODNET-FWD -s 10.244.0.0/16 -j ACCEPT",
            "-I FORWARD 1 -j PODNET-FWD",
            "COMMIT",
        ],
    ),
    (
        replace(CHAIN, jumps=()),
        CHAIN,
        [
            "*filter",
            ":PODNET-FWD - [0:0]",
            "-A PODNET-FWD -s 10.244.0.0/16 -j ACCEPT",
            "-I FORWARD 1 -j PODNET-FWD",
            "COMMIT",
        ],
    ),
]


@pytest.mark.parametrize(("item", "lines"), ADD, ids=lambda value: type(value).__name__)
def test_an_item_is_made_in_these_words(item: Item, lines: list[str]) -> None:
    """ip(8), bridge(8), sysctl(8) and iptables-restore(8) read exactly this."""
    assert spell.add(item) == lines


@pytest.mark.parametrize(("item", "lines"), REMOVE, ids=lambda value: type(value).__name__)
def test_an_item_is_removed_in_these_words(item: Item, lines: list[str]) -> None:
    """Only that item, named by all that tells it from others."""
    assert spell.remove(item) == lines


@pytest.mark.parametrize(("have", "want", "lines"), CHANGE, ids=lambda value: type(value).__name__)
def test_an_item_is_changed_in_these_words(have: Item, want: Item, lines: list[str]) -> None:
    """Only what differs is said, in place: nothing is taken away in between."""
    assert spell.change(have, want) == lines


@pytest.mark.parametrize("item", [NIC, VF, Sysctl("net/ipv4/ip_forward", "1")], ids=lambda item: type(item).__name__)
def test_what_podnet_did_not_make_it_does_not_remove(item: Item) -> None:
    """A device of somebody else's, or a setting, has no word for being removed."""
    with pytest.raises(TypeError, match="was not made by podnet"):
        spell.remove(item)


def test_every_kind_of_item_is_spelled_here() -> None:
    """A new kind of item without a line in these tables would go untested."""
    links = {kind for kind in vars(types).values() if isinstance(kind, type) and issubclass(kind, Link)}
    elsewhere = {types.File, types.Symlink, types.Reservation}  # podnet.placing, podnet.store
    kinds = ({*get_args(Item)} | links) - {Link, Device, *elsewhere}
    assert {type(item) for item, _ in ADD} == kinds
    assert {type(item) for item, _ in REMOVE} == kinds - {Nic, Sysctl, Offload, Vf}


def test_a_device_of_a_pod_is_made_from_the_host() -> None:
    """The host knows all that it names: the lower device, the other pod."""
    assert spell.make(IPVLAN, "podnet-a") == "link add new-eth0 netns podnet-a link eth1 mtu 1500 type ipvlan mode l2"


OTHER = {
    "stp": True,
    "vlan_filtering": True,
    "mtu": 1,
    "mac": "02:00:00:00:00:99",
    "up": False,
    "alias": "",
    "local": None,
    "remote": IPv4Address("192.0.2.9"),
    "ttl": 7,
    "fou": 1,
    "options": ("mode ipip",),
    "port": 1,
    "public": "",
}


@pytest.mark.parametrize(
    "item",
    [VTEP, CABLE, NIC, Bridge("cni0", 1450, MAC), IPIP, WRAPPED, MACVLAN, IPVLAN, WIREGUARD, LOAN],
    ids=lambda item: type(item).__name__,
)
def test_every_attribute_of_a_device_can_be_mended(item: Link) -> None:
    """A value that can be wrong, and for which no line is said, would be wrong forever; remade ones apart."""
    remade = {"dev", "peer", "netns", *getattr(item, "FIXED", ())}
    for name in {field.name for field in fields(item) if field.compare} - remade:
        was = getattr(item, name)
        other = not was if isinstance(was, bool) else OTHER[name]
        old = replace(item, **{name: other})  # type: ignore[arg-type]  # by name
        told = isinstance(item, Wireguard) and spell.key_and_port(old, item)
        assert spell.change(old, item) or told, name


@pytest.mark.parametrize("name", goldens.MODES)
def test_no_line_needs_a_shell(name: str) -> None:
    """Lines are standard input of their commands: no pipes, no conditions; the quotes are ip(8)'s own."""
    of = cluster()
    want = replace(wanted(goldens.mode(name), of, of.node("node1")), files=frozenset(), reservations=frozenset())
    for state in (want, *want.pods.values()):
        for line in lines(state):
            assert re.fullmatch(r"[A-Za-z0-9 .:/_*=!+\[\]\"-]+", line)


def lines(state: State) -> list[str]:
    """Spell every item of a state."""
    tables = (getattr(state, table) for table in types.TABLES)
    return [line for table in tables for item in table for line in spell.add(item)]
