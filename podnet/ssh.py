"""SSH to hosts that are near."""

import socket
from typing import Any

from paramiko import Transport


def nodelay_transport(sock: socket.socket, **kwargs: Any) -> Transport:  # noqa: ANN401  # paramiko's own options
    """Make paramiko's connection; as pyinfra's `transport_factory`.

    paramiko closes one channel and opens the next with two small writes. We would like both to leave at once; the
    kernel holds the second back (Nagle) until the first is acknowledged, which the peer delays by 40 ms. Of the
    ciphers that the host knows AES-GCM comes first.
    """
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = Transport(sock, **kwargs)
    # Its other ciphers come with a checksum that paramiko compares byte by byte, in Python, packet by packet.
    options = transport.get_security_options()
    options.ciphers = sorted(options.ciphers, key=lambda cipher: "gcm" not in cipher)
    return transport
