"""IPv4 neighbours, the ARP table: `ip neigh`."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.neighbours import Neighbours
from podnet.operations.writing import exactly
from podnet.state import Neighbour


@operation()
def neighbours(dev: str, want: Iterable[Neighbour]) -> Generator[PyinfraCommand]:
    """
    Make the permanent neighbours on a device exactly `want`; what the kernel learnt by itself stays.

    + dev: name of the device
    + want: the neighbours, all on that device

    **Example:**

    .. code:: python

        from ipaddress import IPv4Address

        from podnet.operations.neighbours import neighbours
        from podnet.state import Neighbour

        to = IPv4Address("10.244.2.0")
        neighbours(name="The peer's VTEP", dev="flannel.1", want=[Neighbour("flannel.1", to, "66:00:00:00:00:02")])
    """
    wanted = {item.key: item for item in want}
    have = host.get_fact(Neighbours)
    mine = have if have is None else [n for n in have if n.dev == dev and (n.permanent or n.key in wanted)]
    yield from exactly("neighbours", wanted.values(), mine)
