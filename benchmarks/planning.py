"""What planning costs without hosts: every host's whole batch, for clusters of 100, 1,000 and 5,000 nodes.

`make bench` runs it, and `python -m benchmarks.planning` alone prints it. Each cluster is read from an inventory's
text, as pyinfra hands it over. Then for each of its hosts what the mode vxlan wants is computed, planned against a
host that holds nothing, and spelled into the script that would be sent: three entries for each peer, said twice, since
the script also leaves the file that brings all back after a reboot. Of the largest cluster only some hosts are planned.
Each cluster has a process of its own, whose peak memory is its own; seconds are the processor's, on one core.

Last, a host of the largest cluster is compared with what it should hold, when of every hundred entries one is missing,
one is wrong and one is extra: to name the differences, as the verification does, and to plan and spell their mending.
"""

import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from podnet import modes
from podnet.batch import sections
from podnet.cluster import Cluster, Node
from podnet.differences import differences
from podnet.inventory import read
from podnet.modes import Mode, vxlan
from podnet.operations.writing import script
from podnet.plan import plan
from podnet.state import Neighbour, Route, State
from podnet.support import SOFTWARE

SIZES = {100: 100, 1000: 1000, 5000: 50}
"""Nodes of each cluster, and how many of them are planned."""
DAMAGED = 100
ENTRIES = ("routes", "neighbours", "fdb")


def inventory(count: int) -> dict[str, dict[str, object]]:
    """Write down so many hosts as an inventory does: up to 8192, one segment, two pods each."""
    underlay, network = IPv4Address("172.16.0.0"), IPv4Network("10.0.0.0/11")
    return {
        f"node{number}": {
            "address": f"{underlay + number}/16",
            "uplink": "eth0",
            "pod_subnet": str(subnet),
            "pods": 2,
            "network": str(network),
        }
        for number, subnet in enumerate(itertools.islice(network.subnets(new_prefix=24), count), 1)
    }


def batch(cluster: Cluster, me: Node, mode: Mode = vxlan) -> str:
    """Plan a host that holds nothing, and spell what it would be sent."""
    return script(sections(plan(modes.wanted(mode, cluster, me), State(), cluster.marks)))


def damaged(want: State) -> State:
    """Say what a host holds that is as wanted but for three entries of every hundred, in each table of entries."""
    tables: dict[str, Any] = {table: frozenset(_harmed(getattr(want, table))) for table in ENTRIES}
    return replace(want, folders=frozenset(SOFTWARE), **tables)


def _harmed(items: Iterable[Any]) -> Iterator[Any]:
    for number, item in enumerate(sorted(items, key=lambda item: item.key)):
        match number % DAMAGED:
            case 0:  # it is missing
                pass
            case 1:  # it is wrong
                yield _other(item)
            case 2:  # it is there, and one more
                yield item
                yield _further(item)
            case _:
                yield item


def _other(item: Any) -> Any:  # noqa: ANN401  # an entry of one of three kinds
    return replace(item, via=None, onlink=False) if isinstance(item, Route) else replace(item, permanent=False)


def _further(item: Any) -> Any:  # noqa: ANN401  # as above
    match item:
        case Route():
            return replace(item, metric=7)
        case Neighbour():
            return replace(item, to=item.to + 1)
        case _:
            return replace(item, mac=f"02{item.mac[2:]}")


def seconds(what: Callable[[], object]) -> float:
    """Say what it costs the processor."""
    start = time.process_time()
    what()
    return time.process_time() - start


@dataclass(frozen=True)
class Planned:
    """What planning a cluster has cost: its reading, all of `hosts`, the dearest of them, bytes, and peak memory."""

    nodes: int
    hosts: int
    read: float
    whole: float
    dearest: float
    sent: int
    peak: float
    told: float
    mended: float


def measured(count: int, hosts: int) -> Planned:
    """Plan so many hosts of a cluster of so many nodes, in this process."""
    said = inventory(count)
    start = time.process_time()
    cluster = read(said)
    reading = time.process_time() - start
    each, sent = [], 0
    for me in cluster.nodes[:hosts]:
        start = time.process_time()
        sent += len(batch(cluster, me))
        each.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    want, seen = (modes.wanted(vxlan, of, of.nodes[0]) for of in (cluster, read(said)))  # equal, and not the same
    have = damaged(seen)
    told = seconds(lambda: differences(want, have, cluster.marks))
    mended = seconds(lambda: script(sections(plan(want, have, cluster.marks))))
    return Planned(count, hosts, reading, sum(each), max(each), sent, peak, told, mended)


def apart(count: int, hosts: int) -> Planned:
    """Do the same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.planning", str(count), str(hosts)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return Planned(**json.loads(done.stdout))


def rows(found: Iterable[Planned]) -> Iterator[str]:
    """Write a table."""
    titles = (
        *("Nodes", "Entries, all", "Hosts planned", "All of them, s", "Each, ms", "An entry, µs", "Peak, MB"),
        *("A batch, kB", "Differences, s", "Mending, s"),
    )
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for one in found:
        entries = len(ENTRIES) * (one.nodes - 1)
        words = (
            f"{one.nodes:,}",
            f"{entries * one.nodes:,}",
            f"{one.hosts:,}",
            f"{one.whole:.1f}",
            f"{one.whole / one.hosts * 1000:.1f}",
            f"{one.whole / one.hosts / entries * 1e6:.1f}",
            f"{one.peak:.0f}",
            f"{one.sent / one.hosts / 1000:.0f}",
            f"{one.told:.3f}",
            f"{one.mended:.3f}",
        )
        yield f"| {' | '.join(words)} |"


def curves(found: Iterable[Planned]) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds of one host by nodes, and those of all of them; what was not planned counts as the rest."""
    return {
        "one host": [(one.nodes, one.whole / one.hosts) for one in found],
        "all hosts": [(one.nodes, one.whole / one.hosts * one.nodes) for one in found],
    }


def main(*words: str) -> None:
    """Print the table; with two numbers, what planning so many nodes and hosts has cost, as JSON."""
    if words:
        count, hosts = map(int, words)
        print(json.dumps(measured(count, hosts).__dict__))
    else:
        print("\n".join(rows(apart(count, hosts) for count, hosts in SIZES.items())))


if __name__ == "__main__":
    main(*sys.argv[1:])
