"""What each mode promises to whoever looks from outside.

These numbers are stated here once more on purpose, and not taken from the modes: a mode that computed a wrong MTU
would otherwise be measured with its own ruler.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from podnet.cluster import Cluster
from podnet.verify.capture import IPV4, Packet


@dataclass(frozen=True)
class Numbers:
    """The TTL of a reply as received, and what is on the wire.

    A pod starts with 64 (net.ipv4.ip_default_ttl); every node that routes, as opposed to switches, takes one.
    `overhead` are the bytes from the outer IPv4 header to the inner one, which the encapsulation takes of the
    underlay's MTU. `outer` is the pcap-filter(7) of an outer packet, `fault` says what is wrong with its headers.
    """

    ttl_same_node: int
    ttl_across: int
    overhead: int
    outer: Callable[[Cluster], str]
    fault: Callable[[Cluster, Packet], str | None]


def vxlan_fault(cluster: Cluster, packet: Packet) -> str | None:
    """Check the VXLAN header behind IPv4 and UDP (RFC 7348 section 5): flag 0x08 says that the VNI is valid."""
    flags, vni = struct.unpack_from("!B3xI", packet.raw, IPV4 + 8)
    if flags != 0x08:
        return f"expected a VXLAN header, whose flags are 0x08, saw {flags:#04x}"
    if vni >> 8 != cluster.vni:
        return f"expected VNI {cluster.vni}, saw {vni >> 8}"
    return None


NUMBERS = {
    "vxlan": Numbers(
        ttl_same_node=64,
        ttl_across=62,
        overhead=50,
        outer=lambda cluster: f"udp dst port {cluster.vxlan_port}",
        fault=vxlan_fault,
    ),
}
