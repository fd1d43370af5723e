"""The private key of this host, which never leaves it."""

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.cluster import Cluster
from podnet.facts.node import Node, asked
from podnet.modes import Mode, settled
from podnet.obstacles import obstacles
from podnet.operations.telling import KeyPair, renumbered, tables, told
from podnet.operations.writing import refused, unread
from podnet.state import State


@operation()
def keys(want: State, cluster: Cluster, mode: Mode) -> Generator[PyinfraCommand]:
    """
    Make this host's private key if it has none, and keep its public key for the other hosts of this run.

    + want: what the host is to hold afterwards; it is refused here if it cannot
    + cluster: what the host is checked against before it is changed
    + mode: the module of podnet.modes that has computed `want`

    **Example:**

    .. code:: python

        from podnet.modes import wireguard
        from podnet.operations.keys import keys

        keys(name="Keys", want=want, cluster=cluster, mode=wireguard)
    """
    have = tables()
    if have is None:
        have = host.get_fact(Node, **asked(want))
    if have is None:
        yield unread()
        return
    want = settled(want, mode, cluster, cluster.node(host.name), have)
    if reasons := obstacles(want, have, cluster, host.name) + renumbered():
        yield from refused(reasons)
        return
    told(host.state).hear(host.name, have)
    if have.keys.get(cluster.marks.alias):
        host.noop("the host has its key")
        return
    yield KeyPair(cluster.marks.alias, have)
