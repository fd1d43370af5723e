"""flannel's net-conf.json: what it says, in podnet's words.

Names, defaults and checks are those of flannel's pkg/subnet/config.go and of its backends' own files. flannel makes the
checks of Network and of the Subnet fields only where it allots subnets itself, with etcd; podnet does, so it always
makes them. What flannel has and podnet has not is refused, never left out.

    deploys/net_conf.py applies the mode that the file says.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as member
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any, TypeVar

from podnet.cluster import Cluster, Node
from podnet.errors import ClusterError
from podnet.modes import (
    Mode,
    bridge,
    host_gw,
    ipip,
    ipip_direct_routing,
    udp,
    vxlan,
    vxlan_direct_routing,
    wireguard,
)
from podnet.state import State

ROOM = 2  # bits by which a subnet's prefix is longer than the network's: there must be room for four
VXLAN_PORT = 8472  # what Linux's vxlan takes for port 0
MISSING = object()
AN_OBJECT = 'it must be an object, like {"Type": "vxlan"}'
LENGTH = re.compile("0|[1-9][0-9]*")

T = TypeVar("T")
N = TypeVar("N", IPv4Network, IPv6Network)
Read = Callable[["Value"], object]


@dataclass(frozen=True)
class NetConf:
    """What a file says: the mode, the first and the last subnet that may be allotted, and group data.

    `data` has podnet's names; each with the file's own, and the value.
    """

    mode: str
    first: IPv4Network
    last: IPv4Network
    data: Mapping[str, tuple[str, object]]

    def free(self, taken: Iterable[IPv4Network]) -> Iterator[IPv4Network]:
        """Go through the subnets that may be allotted, in order, but for those that overlap one that is taken."""
        spans = [(int(net.network_address), int(net.broadcast_address)) for net in taken]
        size = self.first.num_addresses
        used = {number for low, high in spans for number in range(low // size, high // size + 1)}
        for number in range(int(self.first.network_address) // size, int(self.last.network_address) // size + 1):
            if number not in used:
                yield IPv4Network((number * size, self.first.prefixlen))

    @property
    def room(self) -> int:
        """How many subnets there are, taken or not."""
        return (int(self.last.network_address) - int(self.first.network_address)) // self.first.num_addresses + 1


@dataclass(frozen=True)
class Value:
    """A value of the file, its name there, and how to refuse it. `where` is what a refusal begins with."""

    where: str
    name: str
    value: object

    def refuse(self, needed: str) -> ClusterError:
        return ClusterError(f"{self.where}: {self.name} is {_said(self.value)}; {needed}")

    def number(self) -> int:
        """Take a whole number; one with a fraction or in quotes is none, as in Go."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < 0:
            raise self.refuse("it must be a whole number, not below 0")
        return self.value

    def truth(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.refuse("it must be true or false")
        return self.value

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.refuse("it must be a text, in quotes")
        return self.value

    def network(self) -> IPv4Network:
        """Take a network. Bits behind its prefix length are masked away, as flannel does."""
        return self._parsed(IPv4Interface, "an IPv4 network with its prefix length, like 10.244.0.0/16").network

    def address(self) -> IPv4Address:
        return self._parsed(IPv4Address, "an IPv4 address, like 10.244.1.0")

    def network6(self) -> IPv6Network:
        return self._parsed(IPv6Interface, "an IPv6 network with its prefix length").network

    def address6(self) -> IPv6Address:
        return self._parsed(IPv6Address, "an IPv6 address")

    def _parsed(self, kind: Callable[[str], T], what: str) -> T:
        text = self.text()
        _, slash, length = text.partition("/")
        try:
            # Without a prefix length an interface would be a single host, and behind the slash there may be a mask.
            plain = bool(LENGTH.fullmatch(length)) if kind in {IPv4Interface, IPv6Interface} else not slash
            if text.isascii() and plain:
                return kind(text)
        except ValueError:
            pass
        raise self.refuse(f"it must be {what}")

    def only(self, good: object, why: str) -> object:
        """Take one value only: what flannel has and podnet has not."""
        if self.value != good or isinstance(self.value, bool) != isinstance(good, bool):
            raise self.refuse(f"{why}; leave it out")
        return good


def _said(value: object) -> str:
    """Write a value as JSON does."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case None:
            return "null"
        case _:
            return "missing" if value is MISSING else str(value)


TOP: Mapping[str, Read] = {
    "EnableIPv4": Value.truth,
    "EnableIPv6": Value.truth,
    "EnableNFTables": Value.truth,  # podnet filters with what the host filters with
    "Network": Value.network,
    "SubnetLen": Value.number,
    "SubnetMin": Value.address,
    "SubnetMax": Value.address,
    # flannel checks these only with EnableIPv6, which is refused here; what it would refuse then is refused already.
    "IPv6Network": Value.network6,
    "IPv6SubnetLen": Value.number,
    "IPv6SubnetMin": Value.address6,
    "IPv6SubnetMax": Value.address6,
    "Backend": lambda value: value,
}


@dataclass(frozen=True)
class Backend:
    """One of flannel's backends that podnet has: its modes without and with DirectRouting, and its keys.

    `data` are podnet's names of those keys that say something for the whole cluster.
    """

    mode: Mode
    direct: Mode | None = None
    keys: Mapping[str, Read] = member(default_factory=dict)
    data: Mapping[str, str] = member(default_factory=dict)


def _wireguard_mode(value: Value) -> object:
    modes = {"separate", "auto", "ipv4", "ipv6"}
    if value.text() not in modes:
        raise value.refuse(f"it must be one of {', '.join(sorted(modes))}")
    if value.value == "ipv6":
        raise value.refuse("podnet's tunnels have IPv4 outside; leave it out")
    return value.value


DIRECT: Mapping[str, Read] = {"DirectRouting": Value.truth}
BACKENDS: Mapping[str, Backend] = {
    "vxlan": Backend(
        vxlan,
        vxlan_direct_routing,
        {
            **DIRECT,
            "VNI": Value.number,
            "Port": Value.number,
            "MTU": Value.number,  # the underlay's
            "GBP": lambda value: value.only(good=False, why="podnet's tunnels carry no group policies"),
            "Learning": lambda value: value.only(good=False, why="podnet's tunnels learn nothing, all is entered"),
            "MacPrefix": Value.text,  # this and the next are for Windows
            "Name": Value.text,
        },
        {"VNI": "vni", "Port": "vxlan_port", "MTU": "underlay_mtu"},
    ),
    "host-gw": Backend(host_gw),
    "ipip": Backend(ipip, ipip_direct_routing, DIRECT),
    "udp": Backend(udp, keys={"Port": Value.number}, data={"Port": "udp_port"}),
    "wireguard": Backend(
        wireguard,
        keys={
            "ListenPort": Value.number,
            "ListenPortV6": Value.number,
            "MTU": Value.number,  # the underlay's
            # It would be one more secret, and for all nodes the same: podnet's are made on the hosts and stay there.
            "PSK": lambda value: value.only(good="", why="podnet hands no secret around, so there is no preshared key"),
            "PersistentKeepaliveInterval": Value.number,  # flannel multiplies it by a second
            "Mode": _wireguard_mode,
        },
        data={
            "ListenPort": "wireguard_port",
            "MTU": "underlay_mtu",
            "PersistentKeepaliveInterval": "wireguard_keepalive",
        },
    ),
    "alloc": Backend(bridge),  # subnets, and no way between nodes
}
NOT_OURS = {
    "extension": "runs commands of your own",
    "ipsec": "needs strongSwan",
    "tencent-vpc": "speaks to a cloud",
    "ali-vpc": "speaks to a cloud",
    "aws-vpc": "speaks to a cloud",
    "gce": "speaks to a cloud",
}
UNSET = {"Port": 0, "MTU": 0, "ListenPort": 0}
"""Values by which flannel means: not given. A vxlan's Port is then the kernel's."""


def read(where: str, given: object) -> NetConf:
    """Check what a file holds, as a dict. ClusterError, which begins with `where`, if it cannot be."""
    if not isinstance(given, dict):
        raise ClusterError(f"{where}: it must be a JSON object, or the path of a file that holds one")
    raw, top = _checked(where, given, TOP)
    if backends := [key for key, value in given.items() if str(key).lower() == "backend" and value is None]:
        raise Value(where, str(backends[0]), None).refuse(AN_OBJECT)  # flannel takes that for one without a type
    if not top.get("EnableIPv4", True) and not top.get("EnableIPv6", False):
        raise ClusterError(f"{where}: EnableIPv4 and EnableIPv6 are both false; no pod would have an address")
    for name, good in (("EnableIPv4", True), ("EnableIPv6", False)):
        if top.get(name, good) != good:
            raise raw[name].refuse(f"podnet's pods have IPv4 only; it must be {_said(good)}")
    first, last, network = _subnets(where, raw, top)
    mode, data = _backend(where, raw.get("Backend"))
    return NetConf(mode, first, last, {"network": ("Network", str(network)), **data})


def vni(given: object) -> object:
    """Look up the VNI in what a file holds, whatever else is wrong with it; None if it says none."""
    for key in ("backend", "vni"):
        named = given.items() if isinstance(given, dict) else ()
        given = next((value for name, value in named if str(name).lower() == key), None)
    return given


def _checked(
    where: str, given: Mapping[object, object], keys: Mapping[str, Read], prefix: str = ""
) -> tuple[dict[str, Value], dict[str, Any]]:
    """Read what is given; null is as good as nothing, and small letters as good as capitals, as in Go."""
    spelled = {key.lower(): key for key in keys}
    raw: dict[str, Value] = {}
    for said, value in given.items():
        key = spelled.get(str(said).lower())
        if key is None:
            raise ClusterError(f"{where}: {prefix}{said} is nothing that flannel knows; it knows {', '.join(keys)}")
        if key in raw:
            raise ClusterError(f"{where}: {prefix}{key} is given twice; give it once")
        if value is not None:
            raw[key] = Value(where, prefix + key, value)
    return raw, {key: keys[key](value) for key, value in raw.items()}


@dataclass(frozen=True)
class Family:
    """How keys of a family begin, and which prefix lengths its subnets and networks may have."""

    name: str
    usual: int
    longest: int

    @property
    def longest_network(self) -> int:
        return self.longest - ROOM


IPV4 = Family("", usual=24, longest=30)
IPV6 = Family("IPv6", usual=64, longest=126)


def _subnets(
    where: str, raw: Mapping[str, Value], top: Mapping[str, Any]
) -> tuple[IPv4Network, IPv4Network, IPv4Network]:
    """Return the first and the last subnet to allot, and the network that they are in."""
    if "Network" not in raw:
        raise Value(where, "Network", MISSING).refuse("give all pods' network, like 10.244.0.0/16")
    if any(key.startswith(IPV6.name) for key in raw):
        _span(IPV6, raw, top, top.get("IPv6Network", IPv6Network("::/0")))
    network: IPv4Network = top["Network"]
    return (*_span(IPV4, raw, top, network), network)


def _span(family: Family, raw: Mapping[str, Value], top: Mapping[str, Any], network: N) -> tuple[N, N]:
    """Return the first and the last subnet of a family."""
    whole, length_of, low, high = (family.name + key for key in ("Network", "SubnetLen", "SubnetMin", "SubnetMax"))
    shortest = network.prefixlen + ROOM
    length = top.get(length_of) or max(family.usual, shortest)
    if length > family.longest:
        if top.get(length_of):
            raise raw[length_of].refuse(f"it must be /{family.longest} or shorter: a gateway and a pod need room")
        raise raw[whole].refuse(f"it is too small; the smallest that is of use is a /{family.longest_network}")
    if length < shortest:
        raise raw[length_of].refuse(f"{network} must have room for four subnets: /{shortest} or longer")
    size = 1 << network.max_prefixlen - length
    usual = {low: network[size], high: network[-size]}
    # The address of all zeros is none, to flannel.
    bounds = {name: bound if (bound := top.get(name)) and int(bound) else usual[name] for name in usual}
    for name, bound in bounds.items():
        if bound not in network:
            raise raw[name].refuse(f"it must lie in {network}")
        if int(bound) % size:
            begins = type(network)((int(bound) // size * size, length))
            raise raw[name].refuse(f"no /{length} begins there; {begins} would")
    if bounds[low] > bounds[high]:
        name = low if low in raw else high
        raise raw[name].refuse(f"the first subnet, {bounds[low]}, lies behind the last, {bounds[high]}")
    first, last = (type(network)((bound, length)) for bound in bounds.values())
    return first, last


def _backend(where: str, said: Value | None) -> tuple[str, dict[str, tuple[str, object]]]:
    """Return the mode, and what else the backend says."""
    if said is None:  # flannel's documentation says vxlan, and its parseBackendType udp
        return _name(BACKENDS["udp"].mode), {}
    if not isinstance(said.value, dict):
        raise said.refuse(AN_OBJECT)
    kinds = [value for key, value in said.value.items() if str(key).lower() == "type" and value is not None]
    kind = Value(where, "Backend.Type", kinds[0] if kinds else MISSING)
    known = f"podnet has {', '.join(BACKENDS)}"
    if kind.value is MISSING:
        raise kind.refuse(f"give one: {known}")
    name = kind.text().lower()
    if name in NOT_OURS:
        raise kind.refuse(f"that backend {NOT_OURS[name]}; {known}")
    if name not in BACKENDS:
        raise kind.refuse(f"flannel has no such backend; {known}")
    backend = BACKENDS[name]
    _, values = _checked(where, said.value, {"Type": Value.text, **backend.keys}, "Backend.")
    given = {key: value for key, value in values.items() if value != UNSET.get(key, MISSING)}
    data = {ours: (f"Backend.{key}", given[key]) for key, ours in backend.data.items() if key in given}
    mode = backend.direct if backend.direct and values.get("DirectRouting") else backend.mode
    return _name(mode), data


def _name(mode: Mode) -> str:
    return mode.__name__.rpartition(".")[2]


def state(cluster: Cluster, me: Node) -> State:
    """Compute what the mode that the file says computes: this module is shaped like a mode itself."""
    if not cluster.mode:
        raise ClusterError(f"{me.name}: `net_conf` is missing; give it as group data, or apply a mode of your choice")
    modes = {mode for backend in BACKENDS.values() for mode in (backend.mode, backend.direct) if mode}
    (mode,) = (mode for mode in modes if _name(mode) == cluster.mode)
    return mode.state(cluster, me)
