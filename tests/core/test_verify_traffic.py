"""What the verification asks of TCP, UDP, nodes, the outside and counters: spelled shortly, read strictly."""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from podnet.cluster import Cluster, Node, Pod
from podnet.modes import wanted
from podnet.state import Device
from podnet.verify import capture, test_outside
from podnet.verify.diagnosis.inquiry import Inquiry
from podnet.verify.fleet import Answer, Fleet, SshConfig, outsider
from podnet.verify.numbers import ALONE, APART, NUMBERS, ROUTED, SEALED, Beyond
from podnet.verify.traffic import counters, nodes, transfer
from podnet.verify.traffic.bursts import Bursts
from podnet.verify.traffic.counters import Burst, Rise
from podnet.verify.traffic.exchange import Exchange
from podnet.verify.traffic.nodes import Promise, Source
from podnet.verify.traffic.transfer import End, NotToldError, Ports, Seen, Talk, Told
from tests.core import goldens
from tests.core.examples import cluster
from tests.core.test_mesh import LONGEST_WORD
from tests.core.test_verify import node

OUTSIDE = IPv4Address("192.168.56.99")
FAR = Node(
    "far", IPv4Interface("192.168.57.9/24"), "eth0", IPv4Network("10.9.0.0/16"), (Pod("pod1", IPv4Address("10.9.0.2")),)
)


def members(count: int = 2, pods: int = 2, *, masquerade: bool = True) -> Cluster:
    """Make up a cluster."""
    every = tuple(node(number, pods) for number in range(1, count + 1))
    return Cluster(IPv4Network("10.0.0.0/8"), every, masquerade=masquerade)


class Silent(Fleet):
    """Hosts that take any script and remember it; each says where its ends would listen."""

    def __init__(self, of: Cluster, outside: str = "") -> None:
        """Connect with nobody."""
        super().__init__(of, {}, outside, of.nodes)
        self.scripts: list[dict[str, str]] = []

    def run_each(self, scripts: Any) -> dict[str, Answer]:
        self.scripts.append(dict(scripts))
        served = {
            each.name: "\n".join(
                [transfer.MARK, *(f"serving {pod.address} 40001 50001" for pod in each.pods), f"serving {each.ip} 0 0"]
            )
            for each in self.nodes
        } | {self.outside: f"{transfer.MARK}\nserving {OUTSIDE} 0 0"}
        return {name: Answer(served[name]) for name in scripts}


@pytest.mark.parametrize(("count", "pods"), [(2, 2), (12, 30), (100, 10), (2, 1000)])
def test_three_short_commands_a_host_whatever_the_number_of_pairs(count: int, pods: int) -> None:
    """Each says an address a few times at most, so that ssh can take it as one word."""
    fleet = Silent(members(count, pods), outside="elsewhere")
    Exchange(fleet, NUMBERS["vxlan"]).run()
    assert [sorted(scripts) for scripts in fleet.scripts] == [sorted([*(n.name for n in fleet.nodes), "elsewhere"])] * 3
    for scripts in fleet.scripts:
        for script in scripts.values():
            assert subprocess.run(["sh", "-n"], input=script, text=True, check=True)
            assert len(script) < LONGEST_WORD / 2


def test_all_pairs_are_asked_and_each_pair_of_nodes_for_much() -> None:
    """TCP and UDP from each pod to each other one; a node's first pod asks all nodes' first ones, and its own last."""
    fleet = Silent(members(3))
    exchange = Exchange(fleet, NUMBERS["vxlan"])
    exchange.run()
    one = fleet.nodes[0]
    talks = exchange.talks(one)
    small = {(str(source), talk.kind, str(talk.to)) for source, talk in talks if talk.size == transfer.SMALL}
    pods = [str(pod.address) for each in fleet.nodes for pod in each.pods]
    here = ["10.1.0.2", "10.1.0.3"]
    assert small == {(a, kind, b) for a in here for b in pods for kind in ("tcp", "udp") if a != b}
    large = [(str(source), talk.kind, str(talk.to), talk.size) for source, talk in talks if talk.size != transfer.SMALL]
    kinds = (("tcp", 1024 * 1024), ("whole", 1422), ("udp", 1450))
    assert sorted(large) == sorted(
        ("10.1.0.2", kind, to, size) for to in ("10.1.0.3", "10.2.0.2", "10.3.0.2") for kind, size in kinds
    )


def test_of_too_many_some_are_asked_and_it_is_said() -> None:
    """By chance, but the answers are held against what was asked."""
    fleet = Silent(members(5, 20))
    exchange = Exchange(fleet, NUMBERS["vxlan"])
    assert exchange.left_out == ""
    exchange.run()
    assert len({talk.to for talk in exchange.short(fleet.nodes[0])}) == 64
    assert list(exchange.short(fleet.nodes[0])) == list(exchange.short(fleet.nodes[0]))
    assert (
        f"64 of 100 pods, drawn with --pairs-seed={exchange.seed}: one broken pair is missed with a probability of 36%"
    ) in exchange.left_out


def test_the_same_seed_has_the_same_asked() -> None:
    """So that a run can be repeated; each node draws its own, and another seed draws others."""

    def drawn(seed: int) -> list[list[Talk]]:
        fleet = Silent(members(5, 20))
        exchange = Exchange(fleet, NUMBERS["vxlan"], seed)
        exchange.run()
        return [list(exchange.short(node)) for node in fleet.nodes]

    first = drawn(1)
    assert drawn(1) == first
    assert drawn(2) != first
    assert first[0] != first[1]


def test_where_nothing_crosses_much_is_sent_within_nodes() -> None:
    """And the rest is asked nevertheless, for a second: nothing may come."""
    fleet = Silent(members(2))
    exchange = Exchange(fleet, NUMBERS["bridge"])
    exchange.run()
    talks = exchange.talks(fleet.nodes[0])
    assert {str(talk.to) for _, talk in talks if talk.size != transfer.SMALL} == {"10.1.0.3"}
    assert {talk.seconds for _, talk in talks if talk.to in fleet.nodes[1].pod_subnet} == {transfer.QUIET}


@pytest.mark.parametrize("pods", [0, 1])
def test_a_node_with_one_pod_or_none_has_nobody_of_its_own_to_ask(pods: int) -> None:
    """It is no reason to fail."""
    fleet = Silent(members(1, pods))
    exchange = Exchange(fleet, NUMBERS["vxlan"])
    exchange.run()
    assert exchange.talks(fleet.nodes[0]) == set()


def test_what_hosts_are_sent_is_perl() -> None:
    """Comments stay here; what is left is still the program."""
    script = transfer.end("", "token", [End("", "")])
    assert "\n#" not in script
    code = subprocess.run(
        ["sh"], input=f'{script.partition("at() {")[0]}printf %s "$code"', text=True, capture_output=True, check=True
    )
    program = code.stdout.partition(f"{transfer.MARK}\n")[2]
    done = subprocess.run(["perl", "-c", "-e", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_answers_are_read() -> None:
    """A login shell's greeting is none of them."""
    said = f"Welcome!\n{transfer.MARK}\n"
    ports = f"{said}serving 10.1.0.2 40001 50001\n"
    assert transfer.parse_ports(ports) == {IPv4Address("10.1.0.2"): Ports(IPv4Address("10.1.0.2"), 40001, 50001)}
    ends = (IPv4Address("10.1.0.2"), IPv4Address("10.2.0.2"))
    told = "icmp 10.1.0.2 10.2.0.2 0 ok 62\nudp 10.1.0.2 10.2.0.2 64 failed no"
    assert transfer.parse_told(f"{said}tcp 10.1.0.2 10.2.0.2 64 ok 10.1.0.2\n{told}\n") == [
        Told("tcp", *ends, 64, peer=ends[0]),
        Told("icmp", *ends, 0, ttl=62),
        Told("udp", *ends, 64, problem="no"),
    ]
    assert transfer.parse_seen(f"{said}seen 10.1.0.1 10.1.0.2 10.2.0.2\nended 10.2.0.2\n", 1) == [
        Seen(IPv4Address("10.1.0.1"), *ends)
    ]


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "tcp 1.1.1.1 2.2.2.2 64 ok 1.1.1.1",
        f"{transfer.MARK}\ntcp 1.1.1.1 2.2.2.2 64 perhaps",
        f"{transfer.MARK}\nhello",
    ],
)
def test_an_answer_that_is_none_is_an_error(printed: str) -> None:
    """Nothing told and nothing readable are not the same."""
    with pytest.raises(NotToldError):
        transfer.parse_told(printed)


def test_who_has_not_told_what_it_saw_is_missed() -> None:
    """A process that ended before its time saw nothing that one could rely on."""
    with pytest.raises(NotToldError, match="1 of 2 ends"):
        transfer.parse_seen(f"{transfer.MARK}\nended 10.2.0.2\n", 2)


@pytest.mark.parametrize(
    ("beyond", "own", "other_pod", "other_node", "bare"),
    [
        (ROUTED, 64, 63, 63, 63),
        (SEALED, 64, 63, 63, None),
        (ALONE, 64, None, 63, None),
        (APART, None, None, None, None),
    ],
)
def test_a_modes_promises_between_pods_and_nodes(
    beyond: Beyond, own: int | None, other_pod: int | None, other_node: int | None, bare: int | None
) -> None:
    """On one segment all is certain: TTLs, or that there is no reply."""
    of, unchanged = members(), members(masquerade=False)
    one, two = of.nodes
    assert nodes.node_to_pod(beyond, one, one) == nodes.pod_to_node(beyond, of, one, one) == Promise(own)
    assert nodes.node_to_pod(beyond, one, two) == Promise(other_pod)
    assert nodes.pod_to_node(beyond, of, one, two) == Promise(other_node)
    assert nodes.pod_to_node(beyond, unchanged, one, two) == Promise(bare)
    assert nodes.pod_to_outside(beyond, of, one, OUTSIDE) == Promise(other_node)


def test_behind_a_router_less_is_promised() -> None:
    """Each router takes one more; whether it lets pods' own addresses pass nobody knows."""
    of = members()
    one = of.nodes[0]
    assert nodes.pod_to_node(ROUTED, of, one, FAR) == Promise(63, less=True)
    assert nodes.pod_to_node(ROUTED, members(masquerade=False), one, FAR) is None
    assert nodes.pod_to_outside(ROUTED, members(masquerade=False), one, OUTSIDE) is None
    assert nodes.pod_to_outside(APART, members(masquerade=False), one, OUTSIDE) == Promise(None)
    assert Promise(63, less=True).kept(62)
    assert not Promise(63, less=True).kept(63)
    assert not Promise(63).kept(62)
    assert not Promise(None).kept(64)
    assert not Promise(63, less=True).kept(None)


def test_as_whom_a_pod_is_seen() -> None:
    """As its node where the inventory masquerades, else as itself; on its own node always as itself."""
    of, bare = members(), members(masquerade=False)
    one, two = of.nodes
    pod = one.pods[0]
    assert nodes.seen_by_node(ROUTED, of, one, pod, one) == Source(pod.address, surely=True)
    assert nodes.seen_by_node(ROUTED, of, one, pod, two) == Source(one.ip, surely=True)
    assert nodes.seen_by_node(ROUTED, bare, one, pod, two) == Source(pod.address, surely=True)
    assert nodes.seen_by_node(ALONE, bare, one, pod, two) == Source(pod.address, surely=False)
    assert nodes.seen_by_outside(ROUTED, bare, one, pod, OUTSIDE) == Source(pod.address, surely=True)
    assert nodes.seen_by_outside(ROUTED, of, one, pod, OUTSIDE) == Source(one.ip, surely=True)
    assert nodes.seen_by_outside(ROUTED, of, FAR, pod, OUTSIDE) == Source(None, surely=True)
    fault = Source(one.ip, surely=True).fault
    assert fault(of, {one.ip}) is None
    assert fault(of, {pod.address}) == f"expected the source {one.ip}, saw {pod.address}"
    assert fault(of, set()) == f"expected the source {one.ip}, saw no ping arrive"
    assert Source(one.ip, surely=False).fault(of, set()) is None
    assert Source(None, surely=True).fault(of, {OUTSIDE}) is None
    assert (
        Source(None, surely=True).fault(of, {pod.address})
        == f"expected a source that is not of 10.0.0.0/8, saw {pod.address}"
    )


@pytest.mark.parametrize("name", goldens.MODES)
def test_a_modes_devices_are_those_that_are_promised_to_count(name: str) -> None:
    """Two independent statements, the mode's and the verification's, name the same kinds of devices on a node."""
    of = cluster()
    links = wanted(goldens.mode(name), of, of.node("node1")).links
    kinds = {link.KIND for link in links if isinstance(link, Device)} - {"veth"}
    wrappings = {NUMBERS[name].wire(of.node("node1"), peer) for peer in (of.node("node2"), FAR)}
    assert kinds == {NUMBERS[name].switch, *(each.kind for each in wrappings if each)} - {""}


def device(name: str, index: int, kind: str = "", *, below: int | None = None, count: int = 0) -> dict[str, Any]:
    """Make up what `ip -j -s -d link` prints of a device."""
    ours = name not in {"docker0", "eth0"}
    found: dict[str, Any] = {"ifname": name, "ifindex": index, "linkinfo": {"info_kind": kind} if kind else {}}
    found |= {"link_index": below} if below else {}
    found |= {"ifalias": "podnet"} if ours else {}
    return found | {"stats64": {"rx": {"packets": count}, "tx": {"packets": count}}}


def printed(**counts: int) -> str:
    """Make up what node1 prints of its devices, of which some have counted."""
    host = [
        device("eth0", 2, count=counts.get("eth0", 0)),
        device("docker0", 3, "bridge"),
        device("cni0", 4, "bridge", count=counts.get("cni0", 0)),
        device("flannel.1", 5, "vxlan", count=counts.get("tunnel", 0)),
        *(device(f"veth{i}", 5 + i, "veth", below=2, count=counts.get(f"pod{i}", 0)) for i in (1, 2)),
    ]
    pods = [[device("lo", 1), device("eth0", 2, "veth", below=5 + i, count=counts.get(f"pod{i}", 0))] for i in (1, 2)]
    parts = [("", host), *((f"podnet-pod{i}", each) for i, each in enumerate(pods, 1))]
    return "".join(f"{counters.MARK} {netns}\n{json.dumps(part)}\n" for netns, part in parts)


def faults(
    bursts: list[Burst], busy: dict[counters.Place, int] | None = None, mode: str = "vxlan", **counts: int
) -> list[str]:
    """Say what is wrong on node1 if devices have counted so much."""
    of = members()
    one = of.nodes[0]
    before, after = (counters.parse(of, one, said) for said in (printed(), printed(**counts)))
    ways = [counters.way(burst, one, after, of, NUMBERS[mode]) for burst in bursts]
    return [fault for rise in counters.rises(one, before, after, ways, busy or {}) if (fault := rise.fault())]


def test_what_is_on_the_way_must_count_and_nothing_else() -> None:
    """Between nodes: the pod's cable, the bridge, the tunnel and the uplink; a few packets of others' do no harm."""
    one, two = members().nodes
    across = [Burst(one, one.pods[0], two, two.pods[0])]
    assert faults(across, pod1=100, cni0=103, tunnel=100, eth0=9000, pod2=5) == []
    assert faults(across, pod1=100, cni0=100, tunnel=0, eth0=100) == [
        "expected the rx counter of flannel.1 to rise by 100 packets, saw 0"
    ]
    assert faults(across, pod1=100, cni0=100, tunnel=100, eth0=0) == [
        "expected the rx counter of eth0 to rise by 100 packets, saw 0"
    ]
    assert faults(across, pod1=100, cni0=100, tunnel=300, eth0=300) == [
        "expected the rx counter of flannel.1 to rise by 100 packets, saw 300"
    ]
    stray = faults(across, pod1=100, cni0=100, tunnel=100, eth0=100, pod2=100)
    assert stray == [
        f"expected the rx counter of {dev} not to rise, as it is on no way, saw 100"
        for dev in ("veth2", "eth0 in podnet-pod2")
    ]


def test_where_a_mode_routes_directly_its_tunnel_counts_nothing() -> None:
    """To a peer on the segment there is no tunnel, though there is one on the node."""
    one, two = members().nodes
    across = [Burst(one, one.pods[0], two, two.pods[0])]
    assert faults(across, mode="vxlan_direct_routing", pod1=100, cni0=100, eth0=100) == []
    assert faults(across, mode="vxlan_direct_routing", pod1=100, cni0=100, tunnel=100, eth0=100) == [
        "expected the rx counter of flannel.1 not to rise, as it is on no way, saw 100"
    ]


def test_within_a_node_only_the_two_cables_count() -> None:
    """The bridge switches: it neither sends nor receives."""
    (one, _) = members().nodes
    within = [Burst(one, one.pods[0], one, one.pods[1])]
    assert faults(within, pod1=100, pod2=100) == []
    assert faults(within, pod1=100, pod2=100, cni0=100) == [
        "expected the rx counter of cni0 not to rise, as it is on no way, saw 100"
    ]


def test_a_cable_between_two_pods_has_no_end_on_the_host() -> None:
    """The other end's index, 2, is that of the uplink, in another namespace."""
    of = members()
    (one, _) = of.nodes
    cable = {"podnet-pod1": device("eth0", 2, "veth", below=2), "podnet-pod2": device("eth0", 2, "veth", below=2)}
    parts = {"": device("eth0", 2, "veth", below=2), **cable}
    have = counters.parse(of, one, "".join(f"{counters.MARK} {at}\n{json.dumps([it])}\n" for at, it in parts.items()))
    within = Burst(one, one.pods[0], one, one.pods[1])
    way = counters.way(within, one, have, of, NUMBERS["veth_pair"])
    assert way == {("podnet-pod1", "eth0"), ("podnet-pod2", "eth0")}


@dataclass
class Bare(Fleet):
    """Hosts of which each lacks a device; no ping that needs it comes back."""

    gone: str = ""

    def run_all(self, script: Callable[[Node], str], nodes: Sequence[Node] = ()) -> dict[str, Answer]:
        return {each.name: Answer(self._said(script(each))) for each in nodes or self.nodes}

    def _said(self, script: str) -> str:
        if "ping" in script:
            return "100 packets transmitted, 0 received, 100% packet loss"
        netns, _, dev = self.gone.rpartition("/")
        kept = []
        for part in printed().split(counters.MARK)[1:]:
            head, _, said = part.partition("\n")
            links = [link for link in json.loads(said) if (head.strip(), link["ifname"]) != (netns, dev)]
            kept.append(f"{counters.MARK}{head}\n{json.dumps(links)}\n")
        return "".join(kept)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("podnet-pod2/eth0", "eth0 in podnet-pod2 to count packets, saw no such device"),
        ("podnet-pod1/eth0", "eth0 in podnet-pod1 to count packets, saw no such device"),
        ("/eth0", "eth0 to count packets, saw no such device"),
        ("/cni0", "a device of the kind bridge to count packets, saw none of ours"),
        ("/flannel.1", "a device of the kind vxlan to count packets, saw none of ours"),
    ],
)
def test_a_device_of_the_way_that_is_gone_is_told(gone: str, said: str) -> None:
    """It is not left out as if nothing had to pass there, and ends no other test."""
    of = members()
    one = of.nodes[0]
    fleet = Bare(of, {}, nodes=of.nodes, gone=gone)
    found = Bursts(fleet, NUMBERS["vxlan"]).faults(one)
    assert any(line.startswith(f"node1: expected {said}, while there were 100 pings each: ") for line in found)
    whole = Bursts(Bare(of, {}, nodes=of.nodes, gone="/docker0"), NUMBERS["vxlan"]).faults(one)
    assert not any("saw n" in line for line in whole)


def test_bursts_that_nobody_answered_are_known() -> None:
    """Of the others it is known that nothing has refused them."""
    of = members()
    bursts = Bursts(Bare(of, {}, nodes=of.nodes, gone="/docker0"), NUMBERS["vxlan"])
    assert bursts.lost == set()
    bursts.faults(of.nodes[0])
    assert {(burst.node.name, burst.peer.name) for burst in bursts.lost} == {
        *(("node1", "node2"), ("node2", "node1")),
        *(("node1", "node1"), ("node2", "node2")),
    }


class Pingless(Bare):
    """Hosts of which the first has no ping."""

    def run_all(self, script: Callable[[Node], str], nodes: Sequence[Node] = ()) -> dict[str, Answer]:
        answers = super().run_all(script, nodes)
        if "ping -n" in script(self.nodes[0]):
            answers["node1"] = Answer("", problem="node1: a command failed with exit status 1: ping is needed")
        return answers


@pytest.mark.parametrize("number", [0, 1])
def test_what_was_not_sent_is_not_held_against_devices(number: int) -> None:
    """Neither the sender's nor the other end's: both say that the sender has no ping."""
    of = members()
    fleet = Pingless(of, {}, nodes=of.nodes, gone="/docker0")
    with pytest.raises(pytest.fail.Exception, match="node1: a command failed with exit status 1: ping is needed"):
        Bursts(fleet, NUMBERS["vxlan"]).faults(of.nodes[number])


def test_a_host_without_ping_says_so(tmp_path: Path) -> None:
    """`ip netns exec` ends with 1 for a program that is missing, as ping does for a loss."""
    of = members()
    for script in (
        counters.sending(of, counters.across(of.nodes), of.nodes[0]),
        capture.script("eth0", "icmp", "enter() { :; }", "enter pod1 ping", 2),
    ):
        done = subprocess.run(
            ["/bin/sh", "-c", script], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (1, "ping is needed: install iputils-ping\n")


def test_who_is_busy_anyway_is_not_accused() -> None:
    """What a device counts without any burst may be anybody's."""
    one, two = members().nodes
    across = [Burst(one, one.pods[0], two, two.pods[0])]
    busy = {("", "cni0"): 500, ("", "veth2"): 400, ("podnet-pod2", "eth0"): 400}
    assert faults(across, busy, pod1=100, cni0=600, tunnel=100, eth0=100, pod2=400) == []
    assert faults(across, busy, pod1=100, cni0=99, tunnel=100, eth0=100) != []


def test_rises_lack_only_what_was_wanted() -> None:
    """A rise of nothing lacks nothing, where nothing was wanted."""
    (eth0, *_) = counters.parse(members(), members().nodes[0], printed()).values()
    assert not Rise(eth0, uplink=False, wanted=0, rx=0, tx=0).lacks
    assert Rise(eth0, uplink=False, wanted=100, rx=100, tx=99).lacks


def test_the_outside_is_reached_as_all_members_are(tmp_path: Path) -> None:
    """What the inventory's hosts have in common is its ssh data; what only one of them has is not."""
    data = {name: {"ssh_config_file": str(tmp_path / "config"), "ssh_user": name, "_sudo": True} for name in ("a", "b")}
    assert outsider("c", data) == {"c": {"ssh_config_file": str(tmp_path / "config"), "_sudo": True}}
    config = SshConfig(data | outsider("c", data), None)
    assert f'Host c\n  Include "{tmp_path}/config"' in config.path.read_text()
    config.close()
    with pytest.raises(pytest.UsageError, match="the inventory names it"):
        outsider("a", data)


def test_a_host_outside_that_is_on_no_segment_of_a_node_has_tried_nothing() -> None:
    """The test is skipped, with the reason: it can hand packets only to whom it reaches without a router."""
    of = replace(members(), nodes=(*members().nodes, FAR))
    exchange = Exchange(Silent(of, outside="elsewhere"), NUMBERS["vxlan"])
    exchange.run()
    with pytest.raises(pytest.skip.Exception) as skipped:
        test_outside.test_the_outside_reaches_pods_as_the_mode_says(FAR, exchange, Inquiry(exchange.fleet, {}, dict))
    assert str(skipped.value) == (
        "elsewhere, 192.168.56.99, is not on the segment of far, 192.168.57.0/24: whatever its routes, it hands "
        "packets only to nodes that it reaches without a router"
    )
