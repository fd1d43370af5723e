"""UDP ports behind whose header stands another protocol's: `ip fou`."""

from typing import Any

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import HEADING, Table, documents, strictly
from podnet.state import FouPort

MODULE = "fou"
COMMAND = """\
if fous=$(ip -j fou show 2>&1); then
  echo "$fous"
else
  case $fous in
    *"No such file or directory"*) ;;  # the kernel does not know the word: its module is not loaded
    *) echo "$fous" >&2; exit 1 ;;
  esac
fi"""


class Fous(FactBase[Table[FouPort] | None]):
    """All ports, whoever opened them, as podnet.state.FouPort.

    .. code:: python

        fous = host.get_fact(Fous)
        assert FouPort(8285) in fous
    """

    @override
    def command(self) -> str:
        return f"echo '{HEADING}'; {COMMAND}"

    @override
    def process(self, output: list[str]) -> Table[FouPort] | None:
        with strictly("the list of FOU ports"):
            return Table(parse([line for line in output if line != HEADING]))


def parse(output: list[str]) -> frozenset[FouPort]:
    """Read what `COMMAND` printed: nothing at all where there is no such module."""
    return frozenset(_port(entry) for entries in documents(output) for entry in entries)


def unloaded(output: list[str]) -> frozenset[str]:
    """Name the module if it is not loaded: it has no alias, so that the kernel never loads it by itself."""
    return frozenset() if any(line.strip() for line in output) else frozenset({MODULE})


def _port(entry: dict[str, Any]) -> FouPort:
    return FouPort(entry["port"], entry.get("ipproto", 0))
