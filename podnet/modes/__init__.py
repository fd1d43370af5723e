"""What every mode is: a module that says what one node of a cluster should hold."""

from typing import Protocol

from podnet import boot
from podnet.cluster import Cluster, Node
from podnet.state import State


class Mode(Protocol):
    """A module of this package, or anything shaped like one."""

    __name__: str

    def state(self, cluster: Cluster, me: Node, /) -> State:
        """Compute all that `me` should hold: a pure function, the same bytes for the same cluster."""
        ...


def wanted(mode: Mode, cluster: Cluster, me: Node) -> State:
    """Compute all that `me` should hold in `mode`, bearing the cluster's marks, with the files that bring it back.

    ClusterError if it cannot be.
    """
    want = mode.state(cluster, me).signed(cluster.marks)
    return want | boot.files(want, cluster, me)
