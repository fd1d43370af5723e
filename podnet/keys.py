"""Keys of nodes: wanted by the node's name, resolved when the nodes have been asked.

A mode is a pure function of the cluster; a private key is made on its host and never leaves it. Hence a mode wants the
key of a node, and what that is becomes known when the node has told its public key.
"""

import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from podnet.marks import private_key
from podnet.state import Item, KeyOf, Link, PublicKey, State, WgPeer, Wireguard

PUBLIC = re.compile(r"[A-Za-z0-9+/]{43}=")  # 32 bytes in base64


def public_key(said: str) -> str:
    """Take what a host said for its public key: nothing if it is none. Other hosts' shells will read it."""
    return said if PUBLIC.fullmatch(said) else ""


def nodes(want: State) -> frozenset[str]:
    """Name the nodes whose keys are wanted and not known."""
    publics = (item.public for item in (*want.links, *want.peers) if isinstance(item, Wireguard | WgPeer))
    return frozenset(public.node for public in publics if isinstance(public, KeyOf))


def resolve(want: State, told: Mapping[str, str], have: State) -> State:
    """Put in the keys that nodes have told; of a node that could not be asked, the key that the kernel has of it.

    That is the key of the peer which has the node's pods; or else of the one which has its address, and nobody's pods.
    """
    heard = {*told.values()}
    others = sorted((peer for peer in have.peers if peer.public not in heard), key=lambda peer: peer.key)
    taken = {peer.allowed for peer in want.peers}
    by_pods = {(other.dev, other.allowed): other.public for other in reversed(others)}
    by_address = {(other.dev, other.endpoint): other.public for other in reversed(others) if other.allowed not in taken}

    def link(item: Link) -> Link:
        return replace(item, public=_told(item.public, told)) if isinstance(item, Wireguard) else item

    def peer(item: WgPeer) -> WgPeer:
        public = _told(item.public, told)
        if isinstance(public, KeyOf):
            public = by_address.get((item.dev, item.endpoint), public)
            public = by_pods.get((item.dev, item.allowed), public)
        return replace(item, public=public)

    return replace(want, links=frozenset(map(link, want.links)), peers=frozenset(map(peer, want.peers)))


def _told(public: PublicKey, told: Mapping[str, str]) -> PublicKey:
    return told.get(public.node, public) if isinstance(public, KeyOf) else public


def known(want: State, soon: Collection[str] = ()) -> State:
    """Leave out the peers whose keys are not known, nor will be `soon`."""

    def is_known(item: Item) -> bool:
        return not (isinstance(item, WgPeer) and isinstance(item.public, KeyOf) and item.public.node not in soon)

    return want.only(is_known)


def twins(told: Mapping[str, str], alias: str) -> Iterator[str]:
    """Find nodes that have one key, as copies of a machine do: the kernel would take them for one peer."""
    owners: dict[str, list[str]] = {}
    for name, key in sorted(told.items()):
        owners.setdefault(key, []).append(name)
    for a, b in (pair for names in owners.values() for pair in itertools.combinations(names, 2)):
        yield (
            f"{a} and {b} have the same private key; remove {private_key(alias)} on one of them: a new one will "
            "be made there"
        )
