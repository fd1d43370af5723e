"""What is asked of a running QEMU, by its QMP socket."""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podnet.labs.error import LabError

LOOK_EVERY = 0.05


@dataclass(frozen=True)
class Qmp:
    """One conversation."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, command: str, **arguments: object) -> Any:  # noqa: ANN401  # it is what QEMU has to say
        """Have a command done; return what it returns."""
        self.writer.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        await self.writer.drain()
        while line := await self.reader.readline():
            match json.loads(line):
                case {"return": said}:
                    return said
                case {"error": {"desc": why}}:
                    raise LabError(f"QEMU refuses {command}: {why}")
        raise LabError(f"QEMU ended at {command}")

    async def save(self, memory: Path) -> None:
        """Write down what is in the machine's memory and devices; it then stands still."""
        await self.ask("migrate", uri=f"exec:cat >{shlex.quote(str(memory))}")
        while (status := (await self.ask("query-migrate"))["status"]) != "completed":
            if status in {"failed", "cancelled"}:
                raise LabError(f"QEMU could not write {memory}: its migration {status}")
            await asyncio.sleep(LOOK_EVERY)


@asynccontextmanager
async def connected(socket: Path) -> AsyncIterator[Qmp]:
    """Begin a conversation."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        await reader.readline()  # the greeting
        qmp = Qmp(reader, writer)
        await qmp.ask("qmp_capabilities")
        yield qmp
    finally:
        writer.close()
