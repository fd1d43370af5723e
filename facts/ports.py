"""Bridge ports: who is plugged into which bridge."""

from typing import Any

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import Table, document, strictly
from podnet.state import Port

COMMAND = "ip -d -j link show"


class Ports(FactBase[Table[Port] | None]):
    """All bridge ports of the host, as podnet.state.Port.

    .. code:: python

        ports = host.get_fact(Ports)
        assert all(port.hairpin for port in ports if port.bridge == "cni0")
    """

    @override
    def command(self) -> str:
        return COMMAND

    @override
    def process(self, output: list[str]) -> Table[Port] | None:
        with strictly("the list of bridge ports"):
            return Table(parse(document(output)))


def parse(links: list[dict[str, Any]]) -> frozenset[Port]:
    """Read what `ip -d -j link show` printed: a port's details stand beside its device's."""
    return frozenset(
        _port(entry, entry["linkinfo"]["info_slave_data"])
        for entry in links
        if entry.get("linkinfo", {}).get("info_slave_kind") == "bridge"
    )


def _port(entry: dict[str, Any], data: dict[str, Any]) -> Port:
    return Port(
        entry["ifname"],
        entry["master"],
        hairpin=data["hairpin"],
        isolated=data["isolated"],
        learning=data["learning"],
        flood=data["flood"],
        # The kernel itself disables a port whose cable has no carrier: that is the link's fault, not the port's.
        blocked=data["state"] != "forwarding" and entry["operstate"] == "UP",
    )
