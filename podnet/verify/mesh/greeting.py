"""Who must shake hands before he can talk does so here, from one side, before anything is measured."""

from podnet.cluster import Node
from podnet.verify.fleet import Fleet
from podnet.verify.mesh.probe import ABREAST, DEADLINE
from podnet.verify.numbers import Numbers


def greet(fleet: Fleet, numbers: Numbers) -> None:
    """Let each node ping those that come after it and to which its packets are sealed.

    Two ends of WireGuard that begin at the same moment, as tests would have them, throw each other's handshake away and
    try again only after REKEY_TIMEOUT, 5 s (drivers/net/wireguard/messages.h). What they send meanwhile seems lost. Who
    does not answer here is found by the tests themselves.
    """
    if any(_sealed(fleet, numbers, node) for node in fleet.nodes):
        fleet.run_all(lambda node: script(_sealed(fleet, numbers, node)))


def _sealed(fleet: Fleet, numbers: Numbers, node: Node) -> list[Node]:
    later = fleet.nodes[fleet.nodes.index(node) + 1 :]
    wires = [(peer, numbers.wire(node, peer)) for peer in later if peer.pods]
    return [peer for peer, wire in wires if wire and wire.sealed]


def script(peers: list[Node]) -> str:
    """Spell a ping to the first pod of each, at most ABREAST at once."""
    return f"""set -- {" ".join(str(peer.pods[0].address) for peer in peers)}
count=0
for to; do
  ping -n -q -c 1 -w {DEADLINE} $to &
  count=$((count + 1))
  if [ $((count % {ABREAST})) = 0 ]; then wait; fi
done
wait"""
