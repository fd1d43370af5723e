"""Room in the kernel's neighbour table: what a host should allow, by how many it talks to on its segment.

Whoever is sent a packet on the segment gets an entry, which the kernel makes by itself: adjacent nodes, a router, and
the host's own pods. Of up to gc_thresh1 entries it throws none away; above gc_thresh2 it makes room as soon as one more
is wanted; at gc_thresh3 it refuses what finds no room, and packets are lost. Permanent entries, as podnet's own are, do
not count. Room that nobody uses costs nothing.
"""

from collections.abc import Iterable

from podnet.cluster import Cluster, Node
from podnet.section import Section
from podnet.state import Sysctl

KERNELS_OWN = {
    "net/ipv4/neigh/default/gc_thresh1": 128,
    "net/ipv4/neigh/default/gc_thresh2": 512,
    "net/ipv4/neigh/default/gc_thresh3": 1024,
}
"""The kernel's defaults (net/ipv4/arp.c), for 128 neighbours. For more, their proportion is kept."""
FILE = "/etc/sysctl.d/98-podnet-thresholds.conf"
FIRST_LINE = "# podnet's: written by deploys/thresholds.py, and by nobody else; docs/scale.md says how to take it back."


def neighbours(cluster: Cluster, me: Node) -> int:
    """Count whom a host talks to on wires of its own: adjacent nodes and a router, and its pods."""
    return len(cluster.adjacent(me)) + 1 + len(me.pods) + len(me.cni_pods)


def wanted(cluster: Cluster, me: Node) -> tuple[Sysctl, ...]:
    """Say what a host should allow at least: gc_thresh1 for all its neighbours, the others as many times more."""
    asked = max(neighbours(cluster, me), KERNELS_OWN["net/ipv4/neigh/default/gc_thresh1"])
    return tuple(Sysctl(path, str(asked * own // 128)) for path, own in KERNELS_OWN.items())


def strange(want: Iterable[Sysctl]) -> str:
    """Say what is wanted that is no threshold; nothing if all are."""
    for item in want:
        if item.path not in KERNELS_OWN or not item.value.isdecimal():
            return f"{item.path} = {item.value} is no threshold; say {', '.join(KERNELS_OWN)}, each a number"
    return ""


def lacking(have: Iterable[Sysctl]) -> str:
    """Say why a host cannot be given room; nothing if it can."""
    missing = sorted(KERNELS_OWN.keys() - {item.path for item in have})
    if not missing:
        return ""
    return (
        f"there is no {missing[0]} on this host: it is a container, and all those of a machine share the machine's "
        "neighbour table; run this deploy on the machine, and leave the container out with --limit"
    )


def raised(want: Iterable[Sysctl], have: Iterable[Sysctl]) -> tuple[Sysctl, ...]:
    """Say what a host is to allow from now on: none is made smaller. Nothing where there is room enough."""
    seen = {item.path: int(item.value) for item in have}
    found = tuple(Sysctl(item.path, str(max(seen[item.path], int(item.value)))) for item in want)
    return found if any(seen[item.path] < int(item.value) for item in found) else ()


def sections(found: Iterable[Sysctl]) -> list[Section]:
    """Spell what gives a host that room, now and after each boot."""
    lines = (FIRST_LINE, *(f"{item.path} = {item.value}" for item in found))
    return [Section(f"install -D -m 644 /dev/stdin {FILE}", lines), Section(f"sysctl -q -p {FILE}")]
