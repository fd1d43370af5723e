"""Pods: the network namespaces that are ours."""

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.batch import sections
from podnet.facts.node import Node, asked
from podnet.operations.writing import unread, write
from podnet.plan import plan, summary
from podnet.state import State, Veth


@operation()
def pods(want: State) -> Generator[PyinfraCommand]:
    """
    Make our namespaces, those whose names begin with podnet-, exactly those of `want`, with their cables.

    + want: a state's pods, and the veth devices and bridge ports that lead to them; the rest of it is not looked at

    **Example:**

    .. code:: python

        from podnet import pods as on
        from podnet.cluster import Node
        from podnet.operations.pods import pods

        pods(name="Pods on cni0", want=on.on_bridge(cluster, me, mtu=1450))
    """
    wanted = _pods_of(want, frozenset())
    have = host.get_fact(Node, **asked(wanted))
    if have is None:
        yield unread()
        return
    todo = plan(wanted, _pods_of(have, frozenset(link.dev for link in wanted.links)))
    yield from write(sections(todo), summary(todo))


def _pods_of(state: State, names: frozenset[str]) -> State:
    """Take of a state what makes pods, cables of these names among it, and leave all else alone."""
    cables = frozenset(
        link for link in state.links if isinstance(link, Veth) and (link.netns in state.pods or link.dev in names)
    )
    plugged = {link.dev for link in cables}
    return State(links=cables, ports=frozenset(port for port in state.ports if port.dev in plugged), pods=state.pods)
