"""The forwarding databases of vxlan devices: `bridge fdb`."""

from typing import Any

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import Table, document, strictly
from podnet.state import FdbEntry

COMMAND = "bridge -j fdb show"


class Fdb(FactBase[Table[FdbEntry] | None]):
    """All FDB entries of the host that name another host, as podnet.state.FdbEntry.

    .. code:: python

        fdb = host.get_fact(Fdb)
        assert any(entry.to == "192.168.56.12" for entry in fdb)
    """

    @override
    def command(self) -> str:
        return COMMAND

    @override
    def process(self, output: list[str]) -> Table[FdbEntry] | None:
        with strictly("the forwarding database"):
            return Table(parse(document(output)))


def parse(entries: list[dict[str, Any]]) -> frozenset[FdbEntry]:
    """Read what `bridge -j fdb show` printed; entries of bridge ports and own addresses have no destination."""
    return frozenset(
        FdbEntry(entry["ifname"], entry["mac"], _to(entry), permanent=entry["state"] == "permanent")
        for entry in entries
        if "dst" in entry
    )


def _to(entry: dict[str, Any]) -> str:
    """Tell the destination in bridge(8)'s words; port, VNI and device are printed only where they differ."""
    words = {"port": "port", "vni": "vni", "viaIf": "via"}
    return " ".join([entry["dst"], *(f"{word} {entry[key]}" for key, word in words.items() if key in entry)])
