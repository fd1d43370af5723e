"""A whole host: put it into a mode, or take everything of ours away."""

from collections.abc import Generator

from pyinfra import host, inventory
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import OperationMeta

from podnet import boot, preflight
from podnet.batch import sections
from podnet.cluster import Cluster
from podnet.facts.node import Node, asked
from podnet.keys import nodes
from podnet.marks import FIRST, Marks
from podnet.modes import Mode, settled
from podnet.obstacles import obstacles
from podnet.operations import telling
from podnet.operations.keys import keys
from podnet.operations.writing import Refusal, mention, refused, unread, write
from podnet.ownership import clusters
from podnet.plan import plan, summary
from podnet.state import State

SEVERAL = (
    "the inventory's `net_conf` cannot be read, and on this host there are clusters with the VNIs {}; say which one to "
    "take away, by --data vni=NUMBER for example"
)


def apply(mode: Mode) -> OperationMeta:
    """
    Put this host into `mode`: exactly what the mode says, and nothing of another mode.

    + mode: a module of podnet.modes

    The whole inventory is checked first; `PyinfraError` if it asks for something that cannot work. Costs one remote
    command where nothing is to be done, and one more where something is, whatever the number of peers; where the mode
    wants keys, one more the first time. Such a mode is two operations: all hosts tell their keys before one is changed.
    So is one where subnets are allotted: all hosts tell with which they run.

    **Example:**

    .. code:: python

        from podnet.modes import vxlan
        from podnet.operations import node

        node.apply(vxlan)
    """
    cluster = preflight.cluster(inventory)
    want = preflight.wanted(mode, cluster, host.name)
    if any(node.allotted for node in cluster.nodes):
        look(name="podnet: subnets", want=want, cluster=cluster)
    if nodes(want):
        keys(name="podnet: keys", want=want, cluster=cluster, mode=mode)
    name = f"podnet: {mode.__name__.rpartition('.')[2]}"
    return converge(name=name, want=want, cluster=cluster, mode=mode)


def teardown() -> OperationMeta:
    """
    Take away all that is this cluster's on this host and nothing else; settings get the values that they had before.

    **Example:**

    .. code:: python

        from podnet.operations import node

        node.teardown()
    """
    mine, cut_off = preflight.marks(host.name, host.data), preflight.cut_off(host.name, host.data)
    return converge(name="podnet: teardown", want=State(), mine=mine, cut_off=cut_off)


@operation()
def look(want: State, cluster: Cluster) -> Generator[PyinfraCommand]:
    """
    Read this host's tables for what follows; refuse it if it runs with another subnet than it is allotted.

    + want: what the host is to hold afterwards
    + cluster: what it is a part of

    Its peers are refused then as well, before one of them is changed: they would send to it where it is not.

    **Example:**

    .. code:: python

        from podnet.operations import node

        node.look(name="Subnets", want=want, cluster=cluster)
    """
    have = host.get_fact(Node, **asked(want))
    if have is None:
        yield unread()
        return
    if reasons := telling.look(cluster, have):
        yield Refusal("nothing was changed: " + "; ".join(reasons))  # what follows says it as well to who only looks
        return
    host.noop("the host keeps its subnet")


@operation()
def converge(
    want: State,
    cluster: Cluster | None = None,
    mine: Marks | None = FIRST,
    *,
    cut_off: bool = False,
    mode: Mode | None = None,
) -> Generator[PyinfraCommand]:
    """
    Make everything of ours on this host exactly `want`.

    + want: what the host should hold, usually computed by a mode
    + cluster: what the host is checked against before it is changed: uplink, address, overlaps
    + mine: whose things are to be as `want` says, if no cluster is given; podnet.marks.Marks(vni), or None, where that
      is whose the host says there are
    + cut_off: whether containers that others have put beside our pods may lose their network, whatever the cluster says
    + mode: what has computed `want`, and does so anew for pods whose addresses containers have

    **Example:**

    .. code:: python

        converge(name="Nothing of ours", want=State())
    """
    have = telling.tables()
    if have is None:
        have = host.get_fact(Node, **asked(want))
    if have is None:
        yield unread()
        return
    mine = cluster.marks if cluster else mine or _only(clusters(have))
    if mine is None:
        yield from refused([SEVERAL.format(", ".join(str(each.vni) for each in sorted(clusters(have))))])
        return
    if cluster is not None and mode is not None:
        want = _settled(want, mode, cluster, have)
    want, reasons = telling.settle(want, have, mine)
    if cluster is not None:
        want = boot.fitted(want, cluster, cluster.node(host.name), have)
        reasons += telling.renumbered()
    if reasons := obstacles(want, have, cluster, host.name, mine, cut_off=cut_off) + reasons:
        yield from refused(reasons)
        return
    todo = plan(want, have, mine)
    yield from write(sections(todo), summary(todo))


def _only(there: set[Marks]) -> Marks | None:
    """Choose the only cluster on a host, or the first of none; None if there are several."""
    return next(iter(there), FIRST) if len(there) <= 1 else None


def _settled(want: State, mode: Mode, cluster: Cluster, have: State) -> State:
    """Say which pods have other addresses than computed: no file of the user's does."""
    there = settled(want, mode, cluster, cluster.node(host.name), have)
    if others := sorted(there.reservations - want.reservations, key=lambda item: item.key):
        mention("not as computed: " + ", ".join(f"{item.container} has {item.address}" for item in others))
    return there
