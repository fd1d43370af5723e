"""What container runtimes and flannel's tools read on a host, so that they use the pods' network that podnet made.

A CNI configuration list has the reference plugins add a container as a mode adds a pod: on the same bridge, or by a
cable and a route, with an address of the same subnet. subnet.env is what flannel's own CNI plugin reads.
"""

import itertools
from ipaddress import IPv4Address

from podnet.cluster import Cluster, Node
from podnet.marks import CONFLIST, SUBNET_ENV
from podnet.rendering import render
from podnet.state import File, State


def by(plugin: str, cluster: Cluster, me: Node, mtu: int, **values: str) -> State:
    """Compute both files; `plugin` names the template of the list, and `values` what only that one needs.

    ipMasq stays off: the mode's own rules masquerade, for all pods alike. Where podnet's own pods leave no address for
    others there is no list.
    """
    common = {"network": cluster.network, "mtu": mtu}
    subnet_env = render("subnet.env.j2", gateway=me.gateway, masquerade=str(cluster.masquerade), **common)
    files = {File.of(cluster.marks.place(SUBNET_ENV), subnet_env)}
    if ranges := free(me):
        # Routes name the gateway, which ADD does not need: the plugins' CHECK finds no route without one.
        values |= {"alias": cluster.marks.alias, "gateway": str(me.gateway.ip)}
        conflist = render(f"{plugin}.conflist.j2", subnet=me.pod_subnet, free=ranges, **common, **values)
        files.add(File.of(cluster.marks.place(CONFLIST), conflist))
    return State(files=frozenset(files))


def free(me: Node) -> list[tuple[IPv4Address, IPv4Address]]:
    """List the ranges, first and last address, that podnet's own pods leave to host-local.

    It hands out neither the subnet's own address, nor the gateway, nor the broadcast address.
    """
    around = [int(me.gateway.ip), *sorted(int(pod.address) for pod in me.pods), int(me.pod_subnet.broadcast_address)]
    gaps = [(a + 1, b - 1) for a, b in itertools.pairwise(around) if b - a > 1]
    return [(IPv4Address(first), IPv4Address(last)) for first, last in gaps]
