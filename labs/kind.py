"""The kinds of hosts that a lab may be of, and what each kind must be able to do."""

from typing import Protocol

from podnet.labs import containers, vms
from podnet.labs.home import Home
from podnet.labs.plan import CONTAINERS, VMS, Lab


class Kind(Protocol):
    """What the commands on a lab ask of the module of its kind."""

    @property
    def TOOLS(self) -> tuple[str, ...]:  # noqa: N802  # it is a constant there
        """The commands that must be installed."""

    def check(self, home: Home, lab: Lab) -> None:
        """Refuse what this machine has no room for."""

    def bring_up(self, home: Home, lock: int) -> None:
        """Bring the lab to the shape that its directory says."""

    def states(self, home: Home, lab: Lab, ports: dict[str, int]) -> dict[str, str]:
        """Say how each host fares."""

    def inside(self, home: Home, name: str, command: list[str]) -> list[str]:
        """Return what runs a command in a host."""

    def reboot(self, home: Home, names: list[str], lock: int, *, hard: bool) -> None:
        """Have hosts start anew."""


def of(lab: Lab) -> Kind:
    """Return who knows how the lab's hosts are made."""
    kinds: dict[str, Kind] = {CONTAINERS: containers, VMS: vms}
    return kinds[lab.kind]
