"""What an inventory must not say, and in which words it is refused: always a host, a field and a way out."""

import re

import pytest

from podnet.cluster import Cluster, Node, Pod
from podnet.errors import ClusterError, PodnetError
from podnet.inventory import GROUP_FIELDS, describes_a_cluster, read
from tests.core.examples import GROUP, cluster, hosts

MISSING = range(0)  # stands for a field that is left out; its text is the same in every process
ALL = "node1 node2 node3"
NET = "it must be an IPv4 network with its prefix length"
ADDRESS = "it must be the host's IPv4 address on the underlay with its prefix length"
DEV = "it must be the name of the device that holds `address`"
PODS = "it must be a count, a list of names, or a dict of names and addresses"
POD = "a pod's name is 1 to 63 small letters, digits and -"
POD_ADDRESS = "it must be an IPv4 address without prefix length"
MTU = "the MTU of the underlay in bytes, a whole number from 656 to 65535"
PORT = "a UDP port, a whole number from 1 to 65535"
VNI = "a VXLAN network identifier, a whole number from 1 to "

REFUSALS: list[tuple[str, str, object, str]] = [
    # whose field, which, what it is changed to, what the refusal says beside both
    ("node2", "address", MISSING, "missing; give it as data of this host"),
    ("node2", "address", None, ADDRESS),
    ("node2", "address", "", ADDRESS),
    ("node2", "address", 3232249867, ADDRESS),
    ("node2", "address", ["192.168.56.12/24"], ADDRESS),
    ("node2", "address", "192.168.56.12", ADDRESS),
    ("node2", "address", "192.168.56.12/", ADDRESS),
    ("node2", "address", "192.168.56.12/33", ADDRESS),
    ("node2", "address", "192.168.56.12/255.255.255.0", ADDRESS),
    ("node2", "address", "192.168.56.12/24 ", ADDRESS),
    ("node2", "address", " 192.168.56.12/24", ADDRESS),
    ("node2", "address", "192.168.56.12/24\n", ADDRESS),
    ("node2", "address", "192.168.56.12/24\nlink del eth0", ADDRESS),
    ("node2", "address", "192.168.56.12/24; reboot", ADDRESS),
    ("node2", "address", "$(reboot)", ADDRESS),
    ("node2", "address", "`reboot`", ADDRESS),
    ("node2", "address", "'192.168.56.12/24'", ADDRESS),
    ("node2", "address", "-192.168.56.12/24", ADDRESS),
    ("node2", "address", "192.168.056.012/24", "Leading zeros are not permitted"),
    ("node2", "address", "192.168.56.312/24", "not permitted"),
    ("node2", "address", "192.168.56/24", ADDRESS),
    ("node2", "address", "\u0661\u0669\u0662.168.56.12/24", ADDRESS),
    ("node2", "address", "node2.example/24", ADDRESS),
    ("node2", "address", "fd00::2/64", ADDRESS),
    ("node2", "address", "127.0.0.2/8", "loopback address, which no peer can send to"),
    ("node2", "address", "224.0.0.2/24", "multicast address, which no peer can send to"),
    ("node2", "address", "169.254.0.2/16", "link-local address, which no peer can send to"),
    ("node2", "address", "240.0.0.2/24", "reserved address, which no peer can send to"),
    ("node2", "address", "0.0.0.0/24", "unspecified address, which no peer can send to"),
    ("node2", "address", "0.0.0.2/24", "this-network address, which no peer can send to"),
    ("node2", "address", "192.168.56.0/24", "the first or the last address of 192.168.56.0/24"),
    ("node2", "address", "192.168.56.255/24", "the first or the last address of 192.168.56.0/24"),
    ("node2", "address", "192.168.56.11/24", "192.168.56.11 is already taken by node1; give each its own"),
    ("node2", "address", "192.168.56.12/25", "one of the prefix lengths is wrong"),
    ("node2", "address", "192.168.56.12/16", "one of the prefix lengths is wrong"),
    ("node2", "address", "10.244.200.12/24", "overlaps the pods' `network` 10.244.0.0/16"),
    ("node2", "address", "10.12.0.1/8", "overlaps the pods' `network` 10.244.0.0/16"),
    ("node2", "uplink", MISSING, "missing; give it as data of this host"),
    ("node2", "uplink", None, DEV),
    ("node2", "uplink", 0, DEV),
    ("node2", "uplink", "", DEV),
    ("node2", "uplink", "e" * 16, DEV),
    ("node2", "uplink", "eth/0", DEV),
    ("node2", "uplink", "eth0:1", DEV),
    ("node2", "uplink", "eth 0", DEV),
    ("node2", "uplink", "eth0\n", DEV),
    ("node2", "uplink", "eth0\nup", DEV),
    ("node2", "uplink", "eth0;reboot", DEV),
    ("node2", "uplink", "$(reboot)", DEV),
    ("node2", "uplink", "`reboot`", DEV),
    ("node2", "uplink", 'eth"0', DEV),
    ("node2", "uplink", "eth'0", DEV),
    ("node2", "uplink", "-batch", DEV),
    ("node2", "uplink", "eth0@if2", DEV),
    ("node2", "uplink", "éth0", DEV),
    ("node2", "uplink", ".", DEV),
    ("node2", "uplink", "..", DEV),
    ("node2", "uplink", "lo", "not a device that leads to other hosts"),
    ("node2", "uplink", "all", "not a device that leads to other hosts"),
    ("node2", "uplink", "default", "not a device that leads to other hosts"),
    ("node2", "pod_subnet", MISSING, "missing; give it as data of this host"),
    ("node2", "pod_subnet", None, NET),
    ("node2", "pod_subnet", 24, NET),
    ("node2", "pod_subnet", "10.244.2.0", NET),
    ("node2", "pod_subnet", "10.244.2.0/33", NET),
    ("node2", "pod_subnet", "10.244.02.0/24", "Leading zeros are not permitted"),
    ("node2", "pod_subnet", "10.244.2.0/24\n", NET),
    ("node2", "pod_subnet", "10.244.2.0/24 dev eth0", NET),
    ("node2", "pod_subnet", "-10.244.2.0/24", NET),
    ("node2", "pod_subnet", "fd00:2::/64", NET),
    ("node2", "pod_subnet", "10.244.2.7/24", "did you mean '10.244.2.0/24'?"),
    ("node2", "pod_subnet", "10.244.2.0/31", "too small for a gateway and a pod"),
    ("node2", "pod_subnet", "10.244.2.0/32", "too small for a gateway and a pod"),
    ("node2", "pod_subnet", "127.0.2.0/24", "it holds loopback addresses, which cannot be pods'"),
    ("node2", "pod_subnet", "239.0.2.0/24", "it holds multicast addresses, which cannot be pods'"),
    ("node2", "pod_subnet", "169.254.2.0/24", "it holds link-local addresses, which cannot be pods'"),
    ("node2", "pod_subnet", "0.0.2.0/24", "it holds this-network addresses, which cannot be pods'"),
    ("node2", "pod_subnet", "10.245.2.0/24", "lies outside `network` 10.244.0.0/16"),
    ("node2", "pod_subnet", "10.244.1.0/24", "overlaps node1's 10.244.1.0/24; two pods could get one address"),
    ("node2", "pod_subnet", "10.244.1.128/25", "overlaps node1's 10.244.1.0/24"),
    ("node3", "pod_subnet", "10.244.2.64/26", "overlaps node2's 10.244.2.0/24"),
    ("node2", "nics", None, "it must be a dict of pods' names and NICs, {'pod1': '0000:01:10.0'} for example"),
    ("node2", "nics", ["eth2"], "it must be a dict of pods' names and NICs"),
    ("node2", "nics", {"Web": "eth2"}, POD),
    *[
        ("node2", "nics['a']['nic']", {"a": nic}, "it must be a PCI address like '0000:01:10.0', or the name of a dev")
        for nic in ("", "eth2;reboot", "0000:01:10", "0000:01:10.9", "lo", "e" * 16, 7, None, "0000:01:10.0\n")
    ],
    ("node2", "nics['a']", {"a": {"vlan": 7}}, "its `nic` is missing: a PCI address, or a name"),
    (
        "node2",
        "nics['a']['speed']",
        {"a": {"nic": "eth2", "speed": 7}},
        "there is no such setting; there are nic, vlan",
    ),
    ("node2", "nics['a']['vlan']", {"a": {"nic": "eth2", "vlan": 4095}}, "a VLAN, a whole number from 0 to 4094"),
    ("node2", "nics['a']['vlan']", {"a": {"nic": "eth2", "vlan": True}}, "a VLAN, a whole number from 0 to 4094"),
    ("node2", "nics['a']['max_tx_rate']", {"a": {"nic": "eth2", "max_tx_rate": -1}}, "a rate in Mbit/s"),
    ("node2", "nics['a']['spoofchk']", {"a": {"nic": "eth2", "spoofchk": "on"}}, "it must be True or False"),
    ("node2", "nics['a']['trust']", {"a": {"nic": "eth2", "trust": 1}}, "it must be True or False"),
    ("node2", "nics['a']['link_state']", {"a": {"nic": "eth2", "link_state": "up"}}, "one of auto, enable, disable"),
    ("node2", "pods", None, PODS),
    ("node2", "pods", True, PODS),
    ("node2", "pods", 2.0, PODS),
    ("node2", "pods", "2", PODS),
    ("node2", "pods", {"a"}, PODS),
    ("node2", "pods", -1, "what 10.244.2.0/24 has room for, a whole number from 0 to 253"),
    ("node2", "pods", 254, "what 10.244.2.0/24 has room for, a whole number from 0 to 253"),
    ("node2", "pods", 10**9, "what 10.244.2.0/24 has room for, a whole number from 0 to 253"),
    ("node2", "pods", [f"p{i}" for i in range(254)], "10.244.2.0/24 has room for 253 pods, not 254"),
    ("node2", "pods", [""], POD),
    ("node2", "pods", [7], POD),
    ("node2", "pods", ["Web"], POD),
    ("node2", "pods", ["web_1"], POD),
    ("node2", "pods", ["-n"], POD),
    ("node2", "pods", ["web-"], POD),
    ("node2", "pods", ["w" * 64], POD),
    ("node2", "pods", ["../x"], POD),
    ("node2", "pods", ["web 1"], POD),
    ("node2", "pods", ["web\n"], POD),
    ("node2", "pods", ["web;reboot"], POD),
    ("node2", "pods", ["$(reboot)"], POD),
    ("node2", "pods", ["`reboot`"], POD),
    ("node2", "pods", ["web'"], POD),
    ("node2", "pods", ["web", "web"], "the pod name web is already taken by node2"),
    ("node2", "pods", {"-n": "10.244.2.7"}, POD),
    ("node2", "pods", {"we\nb": "10.244.2.7"}, POD),
    ("node2", "pods", {"a": "10.244.2.7", "b": "10.244.2.7"}, "the pod address 10.244.2.7 is already taken by node2"),
    ("node2", "pods", {"a": "10.244.3.7"}, "gives a the address 10.244.3.7; it must lie in 10.244.2.0/24"),
    ("node2", "pods", {"a": "10.244.2.0"}, "gives a the address 10.244.2.0"),
    ("node2", "pods", {"a": "10.244.2.1"}, "neither its first, its gateway 10.244.2.1 nor its last address"),
    ("node2", "pods", {"a": "10.244.2.255"}, "gives a the address 10.244.2.255"),
    ("node2", "pods['a']", {"a": "10.244.2.7/24"}, POD_ADDRESS),
    ("node2", "pods['a']", {"a": "10.244.2.07"}, "Leading zeros are not permitted"),
    ("node2", "pods['a']", {"a": "-10.244.2.7"}, POD_ADDRESS),
    ("node2", "pods['a']", {"a": "10.244.2.7\n"}, POD_ADDRESS),
    ("node2", "pods['a']", {"a": None}, POD_ADDRESS),
    ("node2", "pods['a']", {"a": 1}, POD_ADDRESS),
    ("node2", "network", "10.0.0.0/8", "node1 has '10.244.0.0/16'; give it once, as data of the whole group"),
    ("node2", "network", MISSING, "missing, but node1 has it"),
    (ALL, "network", MISSING, "missing; give all pods' network as group data"),
    (ALL, "network", "10.244.0.0", NET),
    (ALL, "network", "10.244.0.1/16", "did you mean '10.244.0.0/16'?"),
    (ALL, "network", "0.0.0.0/0", "it holds unspecified addresses"),
    (ALL, "network", "10.244.0.0/22 ", NET),
    (ALL, "network", "10.0.0.0/15", "lies outside `network` 10.0.0.0/15"),
    ("node3", "vni", 2, "node1 has 1; give it once"),
    ("node3", "vni", True, "node1 has 1; give it once"),
    ("node3", "vni", 1.0, "node1 has 1; give it once"),
    ("node1", "vni", MISSING, "missing, but node2 has it"),
    (ALL, "vni", 0, VNI),
    (ALL, "vni", -1, VNI),
    (ALL, "vni", 2**24, VNI),
    (ALL, "vni", "1", VNI),
    (ALL, "vni", 1.0, VNI),
    (ALL, "vni", True, VNI),
    (ALL, "vni", None, VNI),
    ("node3", "vxlan_port", 4789, "node1 has 8472; give it once"),
    ("node3", "vxlan_port", MISSING, "missing, but node1 has it"),
    (ALL, "vxlan_port", 0, PORT),
    (ALL, "vxlan_port", 65536, PORT),
    (ALL, "vxlan_port", -8472, PORT),
    (ALL, "vxlan_port", "8472", PORT),
    (ALL, "vxlan_port", 8472.0, PORT),
    ("node3", "udp_port", 8286, "node1 has 8285; give it once"),
    (ALL, "udp_port", 0, PORT),
    (ALL, "udp_port", 65536, PORT),
    (ALL, "udp_port", "8285", PORT),
    (ALL, "udp_port", True, PORT),
    ("node3", "wireguard_port", 51821, "node1 has 51820; give it once"),
    (ALL, "wireguard_port", 0, PORT),
    (ALL, "wireguard_port", 65536, PORT),
    (ALL, "wireguard_port", "51820", PORT),
    ("node3", "wireguard_keepalive", 25, "node1 has 0; give it once"),
    (ALL, "wireguard_keepalive", 65536, "it must be seconds, 0 for never, a whole number from 0 to 65535"),
    (ALL, "wireguard_keepalive", -1, "it must be seconds, 0 for never"),
    (ALL, "wireguard_keepalive", "25", "it must be seconds, 0 for never"),
    ("node3", "underlay_mtu", 9000, "node1 has 1500; give it once"),
    ("node3", "underlay_mtu", MISSING, "missing, but node1 has it"),
    (ALL, "underlay_mtu", 0, MTU),
    (ALL, "underlay_mtu", -1, MTU),
    (ALL, "underlay_mtu", 655, MTU),
    (ALL, "underlay_mtu", 70000, MTU),
    (ALL, "underlay_mtu", "1500", MTU),
    (ALL, "underlay_mtu", 1500.0, MTU),
    (ALL, "underlay_mtu", True, MTU),
    ("node3", "masquerade", False, "node1 has True; give it once"),
    ("node3", "masquerade", 1, "node1 has True; give it once"),
    ("node3", "masquerade", MISSING, "missing, but node1 has it"),
    (ALL, "masquerade", "yes", "it must be True or False"),
    (ALL, "masquerade", 1, "it must be True or False"),
    (ALL, "masquerade", None, "it must be True or False"),
    ("node2", "cut_off", "yes", "it must be True or False: whether containers that others have put beside"),
    ("node3", "bridge_netfilter", False, "node1 has True; give it once"),
    (ALL, "bridge_netfilter", "no", "it must be True or False"),
    (ALL, "bridge_netfilter", 0, "it must be True or False"),
    (ALL, "bridge_netfilter", None, "it must be True or False"),
    ("node3", "checksum_offload", False, "node1 has True; give it once"),
    (ALL, "checksum_offload", "off", "it must be True or False"),
    ("node3", "subnet_env", True, "missing, but node3 has it"),
    (ALL, "subnet_env", "yes", "it must be True or False: whether /run/flannel/subnet.env is this cluster's"),
]

BAD_NAMES = (
    "",
    "-node",
    "no de",
    "node\n",
    "node\nlink del eth0",
    "node;reboot",
    "$(reboot)",
    "`reboot`",
    "no'de",
    "né",
)

GOOD: list[tuple[str, str, object]] = [
    ("node2", "address", "192.168.57.12/24"),
    ("node2", "address", "10.9.0.12/32"),
    ("node2", "address", "10.9.0.0/31"),
    ("node2", "uplink", "eth0.5"),
    ("node2", "uplink", "bond0"),
    ("node2", "uplink", "wlp0s20f3"),
    ("node2", "uplink", "e" * 15),
    ("node2", "pod_subnet", "10.244.255.0/24"),
    ("node2", "pod_subnet", "10.244.2.0/29"),
    ("node2", "pods", MISSING),
    ("node2", "pods", 0),
    ("node2", "pods", 253),
    ("node2", "pods", []),
    ("node2", "pods", {}),
    ("node2", "pods", ["web", "db-1", "7"]),
    ("node2", "pods", ("web",)),
    ("node2", "pods", {"web": "10.244.2.254", "w" * 63: "10.244.2.2"}),
    ("node2", "colour", "blue; $(reboot)\n"),
    (ALL, "network", "10.0.0.0/8"),
    (ALL, "vni", MISSING),
    (ALL, "vni", 9_999_999),
    (ALL, "vxlan_port", 65535),
    (ALL, "vxlan_port", 1),
    (ALL, "underlay_mtu", 656),
    (ALL, "underlay_mtu", 65535),
    (ALL, "masquerade", False),
    (ALL, "masquerade", MISSING),
    (ALL, "udp_port", MISSING),
    (ALL, "udp_port", 65535),
    (ALL, "wireguard_port", MISSING),
    (ALL, "wireguard_keepalive", MISSING),
    (ALL, "wireguard_keepalive", 65535),
    (ALL, "wireguard_port", 1),
    (ALL, "bridge_netfilter", MISSING),
    (ALL, "bridge_netfilter", False),
    (ALL, "subnet_env", True),
    (ALL, "subnet_env", False),
    (ALL, "checksum_offload", MISSING),
    (ALL, "checksum_offload", False),
]


@pytest.mark.parametrize(("of", "field", "value", "words"), REFUSALS, ids=lambda value: ascii(value)[:40])
def test_a_bad_inventory_is_refused_in_a_sentence(of: str, field: str, value: object, words: str) -> None:
    """The refusal names the host and the field, says what was found and needed, and stays on one line."""
    with pytest.raises(ClusterError) as refusal:
        read(changed(of, field, value))
    assert_sentence(str(refusal.value), of.split(maxsplit=1)[0], field, words)


def test_enough_is_refused() -> None:
    """Every field of the inventory has refusals of its own; flannel's file has them elsewhere."""
    fields = {field.partition("[")[0] for _, field, _, _ in REFUSALS}
    assert fields == {"address", "uplink", "pod_subnet", "pods", "nics", "cut_off", *GROUP_FIELDS} - {"net_conf"}


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_host_name_that_could_be_misread_is_refused(name: str) -> None:
    """A name stands in messages, file names and commands: nothing in it may look like another line or an option."""
    rest = hosts()
    with pytest.raises(ClusterError) as refusal:
        read({"node0": rest["node1"], name: rest["node2"]})
    assert_sentence(str(refusal.value), repr(name), "name", "begins with a letter, a digit or @")


@pytest.mark.parametrize("name", ["node1.example.org", "192.168.56.11", "@ssh/node1", "NODE_1", "n"])
def test_a_host_may_be_called_as_pyinfra_calls_it(name: str) -> None:
    """FQDNs, addresses and connectors are what people name their hosts by."""
    assert [node.name for node in read({name: hosts()["node1"]}).nodes] == [name]


@pytest.mark.parametrize(("of", "field", "value"), GOOD, ids=lambda value: ascii(value)[:40])
def test_a_good_inventory_is_taken(of: str, field: str, value: object) -> None:
    """What works is not refused, however unusual; data that is not ours is not looked at."""
    assert len(read(changed(of, field, value)).nodes) == 3


def test_an_inventory_becomes_numbers_and_networks_once() -> None:
    """Whatever is derived is derived from the inventory alone, as the README promises it."""
    node = cluster(pods=["web", "db"]).node("node2")
    assert str(node.address) == "192.168.56.12/24"
    assert (str(node.ip), str(node.gateway), str(node.vtep)) == ("192.168.56.12", "10.244.2.1/24", "10.244.2.0")
    assert [(pod.name, str(pod.address)) for pod in node.pods] == [("web", "10.244.2.2"), ("db", "10.244.2.3")]


def test_a_count_of_pods_names_them() -> None:
    """Two pods are pod1 and pod2, after the subnet's own address and the gateway."""
    assert [(pod.name, str(pod.address)) for pod in cluster(pods=2).node("node1").pods] == [
        ("pod1", "10.244.1.2"),
        ("pod2", "10.244.1.3"),
    ]


@pytest.mark.parametrize("pods", [1, ["only"], {"only": "10.244.2.2"}])
def test_the_smallest_subnet_holds_one_pod(pods: object) -> None:
    """A /30 has four addresses: its own, the gateway's, one pod's and the broadcast address."""
    said = hosts(2, pods=1)
    said["node2"] |= {"pod_subnet": "10.244.2.0/30", "pods": pods}
    assert [str(pod.address) for pod in read(said).node("node2").pods] == ["10.244.2.2"]


@pytest.mark.parametrize("pods", [2, ["a", "b"], {"a": "10.244.2.2", "b": "10.244.2.3"}])
def test_the_smallest_subnet_holds_no_second_pod(pods: object) -> None:
    """The count, the names and the addresses are held to the same room."""
    said = hosts(2, pods=1)
    said["node2"] |= {"pod_subnet": "10.244.2.0/30", "pods": pods}
    with pytest.raises(ClusterError, match=r"^node2: `pods` .*10\.244\.2\.0/30"):
        read(said)


def test_hosts_may_stand_on_two_segments() -> None:
    """A router between two hosts is the underlay's business, even if their pod subnets are of different sizes."""
    said = hosts(4)
    for i in (3, 4):
        said[f"node{i}"] |= {"address": f"172.16.0.{i}/28", "pod_subnet": f"10.244.{16 * i}.0/20"}
    assert {str(node.address.network) for node in read(said).nodes} == {"192.168.56.0/24", "172.16.0.0/28"}


def test_no_host_at_all_is_refused() -> None:
    """An empty inventory is a mistake, not a cluster of nobody."""
    with pytest.raises(ClusterError, match=r"^the inventory: `hosts` is empty; name at least one host$"):
        read({})


def test_the_first_of_many_faults_is_named() -> None:
    """Ten faults are ten runs, but each of them names a host; the order is the inventory's."""
    said = {name: {**data, "uplink": ""} for name, data in hosts().items()}
    with pytest.raises(ClusterError, match=r"^node1: `uplink` is ''"):
        read(said)


def test_two_nodes_of_one_vtep_mac_are_refused() -> None:
    """40 bits of a hash meet seldom, and then somebody must be told to rename a host."""
    one, two = cluster(2).nodes
    vars(two)["vtep_mac"] = one.vtep_mac
    with pytest.raises(
        ClusterError, match=r"^node2: the VTEP MAC 66:\S+ is already taken by node1; rename one of them$"
    ):
        Cluster(cluster().network, (one, two))


def test_a_cluster_is_checked_however_it_was_made() -> None:
    """Who builds a Cluster in Python, without an inventory, is held to the same promises."""
    one, two = cluster(2).nodes
    with pytest.raises(ClusterError, match=r"^node1: the name node1 is already taken by node1; name each host once$"):
        Cluster(cluster().network, (one, two, one))
    stranger = Node("node9", two.address, "eth0", two.pod_subnet, (Pod("a", one.gateway.ip),))
    with pytest.raises(ClusterError, match=r"^node9: `pods` gives a the address 10\.244\.1\.1"):
        Cluster(cluster().network, (stranger,))


def test_an_unknown_node_is_refused_with_those_that_there_are() -> None:
    """A typo in a node's name is answered by the names to choose from."""
    with pytest.raises(ClusterError, match=r"^node7: no such node in the inventory; it has node1, node2, node3$"):
        cluster().node("node7")


def test_refusals_are_caught_by_one_name() -> None:
    """Whoever calls podnet from Python needs one except clause; ValueError works too."""
    with pytest.raises(PodnetError):
        read({})
    with pytest.raises(ValueError, match="hosts"):
        read({})


@pytest.mark.parametrize("field", ["address", "uplink", "pod_subnet", "pods", "network"])
def test_an_inventory_with_our_data_is_a_cluster(field: str) -> None:
    """One field is enough: the inventory is then checked, and the missing ones are named."""
    assert describes_a_cluster({"web1": {}, "node1": {field: None}})


def test_an_inventory_without_our_data_is_none_of_our_business() -> None:
    """People use pyinfra for other things too."""
    assert not describes_a_cluster({"web1": {"ssh_user": "root"}, "web2": {}})


def changed(of: str, field: str, value: object) -> dict[str, dict[str, object]]:
    """Return the good inventory with one field of some hosts replaced, or taken away."""
    said = hosts()
    assert said["node1"].keys() >= GROUP.keys()
    for name in of.split():
        data = {key: old for key, old in said[name].items() if key != field}
        said[name] = data if value is MISSING else {**data, field.partition("[")[0]: value}
    return said


def assert_sentence(message: str, host: str, field: str, words: str) -> None:
    """Hold a refusal to its form: `host: field ...`, one printable line that ends like a sentence."""
    assert re.match(r"[^:]+: ", message)
    assert host in message
    assert message.count(f"`{field}`") == 1
    assert message.count(words) == 1
    assert message.isprintable()
    assert re.search(r"[\w)?'`@]$", message)
    assert not re.search(r"Error|Traceback|object at 0x", message)
