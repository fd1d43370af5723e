"""The keeper of a lab: process 1 of its pid namespace, owner of its mounts, and its door to the machine.

It lives in the machine's network namespace, and listens there on one port of 127.0.0.1 for each host. When it
ends, the kernel ends every process of the lab and drops every mount and namespace that the lab had.
"""

import asyncio
import ctypes
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

RUN = Path("/run/podnet")  # in the lab's mount namespace, as is all of its /run
IMAGE = RUN / "image"
DOOR = RUN / "keeper.socket"
NETNS = Path("/run/netns")
MACHINE_NETNS = Path("/proc/self/ns/net")

CLONE_NEWNET = 0x40000000
SSH = ("127.0.0.1", 22)  # the host's own loopback: a lab stays reachable whatever becomes of its underlay

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Prepare the lab's /run, then serve until killed: `python -m podnet.labs.keeper IMAGE`."""
    # nspawn, sudo and `ip netns` leave files in /run. The lab has one of its own, which goes with it.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
    IMAGE.mkdir(parents=True)
    NETNS.mkdir()
    subprocess.run(["mount", "--bind", "-o", "ro", sys.argv[1], IMAGE], check=True)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(keep())


async def keep() -> None:
    """Open and close hosts' ports as told through DOOR; bury the lab's orphans."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, reap)
    servers: dict[str, asyncio.Server] = {}
    async with await asyncio.start_unix_server(partial(answer, servers), DOOR) as door:
        print("ready", flush=True)
        os.dup2(2, 1)  # whoever started us has read that, and need not stay
        await door.serve_forever()


def reap() -> None:
    """Bury every dead child: the processes that lost their parent are ours."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


async def answer(
    servers: dict[str, asyncio.Server], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Obey one line, `listen HOST PORT` or `close HOST`; say which port it is."""
    match (await reader.readline()).decode().split():
        case ["listen", host, port]:
            if host not in servers:
                servers[host] = await listen(host, int(port))
            writer.write(b"%d\n" % servers[host].sockets[0].getsockname()[1])
        case ["close", host]:
            if host in servers:
                servers.pop(host).close()
            writer.write(b"0\n")
    await writer.drain()
    writer.close()


async def listen(host: str, port: int) -> asyncio.Server:
    """Listen for a host, on the port it had before if that is still free, else on any."""
    serve = partial(asyncio.start_server, partial(forward, host), "127.0.0.1")
    try:
        return await serve(port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return await serve(0)


async def forward(host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one connection to the host's sshd (asyncio sets TCP_NODELAY on both sides)."""
    try:
        far_reader, far_writer = await asyncio.open_connection(sock=await dial(host))
    except OSError:  # the host is down, or its sshd is: the caller sees the connection end
        writer.close()
        return
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
    writer.close()
    far_writer.close()


async def dial(host: str) -> socket.socket:
    """Connect to the host's sshd from inside of its network namespace."""
    sock = socket_in(host)
    sock.settimeout(0)
    try:
        await asyncio.get_running_loop().sock_connect(sock, SSH)
    except OSError:
        sock.close()
        raise
    return sock


def socket_in(host: str) -> socket.socket:
    """Make a socket that belongs to the host's network namespace."""
    # A socket stays for life in the namespace that its thread was in when it was made. The loop does nothing else
    # between entering and leaving, so no other socket is made in the wrong place.
    with MACHINE_NETNS.open() as machine, (NETNS / host).open() as namespace:
        enter(namespace.fileno())
        try:
            return socket.socket()
        finally:
            enter(machine.fileno())


def enter(namespace: int) -> None:
    """Enter a network namespace."""
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace")


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one direction; pass its end on, for the other direction may go on."""
    try:
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:  # one side is gone: so is the connection
        writer.transport.abort()


def ask(*words: str | int) -> int:
    """Tell the keeper of the lab that we are in what to do; return the port it answers."""
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(str(DOOR))
        door.sendall(" ".join(map(str, words)).encode() + b"\n")
        return int(door.makefile().readline())


if __name__ == "__main__":
    main()
