"""Kernel settings: files below /proc/sys, and what they were before podnet."""

from collections.abc import Iterable, Sequence

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.batch import SAVED
from podnet.facts.reading import HEADING, Table, strictly
from podnet.state import Sysctl

ROOT = "/proc/sys/"


class Sysctls(FactBase[Table[Sysctl] | None]):
    """The settings of those paths that exist, as podnet.state.Sysctl; paths with slashes, `*` allowed.

    .. code:: python

        sysctls = host.get_fact(Sysctls, paths=["net/ipv4/ip_forward", "net/ipv4/conf/*/rp_filter"])
        assert Sysctl("net/ipv4/ip_forward", "1") in sysctls
    """

    @override
    def command(self, paths: Sequence[str]) -> str:
        return f"echo '{HEADING}'; {script(paths)}"

    @override
    def process(self, output: list[str]) -> Table[Sysctl] | None:
        with strictly("the list of settings"):
            return Table(parse(line for line in output if line != HEADING))


def script(paths: Iterable[str]) -> str:
    """Print `file:value` for every path that exists, by one process for all.

    grep, not the shell's `read`: dash reads byte by byte, and /proc/sys answers only the first read.
    """
    return (
        f"cd {ROOT}; set --; "
        f'for path in {" ".join(paths)}; do if [ -e "$path" ]; then set -- "$@" "$path"; fi; done; '
        'if [ $# -gt 0 ]; then grep -H "" "$@"; fi'
    )


def saved_script() -> str:
    """Print the noted values, if there are any."""
    return f"if [ -e {SAVED} ]; then cat {SAVED}; fi"


def saved_paths() -> str:
    """Spell a shell word list of the noted paths."""
    return f"$(if [ -e {SAVED} ]; then cut -d' ' -f1 {SAVED}; fi)"


def parse(output: Iterable[str]) -> frozenset[Sysctl]:
    """Read what `script` printed."""
    return frozenset(_sysctl(line, ":") for line in output)


def parse_saved(output: list[str]) -> frozenset[Sysctl]:
    """Read what `saved_script` printed."""
    return frozenset(_sysctl(line, "=") for line in output)


def _sysctl(line: str, separator: str) -> Sysctl:
    path, found, value = line.partition(separator)
    if not found:
        raise ValueError(f"{line!r} has no {separator!r}")
    return Sysctl(path.strip(), value.strip())
