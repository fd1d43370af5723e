"""IPv4 routes: `ip route`."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.routes import Routes
from podnet.marks import FIRST
from podnet.operations.writing import exactly
from podnet.state import MAIN, Route


@operation()
def routes(want: Iterable[Route], table: str = MAIN) -> Generator[PyinfraCommand]:
    """
    Make our routes of one table, those of protocol 77, exactly `want`; everybody else's stay.

    + want: the routes, all of them of that table
    + table: a number, or a name of iproute2's rt_tables

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
    there = None if have is None else [route for route in have if route.table == table]
    mine = there and [route for route in there if route.proto == FIRST.proto or route.key in wanted]
    yield from exactly("routes", wanted.values(), mine)
