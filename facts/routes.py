"""IPv4 routes: `ip route`."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import Table, document, strictly
from podnet.state import MAIN, Route

COMMAND = "ip -d -j route show"
LOCAL = "local"


class Routes(FactBase[Table[Route] | None]):
    """All routes of all tables but the kernel's own, `local`, whoever made them, as podnet.state.Route.

    .. code:: python

        routes = host.get_fact(Routes)
        ours = {route for route in routes if route.table == "main" and route.proto == "77"}
    """

    @override
    def command(self) -> str:
        return f"{COMMAND} table all"  # a table that holds nothing does not exist, and asking for it is an error

    @override
    def process(self, output: list[str]) -> Table[Route] | None:
        with strictly("the list of routes"):
            routes = [entry for entry in document(output) if ":" not in entry["dst"]]
            return Table(parse([entry for entry in routes if entry.get("table") != LOCAL]))


def parse(routes: list[dict[str, Any]]) -> frozenset[Route]:
    """Read what `ip -d -j route show` printed. A route of several next hops (a stranger's) has no device here."""
    return frozenset(_route(entry) for entry in routes)


def _route(entry: dict[str, Any]) -> Route:
    to, gateway = entry["dst"], entry.get("gateway")
    return Route(
        to=IPv4Network("0.0.0.0/0" if to == "default" else to),
        dev=entry.get("dev"),
        via=IPv4Address(gateway) if gateway else None,
        onlink="onlink" in entry["flags"],
        metric=entry.get("metric", 0),
        tos=entry.get("tos", ""),
        kind=entry["type"],
        proto=entry["protocol"],
        table=entry.get("table", MAIN),
        options=tuple(
            sorted(f"{name} {value}" for metrics in entry.get("metrics", ()) for name, value in metrics.items())
        ),
    )
