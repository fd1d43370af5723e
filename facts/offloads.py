"""What devices leave to the hardware below them: `ethtool -k`."""

from collections.abc import Sequence

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import HEADING, Table, strictly
from podnet.state import Offload


class Offloads(FactBase[Table[Offload] | None]):
    """Whether these devices offload checksums, as podnet.state.Offload; none where there is no ethtool to tell.

    .. code:: python

        offloads = host.get_fact(Offloads, devices=["flannel.1"])
        assert Offload("flannel.1", on=True) in offloads
    """

    @override
    def command(self, devices: Sequence[str]) -> str:
        return f"echo '{HEADING}'; {script(devices)}"

    @override
    def process(self, output: list[str]) -> Table[Offload] | None:
        with strictly("the list of offloads"):
            return Table(parse([line for line in output if line != HEADING]))


def script(devices: Sequence[str]) -> str:
    """Print a device and `on` or `off` for each that is there."""
    if not devices:
        return ":"
    return (
        f"if command -v ethtool >/dev/null; then for dev in {' '.join(devices)}; do "
        'if [ -e "/sys/class/net/$dev" ]; then '
        f'ethtool -k "$dev" | sed -n "s/^[[:space:]]*{Offload.FEATURE}: \\([a-z]*\\).*/$dev \\1/p"; '
        "fi; done; fi"
    )


def parse(output: list[str]) -> frozenset[Offload]:
    """Read what `script` printed."""
    words = [line.split() for line in output if line.strip()]
    return frozenset(Offload(dev, {"on": True, "off": False}[said]) for dev, said in words)
