"""What crosses the underlay while one pod pings another: captured by tcpdump(8), read here."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from podnet.verify.mesh.probe import HEADERS, NEEDED

ETHERNET = 14
IPV4 = 20
LINKTYPE_ETHERNET = 1
DEADLINE = 5  # seconds to see the two packets of one ping
QUIET = 1  # seconds in which nothing is to be seen
SEEN, MOST_SEEN = 3, 8  # seconds, and packets on each device: what is shown beside a failure
ICMP, ECHO, ECHO_REPLY = 1, 8, 0  # the protocol, and types of its messages
MORE_OR_OFFSET = 0x3FFF  # of the fragment field: anything set means a piece of a packet
PATTERN = b"podnet"
"""What pings carry whose packets nobody is to read."""
MARK = "==wire=="


class NotCapturedError(Exception):
    """The capture is not one that tcpdump makes."""


@dataclass(frozen=True)
class Packet:
    """An IPv4 packet on the wire, whole from its header on."""

    raw: bytes

    @property
    def source(self) -> IPv4Address:
        return IPv4Address(self.raw[12:16])

    @property
    def target(self) -> IPv4Address:
        return IPv4Address(self.raw[16:20])

    @property
    def protocol(self) -> int:
        return self.raw[9]

    @property
    def length(self) -> int:
        return int.from_bytes(self.raw[2:4])

    @property
    def fragmented(self) -> bool:
        return bool(int.from_bytes(self.raw[6:8]) & MORE_OR_OFFSET)


def between(a: IPv4Address, b: IPv4Address, at: int) -> str:
    """Spell a pcap-filter(7) for IPv4 packets of two pods, whose header begins `at` bytes behind the outer one's."""
    one, other = (f"0x{int(address):08x}" for address in (a, b))
    source, target = f"ip[{at + 12}:4]", f"ip[{at + 16}:4]"
    # `and` binds no closer than `or` there.
    return f"(({source} = {one} and {target} = {other}) or ({source} = {other} and {target} = {one}))"


def pinged(a: IPv4Address, b: IPv4Address, at: int, size: int) -> str:
    """Spell the same for a ping of this size alone, request and reply: whoever uses pods lets them talk meanwhile.

    A piece of a packet passes, if it is ICMP's: which one it belongs to only its first one says.
    """
    piece = f"ip[{at + 6}:2] & 0x{MORE_OR_OFFSET:x} != 0"
    echo = f"ip[{at + 2}:2] = {size} and (ip[{at + IPV4}] = {ECHO} or ip[{at + IPV4}] = {ECHO_REPLY})"
    return f"({between(a, b, at)} and ip[{at + 9}] = {ICMP} and (({piece}) or ({echo})))"


def largest(to: IPv4Address, size: int, packets: int) -> str:
    """Spell a ping whose packet has this size, and which waits shortly where nothing is to come back."""
    return f"ping -n -c 1 -w {DEADLINE if packets else QUIET} -M do -s {size - HEADERS} {to}"


def with_pattern(to: IPv4Address, size: int) -> str:
    """Spell pings of this size whose every byte is known. There are three, since the last reply may be missed."""
    return f"ping -n -c 3 -i 0.2 -w {DEADLINE} -M do -s {size - HEADERS} -p {PATTERN.hex()} {to}"


def script(uplink: str, wanted: str, enter: str, ping: str, packets: int) -> str:
    """Spell: capture what passes the filter `wanted` on `uplink`, while a pod runs `ping`.

    `ping` is one of the two above behind `enter POD`, and `enter` says how that is done (podnet.verify.entering).

    tcpdump ends by itself when it has seen as many `packets`; if none is expected, or nobody knows how many, it is
    ended when ping has come to its end. The ping waits until it listens. The file's name ends like this because
    Debian's AppArmor profile lets tcpdump write no other.
    """
    listen = f"tcpdump -i {uplink} -nn --immediate-mode -U{f' -c {packets}' if packets else ''}"
    within, end = (DEADLINE, "") if packets else (2 * DEADLINE, "kill -INT $!\n")
    return f"""set -eu
{enter}
{NEEDED}
if ! command -v tcpdump >/dev/null; then echo "tcpdump is needed: install it" >&2; exit 1; fi
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
timeout -s INT {within} {listen} -w "$folder/wire.pcap" '{wanted}' 2>"$folder/said" &
until grep -q 'listening on' "$folder/said"; do
  if ! kill -0 $!; then cat "$folder/said" >&2; exit 1; fi
done
{ping} >&2 || echo lost >&2
{end}wait $! || cat "$folder/said" >&2
echo '{MARK}'
od -An -v -tx1 "$folder/wire.pcap"
"""


def seen(devices: Mapping[str, str], enter: str, ping: str) -> str:
    """Spell: print as text what passes the filter of each of these devices, while this host or another one pings.

    All listen before anything is pinged; a host that does not ping listens for as long as the other one may take.
    `ping` is what is tried again behind `enter POD`, and `enter` says how that is done (podnet.verify.entering).
    """
    listening = "\n".join(_listen(dev, wanted) for dev, wanted in devices.items())
    shown = "\n".join(f'echo "{dev}:"; cat "$folder/{dev}.seen"' for dev in devices)
    return f"""set -eu
{enter}
if ! command -v tcpdump >/dev/null; then echo "tcpdump is needed: install it" >&2; exit 1; fi
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
{listening}
{ping} >/dev/null 2>&1 || echo "its ping got no reply"
wait
{shown}
"""


def _listen(dev: str, wanted: str) -> str:
    """Spell a tcpdump that ends by itself, and the wait until it listens."""
    return f"""timeout -s INT {SEEN} tcpdump -nn -l --immediate-mode -c {MOST_SEEN} -i {dev} '{wanted}' \\
  >"$folder/{dev}.seen" 2>"$folder/{dev}.said" &
until grep -q 'listening on' "$folder/{dev}.said"; do
  if ! kill -0 $!; then cat "$folder/{dev}.said" >&2; exit 1; fi
done"""


def slowly(to: IPv4Address, size: int | None) -> str:
    """Spell pings of which the other host, which may begin to listen a little later, sees some."""
    sized = f" -M do -s {size - HEADERS}" if size else ""
    return f"ping -n -c 3 -i 0.5 -w 2{sized} {to}"


def parse(output: str) -> list[Packet]:
    """Read the hexadecimal text of a capture file (pcap-savefile(5)), which follows the mark."""
    try:
        raw = bytes.fromhex("".join(output.partition(MARK)[2].split()))
    except ValueError as e:
        raise NotCapturedError(f"od printed something else than hexadecimal numbers: {e}") from e
    if len(raw) < 24 or struct.unpack_from("<I", raw)[0] != 0xA1B2C3D4:
        raise NotCapturedError(f"a capture file begins otherwise than {raw[:4].hex()!r}")
    (linktype,) = struct.unpack_from("<I", raw, 20)
    if linktype != LINKTYPE_ETHERNET:
        raise NotCapturedError(
            f"the uplink's frames are of link type {linktype}; only Ethernet ({LINKTYPE_ETHERNET}) is read"
        )
    return [Packet(frame[ETHERNET:]) for frame in _frames(raw)]


def _frames(raw: bytes) -> Iterator[bytes]:
    start = 24
    while start < len(raw):
        (captured,) = struct.unpack_from("<I", raw, start + 8)
        yield raw[start + 16 : start + 16 + captured]
        start += 16 + captured
