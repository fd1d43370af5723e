"""What on a host itself stands in the way: found in its tables, before anything is changed on it."""

from collections.abc import Iterator

from podnet.cluster import Cluster, Node
from podnet.plan import owned
from podnet.state import State, Vxlan


def obstacles(want: State, have: State, cluster: Cluster | None, name: str) -> list[str]:
    """Say why this host cannot become `want`: what it lacks, and what of a stranger's is in the way."""
    found = [*_strange_kinds(want, have), *_strange_vteps(want, have)]
    if cluster is not None:
        found += [*_underlay(cluster, cluster.node(name), have), *_overlaps(cluster, want, have)]
    return found


def _strange_kinds(want: State, have: State) -> Iterator[str]:
    seen = {link.dev: link for link in have.links}
    for link in want.links:
        other = seen.get(link.dev)
        if other is not None and type(other) is not type(link):
            yield (
                f"the device {link.dev} exists and is no {type(link).__name__.lower()}, so it is not podnet's, which "
                f"needs the name; rename it or remove it (ip link del {link.dev})"
            )


def _strange_vteps(want: State, have: State) -> Iterator[str]:
    """The kernel allows a VNI once per port and namespace."""
    ours = {link.dev for link in owned(want, have).links}
    vteps = [link for link in have.links if isinstance(link, Vxlan) and link.dev not in ours]
    for link in want.links:
        for other in vteps:
            if isinstance(link, Vxlan) and (other.vni, other.port) == (link.vni, link.port):
                yield (
                    f"the device {other.dev} already has VNI {link.vni} on port {link.port}; remove it "
                    f"(ip link del {other.dev}) or give the cluster another `vni`"
                )


def _underlay(cluster: Cluster, me: Node, have: State) -> Iterator[str]:
    mtus = {link.dev: link.mtu for link in have.links}
    held = {item.address: item.dev for item in have.addresses}
    if me.uplink not in mtus:
        yield f"`uplink` {me.uplink} is no device of this host, which has {', '.join(sorted(mtus))}; name the right one"
        return
    if held.get(me.address) != me.uplink:
        there = ", ".join(str(item.address) for item in have.addresses if item.dev == me.uplink) or "no IPv4 address"
        yield f"`address` {me.address} is not on {me.uplink}, which has {there}; correct one of the two"
    if mtus[me.uplink] < cluster.underlay_mtu:
        yield (
            f"`underlay_mtu` is {cluster.underlay_mtu}, but {me.uplink} has an MTU of {mtus[me.uplink]}; lower the one "
            "for the whole cluster, or raise the other"
        )


def _overlaps(cluster: Cluster, want: State, have: State) -> Iterator[str]:
    """A stranger's network inside the pods' would take their packets, docker0's for example."""
    ours = {link.dev for link in owned(want, have).links}
    for item in sorted(have.addresses, key=lambda item: item.key):
        if item.dev not in ours and item.address.network.overlaps(cluster.network):
            yield (
                f"`network` {cluster.network} overlaps {item.address} of the device {item.dev}, which is not podnet's; "
                "choose another network for one of them"
            )
