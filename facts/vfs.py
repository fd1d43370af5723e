"""Virtual functions, and what their PFs impose on them: `ip link` and sysfs."""

from typing import Any

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import Table, documents, strictly
from podnet.state import Vf

LINKS = "ip -d -j link show"
SCRIPT = """
(set -- /sys/class/net/*/device/virtfn*
if [ -e "$1" ]; then printf '%s\\n' "$@"; readlink -f "$@"; fi)
"""
"""Print the files that lead from a PF to its VFs, then where they lead: one process, and none where no VFs are."""


class Vfs(FactBase[Table[Vf] | None]):
    """All VFs whose PFs are on the host, wherever they are themselves, as podnet.state.Vf.

    .. code:: python

        vfs = host.get_fact(Vfs)
        assert any((vf.pf, vf.index, vf.vlan) == ("eth1", 0, 100) for vf in vfs)
    """

    @override
    def command(self) -> str:
        return f"{LINKS} && {SCRIPT.strip()}"

    @override
    def process(self, output: list[str]) -> Table[Vf] | None:
        with strictly("the list of virtual functions"):
            return Table(parse(output[1:], *documents(output[:1])))


def parse(output: list[str], links: list[dict[str, Any]]) -> frozenset[Vf]:
    """Read what `SCRIPT` printed, and what `ip -d -j link show` says of each VF."""
    lines = [line for line in output if line]
    half = len(lines) // 2
    told = {(entry["ifname"], vf["vf"]): vf for entry in links for vf in entry.get("vfinfo_list", ())}
    found = zip((path.split("/") for path in lines[:half]), lines[half:], strict=True)
    places = {(path[4], int(path[6].removeprefix("virtfn"))): where.rpartition("/")[2] for path, where in found}
    return frozenset(_vf(nic, pf, told[pf, index]) for (pf, index), nic in places.items() if (pf, index) in told)


def _vf(nic: str, pf: str, entry: dict[str, Any]) -> Vf:
    """A PF without a VLAN for it prints an empty object; not every driver tells spoofchk and trust."""
    (vlan, *_) = entry.get("vlan_list") or [{}]
    return Vf(
        nic,
        entry.get("address", ""),
        vlan=vlan.get("vlan", 0),
        qos=vlan.get("qos", 0),
        max_tx_rate=entry.get("rate", {}).get("max_tx", 0),
        spoofchk=entry.get("spoofchk", True),
        trust=entry.get("trust", False),
        state=entry.get("link_state", "auto"),
        pf=pf,
        index=entry["vf"],
    )
