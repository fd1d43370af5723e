"""Pods: the network namespaces that are ours, and what each holds."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts import addresses, links, neighbours, routes, sysctls
from podnet.facts.reading import documents, strictly
from podnet.state import NETNS_PREFIX, State

MARK = "==pod=="


class Pods(FactBase[Mapping[str, State] | None]):
    """What each of our namespaces holds, by name: devices, addresses, routes, and the settings of `paths`.

    .. code:: python

        pods = host.get_fact(Pods, paths=["net/ipv4/ip_forward"])
        assert "podnet-pod1" in pods
    """

    @override
    def command(self, paths: Sequence[str] = ()) -> str:
        return script(paths)

    @override
    def process(self, output: list[str]) -> Mapping[str, State] | None:
        with strictly("the list of pods"):
            return parse(output)


def script(paths: Iterable[str]) -> str:
    """Print every namespace's tables: two processes each, since a namespace is read from inside.

    A name whose file is no namespace any more (its creator was killed between the two) is told without tables.
    """
    return f"""
for path in /run/netns/{NETNS_PREFIX}*; do
  netns=${{path##*/}}
  if [ ! -e "$path" ]; then continue; fi
  echo "{MARK} $netns"
  if [ "$(stat -f -c %T "$path")" != nsfs ]; then continue; fi
  ip -n "$netns" -d -j -batch - <<'PODNET'
link show
addr show
route show
neigh show
PODNET
  ip netns exec "$netns" sh -ec '{sysctls.script(paths)}'
done
echo "{MARK}"
"""


def parse(output: list[str]) -> dict[str, State]:
    """Read what `script` printed."""
    pods: dict[str, State] = {}
    starts = [i for i, line in enumerate(output) if line.startswith(MARK)]
    for start, end in itertools.pairwise(starts):
        lines = [line for line in output[start + 1 : end] if line]
        pods[output[start].removeprefix(MARK).strip()] = _pod(lines)
    if not starts or output[starts[-1]] != MARK:
        raise ValueError("it was cut short")
    return pods


def _pod(lines: list[str]) -> State:
    if not lines:
        return State()
    devices, addressed, routed, known = documents(lines[:4])
    return State(
        links=links.nics(devices),
        addresses=addresses.parse(addressed),
        routes=routes.parse(routed),
        neighbours=neighbours.parse([entry for entry in known if ":" not in entry["dst"]]),
        sysctls=sysctls.parse(lines[4:]),
    )
