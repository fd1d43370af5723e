"""IPv4 routes of the main table: `ip route`."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.routes import Routes
from podnet.operations.writing import exactly
from podnet.marks import FIRST
from podnet.state import Route


@operation()
def routes(want: Iterable[Route]) -> Generator[PyinfraCommand]:
    """
    Make our routes, those of protocol 77, exactly `want`; everybody else's stay.

    + want: the routes

    A stranger's route to the same place and of the same metric is replaced: the kernel allows only one.

    **Example:**

    .. code:: python

        from ipaddress import IPv4Address, IPv4Network

        from podnet.operations.routes import routes
        from podnet.state import Route

        to, via = IPv4Network("10.244.2.0/24"), IPv4Address("192.168.56.12")
        routes(name="The way to node2's pods", want=[Route(to, "eth0", via)])
    """
    wanted = {item.key: item for item in want}
    have = host.get_fact(Routes)
    mine = have if have is None else [route for route in have if route.proto == FIRST.proto or route.key in wanted]
    yield from exactly("routes", wanted.values(), mine)
