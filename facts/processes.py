"""Processes in namespaces of ours that are to go: somebody's server, or a container that was started inside a pod."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import HEADING, strictly
from podnet.marks import NAME


class Processes(FactBase[Mapping[str, tuple[str, ...]] | None]):
    """Who runs in which of our namespaces, by its name; those that `stay` are not looked into.

    .. code:: python

        inside = host.get_fact(Processes, stay=["podnet-pod2"])
        assert "podnet-pod1" not in inside
    """

    @override
    def command(self, stay: Sequence[str] = ()) -> str:
        return f"set -eu; echo '{HEADING}'\n{script(stay)}"

    @override
    def process(self, output: list[str]) -> Mapping[str, tuple[str, ...]] | None:
        with strictly("the list of processes"):
            return parse([line for line in output if line != HEADING])


def script(stay: Iterable[str]) -> str:
    """Print our namespaces but those that `stay`, and who is in them; nobody is looked for where all stay.

    One process looks at all that run: on a small host each further one would be felt.
    """
    return f"""(
set --
for path in /run/netns/{NAME}*-*; do
  case ' {" ".join(stay)} ' in *" ${{path##*/}} "*) continue ;; esac
  if [ -e "$path" ]; then set -- "$@" "$path"; fi
done
if [ $# = 0 ]; then exit; fi
found=$(LC_ALL=C stat -L -c '%i %n' "$@" /proc/[0-9]*/ns/net 2>&1) || test $? = 1
spaces=' '
while read -r inode path; do
  case $path in
    /run/netns/*)
      spaces="$spaces$inode "
      echo "$inode ${{path#/run/netns/}}"
      continue
      ;;
  esac
  case $spaces in *" $inode "*) ;; *) continue ;; esac
  process=${{path%/ns/net}}
  if [ -e "$process/comm" ] && read -r comm <"$process/comm"; then echo "$inode ${{process#/proc/}} $comm"; fi
done <<PODNET
$found
PODNET
)"""


def parse(output: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Read what `script` printed: who runs in each namespace, by its name."""
    names: dict[str, list[str]] = defaultdict(list)
    inside: dict[str, list[str]] = defaultdict(list)
    for line in output:
        inode, what, *comm = line.split(" ", maxsplit=2)
        if comm:
            inside[inode].append(f"{comm[0].strip()} ({what})")
        else:
            names[inode].append(what)
    return {name: tuple(inside[inode]) for inode, all_names in names.items() for name in all_names if inode in inside}
