"""What on a host itself stands in the way: found in its tables, before anything is changed on it."""

from collections.abc import Iterator

from podnet.cluster import Cluster, Node
from podnet.plan import marked, owned
from podnet.state import State, Vxlan


def obstacles(want: State, have: State, cluster: Cluster | None, name: str) -> list[str]:
    """Say why this host cannot become `want`: what it lacks, and what of a stranger's is in the way."""
    found = [*_strange_devices(want, have), *_strange_vteps(want, have), *_strange_routes(want, have)]
    if cluster is not None:
        found += [*_underlay(cluster, cluster.node(name), want, have), *_overlaps(cluster, want, have)]
    return found


def _strange_devices(want: State, have: State) -> Iterator[str]:
    """Find devices of our names that are not ours.

    On a host that bears a mark of ours, a device without the mark is ours, damaged. On any other it is a stranger's,
    unless it has our MAC: then a run was cut between making the device and marking it.
    """
    seen = {link.dev: link for link in have.links}
    known = marked(have)
    for link in want.links:
        other = seen.get(link.dev)
        if other is None:
            continue
        kind = type(link).__name__.lower()
        strange = not known and getattr(other, "mac", None) != getattr(link, "mac", None)
        if type(other) is not type(link) or strange:
            what = "on a host where nothing else is podnet's" if strange else f"and is no {kind}"
            yield (
                f"the device {link.dev} exists {what}; podnet needs the name: rename the device or remove it "
                f"(ip link del {link.dev})"
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


def _strange_routes(want: State, have: State) -> Iterator[str]:
    """Find routes where ours belong. As with devices: on a host that bears our marks they are damage."""
    keys = {route.key for route in want.routes}
    strange = [] if marked(have) else [route for route in have.routes if route.key in keys]
    for route in sorted(strange, key=lambda route: route.key):
        yield (
            f"there is a route to {route.to} (proto {route.proto}) on a host where nothing is podnet's, which needs "
            f"its place; remove it (ip route del {route.to}) or choose another `pod_subnet`"
        )


def _underlay(cluster: Cluster, me: Node, want: State, have: State) -> Iterator[str]:
    if me.uplink in {link.dev for link in want.links}:
        yield f"`uplink` {me.uplink} is a device that podnet makes; name the one that leads to other hosts"
        return
    mtus = {link.dev: link.mtu for link in have.links}
    if me.uplink not in mtus:
        yield f"`uplink` {me.uplink} is no device of this host, which has {', '.join(sorted(mtus))}; name the right one"
        return
    held = sorted(item.address for item in have.addresses if item.dev == me.uplink)
    if me.address not in held:
        there = ", ".join(map(str, held)) or "no IPv4 address"
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
