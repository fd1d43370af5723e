"""What container runtimes and flannel's tools read on a host, so that they use the pods' network that podnet made.

A CNI configuration list has the reference plugins add a container as a mode adds a pod: on the same bridge, or by a
cable and a route, with an address of the same subnet. subnet.env is what flannel's own CNI plugin reads. The addresses
of podnet's pods stand in the store from which the plugin host-local takes those of containers.
"""

from podnet.cluster import Cluster, Node
from podnet.marks import CONFLIST, FLANNELS, SUBNET_ENV
from podnet.rendering import render
from podnet.state import File, Reservation, State, Symlink


def by(plugin: str, cluster: Cluster, me: Node, mtu: int, **values: str) -> State:
    """Compute all three; `plugin` names the template of the list, and `values` what only that one needs.

    ipMasq stays off: the mode's own rules masquerade, for all pods alike.
    """
    common = {"network": cluster.network, "mtu": mtu}
    subnet_env = render("subnet.env.j2", gateway=me.gateway, masquerade=str(cluster.masquerade), **common)
    # Routes name the gateway, which ADD does not need: the plugins' CHECK finds no route without one.
    values |= {"alias": cluster.marks.alias, "gateway": str(me.gateway.ip)}
    conflist = render(f"{plugin}.conflist.j2", subnet=me.pod_subnet, **common, **values)
    return State(
        files=_subnet_env(cluster, subnet_env) | {File.of(cluster.marks.place(CONFLIST), conflist)},
        reservations=frozenset(
            Reservation(cluster.marks.alias, pod.address, f"{cluster.marks.netns}{pod.name}") for pod in me.pods
        ),
    )


def _subnet_env(cluster: Cluster, text: str) -> frozenset[File | Symlink]:
    """Name subnet.env after the cluster, or put it where flannel does, as with flannel's own configuration.

    It can bear no mark: whose it is then says the cluster's own name for it, which leads there.
    """
    own = cluster.marks.place(SUBNET_ENV)
    if own == FLANNELS or not cluster.subnet_env:
        return frozenset({File.of(own, text)})
    return frozenset({File.of(FLANNELS, text), Symlink(own, FLANNELS.rpartition("/")[2])})
