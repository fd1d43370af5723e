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


async def talk(folder: Path) -> list[tuple[bytes, bytes]]:
    """Have two NICs talk beside a third that never reads; return what each frame was, and what was heard of it."""
    sockets = [str(folder / name) for name in "abc"]
    ports = await listen(sockets)
    (from_a, to_b), (from_b, to_a), (_, deaf) = [await asyncio.open_unix_connection(socket) for socket in sockets]
    whole = frame(ALL, A)
    to_b.write(whole[:7])
    await to_b.drain()
    to_b.write(whole[7:])
    talked = [(whole, await heard(from_b))]
    to_a.write(reply := frame(A, B, b"reply"))
    talked.append((reply, await heard(from_a)))
    for number in range(4 * ROOM // 1500):
        flood = frame(ALL, A, number.to_bytes(4) + bytes(1482))
        to_b.write(flood)
        talked.append((flood, await heard(from_b)))
    to_b.write(last := frame(B, A, b"last"))
    talked.append((last, await heard(from_b)))
    for writer in (to_a, to_b, deaf):
        writer.close()
        await writer.wait_closed()
    for port in ports:
        port.close()
        await port.wait_closed()
    return talked


def test_frames_reach_their_destination_also_beside_a_port_that_is_full(tmp_path: Path) -> None:
    """Unknown and group destinations are for all, known ones for one; a NIC that is down in its guest loses its own."""
    talked = asyncio.run(talk(tmp_path))
    assert len(talked) > 4 * ROOM // 1500
    assert [sent for sent, heard in talked if heard != sent] == []
