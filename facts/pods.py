"""Pods: the network namespaces that are ours, and what each holds."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts import addresses, links, neighbours, routes, sysctls
from podnet.facts.reading import documents, strictly
from podnet.marks import ANY_NETNS, NAME, of
from podnet.state import State

MARK = "==pod=="


class Pods(FactBase[Mapping[str, State] | None]):
    """What each of our namespaces holds, by name: devices, addresses, routes, and the settings of `paths`.

    .. code:: python

        pods = host.get_fact(Pods, paths=["net/ipv4/ip_forward"])
        assert "podnet-pod1" in pods
    """

    @override
    def command(self, paths: Sequence[str] = ()) -> str:
        return f"ip -j link show\n{script(paths)}"

    @override
    def process(self, output: list[str]) -> Mapping[str, State] | None:
        with strictly("the list of pods"):
            return parse(output[1:], links.indices(*documents(output[:1])))


def script(paths: Iterable[str]) -> str:
    """Print every namespace's tables: two processes each, since a namespace is read from inside.

    A name whose file is no namespace any more (its creator was killed between the two) is told without tables.
    """
    return f"""
for path in /run/netns/{NAME}*-*; do
  netns=${{path##*/}}
  if [ ! -e "$path" ]; then continue; fi
  echo "{MARK} $netns"
  if [ "$(stat -f -c %T "$path")" != nsfs ]; then continue; fi
  ip -n "$netns" -d -j -batch - <<'PODNET'
link show
netns list
addr show
route show
neigh show
PODNET
  ip netns exec "$netns" sh -ec '{sysctls.script(paths)}'
done
echo "{MARK}"
"""


def parse(output: list[str], host: dict[int, str]) -> dict[str, State]:
    """Read what `script` printed; `host` names the host's devices by their numbers."""
    pods: dict[str, State] = {}
    starts = [i for i, line in enumerate(output) if line.startswith(MARK)]
    for start, end in itertools.pairwise(starts):
        lines = [line for line in output[start + 1 : end] if line]
        netns = output[start].removeprefix(MARK).strip()
        if of(ANY_NETNS, netns):
            pods[netns] = _pod(netns, lines, host)
    if not starts or output[starts[-1]] != MARK:
        raise ValueError("it was cut short")
    return pods


def _pod(netns: str, lines: list[str], host: dict[int, str]) -> State:
    if not lines:
        return State()
    devices, named, addressed, routed, known = documents(lines[:5])
    return State(
        links=links.inside(netns, devices, links.numbered(named), host),
        addresses=addresses.parse(addressed),
        routes=routes.parse(routed),
        neighbours=neighbours.parse([entry for entry in known if ":" not in entry["dst"]]),
        sysctls=sysctls.parse(lines[5:]),
    )
