"""What lets packets through a node: flannel leaves part of it to others, and where nobody did it nothing works.

The rules are flannel's, in flannel's order (pkg/trafficmngr/iptables, masqRules and forwardRules), in chains of
our own that are jumped to first: an accept that is appended comes too late behind somebody's REJECT.
"""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network

from podnet import marks, pods
from podnet.cluster import Cluster, Node
from podnet.firewall import Firewall, Outside, Verdict
from podnet.state import Chain, Jump, Opening, State, Sysctl

LOOSE = "2"
"""rp_filter: the source must be reachable, by whichever device. The kernel takes the larger of `all` and the
device's own value, so that 2 here also softens a strict (1) `all`."""

OF_CLUSTERS = ("cni0", "cni.*", "flannel.*", "vxlan.*")
"""What leads to pods of this or another cluster on the same host; * is any ending."""

MULTICAST = IPv4Network("224.0.0.0/4")
KUBE_PROXY = 0x4000
"""The mark by which kube-proxy says that it has decided about masquerading already."""


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
    others = (Verdict("drop", source=network, out=device) for device in OF_CLUSTERS if device != own)
    rules = (
        Verdict("accept", source=network, destination=network),
        *others,
        Verdict("accept", source=network),
        Verdict("accept", destination=network),
    )
    return Chain("filter", cluster.marks.chain("filter"), (Jump("FORWARD"),), rules)


def _masquerade(cluster: Cluster, me: Node) -> Chain:
    """Give the node's address to what leaves the pod network, and to nothing that stays in it."""
    network, own = cluster.network, me.pod_subnet
    rules = (
        Verdict("return", mark=KUBE_PROXY),
        Verdict("return", source=own, destination=network),
        Verdict("return", source=network, destination=own),
        Verdict("return", source=Outside(network), destination=own),  # who comes from outside keeps its source
        Verdict("masquerade", source=network, destination=Outside(MULTICAST)),
        Verdict("masquerade", source=Outside(network), destination=network),
    )
    return Chain("nat", cluster.marks.chain("nat"), (Jump("POSTROUTING"),), rules)


def fitted(want: State, host: Firewall) -> State:
    """Say the wanted chains by what the host filters with.

    We would like one accept to be the end of it; the kernel asks every base chain of nft, and both kinds of iptables,
    and a drop in one of them is final; hence what we accept is accepted there as well.
    """
    filters = [chain for chain in want.chains if chain.table == "filter"]
    accepts = {
        chain: tuple(line for line in chain.rules if not isinstance(line, str) and line.act == "accept")
        for chain in filters
    }
    return replace(
        want,
        chains=frozenset(
            {replace(chain, by=host.tool) for chain in want.chains}
            | {replace(chain, by=host.also) for chain in filters if host.also}
        ),
        openings=frozenset(
            Opening(*base, rules, owner.alias)
            for chain, rules in accepts.items()
            for base in host.dropping
            if (owner := marks.of(marks.ANY_CHAIN, chain.chain))
        ),
    )
