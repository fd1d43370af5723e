"""What the owner says about the cluster, checked once: afterwards nobody needs to ask again.

`podnet.inventory` turns the inventory's text and numbers into these types. Here stand the promises that hold
between them: what is unique, what lies inside what, what must not overlap.
"""

import hashlib
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from podnet.errors import ClusterError
from podnet.marks import Marks

SHORT = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class Pod:
    """A network namespace with an `eth0`, whoever runs in it."""

    name: str
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Card:
    """A NIC that a pod is to have, by its PCI address or its name, and what its PF imposes on it if it is a VF."""

    pod: str
    nic: str
    vlan: int = 0
    max_tx_rate: int = 0
    spoofchk: bool = True
    trust: bool = False
    link_state: str = "auto"


@dataclass(frozen=True)
class Node:
    """One host: where it is on the underlay, and the pods that it gives out addresses to.

    `allotted`: its subnet was not given, but taken in the inventory's order. `cni_pods` are namespaces that CNI plugins
    attach beside its pods. `cut_off`: containers that others have put there may lose their network. `fixed`: its pods'
    addresses were given, and no others will do.
    """

    name: str
    address: IPv4Interface
    uplink: str
    pod_subnet: IPv4Network
    pods: tuple[Pod, ...] = ()
    cards: tuple[Card, ...] = ()
    allotted: bool = False
    cni_pods: tuple[str, ...] = ()
    cut_off: bool = False
    fixed: bool = False

    @cached_property
    def ip(self) -> IPv4Address:
        """The address on the underlay that peers send to."""
        return self.address.ip

    @cached_property
    def gateway(self) -> IPv4Interface:
        """The pods' way out: the first usable address of the subnet, as flannel and CNI give it."""
        return IPv4Interface((self.pod_subnet[1], self.pod_subnet.prefixlen))

    def gives(self, address: IPv4Address) -> bool:
        """Say whether a pod may have this address: one of the subnet, but not its own, the gateway's or the last."""
        place = int(address) - int(self.pod_subnet.network_address)
        return 1 < place < self.pod_subnet.num_addresses - 1  # 0 is its own, 1 the gateway

    @cached_property
    def room(self) -> int:
        """How many pods the subnet has addresses for: all but its own, the gateway's and the broadcast address."""
        return self.pod_subnet.num_addresses - 3

    @cached_property
    def vtep(self) -> IPv4Address:
        """The tunnel endpoint's address inside the pod network: the subnet's own address, as flannel gives it."""
        return self.pod_subnet.network_address

    @cached_property
    def vtep_mac(self) -> str:
        """The tunnel endpoint's MAC, computed from the node's name so that peers need not tell each other.

        0x66 is Calico's choice of a first octet: locally administered (bit 2 set) and unicast (bit 1 clear).
        """
        return "66:" + hashlib.sha256(self.name.encode()).digest()[:5].hex(":")


@dataclass(frozen=True)
class Cluster:
    """All nodes, and what they have in common. `mode`: the only one that may be applied, if the inventory says so.

    `subnet_env`: that file is where flannel's tools look for it, whatever the VNI; on a host it can be one cluster's.

    Raises ClusterError if two of its parts contradict each other.
    """

    network: IPv4Network
    nodes: tuple[Node, ...]
    underlay_mtu: int = 1500
    vni: int = 1
    vxlan_port: int = 8472
    udp_port: int = 8285
    wireguard_port: int = 51820
    wireguard_keepalive: int = 0
    masquerade: bool = True
    bridge_netfilter: bool = True
    checksum_offload: bool = True
    subnet_env: bool = False
    mode: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot work, before anything is touched."""
        _unique("the name", ((node.name, node.name) for node in self.nodes), "name each host once")
        _unique("`address`", ((node.ip, node.name) for node in self.nodes), "give each its own")
        _unique("the VTEP MAC", ((n.vtep_mac, n.name) for n in self.nodes), "rename one of them")
        for node in self.nodes:
            self._check_inside(node)
        _disjoint_pod_subnets(self.nodes)
        _check_underlay(self.network, self.nodes)

    def _check_inside(self, node: Node) -> None:
        if not node.pod_subnet.subnet_of(self.network):
            raise ClusterError(
                f"{node.name}: `pod_subnet` {node.pod_subnet} lies outside `network` {self.network}; "
                "choose a subnet inside it, or widen the network"
            )
        for pod in node.pods:
            if not node.gives(pod.address):
                raise ClusterError(
                    f"{node.name}: `pods` gives {pod.name} the address {pod.address}; it must lie in "
                    f"{node.pod_subnet} and be neither its first, its gateway {node.gateway.ip} nor its last address"
                )
        _unique("the pod name", ((p.name, node.name) for p in node.pods), "name each of its `pods` once")
        _unique("the pod address", ((p.address, node.name) for p in node.pods), "give each of its `pods` its own")
        _unique("the name", ((name, node.name) for name in node.cni_pods), "name each of its `cni_pods` once")
        room = node.room - len(node.pods)
        if len(node.cni_pods) > room:
            raise ClusterError(
                f"{node.name}: `cni_pods` names {len(node.cni_pods)} pods, but {node.pod_subnet} has room for {room} "
                f"beside {len(node.pods)} `pods`; name fewer, or give {node.name} a larger `pod_subnet`"
            )
        for card in node.cards:
            if card.nic == node.uplink:
                raise ClusterError(f"{node.name}: `nics` gives {card.pod} the `uplink` {card.nic}; name another NIC")
        _unique("the NIC", ((card.nic, node.name) for card in node.cards), "give each of its pods its own in `nics`")

    def node(self, name: str) -> Node:
        """Return the node of that name; ClusterError if there is none."""
        try:
            return self._by_name[name]
        except KeyError:
            raise ClusterError(f"{name}: no such node in the inventory; it has {', '.join(self._by_name)}") from None

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def marks(self) -> Marks:
        """What tells this cluster's things on a host from others'."""
        return Marks(self.vni)

    def device(self, name: str) -> str:
        """Name a device of which a host has one per cluster: the first has flannel's name, others are numbered.

        The kernel takes 15 characters, of which a VNI may need 8: of `flannel.ipip` there remains `ipip.16777215`.
        """
        return name if self.vni == 1 else f"{SHORT.findall(name)[-1]}.{self.vni}"

    def peers(self, me: Node) -> tuple[Node, ...]:
        """Everyone but `me`, in the inventory's order."""
        return tuple(node for node in self.nodes if node.name != me.name)

    def adjacent(self, me: Node) -> tuple[Node, ...]:
        """The peers on the segment of `me`, which it reaches without a router. They say the same of `me`."""
        return tuple(peer for peer in self.peers(me) if peer.ip in me.address.network)

    def distant(self, me: Node) -> tuple[Node, ...]:
        """The peers behind a router."""
        return tuple(peer for peer in self.peers(me) if peer.ip not in me.address.network)

    def require_one_segment(self, what: str) -> None:
        """Raise ClusterError if a router lies between any two nodes; `what` is the mode, and why it minds."""
        # Segments do not overlap: if the first node reaches everybody, all do.
        if self.nodes and (distant := self.distant(self.nodes[0])):
            me, peer = self.nodes[0], distant[0]
            raise ClusterError(
                f"{me.name}: {what}, but {peer.name} ({peer.address}) is not on the segment of {me.name} "
                f"({me.address}); choose a mode that crosses routers (docs/comparison.md), or correct the "
                "prefix length of `address`"
            )


def _unique(what: str, values: Iterable[tuple[object, str]], remedy: str) -> None:
    """Refuse (value, host name) pairs in which a value comes twice."""
    seen: dict[object, str] = {}
    for value, name in values:
        if value in seen:
            raise ClusterError(f"{name}: {what} {value} is already taken by {seen[value]}; {remedy}")
        seen[value] = name


def _disjoint_pod_subnets(nodes: tuple[Node, ...]) -> None:
    """Sorted by address, two subnets overlap only if two neighbours do: linear where all pairs would be square."""
    ordered = sorted(nodes, key=lambda node: int(node.pod_subnet.network_address))
    for a, b in itertools.pairwise(ordered):
        if a.pod_subnet.overlaps(b.pod_subnet):
            raise ClusterError(
                f"{b.name}: `pod_subnet` {b.pod_subnet} overlaps {a.name}'s {a.pod_subnet}; two pods could get one "
                "address; change one of them"
            )


def _check_underlay(network: IPv4Network, nodes: tuple[Node, ...]) -> None:
    """Pods must not hide underlay addresses, and neighbours must agree on who is a neighbour."""
    segments: dict[IPv4Network, Node] = {}
    for node in nodes:
        segments.setdefault(node.address.network, node)
    for segment, node in segments.items():
        if segment.overlaps(network):
            raise ClusterError(
                f"{node.name}: `address` {node.address} lies in a network that overlaps the pods' `network` {network}; "
                "nodes would look for each other inside the tunnel; choose another `network`"
            )
    ordered = sorted(segments, key=lambda segment: (int(segment.network_address), segment.prefixlen))
    for a, b in itertools.pairwise(ordered):
        if a.overlaps(b):
            raise ClusterError(
                f"{segments[b].name}: `address` has the network {b}, but {segments[a].name}'s has {a}, which overlaps "
                "it; one of the prefix lengths is wrong"
            )
