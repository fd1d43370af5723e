"""From an inventory's text and numbers to a Cluster: every field is checked by itself here.

Host data: HOST_FIELDS. Group data: GROUP_FIELDS. Other data (ssh_user, your own) is not looked at. Every refusal is a
ClusterError that names the host and the field.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from podnet import net_conf
from podnet.cluster import Card, Cluster, Node, Pod
from podnet.errors import ClusterError
from podnet.marks import ANY_NETNS, of
from podnet.net_conf import NetConf

HOST_FIELDS = ("address", "uplink", "pod_subnet", "pods", "cni_pods", "nics", "cut_off")
GROUP_FIELDS = (
    *("network", "underlay_mtu", "vni", "vxlan_port", "udp_port", "wireguard_port", "wireguard_keepalive"),
    *("masquerade", "bridge_netfilter", "checksum_offload", "subnet_env", "net_conf"),
)
FOR_FLANNELS_TOOLS = True
"""Whoever has flannel's file may have its tools, too, which read subnet.env where flannel leaves it."""
SMALLEST_MTU = 576 + 80
"""Every IPv4 host takes packets of 576 bytes (RFC 791); the largest encapsulation, WireGuard's over IPv6, adds 80."""
LARGEST_MTU = 65535
LARGEST_VNI = 2**24 - 1  # RFC 7348 section 5: 24 bits
LARGEST_PORT = 2**16 - 1
LONGEST_KEEPALIVE = 2**16 - 1  # wg(8), persistent-keepalive
LONGEST_DEV = 15  # IFNAMSIZ is 16, with the closing zero: linux/if.h
LONGEST_SUBNET = 30  # a gateway and one pod
PODS_BEGIN = 2  # after the subnet's own address and the gateway

HOST_NAME = re.compile(r"[A-Za-z0-9@][A-Za-z0-9._@/:+-]*")
POD_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # an RFC 1123 label
DEV_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
PCI_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7]")
LARGEST_VLAN = 4094  # IEEE 802.1Q: 4095 is reserved
LARGEST_RATE = 2**32 - 1  # linux/if_link.h, struct ifla_vf_rate
LINK_STATES = ("auto", "enable", "disable")
PREFIX_LENGTH = r"(0|[1-9]\d?)"
DOTTED = r"\d{1,3}(\.\d{1,3}){3}"


@dataclass(frozen=True)
class Field:
    """One value of one host, and how to refuse it."""

    host: str
    name: str
    value: object

    def refuse(self, needed: str) -> ClusterError:
        return ClusterError(f"{self.host}: `{self.name}` is {self.value!r}; {needed}")

    def text(self, pattern: str | re.Pattern[str], needed: str) -> str:
        """Take a text that the pattern matches whole."""
        if not isinstance(self.value, str) or not re.fullmatch(pattern, self.value):
            raise self.refuse(needed)
        return self.value

    def number(self, smallest: int, largest: int, what: str) -> int:
        """Take a whole number in the range; True is none, although Python thinks so."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not smallest <= self.value <= largest:
            raise self.refuse(f"it must be {what}, a whole number from {smallest} to {largest}")
        return self.value

    def subnet(self, example: str) -> IPv4Network:
        """Take a network whose host bits are zero."""
        needed = f"it must be an IPv4 network with its prefix length, like {example!r}"
        text = self.text(rf"{DOTTED}/{PREFIX_LENGTH}", needed)
        try:
            interface = IPv4Interface(text)
        except ValueError as e:
            raise self.refuse(f"{needed} ({e})") from None
        network = interface.network
        if interface.ip != network.network_address:
            raise self.refuse(f"it has bits set behind its prefix length; did you mean {str(network)!r}?")
        if network.prefixlen > LONGEST_SUBNET:
            raise self.refuse(
                f"it is too small for a gateway and a pod: give it a prefix of /{LONGEST_SUBNET} or shorter"
            )
        if unusable := _unusable(network.network_address) or _unusable(network.broadcast_address):
            raise self.refuse(
                f"it holds {unusable} addresses, which cannot be pods'; choose a private network (RFC 1918)"
            )
        return network


def read(hosts: Mapping[str, Mapping[str, object]]) -> Cluster:
    """Check the data of all hosts, by name, and return the cluster they make."""
    if not hosts:
        raise ClusterError("the inventory: `hosts` is empty; name at least one host")
    for name, data in hosts.items():
        _check_named(name, data)
    common = {name: _common(name, hosts) for name in GROUP_FIELDS}
    given = {name: field for name, field in common.items() if field is not None}
    said = given.pop("net_conf", None)
    conf = net_conf.read(f"{said.host}: `net_conf`", said.value) if said else None
    if conf and said:
        given |= dict(_said(said, conf, given))
        given.setdefault("subnet_env", Field(said.host, "subnet_env", FOR_FLANNELS_TOOLS))
    subnets = _subnets(hosts, conf)
    nodes = tuple(_node(name, data, subnets[name]) for name, data in hosts.items())
    if "network" not in given:
        raise ClusterError(
            f"{nodes[0].name}: `network` is missing; give all pods' network as group data, like '10.244.0.0/16'"
        )
    checked = {name: GROUP_CHECKS[name](field) for name, field in given.items()}
    return Cluster(nodes=nodes, mode=conf.mode if conf else "", **checked)  # type: ignore[arg-type]  # each check returns its field's type


def spelled_out(hosts: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Return the same data without flannel's file: with what it says, and with the subnets that it allots.

    That may be in any mode, and hosts that leave it change no other's subnet. ClusterError as from `read`.
    """
    said = _common("net_conf", hosts)
    if said is None:
        return hosts
    conf = net_conf.read(f"{said.host}: `net_conf`", said.value)
    common = {"subnet_env": FOR_FLANNELS_TOOLS, **{name: value for name, (_, value) in conf.data.items()}}
    subnets = {name: {"pod_subnet": str(subnet)} for name, subnet in _subnets(hosts, conf).items()}
    own = {name: {key: value for key, value in data.items() if key != "net_conf"} for name, data in hosts.items()}
    return {name: common | own[name] | subnets[name] for name in hosts}


def _said(said: Field, conf: NetConf, given: Mapping[str, Field]) -> Iterator[tuple[str, Field]]:
    """Take from flannel's file what would else be group data."""
    for name, (key, value) in conf.data.items():
        if name in given:
            raise given[name].refuse(f"`net_conf` gives it as well ({key}: {value}); leave one of the two out")
        yield name, Field(said.host, f"net_conf: {key}", value)


def _subnets(hosts: Mapping[str, Mapping[str, object]], conf: NetConf | None) -> dict[str, IPv4Network]:
    """Read each host's subnet, or with flannel's file allot the next one that is free, in the inventory's order."""
    given = {
        name: Field(name, "pod_subnet", data["pod_subnet"]).subnet("10.244.1.0/24")
        for name, data in hosts.items()
        if "pod_subnet" in data
    }
    lacking = [name for name in hosts if name not in given]
    if not conf and lacking:
        raise ClusterError(f"{lacking[0]}: `pod_subnet` is missing; give it as data of this host")
    allotted = dict(zip(lacking, conf.free(given.values()), strict=False)) if conf else {}
    if conf and len(allotted) < len(lacking):
        raise ClusterError(
            f"{lacking[len(allotted)]}: no subnet is left for it; from {conf.first} to {conf.last} there are "
            f"{conf.room}, less what others are given as `pod_subnet`; change SubnetLen, SubnetMin or SubnetMax in "
            "`net_conf`"
        )
    return given | allotted


def describes_a_cluster(hosts: Mapping[str, Mapping[str, object]]) -> bool:
    """Say whether anything of ours is in this inventory: people use pyinfra for other things too."""
    return any(name in data for data in hosts.values() for name in (*HOST_FIELDS, "network", "net_conf"))


def _check_named(name: str, data: Mapping[str, object]) -> None:
    """Refuse a host that cannot be named, or that lacks what nobody else can say."""
    Field(repr(name), "name", name).text(
        HOST_NAME, "a host's name consists of letters, digits and . _ - : + @ / and begins with a letter, a digit or @"
    )
    for required in ("address", "uplink"):
        if required not in data:
            raise ClusterError(f"{name}: `{required}` is missing; give it as data of this host")


def _node(name: str, data: Mapping[str, object], subnet: IPv4Network) -> Node:
    return Node(
        name=name,
        address=_address(Field(name, "address", data["address"])),
        uplink=_uplink(Field(name, "uplink", data["uplink"])),
        pod_subnet=subnet,
        pods=tuple(_pods(Field(name, "pods", data.get("pods", 0)), subnet)),
        cards=tuple(_cards(Field(name, "nics", data.get("nics", {})))),
        allotted="pod_subnet" not in data,
        cni_pods=tuple(_cni_pods(Field(name, "cni_pods", data.get("cni_pods", [])))),
        cut_off=cut_off(Field(name, "cut_off", data.get("cut_off", False))),
        fixed=isinstance(data.get("pods"), dict),
    )


def _address(field: Field) -> IPv4Interface:
    needed = "it must be the host's IPv4 address on the underlay with its prefix length, like '192.168.56.11/24'"
    text = field.text(rf"{DOTTED}/{PREFIX_LENGTH}", needed)
    try:
        interface = IPv4Interface(text)
    except ValueError as e:
        raise field.refuse(f"{needed} ({e})") from None
    if unusable := _unusable(interface.ip):
        raise field.refuse(f"that is a {unusable} address, which no peer can send to; {needed}")
    network = interface.network
    if network.prefixlen <= LONGEST_SUBNET and interface.ip in {network.network_address, network.broadcast_address}:
        raise field.refuse(f"that is the first or the last address of {network}, which no host can have; {needed}")
    return interface


def _unusable(address: IPv4Address) -> str | None:
    """Name what makes an address unfit for a host (RFC 6890)."""
    for kind in ("unspecified", "loopback", "multicast", "link_local", "reserved"):
        if getattr(address, f"is_{kind}"):
            return kind.replace("_", "-")
    return "this-network" if address.packed[0] == 0 else None


def _uplink(field: Field) -> str:
    needed = (
        f"it must be the name of the device that holds `address`, like 'eth0': 1 to {LONGEST_DEV} letters, digits "
        "and _ . - (not first)"
    )
    dev = field.text(DEV_NAME, needed)
    if len(dev) > LONGEST_DEV or dev in {".", ".."}:
        raise field.refuse(needed)
    if dev in {"lo", "all", "default"}:  # the last two are names below /proc/sys/net/ipv4/conf
        raise field.refuse("that is not a device that leads to other hosts; " + needed)
    return dev


def _pods(field: Field, subnet: IPv4Network) -> Iterator[Pod]:
    """Read a count, names, or names with addresses. Without addresses they are given in order, after the gateway."""
    names: list[object]
    match field.value:
        case dict():
            for name, address in field.value.items():
                yield Pod(_pod_name(field, name), _pod_address(Field(field.host, f"pods[{name!r}]", address)))
            return
        case list() | tuple():
            names = list(field.value)
        case bool() | str():
            raise field.refuse("it must be a count, a list of names, or a dict of names and addresses")
        case int():
            count = field.number(0, subnet.num_addresses - PODS_BEGIN - 1, f"what {subnet} has room for")
            names = [f"pod{i}" for i in range(1, count + 1)]
        case _:
            raise field.refuse("it must be a count, a list of names, or a dict of names and addresses")
    if len(names) > subnet.num_addresses - PODS_BEGIN - 1:
        raise field.refuse(f"{subnet} has room for {subnet.num_addresses - PODS_BEGIN - 1} pods, not {len(names)}")
    for i, name in enumerate(names, PODS_BEGIN):
        yield Pod(_pod_name(field, name), subnet[i])


def _pod_name(field: Field, name: object) -> str:
    needed = "a pod's name is 1 to 63 small letters, digits and - (neither first nor last)"
    return Field(field.host, field.name, name).text(POD_NAME, needed)


def _cni_pods(field: Field) -> Iterator[str]:
    if not isinstance(field.value, list | tuple):
        raise field.refuse("it must be a list of names, like ['web', 'db']")
    for name in field.value:
        if of(ANY_NETNS, pod := _pod_name(field, name)):
            raise Field(field.host, field.name, name).refuse(
                f"namespaces of such names are those of podnet's own `pods`; leave `{pod.partition('-')[0]}-` out"
            )
        yield pod


def _pod_address(field: Field) -> IPv4Address:
    needed = "it must be an IPv4 address without prefix length, like '10.244.1.7'"
    text = field.text(DOTTED, needed)
    try:
        return IPv4Address(text)
    except ValueError as e:
        raise field.refuse(f"{needed} ({e})") from None


def _cards(field: Field) -> Iterator[Card]:
    """Read pods' names with a NIC each: its PCI address or name, or a dict of that and what a VF is to be."""
    if not isinstance(field.value, dict):
        raise field.refuse("it must be a dict of pods' names and NICs, {'pod1': '0000:01:10.0'} for example")
    for name, said in field.value.items():
        each = said if isinstance(said, dict) else {"nic": said}
        fields = {key: Field(field.host, f"nics[{name!r}][{key!r}]", value) for key, value in each.items()}
        if "nic" not in fields:
            raise Field(field.host, f"nics[{name!r}]", said).refuse("its `nic` is missing: a PCI address, or a name")
        for key, value in fields.items():
            if key not in CARD_CHECKS:
                raise value.refuse(f"there is no such setting; there are {', '.join(CARD_CHECKS)}")
        yield Card(_pod_name(field, name), **{key: CARD_CHECKS[key](each) for key, each in fields.items()})  # type: ignore[arg-type]  # each check returns its field's type


def _nic(field: Field) -> str:
    needed = "it must be a PCI address like '0000:01:10.0', or the name of a device like 'eth2'"
    nic = field.text(re.compile(rf"{PCI_ADDRESS.pattern}|{DEV_NAME.pattern}"), needed)
    if not PCI_ADDRESS.fullmatch(nic) and (len(nic) > LONGEST_DEV or nic in {".", "..", "lo", "all", "default"}):
        raise field.refuse(needed)
    return nic


def _link_state(field: Field) -> str:
    return field.text("|".join(LINK_STATES), f"it must be one of {', '.join(LINK_STATES)}")


def _common(name: str, hosts: Mapping[str, Mapping[str, object]]) -> Field | None:
    """Find the one value that all hosts agree on."""
    fields = [Field(host, name, data[name]) for host, data in hosts.items() if name in data]
    if not fields:
        return None
    for field in fields[1:]:
        if (type(field.value), field.value) != (type(fields[0].value), fields[0].value):
            raise field.refuse(f"{fields[0].host} has {fields[0].value!r}; give it once, as data of the whole group")
    if lacking := [host for host, data in hosts.items() if name not in data]:
        raise ClusterError(
            f"{lacking[0]}: `{name}` is missing, but {fields[0].host} has it; give it as data of the whole group"
        )
    return fields[0]


def vni(field: Field) -> int:
    """Take a VNI."""
    return field.number(1, LARGEST_VNI, "a VXLAN network identifier")


def cut_off(field: Field) -> bool:
    """Take whether containers of others' may lose their network."""
    return _truth(field, "containers that others have put beside podnet's pods, or run in them, may be cut off")


def _port(field: Field) -> int:
    return field.number(1, LARGEST_PORT, "a UDP port")


def _truth(field: Field, what: str) -> bool:
    if not isinstance(field.value, bool):
        raise field.refuse(f"it must be True or False: whether {what}")
    return field.value


CARD_CHECKS: Mapping[str, Callable[[Field], object]] = {
    "nic": _nic,
    "vlan": lambda field: field.number(0, LARGEST_VLAN, "a VLAN"),
    "max_tx_rate": lambda field: field.number(0, LARGEST_RATE, "a rate in Mbit/s"),
    "spoofchk": lambda field: _truth(field, "frames under another MAC are dropped"),
    "trust": lambda field: _truth(field, "the pod may set its MAC and hear what is not for it"),
    "link_state": _link_state,
}

GROUP_CHECKS: Mapping[str, Callable[[Field], object]] = {
    "network": lambda field: field.subnet("10.244.0.0/16"),
    "underlay_mtu": lambda field: field.number(SMALLEST_MTU, LARGEST_MTU, "the MTU of the underlay in bytes"),
    "vni": vni,
    "vxlan_port": _port,
    "udp_port": _port,
    "wireguard_port": _port,
    "wireguard_keepalive": lambda field: field.number(0, LONGEST_KEEPALIVE, "seconds, 0 for never"),
    "masquerade": lambda field: _truth(field, "pods reach the outside under their node's address"),
    "checksum_offload": lambda field: _truth(field, "tunnels leave checksums to the hardware below"),
    "subnet_env": lambda field: _truth(field, "/run/flannel/subnet.env is this cluster's, whatever its `vni`"),
    "bridge_netfilter": lambda field: _truth(field, "packets that are only bridged meet iptables too"),
}
