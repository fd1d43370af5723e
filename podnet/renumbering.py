"""Subnets that were allotted in the inventory's order, on hosts that run with others: nobody is renumbered unasked.

Such a subnet is another one when a host before it comes or goes, or the order changes. Peers would then send where
nobody is any more, or to somebody else: so all hosts of a run tell what they run with before one of them is changed.
Of a host that a run does not ask its peers' own tables say by which subnet they reach it.
"""

from collections import defaultdict
from collections.abc import Iterator

from podnet.cluster import Cluster, Node
from podnet.marks import ANY_NETNS, Marks, of
from podnet.ownership import owned
from podnet.pods import mac
from podnet.state import Bridge, Device, State

FEW = 3


def moves(me: Node, have: State, mine: Marks) -> Iterator[str]:
    """Say that a host, which holds `have`, runs with another subnet than it is allotted."""
    if not me.allotted:
        return
    ours = {link.dev: link for link in have.links if isinstance(link, Device) and link.alias == mine.alias}
    on_ours = [(item.address, ours[item.dev]) for item in have.addresses if item.dev in ours]
    # A bridge may have a stranger's address; of ours, the gateway's, it has the MAC.
    gateways = [address for address, link in on_ours if isinstance(link, Bridge) and link.mac == mac(address.ip)]
    held = {address.ip for address, link in on_ours if not isinstance(link, Bridge)} | {each.ip for each in gateways}
    subnets = {each.network for each in gateways}
    for netns, pod in have.pods.items():
        if of(ANY_NETNS, netns) == mine:
            held |= {item.address.ip for item in pod.addresses if item.scope == "global"}
    # Where the network has not come up after a boot, this is what there is.
    for item in have.reservations:
        if item.network == mine.alias and of(ANY_NETNS, item.container) == mine:
            held.add(item.address)
    resized = {subnet.prefixlen for subnet in subnets} - {me.pod_subnet.prefixlen}
    strange = sorted(ip for ip in held if (resized or ip not in me.pod_subnet) and not ip.is_link_local)
    if strange:
        runs = f"{', '.join(map(str, strange[:FEW]))}{', ...' if strange[FEW:] else ''}"
        its = str(*subnets) if len(subnets) == 1 else "its subnet"
        yield (
            f"it would be allotted {me.pod_subnet}, and runs with {runs}; give it {its} as `pod_subnet`, so that it "
            "keeps that, or run deploys/teardown.py there first, if its pods may get other addresses"
        )


def stale(cluster: Cluster, me: Node, have: State) -> Iterator[tuple[str, str]]:
    """Name the peers that this host, which holds `have`, reaches by another subnet than they are allotted, and say so.

    A peer that has told what it runs with knows better.
    """
    known = _known(have, cluster.marks)
    for peer in cluster.peers(me):
        subnets = known.get(str(peer.ip), set())
        if peer.allotted and subnets and str(peer.pod_subnet) not in subnets:
            its = ", ".join(sorted(subnets))
            said = (
                f"{peer.name}, which this run has not asked, would be allotted {peer.pod_subnet}, and {me.name} "
                f"reaches it by {its}; run it for {peer.name} as well, or give that host {its} as `pod_subnet`"
            )
            yield peer.name, said


def _known(have: State, mine: Marks) -> dict[str, set[str]]:
    """Find by which subnets of pods the host reaches which address of the underlay.

    A route's next hop is such an address, or one inside a tunnel: then the host knows its MAC, and of that the address.
    A device that chooses among peers by itself says it all.
    """
    ours = owned(State(), have, mine)
    hosts = {(item.dev, item.mac): item.to.partition(" ")[0] for item in ours.fdb}
    hops = {(item.dev, item.to): hosts.get((item.dev, item.mac or "")) for item in ours.neighbours}
    known: dict[str, set[str]] = defaultdict(set)
    for route in ours.routes:
        if route.via:
            known[hops.get((route.dev or "", route.via)) or str(route.via)].add(str(route.to))
    for peer in ours.peers:
        known[(peer.endpoint or "").rpartition(":")[0]] |= {*peer.allowed}
    return known
