"""The mesh of pings: a short script, replies that are read strictly, and samples whose risk is known."""

import itertools
import os
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from podnet.cluster import Cluster, Node, Pod
from podnet.marks import FIRST
from podnet.verify.entering import by_name
from podnet.verify.fleet import Answer
from podnet.verify.mesh import matrix, probe, sampling
from podnet.verify.mesh.probe import HOST, LARGER, LARGEST, MARK, SMALL, WAY, Refusal, Reply, Sizes
from podnet.verify.mesh.reach import Mesh, sizes_of
from podnet.verify.numbers import NUMBERS

LONGEST_WORD = 128 * 1024  # linux/binfmts.h, MAX_ARG_STRLEN
REPLIED = "PING {0}\n64 bytes from {0}: icmp_seq=1 ttl={1} time=0.021 ms"
ENTER = by_name(FIRST)
OWN = "ping: local error: message too long, mtu=1450"


def node(number: int, pods: int) -> Node:
    """Make up the n-th node."""
    subnet = IPv4Network(f"10.{number}.0.0/16")
    names = tuple(Pod(f"pod{i}", subnet[i + 1]) for i in range(1, pods + 1))
    return Node(f"node{number}", IPv4Interface(f"192.168.56.{number}/24"), "eth0", subnet, names)


def of(*pods: int) -> Cluster:
    """Make up a cluster, of which the n-th node has so many pods."""
    return Cluster(IPv4Network("10.0.0.0/8"), tuple(node(number, count) for number, count in enumerate(pods, start=1)))


def mesh(cluster: Cluster, mode: str, replies: Iterable[Reply]) -> Mesh:
    """Put together what a fleet would."""
    listed = [*replies]
    numbers = NUMBERS[mode]
    return Mesh(
        cluster.nodes,
        numbers,
        {me.name: sizes_of(cluster, numbers, me, cluster.nodes) for me in cluster.nodes},
        None,
        {me.name: Answer("") for me in cluster.nodes},
        {me.name: [reply for reply in listed if reply.source.split("/")[0] == me.name] for me in cluster.nodes},
    )


def small(source: str, target: str, ttl: int | None, ms: float | None = 0.02) -> Reply:
    """Make up a reply to a small packet."""
    return Reply(source, target, ttl, None if ttl is None else ms, "" if ttl else "1 packets transmitted, 0 received")


@pytest.mark.parametrize("pods", [(2, 2), (30,) * 12, (10,) * 100, (1000, 1000)])
def test_probes_fit_into_one_word(pods: tuple[int, ...]) -> None:
    """The script for one node says each address once, or draws a sample, so that ssh can take it."""
    cluster = of(*pods)
    sizes = sizes_of(cluster, NUMBERS["vxlan"], cluster.nodes[0], cluster.nodes)
    said = probe.script(ENTER, cluster.nodes[0], cluster.nodes, sizes)
    assert len(said) < LONGEST_WORD / 2
    if drawn := sampling.sample(cluster.nodes, sampling.LIMIT, seed=1):
        said = probe.script(ENTER, cluster.nodes[0], cluster.nodes, sizes, drawn.targets)
        assert len(said) < LONGEST_WORD


PING = """#!/bin/sh
for to; do :; done
echo "PING $to: $*" >>"$LOG"
case "$to $*" in
    *10.2.0.3*) echo "From 10.1.0.1 icmp_seq=1 Destination Host Unreachable"; exit 1 ;;
    *1423*) echo "ping: local error: message too long, mtu=1450"; exit 1 ;;
    *) echo "64 bytes from $to: icmp_seq=1 ttl=62 time=0.04 ms" ;;
esac
"""
IP = """#!/bin/sh
case "$*" in
    "-o link show dev eth0") echo "2: eth0@if3: <BROADCAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UP" ;;
    *) shift 3; exec "$@" ;;
esac
"""


def run(script: str, folder: Path, ping: str = PING) -> str:
    """Run a node's script with an ip and a ping that only say what they were asked."""
    for name, text in {"ip": IP, "ping": ping}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "LOG": str(folder / "log")}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_one_script_does_all_pings_of_a_node(tmp_path: Path) -> None:
    """Each pod to each, in three sizes, and the node's own; what is not answered is not asked for more."""
    cluster = of(2, 2)
    one, _ = cluster.nodes
    sizes = sizes_of(cluster, NUMBERS["vxlan"], one, cluster.nodes)
    said = run(probe.script(ENTER, one, cluster.nodes, sizes), tmp_path)
    replies = probe.parse(cluster, one, said)
    assert probe.kernel(said) == os.uname().release
    count = {size: sum(reply.size == size for reply in replies) for size in (SMALL, LARGEST, LARGER, WAY)}
    assert count == {SMALL: 8, LARGEST: 8, LARGER: 8, WAY: 1}
    assert {reply.target for reply in replies if not reply.tried} == {"node2/pod2"}
    asked = (tmp_path / "log").read_text().splitlines()
    assert len(asked) == 8 + 6 + 6 + 1
    assert sum("10.2.0.3" in line for line in asked) == 2


def test_an_error_that_ping_has_missed_is_asked_for_again(tmp_path: Path) -> None:
    """Where something is to be refused, silence is no answer yet; where a reply is to come, ping itself repeats."""
    silent = PING.replace("*1423*) echo", '*1423*) if [ "$(grep -c 1423 "$LOG")" -lt 3 ]; then exit 1; fi; echo')
    cluster = of(1, 1)
    said = run(probe.script(ENTER, cluster.nodes[0], cluster.nodes, Sizes(1450, {})), tmp_path, silent)
    replies = [reply for reply in probe.parse(cluster, cluster.nodes[0], said) if reply.size == LARGER]
    assert [reply.refusal for reply in replies] == [Refusal(1450), Refusal(1450)]
    asked = (tmp_path / "log").read_text().splitlines()
    assert sum("1423" in line for line in asked) > len(replies)
    assert len([line for line in asked if "1423" not in line]) == 4


def test_a_sample_is_pinged_and_nothing_else(tmp_path: Path) -> None:
    """Pods without a target in the sample are left alone."""
    cluster = of(2, 2)
    one, _ = cluster.nodes
    targets = {one.pods[1].address: (IPv4Address("10.2.0.2"),)}
    said = run(probe.script(ENTER, one, cluster.nodes, Sizes(1450, {}), targets), tmp_path)
    found = {(reply.source, reply.target) for reply in probe.parse(cluster, one, said)}
    assert found == {("node1/pod2", "node2/pod1")}


def test_a_host_whose_time_is_up_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies that do not come cannot make a run endless; what was not tried is no success."""
    monkeypatch.setattr(probe, "BUDGET", 0)
    cluster = of(1, 1)
    said = run(probe.script(ENTER, cluster.nodes[0], cluster.nodes, Sizes(1450, {})), tmp_path)
    replies = probe.parse(cluster, cluster.nodes[0], said)
    found = mesh(cluster, "vxlan", replies)
    assert len(replies) == 6
    assert "no ping was sent" in str(found.fault(replies[0]))
    assert not (tmp_path / "log").exists()


def test_replies_are_read_and_told_in_the_inventorys_order() -> None:
    """TTL and round trip are taken of ping's own lines; a pair without a reply says why."""
    cluster = of(1, 1)
    lost = "PING 10.2.0.2\nFrom 10.1.0.1 icmp_seq=1 Destination Host Unreachable"
    printed = (
        f"{HOST} 6.1.0\n{MARK} pod1 10.2.0.2 small 1450\n{lost}\n"
        f"{MARK} pod1 10.1.0.2 small 1450\n{REPLIED.format('10.1.0.2', 64)}\n"
    )
    first, second, *unsent = probe.parse(cluster, cluster.nodes[0], printed)
    assert (first.source, first.target, first.ttl, first.ms) == ("node1/pod1", "node1/pod1", 64, 0.021)
    assert (second.target, second.reached) == ("node2/pod1", False)
    assert second.why == "From 10.1.0.1 icmp_seq=1 Destination Host Unreachable"
    assert [(reply.size, reply.tried) for reply in unsent] == [(LARGEST, False), (LARGER, False)]


@pytest.mark.parametrize(
    ("said", "by"),
    [
        (OWN, "the sender's own device"),
        (OWN.replace("1450", "1400"), "the path, as the sender remembers (`ip route flush cache`"),
        ("From 10.1.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1450)", "the path, by the router 10.1.0.1 (node1)"),
        ("From 10.9.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1450)", "by the router 10.9.0.1 (a stranger)"),
    ],
)
def test_who_refuses_a_packet_is_told(said: str, by: str) -> None:
    """The pod's own device, a router, or the memory of what a router said: ping's words tell which."""
    reply = Reply("node1/pod1", "node2/pod1", None, None, said, LARGER, own=1450)
    assert by in mesh(of(1, 1), "vxlan", [reply]).said(reply)


@pytest.mark.parametrize(
    ("said", "ttl", "seen"),
    [
        ("", 62, "saw a reply"),
        (
            OWN.replace("1450", "1400"),
            None,
            "in its namespace makes it forget), whose MTU is 1400",
        ),
        ("1 packets transmitted, 0 received", None, "saw 1 packets transmitted, 0 received"),
    ],
)
def test_a_packet_that_is_not_refused_by_its_size_is_told(said: str, ttl: int | None, seen: str) -> None:
    """It passes, is refused at another size, or vanishes: none of that is a refusal."""
    cluster = of(1, 1)
    found = mesh(cluster, "vxlan", [Reply("node1/pod1", "node2/pod1", ttl, None, said, LARGER, own=1450)])
    (reply,) = found.all(LARGER)
    fault = found.fault(reply)
    assert fault
    assert fault.startswith("node1/pod1 -> node2/pod1: expected a packet of 1451 bytes to be refused as too long")
    assert seen in fault


@pytest.mark.parametrize(
    ("mode", "way"),
    [("vxlan", 1450), ("host_gw", 1500), ("vxlan_direct_routing", 1500), ("wireguard", 1420), ("macvlan", None)],
)
def test_the_way_takes_what_its_devices_take(mode: str, way: int | None) -> None:
    """Between neighbours, direct routing has pods smaller than its way; without routers no node is on the way."""
    cluster = of(1, 1, 0)
    found = sizes_of(cluster, NUMBERS[mode], cluster.nodes[0], cluster.nodes)
    assert found.way == ({"node2/pod1": way} if way else {})
    of_strangers = replace(NUMBERS[mode], refuses=False)
    assert sizes_of(cluster, of_strangers, cluster.nodes[0], cluster.nodes).way == {}


EVERYTHING_SMALL = [(2, 1), (2, 2), (1, 3), (2, 1, 1)]


@pytest.mark.parametrize("pods", EVERYTHING_SMALL)
def test_a_sample_covers_all_pairs_of_nodes_if_it_can(pods: tuple[int, ...]) -> None:
    """It has as many pairs as it may, none of a pod with itself, and the same seed draws the same."""
    nodes = of(*pods).nodes
    homes = {pod.address: me.name for me in nodes for pod in me.pods}
    strata = {(a.name, b.name) for a in nodes for b in nodes if sampling.size(a, b)}
    for limit, seed in itertools.product(range(1, sampling.total(nodes)), range(20)):
        drawn = sampling.sample(nodes, limit, seed)
        assert drawn
        pairs = {(source, target) for source, targets in drawn.targets.items() for target in targets}
        covered = {(homes[source], homes[target]) for source, target in pairs}
        assert len(pairs) == drawn.size == limit
        assert all(source != target for source, target in pairs)
        assert covered == strata if limit >= len(strata) else len(covered) == limit
        assert drawn == sampling.sample(nodes, limit, seed)
    assert sampling.sample(nodes, sampling.total(nodes), seed=0) is None


def missed(strata: list[list[int]], limit: int) -> dict[int, float]:
    """Go through all that can be drawn: one of each stratum, then others; how often is each pair not among it."""
    everything = [pair for stratum in strata for pair in stratum]
    count = dict.fromkeys(everything, 0.0)
    if limit < len(strata):
        firsts = [first for some in itertools.combinations(strata, limit) for first in _each(some)]
    else:
        firsts = _each(strata)
    for first, weight in firsts:
        rest = [pair for pair in everything if pair not in first]
        draws = [*itertools.combinations(rest, limit - len(first))]
        for others in draws:
            for pair in everything:
                if pair not in first and pair not in others:
                    count[pair] += weight / len(draws)
    whole = sum(weight for _, weight in firsts)
    return {pair: weight / whole for pair, weight in count.items()}


def _each(strata: Iterable[list[int]]) -> list[tuple[tuple[int, ...], float]]:
    listed = [*strata]
    weight = 1.0
    for stratum in listed:
        weight /= len(stratum)
    return [(first, weight) for first in itertools.product(*listed)]


@pytest.mark.parametrize("lengths", [(2, 2, 4), (1, 2, 3), (4, 4), (1, 1, 6)])
def test_the_probability_of_missing_a_pair_is_as_said(lengths: tuple[int, ...]) -> None:
    """The formula says what counting all possible samples says."""
    numbers = itertools.count()
    strata = [[next(numbers) for _ in range(length)] for length in lengths]
    for limit in range(1, sum(lengths)):
        counted = missed(strata, limit)
        for stratum in strata:
            said = sampling.misses_pair(len(stratum), len(strata), sum(lengths), limit)
            assert [counted[pair] for pair in stratum] == pytest.approx([said] * len(stratum)), (limit, stratum)


def test_samples_miss_a_pair_as_often_as_said() -> None:
    """Of many seeds: the draws themselves, not only the formula."""
    nodes = of(3, 2).nodes
    drawn = [sampling.sample(nodes, 8, seed) for seed in range(4000)]
    source, target = nodes[0].pods[0].address, nodes[1].pods[1].address
    without = sum(target not in one.targets.get(source, ()) for one in drawn if one) / len(drawn)
    assert without == pytest.approx(sampling.misses_pair(6, 4, 20, 8), abs=0.03)
    first = drawn[0]
    assert first
    assert first.misses_pair == sampling.misses_pair(6, 4, 20, 8)
    assert "8 of 20 pairs were tried, drawn with --pairs-seed=0; the probability of missing one broken" in first.told
    assert "of missing a broken pair of nodes 0.0 %; --pairs=20 tries all" in first.told


def shown(found: Mesh, width: int = 200) -> list[str]:
    """Print the table without colours."""
    return ["".join(text for text, _ in line) for line in matrix.table(found, width)]


def names(cluster: Cluster) -> list[str]:
    """Name all pods."""
    return [probe.label(me, pod) for me in cluster.nodes for pod in me.pods]


def everything(cluster: Cluster, mode: str = "vxlan") -> list[Reply]:
    """Make up a mesh without a fault."""
    numbers = NUMBERS[mode]
    return [small(a, b, numbers.ttl(a, b)) for a, b in itertools.product(names(cluster), repeat=2)]


def test_a_small_mesh_is_shown_with_all_its_figures() -> None:
    """What is lost or wrong stands out in words, too."""
    cluster = of(1, 2)
    replies = everything(cluster)
    replies[1] = small("node1/pod1", "node2/pod1", None)
    replies[2] = small("node1/pod1", "node2/pod2", 63)
    assert shown(mesh(cluster, "vxlan", replies)) == [
        "           node1/pod1 node2/pod1 node2/pod2",
        "node1/pod1 64 0.02    LOST       63 0.02!",
        "node2/pod1 62 0.02    64 0.02    64 0.02",
        "node2/pod2 62 0.02    64 0.02    64 0.02",
    ]
    bad = [text for line in matrix.table(mesh(cluster, "vxlan", replies), 200) for text, bad in line if bad]
    assert bad == ["LOST", "63 0.02!"]


def test_what_must_not_be_reached_is_no_loss() -> None:
    """A mode that joins no nodes has empty places, and a reply there stands out."""
    cluster = of(1, 1)
    replies = everything(cluster, "bridge")
    replies[2] = small("node2/pod1", "node1/pod1", 62)
    assert shown(mesh(cluster, "bridge", replies)) == [
        "           node1/pod1 node2/pod1",
        "node1/pod1 64 0.02    -",
        "node2/pod1 62 0.02!   64 0.02",
    ]


def test_a_large_mesh_is_shown_in_signs() -> None:
    """16 nodes with 2 pods fit into 80 columns, and what they mean is said."""
    cluster = of(*(2,) * 16)
    replies = everything(cluster)
    replies[33] = small("node1/pod2", "node1/pod2", None)
    said = shown(mesh(cluster, "vxlan", replies), 80)
    assert len(said) == 1 + 32 + 2
    assert max(map(len, said[:-1])) <= 80
    assert said[2] == " 1 node1/pod2  .X " + " ".join([".."] * 15)
    assert said[-2] == ". as the mode says; X no reply"
    assert said[-1].startswith("TTL 62: 960 pairs, TTL 64: 63 pairs; round trip 0.02 to 0.02 ms")


def test_a_very_large_mesh_is_shown_by_nodes_and_only_where_it_is_broken() -> None:
    """Of 60 nodes the row of the one that loses packets remains."""
    cluster = of(*(1,) * 60)
    replies = everything(cluster)
    replies[5 * 60 + 7] = small("node6/pod1", "node8/pod1", None)
    said = shown(mesh(cluster, "vxlan", replies), 300)
    assert [line for line in said if "node6" in line] == [" 6 node6  .  .  .  .  .  .  .  X  " + "  ".join(["."] * 52)]
    assert "59 more rows have no fault" in said


def test_who_refuses_is_summed_up() -> None:
    """Pods are refused by their own devices; the way is asked by the node."""
    cluster = of(1, 1)
    replies = [
        *everything(cluster),
        Reply("node1/pod1", "node2/pod1", None, None, OWN, LARGER, own=1450),
        Reply("node2/pod1", "node1/pod1", None, None, OWN, LARGER, own=1450),
        Reply("node1", "node2/pod1", None, None, OWN, WAY),
    ]
    assert [*matrix.refusals(mesh(cluster, "vxlan", replies))] == [
        "1451 bytes from a pod are refused by the sender's own device: 2 pairs",
        "1451 bytes are refused on the way itself, whose device is asked by its node: MTU 1450, 1 pairs of nodes",
    ]
