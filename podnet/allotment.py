"""Which addresses a node's pods have, beside others' containers: first come, first served, as host-local gives them.

A mode is a pure function of the cluster, in which each pod has an address computed from its place in the inventory.
That is what it gets, unless the host has given it, or somebody else, another one before: this is known once the host
has told its tables.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address

from podnet.cluster import Node, Pod
from podnet.marks import ANY_NETNS, Marks, of
from podnet.pods import mac, netns
from podnet.state import Reservation, State


def allot(me: Node, want: State, have: State, mine: Marks) -> Node:
    """Return the node with the addresses that its pods keep, or are to get, on a host that holds `have`.

    A pod that was there before keeps its address; then those get theirs whose computed one is free; the others get the
    next ones. All are as computed where the inventory gives the addresses, where the mode that has computed `want` lets
    nobody else give any, and where there are too few: podnet.obstacles refuses that.
    """
    if me.fixed or not want.reservations:
        return me
    kept = _kept(me, have, mine)
    turn = _in_turn(me, have.last_reserved.get(mine.alias))
    busy = {item.address for item in containers(have.reservations) if item.network == mine.alias}
    found: dict[Pod, IPv4Address] = {}
    wishes: list[Callable[[Pod], Iterable[IPv4Address]]] = [
        lambda pod: sorted(kept[netns(pod, mine)], key=lambda address: address != pod.address),
        lambda pod: [pod.address],
        lambda _: turn,
    ]
    for wished, pod in itertools.product(wishes, me.pods):
        if pod not in found and (address := next((each for each in wished(pod) if each not in busy), None)):
            found[pod] = address
            busy.add(address)
    if len(found) < len(me.pods):
        return me
    return replace(me, pods=tuple(replace(pod, address=found[pod]) for pod in me.pods))


def containers(reservations: Iterable[Reservation]) -> list[Reservation]:
    """Leave out pods of ours, and what names nobody: a cut has left that."""
    ours = {item: of(ANY_NETNS, item.container) for item in reservations}
    return [x for x, mine in ours.items() if x.container and not (mine and mine.alias == x.network)]


def _kept(me: Node, have: State, mine: Marks) -> Mapping[str, list[IPv4Address]]:
    """Find what pods have: by the store, or should somebody have emptied that, by what they are really set up with.

    An address that was only changed by hand has left the pod's MAC, which is computed from it, as it was.
    """
    kept: dict[str, list[IPv4Address]] = defaultdict(list)
    for item in sorted(have.reservations, key=lambda item: item.key):
        if item.network == mine.alias and me.gives(item.address):
            kept[item.container].append(item.address)
    for name, pod in have.pods.items():
        macs = {getattr(link, "mac", None) for link in pod.links}
        held = sorted(item.address.ip for item in pod.addresses if mac(item.address.ip) in macs)
        kept[name] += [address for address in held if me.gives(address)]
    return kept


def _in_turn(me: Node, last: IPv4Address | None) -> Iterator[IPv4Address]:
    """Go once through the subnet as host-local does: on from the last address that was given, which then is the last.

    One from elsewhere, of an earlier subnet perhaps, is none.
    """
    subnet = me.pod_subnet
    first = int(last) - int(subnet[0]) + 1 if last and last in subnet else 0
    around = range(first, first + subnet.num_addresses)
    yield from (each for i in around if me.gives(each := subnet[i % subnet.num_addresses]))
