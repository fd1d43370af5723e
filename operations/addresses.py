"""IPv4 addresses: `ip addr`."""

from collections.abc import Generator, Iterable
from ipaddress import IPv4Interface

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.addresses import Addresses
from podnet.operations.writing import exactly
from podnet.state import Address


@operation()
def addresses(dev: str, want: Iterable[IPv4Interface]) -> Generator[PyinfraCommand]:
    """
    Make the IPv4 addresses of a device exactly `want`.

    + dev: name of the device
    + want: addresses with their prefix length

    **Example:**

    .. code:: python

        from ipaddress import IPv4Interface

        from podnet.operations.addresses import addresses

        addresses(name="The gateway's address", dev="cni0", want=[IPv4Interface("10.244.1.1/24")])
    """
    have = host.get_fact(Addresses)
    mine = have if have is None else [item for item in have if item.dev == dev]
    yield from exactly("addresses", [Address(dev, address) for address in want], mine)
