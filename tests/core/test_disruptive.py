"""What changes hosts: counts strictly, moves nobody onto somebody else, and says loudly what was not given back."""

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podnet.cluster import Cluster, Node
from podnet.marks import FIRST
from podnet.verify import inventory
from podnet.verify.applying import Applied
from podnet.verify.disruptive import dump, health, interrupts, losses, moving
from podnet.verify.disruptive.losses import NotCountedError
from podnet.verify.disruptive.operating import NONE_ACROSS, Arrangement, Operator, fail_if_lost, told
from podnet.verify.disruptive.test_address import another_address, another_mac
from podnet.verify.disruptive.test_member import names
from podnet.verify.disruptive.test_path import asked
from podnet.verify.disruptive.test_reboot import reboot
from podnet.verify.disruptive.test_switch import unlike
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.mesh import sampling
from podnet.verify.numbers import NUMBERS
from tests.core.examples import cluster, hosts
from tests.core.test_facts import garbled, whole
from tests.core.test_verify import node

TWO = [node(1, 2), node(2, 2)]


def counted(sent: int, replies: list[int]) -> losses.Loss:
    """Have one pair's replies counted."""
    (pair, *_) = losses.pairs(FIRST, TWO, NUMBERS["host_gw"])["node1"]
    numbers = "".join(f"icmp_seq={number}\n" for number in replies)
    said = f"{sent} packets transmitted, {len(replies)} received\nrtt min/avg/max/mdev = 0.01/0.02/0.10/0.01 ms\n"
    (loss,) = losses.parse([pair], f"{losses.MARK}\n{numbers}{said}")
    return loss


@pytest.mark.parametrize(
    ("sent", "replies", "lost", "in_a_row", "at_the_end"),
    [
        (5, [1, 2, 3, 4, 5], 0, 0, 0),
        (6, [1, 2, 3, 4], 0, 0, 0),  # two may still be on their way
        (7, [1, 2, 3, 4], 3, 3, 3),
        (9, [3, 4, 8, 9], 3, 3, 0),  # what comes before the first reply is not counted
        (9, [1, 3, 3, 5, 6, 9, 8], 3, 1, 0),  # doubled, and in any order
    ],
)
def test_lost_packets_are_counted_by_their_numbers(
    sent: int, replies: list[int], lost: int, in_a_row: int, at_the_end: int
) -> None:
    """A gap is a loss; the last ones may have been on their way when ping was told to end."""
    loss = counted(sent, replies)
    assert (loss.lost, loss.in_a_row, loss.at_the_end) == (lost, in_a_row, at_the_end)


@pytest.mark.parametrize("said", ["", losses.MARK, f"{losses.MARK}\nicmp_seq=1\n", f"{losses.MARK}\n{losses.MARK}\n"])
def test_pings_that_do_not_tell_are_no_pings_without_loss(said: str) -> None:
    """Neither silence nor half an answer counts as none lost."""
    (pair, *_) = losses.pairs(FIRST, TWO, NUMBERS["host_gw"])["node1"]
    with pytest.raises(NotCountedError):
        losses.parse([pair], said)


def test_a_host_pings_a_handful_whatever_the_size_of_the_cluster() -> None:
    """One pod of the next node and one of its own; where the mode connects no nodes, only the latter."""
    many = [node(number, 5) for number in range(1, 101)]
    assert {len(pairs) for pairs in losses.pairs(FIRST, many, NUMBERS["host_gw"]).values()} == {2}
    (own,) = losses.pairs(FIRST, many, NUMBERS["bridge"])["node7"]
    assert (own.source, own.target) == ("node7/pod1", "node7/pod2")
    assert losses.pairs(FIRST, [node(1, 1)], NUMBERS["host_gw"]) == {"node1": []}


def test_a_loss_names_the_pair_and_the_pause() -> None:
    """So that a failure says who did not hear whom, and for how long."""
    assert str(counted(9, [1, 2, 6, 7, 8, 9])) == (
        "node1/pod1 -> node2/pod1: 3 of 9 packets lost, up to 0.03 s without any"
    )


@pytest.mark.parametrize(
    ("nodes", "mode", "says"),
    [
        ([node(1, 2), node(2, 2)], "host_gw", "an apply: 0 of 36 packets lost between 4 pairs"),
        ([node(1, 2), node(2, 2)], "bridge", "an apply: 0 of 18 packets lost between 2 pairs"),  # connects no nodes
        ([node(1, 2)], "host_gw", f"an apply: 0 of 9 packets lost between 1 pairs; {NONE_ACROSS}"),
        ([node(1, 1)], "host_gw", f"an apply: 0 of 0 packets lost between 0 pairs; {NONE_ACROSS}"),
    ],
)
def test_it_is_told_where_no_pair_across_nodes_was_looked_at(nodes: list[Node], mode: str, says: str) -> None:
    """Of two hosts one of which is removed, "none lost" would be true of nothing."""
    found = losses.pairs(FIRST, nodes, NUMBERS[mode])
    counted = [losses.Loss(pair, 9, 0, 0, 0) for pairs in found.values() for pair in pairs]
    assert told("an apply", counted, NUMBERS[mode]) == says


def test_none_lost_of_none_proves_nothing() -> None:
    """A test that has counted nothing is skipped, and says what it would take."""
    with pytest.raises(pytest.skip.Exception, match="nothing was counted during the removal of node2: "):
        fail_if_lost([], "the removal of node2")


@pytest.mark.parametrize("mac", ["02:55:c0:a8:38:0b", "52:54:00:12:34:56", "00:1b:21:00:00:7f"])
def test_another_mac_is_nobodys(mac: str) -> None:
    """It is locally administered, a single host's, and another one."""
    other = moving.other_mac(mac)
    first = int(other[:2], 16)
    assert (first & 2, first & 1) == (2, 0)
    assert other != mac
    assert len(other) == len(mac)


def test_candidates_are_of_the_segment_and_no_members() -> None:
    """Neither the network's own address nor its broadcast address; a small segment may have none."""
    members = [IPv4Address("192.168.56.254"), IPv4Address("192.168.56.11")]
    found = moving.candidates(IPv4Network("192.168.56.0/24"), members)
    assert found[0] == IPv4Address("192.168.56.253")
    assert len(found) == moving.TRIED
    small = IPv4Network("10.0.0.0/30")
    assert moving.candidates(small, [small[1]]) == [small[2]]
    assert moving.candidates(small, [small[1], small[2]]) == []


@pytest.mark.parametrize(
    ("said", "of_it"),
    [
        ("route replace 10.2.0.0/16 via 192.168.56.2 dev eth0 proto 77", True),
        ("route replace 10.0.0.0/8 dev flannel-wg proto 77", False),  # the whole network is not the member's
        ("fdb replace 66:01 dev flannel.1 dst 192.168.56.2", True),
        ("peer KEY endpoint 192.168.56.2:51820 allowed-ips 10.2.0.0/16", True),
        ("fdb replace 66:01 dev flannel.1 dst 192.168.56.22", False),
        ("neigh replace 169.254.1.1 lladdr 66:25:8c:0b:8d:4f dev eth0", False),
        (f"neigh replace 1.2.3.4 lladdr {node(2, 1).vtep_mac} dev flannel.1", True),
    ],
)
def test_what_is_left_of_a_member_is_recognized(said: str, *, of_it: bool) -> None:
    """By its address, its pods' or its MAC, in whatever words."""
    assert names(said, node(2, 1)) is of_it


def test_a_dump_tells_what_is_left_and_what_is_gone() -> None:
    """Line by line, with the host's name."""
    before, after = {"node1": "a\nb\n", "node2": "x\n"}, {"node1": "b\nc\n", "node2": "x\n"}
    assert [*dump.compared(before, after)] == ["node1: gone: a", "node1: left: c"]


ASKED = [
    "ip -o -4 addr show",
    "ip -4 route show table all",
    "ip -4 rule show",
    "ip -4 neigh show nud permanent",
    "ip netns list",
    "ip -n blue -d link show",
    "ip -n blue -4 route show table all",
    "ip netns exec blue *",
    "bridge fdb show",
    "iptables-save",
    "ip6tables-save",
    "nft list ruleset",
    "wg show all allowed-ips",
]


@pytest.mark.parametrize("failing", ["ip -d link show *", *ASKED, "none of them"])
def test_a_dump_is_whole_or_fails(tmp_path: Path, failing: str) -> None:
    """What cannot be read is not an empty table before and after, which would be no difference."""
    pattern = failing.replace(" ", "\\ ") + ("" if " " in failing else "\\ ")
    for tool in {command.partition(" ")[0] for command in ASKED}:
        (tmp_path / tool).write_text(
            f'#!/bin/sh\ncase "{tool} $*" in {pattern}) echo cannot >&2; exit 1 ;; esac\n'
            'case "$*" in "netns list") echo "blue (id: 0)" ;; esac\n'
        )
        (tmp_path / tool).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", dump.SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == ((0, "") if failing == "none of them" else (1, "cannot\n"))


def test_a_changed_inventory_says_what_the_one_before_said(tmp_path: Path) -> None:
    """Written down and read by pyinfra again; only what cannot be written down is lost."""
    source = tmp_path / "inventory.py"
    data = {name: {**host, "ssh_port": 2222, "_sudo": True} for name, host in hosts().items()}
    inventory.write(source, data)
    assert inventory.load(source) == data


class Mute(Fleet):
    """Hosts whose kernels lack some kinds."""

    lacks: tuple[str, ...] = ()

    def run_all(self, script: object, nodes: object = ()) -> dict[str, Answer]:
        del script, nodes
        return {node.name: Answer("\n".join(self.lacks)) for node in self.nodes}


@pytest.mark.parametrize(
    ("mode", "lacks", "other"),
    [
        ("vxlan", (), "ipvlan"),
        ("vxlan", ("ipvlan",), "macvlan"),
        ("vxlan", ("ipvlan", "macvlan"), "veth_pair"),
        ("macvlan", ("ipvlan",), "bridge"),
    ],
)
def test_the_other_mode_has_least_in_common_and_is_possible(mode: str, lacks: tuple[str, ...], other: str) -> None:
    """So that as much as possible has to go; modes that a kernel or the inventory does not allow are passed over."""
    of = Arrangement(hosts(), mode).cluster
    fleet = Mute(of, dict.fromkeys((node.name for node in of.nodes), None))
    fleet.lacks = lacks
    assert unlike(fleet, mode) == other


class Clumsy(Operator):
    """One whose applies fail."""

    def apply(self, arrangement: Arrangement) -> Applied:
        self.now = None
        pytest.fail(f"apply {arrangement.mode} failed on node2: no route to host")


def operator(tmp_path: Path) -> Clumsy:
    """Make up one that has no hosts."""
    given = Arrangement(hosts(), "vxlan")
    return Clumsy(Fleet(given.cluster, {}), given, tmp_path, tmp_path, lambda: None, lambda _: None, lambda _: None)


def test_what_cannot_be_put_back_is_told(tmp_path: Path) -> None:
    """How it is left and why, also where the test itself had failed before, or was interrupted."""
    for raised in (KeyboardInterrupt, RuntimeError):
        clumsy = operator(tmp_path)
        clumsy.now = None
        with pytest.raises(raised), clumsy.borrowed("node3 was removed"):
            raise raised
        assert clumsy.left == [
            "node3 was removed, and could not be put back: apply vxlan failed on node2: no route to host"
        ]


@pytest.mark.parametrize("ending", interrupts.ENDING)
def test_what_ends_a_run_interrupts_it_once(ending: signal.Signals) -> None:
    """As Ctrl-C does; a second one does not end whoever gives hosts back, and in the end all is as before."""
    before = signal.getsignal(ending)
    restore = interrupts.catch()
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(ending)
        signal.raise_signal(ending)
    finally:
        restore()
    assert signal.getsignal(ending) == before


def test_a_signal_that_is_ignored_stays_so() -> None:
    """Whoever started pytest by nohup(1) wants it to go on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        restore = interrupts.catch()
        signal.raise_signal(signal.SIGHUP)
        restore()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nothing_more_is_changed_once_something_was_not_given_back(tmp_path: Path) -> None:
    """The next test is not begun."""
    clumsy = operator(tmp_path)
    clumsy.left.append("eth0 of node3 has not its own MAC")
    with pytest.raises(pytest.fail.Exception, match="nothing more is changed"), clumsy.borrowed("never"):
        pass


def test_what_is_as_given_is_left_alone(tmp_path: Path) -> None:
    """Nothing is applied where nothing was changed."""
    clumsy = operator(tmp_path)
    with clumsy.borrowed("nothing happened"):
        pass
    assert clumsy.left == []


def test_a_member_that_goes_leaves_a_smaller_cluster() -> None:
    """And one that moves has another address; the arrangement before is what it was."""
    given = Arrangement(hosts(), "vxlan")
    first, *others = [node.name for node in given.cluster.nodes]
    assert [node.name for node in given.without(first).cluster.nodes] == others
    moved: Cluster = given.moved(first, "192.168.56.99/24").cluster
    assert str(moved.node(first).address) == "192.168.56.99/24"
    assert str(given.cluster.node(first).address) != "192.168.56.99/24"


@dataclass
class Cut(Fleet):
    """A host whose answer to whatever changes something is lost, or whose asking is interrupted; it does it all."""

    raised: type[BaseException] | None = None
    problem: str = ""
    done: list[str] = field(default_factory=list)

    def run(self, node: Node, script: str) -> Answer:
        del node
        if script.startswith("cat "):
            return Answer("02:55:c0:a8:38:0b\n")
        self.done.append(script)
        if len(self.done) > 1:
            return Answer("")
        if self.raised:
            raise self.raised
        return Answer("", problem=self.problem)


NEW = IPv4Interface("192.168.56.99/24")


@pytest.mark.parametrize("cut", [{"raised": KeyboardInterrupt}, {"problem": "node1 cannot be reached: broken pipe"}])
def test_what_may_have_been_changed_is_taken_back(tmp_path: Path, cut: dict[str, Any]) -> None:
    """Whether the host did it nobody has heard: it is undone all the same, by what does no harm if it did not."""
    of = cluster()
    one, raised = of.node("node1"), (KeyboardInterrupt, pytest.fail.Exception)
    for changed in (another_mac, partial(another_address, new=NEW)):
        changer = operator(tmp_path)
        changer.hosts = hosts = Cut(of, {}, **cut)
        with pytest.raises(raised), changed(changer, one):
            pytest.fail("it was changed though nobody knows that")
        change, back = hosts.done
        assert change != back
        assert changer.left == []
        folder = re.search(r"^folder=(\S+)$", change, re.MULTILINE)
        assert folder is None or folder[0] in back


def test_a_mac_that_a_driver_does_not_change_is_not_given_back(tmp_path: Path) -> None:
    """The test is skipped, and what takes the change back asks first whether there was any."""
    of = cluster()
    changer = operator(tmp_path)
    changer.hosts = hosts = Cut(of, {}, problem="RTNETLINK answers: Device or resource busy")
    with pytest.raises(pytest.skip.Exception), another_mac(changer, of.node("node1")):
        pass
    assert changer.left == []
    assert [script.partition("address)")[0] for script in hosts.done] == [
        'set -eu; if [ "$(cat /sys/class/net/eth0/'
    ] * 2


@dataclass
class Booting:
    """A host that is told to reboot: how ssh ends; None where its connection is lost."""

    status: int | None
    said: str = ""

    def run(self, script: str) -> SimpleNamespace:
        assert "systemctl reboot" in script
        if self.status is None:
            raise RuntimeError(SimpleNamespace(stderr="Connection to 192.168.56.11 closed by remote host."))
        return SimpleNamespace(rc=self.status, stdout="", stderr=self.said)


def test_a_host_that_refuses_to_reboot_is_told_at_once() -> None:
    """Not after ten minutes of waiting for it; one that goes down before it has answered does not refuse."""
    of = cluster()
    said = "Call to Reboot failed: Interactive authentication required."
    hosts: dict[str, Any] = {"node1": Booting(1, said), "node2": Booting(None), "node3": Booting(143)}
    assert reboot(Fleet(of, hosts), None) == {"node1": f"node1: a command failed with exit status 1: {said}"}
    assert reboot(Fleet(of, dict.fromkeys(hosts, Booting(0))), None) == {}


def test_a_command_that_reboots_no_host_is_told_at_once() -> None:
    """With its words, for each host of which it said so."""
    of = cluster()
    fleet = Fleet(of, dict.fromkeys(("node1", "node2"), None))
    assert reboot(fleet, "sh -c 'echo no {host} here; test {host} = node2'") == {
        "node1": "sh -c 'echo no node1 here; test node1 = node2': no node1 here"
    }


def test_tables_that_cannot_be_read_are_told_and_the_other_hosts_are_compared() -> None:
    """As what is wrong with that host."""
    of = cluster()
    said = {"node1": Answer("\n".join(garbled())), "node2": Answer("\n".join(whole("fresh")))}
    fleet = Told(of, {}, nodes=of.nodes[:2], said=said)
    have, problems = health.seen(fleet, {})
    assert list(have) == ["node2"]
    assert problems == ["what node1 told of its tables is not as expected (TypeError: it is no array of objects)"]


@dataclass
class Told(Fleet):
    """Hosts that answer whatever they are asked."""

    said: Mapping[str, Answer] = field(default_factory=dict)

    def run_all(self, script: object, nodes: object = ()) -> dict[str, Answer]:
        del script, nodes
        return dict(self.said)


@pytest.mark.parametrize("limit", [6, 10000])
def test_a_host_that_does_not_tell_of_all_its_pairs_is_not_well(limit: int) -> None:
    """Silence is no reply that was as promised; of a sample all that was drawn must be there."""
    of = cluster()
    fleet = Told(of, {}, nodes=of.nodes, said={node.name: Answer("==host== 6.1") for node in of.nodes})
    drawn = sampling.sample(of.nodes, limit, seed=1)
    tried = {node.name: len(node.pods) * 6 for node in of.nodes}
    if drawn:
        tried = {node.name: sum(len(drawn.targets.get(pod.address, ())) for pod in node.pods) for node in of.nodes}
        assert sum(tried.values()) == limit
    assert health.wrong_reach(fleet, NUMBERS["vxlan"], drawn, 0) == [
        f"{name}: 0 pairs were tried, of {count}" for name, count in tried.items() if count
    ]


@dataclass
class Deaf(Told):
    """Hosts whose answers are lost, or that are interrupted while they do what they are told."""

    raised: type[BaseException] | None = None
    done: dict[str, str] = field(default_factory=dict)

    def run_all(self, script: object, nodes: object = ()) -> dict[str, Answer]:
        if self.raised:
            raise self.raised
        return super().run_all(script, nodes)

    def run(self, node: Node, script: str) -> Answer:
        self.done[node.name] = script
        return Answer("")


def test_a_pod_that_may_still_have_another_mtu_gets_its_own_back(tmp_path: Path) -> None:
    """Where its host's answer is lost, and of all hosts where nobody waits for their answers any more."""
    changer = operator(tmp_path)
    of = changer.given.cluster
    said = {
        "node1": Answer("", problem="node1 cannot be reached: broken pipe"),
        "node2": Answer(""),
        "node3": Answer(""),
    }
    changer.hosts = lost = Deaf(of, {}, nodes=of.nodes, said=said)
    assert asked(changer) == said
    assert list(lost.done) == ["node1"]
    assert "ip -n podnet-pod1 link set eth0 mtu 1450" in lost.done["node1"]
    changer.hosts = cut = Deaf(of, {}, nodes=of.nodes, raised=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        asked(changer)
    assert list(cut.done) == ["node1", "node2", "node3"]
    assert changer.left == []
