"""Peers of wireguard devices, and what these say of themselves: `wg show`.

Not `wg show all dump`: that prints private keys.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import HEADING, Table, strictly
from podnet.state import WgPeer

KEY_LENGTH = 44  # 32 bytes in base64
MARK = "# "
NONE = "(none)"
# Most hosts have no such device, and are asked no more.
# The key that two peers share is as secret as a private one: only that there is one leaves the host.
COMMAND = r"""
if command -v wg >/dev/null; then devices=$(wg show interfaces); else devices=; fi
if [ -n "$devices" ]; then
  for what in public-key listen-port endpoints allowed-ips persistent-keepalive; do
    echo "# $what"; wg show all $what; echo
  done
  shared=$(wg show all preshared-keys)
  echo "# preshared-key"; echo "$shared" | sed 's/[A-Za-z0-9+/]*=$/on/'
fi""".strip()


class Tunnel(NamedTuple):
    """What a device says of itself."""

    port: int = 0
    public: str = ""


class Peers(FactBase[Table[WgPeer] | None]):
    """The peers of all wireguard devices, as podnet.state.WgPeer; none where wg(8) is not installed.

    .. code:: python

        peers = host.get_fact(Peers)
        assert any(peer.allowed == ("10.244.2.0/24",) for peer in peers)
    """

    @override
    def command(self) -> str:
        return f"echo '{HEADING}'; {COMMAND}"

    @override
    def process(self, output: list[str]) -> Table[WgPeer] | None:
        with strictly("the list of WireGuard peers"):
            return Table(parse([line for line in output if line != HEADING]))


def parse(output: list[str]) -> frozenset[WgPeer]:
    """Read the peers of what `COMMAND` printed."""
    told = _tables(output)
    return frozenset(
        WgPeer(
            dev,
            key,
            endpoint=None if (at := told["endpoints"][dev, key]) == NONE else at,
            allowed=tuple(allowed.split()) if allowed != NONE else (),
            keepalive=0 if (seconds := told["persistent-keepalive"][dev, key]) == "off" else int(seconds),
            options=("preshared-key",) if told["preshared-key"][dev, key] != NONE else (),
        )
        for (dev, key), allowed in told["allowed-ips"].items()
    )


def tunnels(output: list[str]) -> dict[str, Tunnel]:
    """Read what the devices say of themselves. One without a private key has no public key."""
    told = _tables(output)
    return {
        dev: Tunnel(int(port), told["public-key"][dev, ""].replace(NONE, ""))
        for (dev, _), port in told["listen-port"].items()
    }


def _tables(output: Iterable[str]) -> dict[str, dict[tuple[str, str], str]]:
    """Take the tables apart: by device and peer, what is told."""
    tables: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    heading, dev = "", ""
    for line in output:
        if line.startswith(MARK):
            heading = line.removeprefix(MARK)
        elif line.strip():
            # A device is named only before its first peer; one without peers not even ends its line.
            *devices, last = line.split("\t")
            key = devices.pop() if devices and len(devices[-1]) == KEY_LENGTH else ""
            dev = devices[-1] if devices else dev
            if last:
                tables[heading][dev, key] = last
    return tables
