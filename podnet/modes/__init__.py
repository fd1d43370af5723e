"""What every mode is: a module that says what one node of a cluster should hold."""

from typing import Protocol

from podnet import boot
from podnet.allotment import allot
from podnet.cluster import Cluster, Node
from podnet.errors import ClusterError
from podnet.marks import CONFLIST
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
    name = mode.__name__.removeprefix(f"{__name__}.")
    if cluster.mode and name not in {cluster.mode, "podnet.net_conf"}:
        raise ClusterError(
            f"{me.name}: `net_conf` says {cluster.mode}, not {name.rpartition('.')[2]}; apply deploys/net_conf.py, "
            "which does what it says, or change its Backend"
        )
    want = mode.state(cluster, me).signed(cluster.marks)
    if me.cni_pods and cluster.marks.place(CONFLIST) not in {file.path for file in want.files}:
        raise ClusterError(
            f"{me.name}: `cni_pods` names {', '.join(me.cni_pods)}, but {name.rpartition('.')[2]} leaves no "
            "configuration list to attach them by (docs/cni.md says which modes do); take them out, or apply another "
            "mode"
        )
    return want | boot.files(want, cluster, me)


def settled(want: State, mode: Mode, cluster: Cluster, me: Node, have: State) -> State:
    """Compute it anew if pods have other addresses on a host that holds `have`, or must get others than computed."""
    there = allot(me, want, have, cluster.marks)
    return want if there == me else wanted(mode, cluster, there)
