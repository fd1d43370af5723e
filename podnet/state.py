"""The kernel's tables as values: the same types for what is wanted and for what is seen.

Equality is the whole comparison. `key` is what the kernel allows only one of: two items of equal key and unequal
value are one thing that is wrong, not two things. Keys are made of numbers and text, so that they also sort.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, ClassVar, NamedTuple, TypeAlias

from podnet.firewall import IPTABLES, Firewall, Line, Outside, Verdict
from podnet.marks import FIRST, Marks

MAIN = "main"
"""The routing table that is asked unless a rule says otherwise."""

Key: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """A device: `ip link`."""

    dev: str
    mtu: int
    up: bool = field(default=True, kw_only=True)
    arp: bool = field(default=True, kw_only=True)

    @property
    def key(self) -> Key:
        return (self.dev,)


@dataclass(frozen=True, slots=True)
class Nic(Link):
    """A device that somebody else made: hardware, a loopback, or the end of a cable inside a namespace.

    `pci` is where hardware sits, as lspci(8) has it; `master` is the device that it is a part of.
    """

    mac: str
    pci: str = field(default="", kw_only=True, compare=False)
    master: str = field(default="", kw_only=True, compare=False)


@dataclass(frozen=True, slots=True)
class Device(Link):
    """A device that podnet makes.

    `KIND` is the kernel's word for it, also its module's name. `FIXED` are the fields that the kernel does not change
    in a device that exists, `CLAIM` those that it gives out only once in a namespace. `alias` is whose it is.
    """

    KIND: ClassVar[str] = ""
    FIXED: ClassVar[tuple[str, ...]] = ()
    CLAIM: ClassVar[tuple[str, ...]] = ()

    alias: str = field(default=FIRST.alias, kw_only=True)

    @property
    def claim(self) -> tuple[object, ...]:
        """What no second device of this kind may have; empty if there is no such thing."""
        return tuple(getattr(self, name) for name in self.CLAIM)


def newborn(dev: str) -> str:
    """Name a pod's device until it is there.

    We would like to make it under its own name; Linux before 6.14 looks that name up in the namespace that we speak
    from, finds the host's eth0, and refuses (rtnl_newlink); hence it gets its name in the pod.
    """
    return f"new-{dev}"


@dataclass(frozen=True, slots=True)
class Bridge(Device):
    """A software switch, without a spanning tree and without VLANs of its own."""

    KIND: ClassVar[str] = "bridge"

    mac: str
    stp: bool = False
    vlan_filtering: bool = False


@dataclass(frozen=True, slots=True)
class Vxlan(Device):
    """A tunnel endpoint (VTEP): Ethernet frames inside UDP, RFC 7348.

    `lower` is the device that carries the outer packets, `group` a flood or default destination (we want none:
    every destination stands in the FDB), `options` is whatever else is not as the kernel and flannel have it.
    """

    KIND: ClassVar[str] = "vxlan"
    FIXED: ClassVar[tuple[str, ...]] = ("vni", "port", "lower", "group", "options")
    CLAIM: ClassVar[tuple[str, ...]] = ("vni", "port")

    mac: str
    vni: int
    port: int
    local: IPv4Address | None
    lower: str | None
    learning: bool = False
    group: str | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Veth(Device):
    """One end of a virtual cable whose other end, `peer`, lies in the network namespace `netns`.

    The kernel tells this end neither the other end's name nor its MAC: those are the namespace's own table, where
    the other end is a Nic. Of a cable between two pods, this is the end in the pod that comes first by name.
    """

    KIND: ClassVar[str] = "veth"

    netns: str | None
    mac: str
    peer: str = field(default="eth0", compare=False)


@dataclass(frozen=True, slots=True)
class Ipip(Device):
    """A tunnel for IPv4 in IPv4 (RFC 2003); with `fou`, in UDP from and to that port (`ip fou`).

    Without `remote` the outer destination is the gateway of the inner packet's route. `ttl` None and `pmtudisc` False:
    the outer header takes TTL and DF from the inner one. It has no ARP: there is nothing to ask for.
    """

    KIND: ClassVar[str] = "ipip"
    FIXED: ClassVar[tuple[str, ...]] = ("remote", "fou", "options")
    CLAIM: ClassVar[tuple[str, ...]] = ("local", "remote")

    local: IPv4Address | None
    remote: IPv4Address | None = None
    ttl: int | None = None
    pmtudisc: bool = False
    fou: int | None = None
    options: tuple[str, ...] = ()
    arp: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Macvlan(Device):
    """A device with a MAC of its own on the wire of `lower`, which its mode `bridge` joins to its siblings."""

    KIND: ClassVar[str] = "macvlan"
    FIXED: ClassVar[tuple[str, ...]] = ("lower", "mode")

    mac: str
    lower: str | None
    mode: str = "bridge"


@dataclass(frozen=True, slots=True)
class Ipvlan(Device):
    """A device on the wire of `lower`, whose MAC it shares: the kernel tells the siblings apart by address."""

    KIND: ClassVar[str] = "ipvlan"
    FIXED: ClassVar[tuple[str, ...]] = ("lower", "mode")

    lower: str | None
    mode: str = "l2"


@dataclass(frozen=True, slots=True)
class KeyOf:
    """The public key of a node, as long as nobody has asked that node for it."""

    node: str

    def __str__(self) -> str:
        """Stand for the key in what is printed; wg(8) refuses it."""
        return f"key-of-{self.node}"


PublicKey: TypeAlias = str | KeyOf


@dataclass(frozen=True, slots=True)
class Wireguard(Device):
    """A tunnel for IP in encrypted UDP. `public` belongs to the private key that it holds; empty if it holds none."""

    KIND: ClassVar[str] = "wireguard"
    CLAIM: ClassVar[tuple[str, ...]] = ("port",)

    port: int
    public: PublicKey
    arp: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Vf:
    """What a NIC (the PF) imposes on one of its virtual functions (the VF): `ip link set PF vf INDEX`.

    The VF is known by its PCI address, `nic`. VLAN 0 is none, rate 0 no limit (in Mbit/s). What a driver does not tell
    is as the kernel has it at first.
    """

    nic: str
    mac: str
    vlan: int = 0
    qos: int = 0
    max_tx_rate: int = 0
    spoofchk: bool = True
    trust: bool = False
    state: str = "auto"
    pf: str = field(default="", compare=False)
    index: int = field(default=0, compare=False)

    @property
    def key(self) -> Key:
        return (self.nic,)


@dataclass(frozen=True, slots=True)
class Before:
    """What a NIC was before a pod got it, and what its PF had imposed on it if it is a VF."""

    dev: str
    mac: str
    mtu: int
    up: bool = False
    vf: Vf | None = None


@dataclass(frozen=True, slots=True)
class Loan(Device):
    """A NIC of the host's that a pod has on loan.

    `nic` is its PCI address, or its name on the host if it has none; an inventory may name either (podnet.nics finds
    which one it is). `before` is what it is given back as, `at` its name on the host while it is there.
    """

    FIXED: ClassVar[tuple[str, ...]] = ("nic",)

    mac: str
    nic: str
    before: Before | None = field(default=None, compare=False)
    at: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Port:
    """A device plugged into a bridge.

    `hairpin`: a frame may leave by the port that it came in by. `isolated`: it may not go to another isolated port.
    `learning` and `flood` are the bridge's ways to find a MAC. `blocked`: nothing passes.
    """

    dev: str
    bridge: str
    hairpin: bool
    isolated: bool = False
    learning: bool = True
    flood: bool = True
    blocked: bool = False

    @property
    def key(self) -> Key:
        return (self.dev,)


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 address of a device. `forever`: the kernel does not take it away when its time is over."""

    dev: str
    address: IPv4Interface
    scope: str = "global"
    forever: bool = True

    @property
    def key(self) -> Key:
        return (self.dev, int(self.address), self.address.network.prefixlen)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Which MAC has `to`: an ARP table entry. Ours are permanent: nobody is asked, nothing expires."""

    dev: str
    to: IPv4Address
    mac: str | None
    permanent: bool = True

    @property
    def key(self) -> Key:
        return (self.dev, int(self.to))


@dataclass(frozen=True, slots=True)
class FdbEntry:
    """Which host has `mac`: an entry of a vxlan device's forwarding database."""

    dev: str
    mac: str
    to: str
    permanent: bool = True

    @property
    def key(self) -> Key:
        return (self.dev, self.mac)


@dataclass(frozen=True, slots=True)
class Offload:
    """Whether a device leaves the checksums of what it sends to the hardware below it: `ethtool -K`, FEATURE."""

    FEATURE: ClassVar[str] = "tx-checksum-ip-generic"

    dev: str
    on: bool

    @property
    def key(self) -> Key:
        return (self.dev,)


@dataclass(frozen=True, slots=True)
class FouPort:
    """A UDP port whose packets carry IPv4 (protocol 4) right behind the UDP header: `ip fou`.

    The kernel has no place for a mark here: the port is ours if a device of ours sends from it.
    """

    port: int
    ipproto: int = 4

    @property
    def key(self) -> Key:
        return (self.port,)


@dataclass(frozen=True, slots=True)
class WgPeer:
    """Whom a wireguard device talks to: `wg set DEV peer`.

    What is sent to an address in `allowed` is encrypted for this peer, and only from there may its packets come.
    After `keepalive` seconds without a packet for it an empty one is sent, if any are given. `options` are what we give
    nobody: a preshared key.
    """

    dev: str
    public: PublicKey
    endpoint: str | None
    allowed: tuple[str, ...]
    keepalive: int = 0
    options: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        return (self.dev, str(self.public))


@dataclass(frozen=True, slots=True)
class Route:
    """A route, of the main table unless another one is named.

    `via` is the next hop, `onlink` that it is believed to be on `dev` unasked; `options` is what else it carries.
    `kind` may also be one that leads nowhere, on purpose: `blackhole` is silent, `unreachable` tells the sender.
    """

    to: IPv4Network
    dev: str | None
    via: IPv4Address | None = None
    onlink: bool = False
    metric: int = 0
    tos: str = ""
    kind: str = "unicast"
    proto: str = FIRST.proto
    options: tuple[str, ...] = ()
    table: str = MAIN

    @property
    def key(self) -> Key:
        return (int(self.to.network_address), self.to.prefixlen, self.metric, self.tos, self.table)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of policy routing (`ip rule`): packets that match look for their route in `table`.

    Rules are asked in the order of `priority`, of which one owner should use each number once. What is not said
    matches every packet. Modes make none: this is for deploys that send some pods another way.
    """

    priority: int
    table: str
    source: IPv4Network | None = None
    target: IPv4Network | None = None
    iif: str | None = None
    fwmark: str | None = None
    proto: str = FIRST.proto
    options: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        return (self.priority,)


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A kernel setting below /proc/sys, with slashes: a device's name may hold dots (`flannel.1`)."""

    path: str
    value: str

    @property
    def key(self) -> Key:
        return (self.path,)


class Jump(NamedTuple):
    """Where a chain of ours is called from: the calling chain, the rule's position there, what the rule matches.

    First in one of the kernel's own chains and for every packet, so that neither an earlier REJECT nor the policy is
    asked before us. In nft the chain is called by the kernel itself, just before those of iptables' priorities.
    """

    hook: str
    position: int = 1
    match: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """A firewall chain of ours: where it is jumped to, and its rules. `by` is what writes it: podnet.firewall."""

    table: str
    chain: str
    jumps: tuple[Jump, ...]
    rules: tuple[Line, ...]
    by: str = IPTABLES

    @property
    def key(self) -> Key:
        return (self.by, self.table, self.chain)


@dataclass(frozen=True, slots=True)
class Opening:
    """Rules of ours in an nft chain of somebody else's, which may drop what our own chain accepts.

    They bear `comment`, whose they are. `first`: no rule of a stranger's is asked before them. `handles` are the
    kernel's numbers for them.
    """

    family: str
    table: str
    chain: str
    rules: tuple[Line, ...]
    comment: str = FIRST.alias
    first: bool = True
    handles: tuple[int, ...] = field(default=(), compare=False)

    @property
    def key(self) -> Key:
        return (self.family, self.table, self.chain, self.comment)


@dataclass(frozen=True, slots=True)
class File:
    """A file that an apply leaves: compared by its SHA-256 (`sha256sum`), since nobody needs to read it back.

    `mode` are chmod(1)'s digits. `marked`: it says itself that it is podnet's (`podnet.marks.LINE`), or it is empty.
    `text` is known of wanted ones only.
    """

    path: str
    digest: str
    mode: str = "644"
    marked: bool = field(default=True, compare=False)
    text: str = field(default="", compare=False, repr=False)

    @classmethod
    def of(cls, path: str, text: str) -> "File":
        """Take the text that the file is to hold, whole lines."""
        return cls(path, hashlib.sha256(text.encode()).hexdigest(), text=text)

    @property
    def key(self) -> Key:
        return (self.path,)


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link: how systemd is told that a unit is enabled."""

    path: str
    to: str

    @property
    def key(self) -> Key:
        return (self.path,)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Who has an address of a CNI network, as the plugin host-local writes it down: a container, for its device `dev`.

    Pods of ours are there under the name of their namespace.
    """

    network: str
    address: IPv4Address
    container: str
    dev: str = "eth0"

    @property
    def key(self) -> Key:
        return (self.network, int(self.address))


Item: TypeAlias = (
    Link
    | Vf
    | Port
    | Address
    | Neighbour
    | FdbEntry
    | FouPort
    | Offload
    | WgPeer
    | Route
    | Rule
    | Sysctl
    | Chain
    | Opening
    | File
    | Symlink
    | Reservation
)


def plain(item: Item) -> dict[str, object]:
    """Tell an item in JSON's types: its kind, and its fields as text, numbers, truth or lists."""
    told = {field.name: _simply(getattr(item, field.name)) for field in fields(item)}
    return {"kind": type(item).__name__} | {("type" if name == "kind" else name): value for name, value in told.items()}


def _simply(value: object) -> object:
    match value:
        case None | str() | int():
            return value
        case tuple():
            return [_simply(part) for part in value]
        case Verdict():
            return {field.name: _simply(getattr(value, field.name)) for field in fields(value)}
        case Outside(network):
            return f"! {network}"
        case _:
            return str(value)


@dataclass(frozen=True)
class State:
    """What one network namespace holds; `pods` are the namespaces inside it, by name.

    Some fields are seen only: `saved` is what sysctls were before we first changed them, `lacks` which of the kinds of
    devices that were asked for the kernel does not have, and which of their tools the host, `unloaded` which modules it
    has not loaded that nobody loads by using them, `firewall` what the host filters with, `folders` which programs'
    folders there are, and those of attachments. `keys` are the private keys that we left on the host: for each the mark
    of its cluster, and its public key, or nothing if it is damaged. `last_reserved` is for each CNI network the address
    that host-local gave last. `running` are the processes in namespaces that are to go, by the names of these.
    """

    links: frozenset[Link] = frozenset()
    vfs: frozenset[Vf] = frozenset()
    ports: frozenset[Port] = frozenset()
    addresses: frozenset[Address] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    fdb: frozenset[FdbEntry] = frozenset()
    fous: frozenset[FouPort] = frozenset()
    offloads: frozenset[Offload] = frozenset()
    peers: frozenset[WgPeer] = frozenset()
    sysctls: frozenset[Sysctl] = frozenset()
    chains: frozenset[Chain] = frozenset()
    openings: frozenset[Opening] = frozenset()
    routes: frozenset[Route] = frozenset()
    files: frozenset[File | Symlink] = frozenset()
    reservations: frozenset[Reservation] = frozenset()
    saved: frozenset[Sysctl] = frozenset()
    lacks: frozenset[str] = frozenset()
    unloaded: frozenset[str] = frozenset()
    firewall: Firewall = field(default_factory=Firewall)
    folders: frozenset[str] = frozenset()
    keys: Mapping[str, str] = field(default_factory=dict)
    last_reserved: Mapping[str, IPv4Address] = field(default_factory=dict)
    running: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pods: Mapping[str, "State"] = field(default_factory=dict)

    def __or__(self, other: "State") -> "State":
        """Both together: how a mode adds its tunnel to the pods."""
        tables = {table: getattr(self, table) | getattr(other, table) for table in TABLES}
        return replace(
            self,
            **tables,
            saved=self.saved | other.saved,
            keys={**self.keys, **other.keys},
            pods={**self.pods, **other.pods},
        )

    def to_json(self) -> dict[str, object]:
        """Tell it in JSON's types; pyinfra asks for it when a fact is to be printed."""
        tables = {table: [plain(item) for item in sorted(getattr(self, table), key=repr)] for table in TABLES}
        return {**tables, "pods": {name: pod.to_json() for name, pod in sorted(self.pods.items())}}

    def only(self, keep: Callable[[Item], bool], *tables: str) -> "State":
        """The same without the items that `keep` does not want, of all tables or those named; pods stay as they are."""
        # A difference of sets hashes only what goes: of thousands of entries that is next to nothing.
        less: dict[str, Any] = {
            table: items - {item for item in items if not keep(item)}
            for table in tables or TABLES
            if (items := getattr(self, table))
        }
        return replace(self, **less)

    def signed(self, marks: Marks) -> "State":
        """The same with everything that can bear a mark bearing this one, in pods too."""
        links = {link for link in self.links if isinstance(link, Device) and link.alias != marks.alias}
        routes = {route for route in self.routes if route.proto != marks.proto}
        return replace(
            self,
            links=self.links - links | {replace(link, alias=marks.alias) for link in links},
            routes=self.routes - routes | {replace(route, proto=marks.proto) for route in routes},
            pods={netns: pod.signed(marks) for netns, pod in self.pods.items()},
        )


SEEN_ONLY = frozenset({"saved", "lacks", "unloaded", "firewall", "folders", "keys", "last_reserved", "running"})
"""What is asked beside the tables, and never wanted."""

TABLES = tuple(table.name for table in fields(State) if table.name not in SEEN_ONLY | {"pods"})
"""The tables by name, in the order in which their items can be added."""
