"""Addresses that somebody has: what the CNI plugin host-local has written down of containers, and podnet of pods."""

import re
from ipaddress import IPv4Address

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import HEADING, Table, strictly
from podnet.marks import ANY_ALIAS, LAST_RESERVED, NAME, STORE, of
from podnet.state import Reservation
from podnet.store import HELD, PATIENCE

OCTET = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
ADDRESS = re.compile(rf"{OCTET}(\.{OCTET}){{3}}")

# Under the lock nothing is half. The first line names the container and ends with CR LF, the second one its device.
COMMAND = f"""(
cr=$(printf '\\r')
for lock in {STORE}/{NAME}*/lock; do
  if [ ! -f "$lock" ]; then continue; fi
  exec 8<"$lock"
  flock -s -w {PATIENCE} 8 || {{ echo "$lock {HELD}" >&2; exit 1; }}
  cd "${{lock%/lock}}"
  for address in {LAST_RESERVED} [0-9]*.[0-9]*.[0-9]*.[0-9]*; do
    if [ ! -f "$address" ]; then continue; fi
    who= dev=
    {{ read -r who && read -r dev; }} <"$address" || test $? = 1
    echo "${{PWD##*/}} $address ${{who%"$cr"}} $dev"
  done
  exec 8<&-
done
)"""


class Reservations(FactBase[Table[Reservation] | None]):
    """Who has which address of our CNI networks, containers and our own pods, as podnet.state.Reservation.

    .. code:: python

        taken = host.get_fact(Reservations)
        assert not any(str(item.address) == "10.244.1.9" for item in taken)
    """

    @override
    def command(self) -> str:
        return f"set -eu; echo '{HEADING}'\n{COMMAND}"

    @override
    def process(self, output: list[str]) -> Table[Reservation] | None:
        with strictly("the list of reserved addresses"):
            return Table(parse([line for line in output if line != HEADING]))


def parse(output: list[str]) -> frozenset[Reservation]:
    """Read what `COMMAND` printed. Networks that are only called like ours, and IPv6, are not ours to look at."""
    found = set()
    for line in output:
        network, address, container, dev = line.split(" ", maxsplit=3)
        if of(ANY_ALIAS, network) and ADDRESS.fullmatch(address):
            found.add(Reservation(network, IPv4Address(address), container, dev.strip()))
    return frozenset(found)


def parse_last(output: list[str]) -> dict[str, IPv4Address]:
    """Read which address each network gave last. What is none counts for nothing, as it does for host-local."""
    said = (line.split(" ", maxsplit=3) for line in output)
    return {
        network: IPv4Address(last)
        for network, name, last, _ in said
        if name == LAST_RESERVED and of(ANY_ALIAS, network) and ADDRESS.fullmatch(last)
    }
