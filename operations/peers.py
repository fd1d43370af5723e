"""Peers of wireguard devices: `wg set`."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.peers import Peers
from podnet.operations.writing import exactly
from podnet.state import WgPeer


@operation()
def peers(dev: str, want: Iterable[WgPeer]) -> Generator[PyinfraCommand]:
    """
    Make the peers of a wireguard device exactly `want`; its own key and port are left alone.

    + dev: the device
    + want: the peers, by their public keys

    **Example:**

    .. code:: python

        from podnet.operations.peers import peers
        from podnet.state import WgPeer

        key = "4pLOPToZ8K2t4b8d0Qk58ua29ioP6QRR6wq4HdqKOAE="
        peers(name="Two talk", dev="wg0", want=[WgPeer("wg0", key, "192.168.56.12:51820", ("10.244.2.0/24",))])
    """
    have = host.get_fact(Peers)
    yield from exactly("peers", want, None if have is None else [peer for peer in have if peer.dev == dev])
