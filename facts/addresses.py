"""IPv4 addresses: `ip addr`."""

from ipaddress import IPv4Interface
from typing import Any

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import Table, document, strictly
from podnet.state import Address

COMMAND = "ip -j addr show"
FOREVER = 2**32 - 1  # linux/if_addr.h, INFINITY_LIFE_TIME


class Addresses(FactBase[Table[Address] | None]):
    """All IPv4 addresses of the host, as podnet.state.Address.

    .. code:: python

        addresses = host.get_fact(Addresses)
        assert Address("cni0", IPv4Interface("10.244.1.1/24")) in addresses
    """

    @override
    def command(self) -> str:
        return COMMAND

    @override
    def process(self, output: list[str]) -> Table[Address] | None:
        with strictly("the list of addresses"):
            return Table(parse(document(output)))


def parse(devices: list[dict[str, Any]]) -> frozenset[Address]:
    """Read what `ip -j addr show` printed."""
    return frozenset(
        Address(
            device["ifname"],
            IPv4Interface((info["local"], info["prefixlen"])),
            scope=info["scope"],
            forever=info["valid_life_time"] == FOREVER,
        )
        for device in devices
        for info in device["addr_info"]
        if info.get("family") == "inet"
    )
