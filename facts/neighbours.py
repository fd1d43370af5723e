"""IPv4 neighbours, the ARP table: `ip neigh`."""

from ipaddress import IPv4Address
from typing import Any

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import Table, document, strictly
from podnet.state import Neighbour

COMMAND = "ip -4 -j neigh show"


class Neighbours(FactBase[Table[Neighbour] | None]):
    """All IPv4 neighbours of the host, permanent or not, as podnet.state.Neighbour.

    .. code:: python

        neighbours = host.get_fact(Neighbours)
        assert any(n.dev == "flannel.1" and n.permanent for n in neighbours)
    """

    @override
    def command(self) -> str:
        return COMMAND

    @override
    def process(self, output: list[str]) -> Table[Neighbour] | None:
        with strictly("the list of neighbours"):
            return Table(parse(document(output)))


def parse(neighbours: list[dict[str, Any]]) -> frozenset[Neighbour]:
    """Read what `ip -4 -j neigh show` printed. An entry that nobody has answered for yet has no MAC."""
    return frozenset(
        Neighbour(
            entry["dev"], IPv4Address(entry["dst"]), entry.get("lladdr"), permanent=entry["state"] == ["PERMANENT"]
        )
        for entry in neighbours
    )
