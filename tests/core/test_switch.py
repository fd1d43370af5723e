"""The switch between VMs: who hears what, and that nobody who does not listen stops the others."""

import asyncio
from pathlib import Path

from podnet.labs.switch import LENGTH, ROOM, listen

A, B, ALL = bytes.fromhex("025500000001"), bytes.fromhex("025500000002"), b"\xff" * 6


def frame(to: bytes, source: bytes, payload: bytes = b"") -> bytes:
    """Write a frame as QEMU does, its length before it."""
    whole = to + source + payload
    return LENGTH.pack(len(whole)) + whole


async def heard(reader: asyncio.StreamReader) -> bytes:
    """Return the next frame that a NIC is given."""
    async with asyncio.timeout(5):
        length = await reader.readexactly(LENGTH.size)
        return length + await reader.readexactly(LENGTH.unpack(length)[0])


async def talk(folder: Path) -> None:
    """Have two NICs talk beside a third that never reads."""
    sockets = [str(folder / name) for name in "abc"]
    ports = await listen(sockets)
    (from_a, to_b), (from_b, to_a), (_, deaf) = [await asyncio.open_unix_connection(socket) for socket in sockets]
    whole = frame(ALL, A)
    to_b.write(whole[:7])
    await to_b.drain()
    to_b.write(whole[7:])
    assert await heard(from_b) == whole
    to_a.write(frame(A, B, b"reply"))
    assert await heard(from_a) == frame(A, B, b"reply")
    for number in range(4 * ROOM // 1500):
        flood = frame(ALL, A, number.to_bytes(4) + bytes(1482))
        to_b.write(flood)
        assert await heard(from_b) == flood
    to_b.write(frame(B, A, b"last"))
    assert await heard(from_b) == frame(B, A, b"last")
    for writer in (to_a, to_b, deaf):
        writer.close()
        await writer.wait_closed()
    for port in ports:
        port.close()
        await port.wait_closed()


def test_frames_reach_their_destination_also_beside_a_port_that_is_full(tmp_path: Path) -> None:
    """Unknown and group destinations are for all, known ones for one; a NIC that is down in its guest loses its own."""
    asyncio.run(talk(tmp_path))
