"""A whole host: put it into a mode, or take everything of ours away."""

from collections.abc import Generator

from pyinfra import host, inventory
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import OperationMeta

from podnet import preflight
from podnet.batch import sections
from podnet.cluster import Cluster
from podnet.facts.node import Node, paths_of
from podnet.modes import Mode
from podnet.obstacles import obstacles
from podnet.operations.writing import Refusal, unread, write
from podnet.plan import plan, summary
from podnet.state import State


def apply(mode: Mode) -> OperationMeta:
    """
    Put this host into `mode`: exactly what the mode says, and nothing of another mode.

    + mode: a module of podnet.modes

    The whole inventory is checked first; `PyinfraError` if it asks for something that cannot work. Costs one remote
    command where nothing is to be done, and one more where something is, whatever the number of peers.

    **Example:**

    .. code:: python

        from podnet.modes import vxlan
        from podnet.operations import node

        node.apply(vxlan)
    """
    cluster = preflight.cluster(inventory)
    want = mode.state(cluster, cluster.node(host.name))
    return converge(name=f"podnet: {mode.__name__.rpartition('.')[2]}", want=want, cluster=cluster)


def teardown() -> OperationMeta:
    """
    Take away all that is ours on this host and nothing else; settings get the values that they had before.

    **Example:**

    .. code:: python

        from podnet.operations import node

        node.teardown()
    """
    return converge(name="podnet: teardown", want=State())


@operation()
def converge(want: State, cluster: Cluster | None = None) -> Generator[PyinfraCommand]:
    """
    Make everything of ours on this host exactly `want`.

    + want: what the host should hold, usually computed by a mode
    + cluster: what the host is checked against before it is changed: uplink, address, overlaps

    **Example:**

    .. code:: python

        converge(name="Nothing of ours", want=State())
    """
    paths, pod_paths = paths_of(want)
    have = host.get_fact(Node, paths=paths, pod_paths=pod_paths)
    if have is None:
        yield unread()
        return
    if reasons := obstacles(want, have, cluster, host.name):
        yield Refusal("nothing was changed: " + "; ".join(reasons))
        return
    todo = plan(want, have)
    yield from write(sections(todo), summary(todo))
