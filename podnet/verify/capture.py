"""What crosses the underlay while one pod pings another: captured by tcpdump(8), read here."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from podnet import pods
from podnet.cluster import Cluster, Node
from podnet.verify.probe import HEADERS

ETHERNET = 14
LINKTYPE_ETHERNET = 1
UDP = 17
DEADLINE = 5  # seconds to see the two packets of one ping
MORE_OR_OFFSET = 0x3FFF  # of the fragment field: anything set means a piece of a packet


class NotCapturedError(Exception):
    """The capture is not one that tcpdump makes."""


@dataclass(frozen=True)
class Packet:
    """An IPv4 packet on the wire."""

    source: IPv4Address
    target: IPv4Address
    protocol: int
    length: int
    fragmented: bool
    payload: bytes

    @property
    def ports(self) -> tuple[int, int]:
        """Return UDP's source and destination port."""
        source, target = struct.unpack_from("!HH", self.payload)
        return source, target


def script(cluster: Cluster, node: Node, peer: Node, size: int) -> str:
    """Spell: capture what `node` exchanges with `peer` or with any pod, while its first pod pings the peer's first.

    tcpdump is asked for two packets, the ping and its reply, and ends by itself; the ping waits until it listens.
    """
    listen = f"tcpdump -i {node.uplink} -nn --immediate-mode -U -c 2"
    ping = f"ping -n -c 1 -w {DEADLINE} -M do -s {size - HEADERS} {peer.pods[0].address}"
    wanted = f"udp port {cluster.vxlan_port} and host {peer.ip} or net {cluster.network}"
    return f"""set -eu
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
timeout -s INT {DEADLINE} {listen} -w "$folder/pcap" '{wanted}' 2>"$folder/said" &
until grep -q 'listening on' "$folder/said"; do
  if ! kill -0 $!; then cat "$folder/said" >&2; exit 1; fi
done
ip netns exec {pods.netns(node.pods[0])} {ping} >&2 || echo lost >&2
wait $! || cat "$folder/said" >&2
od -An -v -tx1 "$folder/pcap"
"""


def parse(output: str) -> list[Packet]:
    """Read the hexadecimal text of a capture file (pcap-savefile(5))."""
    raw = bytes.fromhex("".join(output.split()))
    if len(raw) < 24 or struct.unpack_from("<I", raw)[0] != 0xA1B2C3D4:
        raise NotCapturedError(f"a capture file begins otherwise than {raw[:4].hex()!r}")
    (linktype,) = struct.unpack_from("<I", raw, 20)
    if linktype != LINKTYPE_ETHERNET:
        raise NotCapturedError(
            f"the uplink's frames are of link type {linktype}; only Ethernet ({LINKTYPE_ETHERNET}) is read"
        )
    return [packet(frame[ETHERNET:]) for frame in _frames(raw)]


def _frames(raw: bytes) -> Iterator[bytes]:
    start = 24
    while start < len(raw):
        (captured,) = struct.unpack_from("<I", raw, start + 8)
        yield raw[start + 16 : start + 16 + captured]
        start += 16 + captured


def packet(raw: bytes) -> Packet:
    """Read an IPv4 packet (RFC 791)."""
    header = (raw[0] & 0x0F) * 4
    length, _, fragment = struct.unpack_from("!HHH", raw, 2)
    return Packet(
        source=IPv4Address(raw[12:16]),
        target=IPv4Address(raw[16:20]),
        protocol=raw[9],
        length=length,
        fragmented=bool(fragment & MORE_OR_OFFSET),
        payload=raw[header:length],
    )


@dataclass(frozen=True)
class Vxlan:
    """What is inside an encapsulated packet (RFC 7348 section 5)."""

    vni: int
    inner: Packet


def vxlan(outer: Packet) -> Vxlan:
    """Read UDP's payload as a VXLAN frame; flag 0x08 says that its VNI is valid."""
    flags, vni = struct.unpack_from("!B3xI", outer.payload, 8)
    if flags != 0x08:
        raise NotCapturedError(f"the UDP payload begins with the flags {flags:#04x}, VXLAN's are 0x08")
    return Vxlan(vni >> 8, packet(outer.payload[8 + 8 + ETHERNET :]))
