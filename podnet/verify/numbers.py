"""What each mode promises to whoever looks from outside.

These numbers are stated here once more on purpose, and not taken from the modes: a mode that computed a wrong MTU
would otherwise be measured with its own ruler.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from podnet.cluster import Cluster, Node
from podnet.verify.capture import IPV4, Packet

UDP = 8
OWN = 64
"""A pod starts with 64 (net.ipv4.ip_default_ttl), and reaches itself without any router."""


@dataclass(frozen=True)
class Wrapping:
    """How a pod's packet crosses the underlay.

    `overhead` are the bytes from the outer IPv4 header to the inner one. `outer` is the pcap-filter(7) of an outer
    packet, `fault` says what is wrong with its headers. `sealed`: the inner packet cannot be read. `kind` is what the
    kernel calls the device that wraps it.
    """

    overhead: int
    outer: Callable[[Cluster], str]
    fault: Callable[[Cluster, Packet], str | None]
    kind: str
    sealed: bool = False


@dataclass(frozen=True)
class Beyond:
    """The TTL of a reply as received where one end is no pod; None: no reply may come.

    `own`: a pod and its own node, both ways. `pod`: a node asks another node's pod. `outward`: a pod asks another node,
    or a host outside, under its node's address; `bare`: another node under its own (`masquerade` False). `inward`: a
    host outside hands packets for a pod to the pod's node.
    """

    own: int | None
    pod: int | None
    outward: int | None
    bare: int | None
    inward: int | None


ROUTED = Beyond(own=64, pod=63, outward=63, bare=63, inward=63)
# A node's own address is in none of a peer's allowed-ips: its reply to a bare pod is dropped behind the tunnel.
SEALED = Beyond(own=64, pod=63, outward=63, bare=None, inward=63)
# No node has a way to another one's pods; hence pods reach the others only under their node's address.
ALONE = Beyond(own=64, pod=None, outward=63, bare=None, inward=63)
# Nodes take no part.
APART = Beyond(own=None, pod=None, outward=None, bare=None, inward=None)


@dataclass(frozen=True)
class Numbers:
    """The TTL of a reply as received, the largest packet, and what is on the wire.

    A router takes one from the TTL, a switch none; None: no reply may come. `less` are the bytes by which a pod's
    largest packet is smaller than the underlay's. `wire` says for two nodes how their pods' packets cross: wrapped,
    or None where they are to be seen as they are. Without `across`, or where pods have a wire of their own
    (`elsewhere`), nothing may be seen at all. Where packets leave or enter a node's pods they pass a device of the
    kernel's kind `switch`, if there is one; those of two pods of a node are switched there and not counted.
    `refuses`: not only a pod's own device refuses a larger packet, but so do those by which its node sends.
    """

    same_node: int
    across: int | None
    beyond: Beyond
    less: int = 0
    wire: Callable[[Node, Node], Wrapping | None] = lambda _, __: None
    elsewhere: bool = False
    refuses: bool = True
    switch: str = ""

    @property
    def on_uplink(self) -> bool:
        """Say whether a ping to another node is seen on the node's uplink."""
        return self.across is not None and not self.elsewhere

    def ttl(self, source: str, target: str) -> int | None:
        """Return what a pod, NODE/POD, receives from another."""
        if source == target:
            return OWN
        return self.same_node if source.split("/", maxsplit=1)[0] == target.split("/", maxsplit=1)[0] else self.across


def always(wrapping: Wrapping) -> Callable[[Node, Node], Wrapping]:
    """Wrap between any two nodes."""
    return lambda _, __: wrapping


def between_segments(wrapping: Wrapping) -> Callable[[Node, Node], Wrapping | None]:
    """Wrap only where a router lies between."""
    return lambda node, peer: None if peer.ip in node.address.network else wrapping


def vxlan_fault(cluster: Cluster, packet: Packet) -> str | None:
    """Check the VXLAN header behind IPv4 and UDP (RFC 7348 section 5): flag 0x08 says that the VNI is valid."""
    flags, vni = struct.unpack_from("!B3xI", packet.raw, IPV4 + UDP)
    if flags != 0x08:
        return f"expected a VXLAN header, whose flags are 0x08, saw {flags:#04x}"
    if vni >> 8 != cluster.vni:
        return f"expected VNI {cluster.vni}, saw {vni >> 8}"
    return None


def ipip_fault(_: Cluster, packet: Packet) -> str | None:
    """Check the outer IPv4 header's protocol: 4 is IPv4 in IPv4 (RFC 2003)."""
    return None if packet.protocol == 4 else f"expected IP protocol 4, saw {packet.protocol}"


def udp_fault(cluster: Cluster, packet: Packet) -> str | None:
    """Check the UDP header and the first byte behind it: version 4, and a header of five words."""
    source, target = struct.unpack_from("!HH", packet.raw, IPV4)
    if (source, target) != (cluster.udp_port, cluster.udp_port):
        return f"expected UDP from port {cluster.udp_port} to {cluster.udp_port}, saw {source} to {target}"
    first = packet.raw[IPV4 + UDP]
    return None if first == 0x45 else f"expected an IPv4 header (0x45) right behind UDP's, saw {first:#04x}"


def wireguard_fault(cluster: Cluster, packet: Packet) -> str | None:
    """Check the UDP header and the first word behind it: 4 is a packet of data (WireGuard's paper, section 5.4.6)."""
    source, target = struct.unpack_from("!HH", packet.raw, IPV4)
    if (source, target) != (cluster.wireguard_port, cluster.wireguard_port):
        return f"expected UDP from port {cluster.wireguard_port} to {cluster.wireguard_port}, saw {source} to {target}"
    (kind,) = struct.unpack_from("<I", packet.raw, IPV4 + UDP)
    return None if kind == 4 else f"expected a WireGuard packet of data, type 4, saw type {kind}"


VXLAN = Wrapping(50, lambda cluster: f"udp dst port {cluster.vxlan_port}", vxlan_fault, "vxlan")
IPIP = Wrapping(20, lambda _: "ip proto 4", ipip_fault, "ipip")
FOU = Wrapping(28, lambda cluster: f"udp dst port {cluster.udp_port}", udp_fault, "ipip")
WIREGUARD = Wrapping(
    60, lambda cluster: f"udp dst port {cluster.wireguard_port}", wireguard_fault, "wireguard", sealed=True
)

NUMBERS = {
    "bridge": Numbers(64, None, ALONE, switch="bridge"),
    "host_gw": Numbers(64, 62, ROUTED, switch="bridge"),
    "ipip": Numbers(64, 62, ROUTED, 20, always(IPIP), switch="bridge"),
    "ipip_direct_routing": Numbers(64, 62, ROUTED, 20, between_segments(IPIP), switch="bridge"),
    "ipvlan": Numbers(64, 64, APART),
    "macvlan": Numbers(64, 64, APART),
    "proxy_arp": Numbers(63, 62, ROUTED),
    "sriov": Numbers(64, 64, APART, elsewhere=True),
    "udp": Numbers(64, 62, ROUTED, 28, always(FOU), switch="bridge"),
    "veth_pair": Numbers(64, None, APART),
    "vxlan": Numbers(64, 62, ROUTED, 50, always(VXLAN), switch="bridge"),
    "vxlan_direct_routing": Numbers(64, 62, ROUTED, 50, between_segments(VXLAN), switch="bridge"),
    "wireguard": Numbers(64, 62, SEALED, 80, always(WIREGUARD), switch="bridge"),
}
