"""How a VM is told who it is: scripts through its second serial port, whether its network and sshd run or not.

The other end is etc/podnet/ear in the recipe.
"""

import asyncio
import base64
import uuid
from pathlib import Path

from podnet.labs.error import LabError

ASK_EVERY = 0.3  # at first


class EndedError(LabError):
    """The VM ends, or has ended."""


async def tell(socket: Path, script: str) -> None:
    """Have a VM run a shell script; return when it has, however long it takes to listen."""
    try:
        await converse(socket, script)
    except OSError as error:
        raise EndedError(f"it ended while it was told who it is ({error})") from error


async def converse(socket: Path, script: str) -> None:
    """Say the script, and hear how it ended."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        await listening(reader, writer)
        writer.write(b"script " + base64.b64encode(script.encode()) + b"\n")
        if (code := await answer(reader, "script")) != "0":
            raise LabError(
                f"what it was told failed with exit code {code}: its journal says why, `journalctl -u podnet-ear`"
            )
    finally:
        writer.close()


async def listening(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Return when the VM listens: what it was sent before it did is lost, or answered late."""
    hello, patience = f"hello-{uuid.uuid4().hex}", ASK_EVERY
    while True:
        writer.write(f"\n{hello} \n".encode())
        try:
            await asyncio.wait_for(answer(reader, hello), patience)
        except TimeoutError:
            patience *= 2  # asked quicker than it answers, a slow VM would hear nothing but our asking
            continue
        return


async def answer(reader: asyncio.StreamReader, word: str) -> str:
    """Return what the VM says to this word, past what it says to others."""
    while line := await reader.readline():
        match line.decode(errors="replace").split():
            case [said, code] if said == word:
                return code
    raise EndedError("it ended while it was told who it is")
