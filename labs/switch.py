"""A learning switch between QEMUs: `python -m podnet.labs.switch SOCKET...`, one socket a NIC.

We would like QEMU's own hub to do it; that one waits until everybody has taken a frame, so that one NIC which is down
in its guest, where nobody reads, stops the whole segment after 200 KB; hence this one drops what a port has no room
for, as real switches do, and spares guests what is not for them.

A frame on a socket follows its length, four bytes, the highest first (QEMU's netdev `stream`).
"""

import asyncio
import struct
import sys
from collections.abc import Sequence
from typing import cast

from typing_extensions import override

LENGTH = struct.Struct("!I")
ROOM = 1 << 20  # bytes that may wait for a port: some hundred full frames
GROUP = 1  # the bit of a MAC's first byte that says that it is many's


class Port(asyncio.Protocol):
    """One NIC, plugged into a switch."""

    def __init__(self, plugged: set["Port"], places: dict[bytes, "Port"]) -> None:
        """Share with the other ports who they are, and where each MAC was seen last."""
        self.plugged, self.places = plugged, places
        self.rest = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=2 * ROOM)
        self.plugged.add(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.plugged.discard(self)
        for mac in [mac for mac, port in self.places.items() if port is self]:
            del self.places[mac]

    @override
    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        start = 0
        while len(data) - start >= LENGTH.size:
            end = start + LENGTH.size + LENGTH.unpack_from(data, start)[0]
            if end > len(data):
                break
            self.switch(data[start:end])
            start = end
        self.rest = data[start:]

    def switch(self, frame: bytes) -> None:
        """Pass a frame, its length before it, on to where its destination is, or to all if that is not known."""
        target, source = frame[4:10], frame[10:16]
        if not source[0] & GROUP:
            self.places[source] = self
        known = self.places.get(target)
        for port in [known] if known else self.plugged:
            if port is not self and port.transport.get_write_buffer_size() < ROOM:
                port.transport.write(frame)


async def listen(sockets: Sequence[str]) -> list[asyncio.Server]:
    """Make a switch with one port for each socket."""
    plugged: set[Port] = set()
    places: dict[bytes, Port] = {}
    loop = asyncio.get_running_loop()
    return [await loop.create_unix_server(lambda: Port(plugged, places), socket) for socket in sockets]


async def serve(sockets: Sequence[str]) -> None:
    """Switch until killed."""
    ports = await listen(sockets)
    await asyncio.gather(*(port.serve_forever() for port in ports))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:]))
