"""What lets packets through a node: flannel leaves part of it to others, and where nobody did it nothing works.

The rules are flannel's, in flannel's order (pkg/trafficmngr/iptables, masqRules and forwardRules), in chains of
our own that are jumped to first: an accept that is appended comes too late behind somebody's REJECT.
"""

from collections.abc import Iterable

from podnet import pods
from podnet.cluster import Cluster, Node
from podnet.state import Chain, Jump, State, Sysctl

LOOSE = "2"
"""rp_filter: the source must be reachable, by whichever device. The kernel takes the larger of `all` and the
device's own value, so that 2 here also softens a strict (1) `all`."""


OF_CLUSTERS = ("cni0", "cni.+", "flannel.+", "vxlan.+")
"""What leads to pods of this or another cluster on the same host; + is iptables' word for any ending."""


def through(cluster: Cluster, me: Node, *devices: str) -> State:
    """Let packets of the pod network pass between `devices` and the uplink."""
    return State(
        sysctls=frozenset(_sysctls(me, devices)),
        chains=frozenset({_accept(cluster), *([_masquerade(cluster, me)] if cluster.masquerade else [])}),
    )


def _sysctls(me: Node, devices: Iterable[str]) -> Iterable[Sysctl]:
    yield Sysctl("net/ipv4/ip_forward", "1")
    # Writing 1 to ip_forward where it is 1 already does not repair an interface whose own value is 0.
    yield Sysctl(f"net/ipv4/conf/{me.uplink}/forwarding", "1")
    for dev in devices:
        yield Sysctl(f"net/ipv4/conf/{dev}/forwarding", "1")
        yield Sysctl(f"net/ipv4/conf/{dev}/rp_filter", LOOSE)
        yield Sysctl(f"net/ipv6/conf/{dev}/accept_ra", "0")


def _accept(cluster: Cluster) -> Chain:
    """Accept what comes from or goes to a pod, whatever the policy of FORWARD is; but keep clusters apart."""
    network = cluster.network
    own = pods.bridge(cluster)
    others = (f"-s {network} -o {device} -j DROP" for device in OF_CLUSTERS if device != own)
    rules = (f"-s {network} -d {network} -j ACCEPT", *others, f"-s {network} -j ACCEPT", f"-d {network} -j ACCEPT")
    return Chain("filter", cluster.marks.chains + "FWD", (Jump("FORWARD"),), rules)


def _masquerade(cluster: Cluster, me: Node) -> Chain:
    """Give the node's address to what leaves the pod network, and to nothing that stays in it."""
    network, own = cluster.network, me.pod_subnet
    return Chain(
        "nat",
        cluster.marks.chains + "POSTRTG",
        (Jump("POSTROUTING"),),
        (
            "-m mark --mark 0x4000/0x4000 -j RETURN",  # kube-proxy has decided already
            f"-s {own} -d {network} -j RETURN",
            f"-s {network} -d {own} -j RETURN",
            f"! -s {network} -d {own} -j RETURN",  # who comes from outside keeps its source
            f"-s {network} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully",
            f"! -s {network} -d {network} -j MASQUERADE --random-fully",
        ),
    )
