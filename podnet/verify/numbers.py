"""What each mode promises to whoever looks from outside.

These numbers are stated here once more on purpose, and not taken from the modes: a mode that computed a wrong MTU
would otherwise be measured with its own ruler.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Numbers:
    """The TTL of a reply as received, and the bytes that the encapsulation takes of the underlay's MTU.

    A pod starts with 64 (net.ipv4.ip_default_ttl); every node that routes, as opposed to switches, takes one.
    """

    ttl_same_node: int
    ttl_across: int
    overhead: int


NUMBERS = {
    "vxlan": Numbers(ttl_same_node=64, ttl_across=62, overhead=50),
}
