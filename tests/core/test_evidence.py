"""What is read once something has failed: a script that any sh takes, an answer read strictly, one command a host."""

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from types import SimpleNamespace
from typing import Any

import pytest

from podnet import modes
from podnet.cluster import Node
from podnet.marks import FIRST
from podnet.modes import vxlan
from podnet.state import Address, Nic, Route, Rule, State, Sysctl
from podnet.verify import capture, test_reach
from podnet.verify.diagnosis import evidence
from podnet.verify.diagnosis.causes import Host
from podnet.verify.diagnosis.evidence import MARK, Echoes, Evidence, Moved, Ping, Way
from podnet.verify.diagnosis.inquiry import Inquiry, Problem
from podnet.verify.diagnosis.refusals import PROTOCOLS
from podnet.verify.entering import by_name
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.mesh.probe import SMALL
from podnet.verify.mesh.sampling import Sample
from tests.core import test_mesh
from tests.core.examples import cluster
from tests.core.test_facts import whole

PEER = IPv4Address("192.168.56.12")


def link(dev: str, sent: int, received: int, dropped: int) -> dict[str, Any]:
    """Print a device as `ip -s -j link show` does."""
    counts = ({"packets": sent, "dropped": dropped}, {"packets": received, "dropped": 0})
    return {"ifname": dev, "stats64": {"tx": counts[0], "rx": counts[1]}}


def counters(forwarded: int, filtered: int) -> str:
    """Print what the kernel has counted."""
    return f"Ip: InReceives ForwDatagrams\nIp: 9 {forwarded}\nTcpExt: IPReversePathFilter\nTcpExt: {filtered}"


def saved(packets: int) -> str:
    """Print a firewall with one rule that drops."""
    return f"*filter\n:FORWARD ACCEPT [0:0]\n[{packets}:0] -A FORWARD -j DROP\nCOMMIT"


ANSWER = {
    "rules": '[{"priority":0,"src":"all","table":"local","protocol":"kernel"}]',
    "routes": '[{"type":"unicast","dst":"default","dev":"eth1","protocol":"static","table":"52","flags":[]},'
    '{"type":"unicast","dst":"fe80::/64","dev":"eth1","protocol":"kernel","table":"main","flags":[]}]',
    "neighbours": '[{"dst":"192.168.56.12","dev":"eth0","state":["FAILED"]}]',
    "way 192.168.56.12": '[{"dst":"192.168.56.12","dev":"eth0","prefsrc":"192.168.56.11","flags":[]}]',
    "way 192.168.57.12": '[{"dst":"192.168.57.12","gateway":"192.168.56.1","dev":"eth0"}]',
    "way 192.168.58.12": "RTNETLINK answers: Network is unreachable\nrefused",
    "settings": "net/ipv4/conf/all/rp_filter:1\nnet/ipv4/ip_forward:1",
    "pod podnet-pod1": "net/ipv4/ip_default_ttl:64",
    "echoes before podnet-pod1": "Icmp: InEchos OutEchos\nIcmp: 5 7",
    "links before": json.dumps([link("eth0", 5, 5, 0)]),
    "counters before": counters(7, 1),
    "iptables before": saved(3),
    "echoes after podnet-pod1": "Icmp: InEchos OutEchos\nIcmp: 5 13",
    "links after": json.dumps([link("eth0", 11, 5, 2), link("new0", 1, 0, 0)]),
    "counters after": counters(13, 4),
    "iptables after": saved(9),
    "end": "",
}


def printed(answer: dict[str, str]) -> str:
    """Put the parts together as a host prints them."""
    return "\n".join(f"{MARK} {name}\n{said}" if said else f"{MARK} {name}" for name, said in answer.items())


def test_a_host_without_ping_is_known() -> None:
    """What its counters did not count tells nothing; its tables do."""
    assert evidence.parse(printed(ANSWER)).pings
    assert not evidence.parse(printed({"no ping": "", **ANSWER})).pings
    assert "no ping" in evidence.script([Ping("", PEER)], [], [])


def test_an_answer_is_read() -> None:
    """What moved is the difference of two readings; a way that is refused is told with the kernel's words."""
    read = evidence.parse(f"welcome\n{printed(ANSWER)}\n")
    assert read.rules == {Rule(0, "local", proto="kernel")}
    assert read.routes == {Route(IPv4Network("0.0.0.0/0"), "eth1", proto="static", table="52")}
    assert read.neighbours == {("eth0", PEER): ("", "FAILED")}
    assert read.ways == {
        "192.168.56.12": Way("eth0"),
        "192.168.57.12": Way("eth0", IPv4Address("192.168.56.1")),
        "192.168.58.12": Way(refused="RTNETLINK answers: Network is unreachable"),
    }
    assert read.number("net/ipv4/conf/all/rp_filter") == 1
    assert read.number("net/ipv4/conf/nobody/rp_filter") == 0
    assert read.pod_settings == {"podnet-pod1": frozenset({Sysctl("net/ipv4/ip_default_ttl", "64")})}
    assert read.echoes == {"podnet-pod1": Echoes(sent=6, received=0)}
    assert read.moved == {"eth0": Moved(6, 0, 2), "new0": Moved(1, 0, 0)}
    assert (read.counted["IpForwDatagrams"], read.counted["TcpExtIPReversePathFilter"]) == (6, 3)
    assert [*read.risen.values()] == [6]


def test_an_answer_that_was_cut_is_an_error() -> None:
    """It is never an empty one."""
    with pytest.raises(ValueError, match="cut short"):
        evidence.parse(printed({name: said for name, said in ANSWER.items() if name != "end"}))


def test_scripts_are_what_any_sh_takes() -> None:
    """Checked by sh itself, without running them."""
    ping = Ping("podnet-pod1", IPv4Address("10.244.2.2"), 1450)
    ask = f"enter pod1 {capture.slowly(PEER, None)}"
    shown = capture.seen({"eth0": "icmp", "flannel.1": "icmp"}, by_name(FIRST), ask)
    knock = replace(ping, size=None, protocol=PROTOCOLS["tcp"])
    for said in (evidence.script([ping, knock], ["192.168.56.12"], ["podnet-pod1"]), shown):
        done = subprocess.run(["sh", "-n"], input=said, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@dataclass
class Silent:
    """A host that says nothing useful, and how often it was asked."""

    asked: list[str] = field(default_factory=list)

    def run(self, script: str) -> SimpleNamespace:
        self.asked.append(script)
        return SimpleNamespace(rc=1, stdout="", stderr="no such luck")


def test_nothing_is_asked_until_something_fails_and_then_each_host_once() -> None:
    """One more command a host, however many pairs fail and however often their causes are asked for."""
    of = cluster()
    hosts: dict[str, Any] = {node.name: Silent() for node in of.nodes}
    fleet = Fleet(of, hosts)
    want = {node.name: State() for node in of.nodes}
    answers = {node.name: Answer("", problem=f"{node.name} cannot be reached") for node in of.nodes}
    inquiry = Inquiry(fleet, want, lambda: answers)
    assert inquiry.explained([]) == []
    assert [len(host.asked) for host in hosts.values()] == [0, 0, 0]
    problems = [Problem("node1/pod1", f"node2/pod{i}", f"to pod{i}: no reply") for i in (1, 2)]
    for _ in range(2):
        assert inquiry.explained(problems) == [
            "to pod1: no reply\n  cause: node1 cannot be reached",
            "to pod2: no reply\n  cause: node1 cannot be reached",
        ]
    assert [len(host.asked) for host in hosts.values()] == [1, 1, 1]


def test_the_host_outside_tries_again_where_it_is_who_did_not_reach_a_pod() -> None:
    """Handed to the pod's node, while that counts; a pod that does not reach it tries again alone."""
    of = cluster()
    hosts: dict[str, Any] = {name: Silent() for name in ("node1", "node2", "node3", "outside")}
    address = IPv4Address("192.168.56.99")
    for ends, asked in {("outside", "node1/pod1"): 1, ("node1/pod1", "outside"): 0}.items():
        hosts["outside"].asked.clear()
        want = {node.name: State() for node in of.nodes}
        answers = {node.name: Answer("", problem="not read") for node in of.nodes}
        inquiry = Inquiry(Fleet(of, hosts, "outside"), want, partial(dict, answers))
        inquiry.explained([Problem(*ends, "no reply", outside=address)])
        assert len(hosts["outside"].asked) == asked
        assert all("\n10.244.1.2 2 192.168.56.11\n" in script for script in hosts["outside"].asked)


def test_a_node_that_is_an_end_tries_again_itself() -> None:
    """Not one of its pods in its place: what it refuses of pods, it refuses of none that passes through."""
    of = cluster()
    hosts: dict[str, Any] = {node.name: Silent() for node in of.nodes}
    want = {node.name: modes.wanted(vxlan, of, node) for node in of.nodes}
    asked = Inquiry(Fleet(of, hosts), want, lambda: dict.fromkeys(want, Answer("\n".join(whole("fresh")))), shows=True)
    told = asked.explained([Problem("node1", "node2/pod1", "no reply")])
    pings = {
        name: re.findall(r"^(?:ip netns exec \S+ )?ping .* (\S+) >", host.asked[0], re.MULTILINE)
        for name, host in hosts.items()
    }
    assert pings == {"node1": ["10.244.2.2"], "node2": ["192.168.56.11"], "node3": []}
    first, second = (hosts[name].asked[1] for name in ("node1", "node2"))
    assert "\nping -n -c 3 -i 0.5 -w 2 10.244.2.2 >" in first
    assert "ping" not in second.replace("its ping got", "").replace("by pings", "")
    for script in (first, second):
        assert "-i eth0 '(host 10.244.2.2) or (host 192.168.56.11 and host 192.168.56.12 and not tcp)'" in script
    assert [line for line in told if "sees it" in line] == [
        f"  node1 -> node2/pod1 as {name} sees it:" for name in ("node1", "node2")
    ]


LOST = Problem("node1/pod1", "node2/pod1", "no reply")


@dataclass
class Garbled:
    """A host whose answers are not as expected."""

    def run(self, script: str) -> SimpleNamespace:
        del script
        return SimpleNamespace(rc=0, stdout="welcome", stderr="")


def test_an_answer_that_cannot_be_read_is_told_and_no_other_hosts_test_ends_by_it() -> None:
    """Whichever of the two answers it is: the tables, or what is asked further."""
    of = cluster()
    fleet = Fleet(of, dict.fromkeys(("node1", "node2", "node3"), Garbled()))
    want = {node.name: modes.wanted(vxlan, of, node) for node in of.nodes}
    (said,) = Inquiry(fleet, want, lambda: dict.fromkeys(want, Answer("welcome"))).explained([LOST])
    assert said.endswith("cause: what node1 told of its tables is not as expected (ValueError: it was cut short)")
    (said,) = Inquiry(fleet, want, lambda: dict.fromkeys(want, Answer("\n".join(whole("fresh"))))).explained([LOST])
    assert "cause: node2: pod podnet-pod1: duplicate address: 10.244.1.2/24" in said  # all three tell the same


@dataclass
class Noted:
    """Notes the problems that it is to explain."""

    problems: list[Problem] = field(default_factory=list)

    def explained(self, problems: Sequence[Problem]) -> list[str]:
        self.problems += problems
        return []


def test_where_a_reply_came_only_tables_can_be_wrong() -> None:
    """With another TTL it was on another way, or changed on it: nothing was lost."""
    of = cluster()
    replies = [test_mesh.small("node1/pod1", "node2/pod1", ttl) for ttl in (60, None)]
    noted = Noted()
    pairs = {of.node("node1").pods[0].address: (of.node("node2").pods[0].address,) * 2}
    mesh = replace(test_mesh.mesh(of, "vxlan", replies), sample=Sample(pairs, 2, 0, 0, 0))
    test_reach._fail_if_wrong(mesh, of.node("node1"), SMALL, noted)  # noqa: SLF001  # what its tests do
    assert [problem.passes for problem in noted.problems] == [True, False]


def moved(dev: str, sent: int, received: int) -> str:
    """Print what a host tells further, one of whose devices has sent and received so much meanwhile."""
    told = {name: said for name, said in ANSWER.items() if name.split()[0] not in {"way", "pod", "echoes", "iptables"}}
    told |= {"rules": "[]", "neighbours": "[]", "counters after": counters(7, 1)}
    told |= {
        "links before": json.dumps([link(dev, 0, 0, 0)]),
        "links after": json.dumps([link(dev, sent, received, 0)]),
    }
    return printed(told)


@dataclass
class Counting(Silent):
    """A host that was sent to, or was not, when it was asked."""

    told: str = ""

    def run(self, script: str) -> SimpleNamespace:
        self.asked.append(script)
        return SimpleNamespace(rc=0, stdout=self.told, stderr="")


def test_nodes_between_which_nothing_was_sent_again_are_asked_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those two, only where no table is wrong, and once: then counters speak of what was sent between them."""
    of = cluster()
    hosts: dict[str, Any] = {
        name: Counting(told=moved("flannel.1", 24, received))
        for name, received in {"node1": 6, "node2": 6, "node3": 0}.items()
    }
    want = {node.name: modes.wanted(vxlan, of, node) for node in of.nodes}
    monkeypatch.setattr("podnet.verify.diagnosis.inquiry.Inquiry._host", partial(as_wanted, want))
    asked = Inquiry(Fleet(of, hosts), want, lambda: dict.fromkeys(want, Answer("\n".join(whole("fresh")))))
    for source in ("node1", "node2"):
        for _ in range(2):
            (said,) = asked.explained([Problem(source, "node3/pod1", "no reply")])
            assert f"cause: node3: UDP 8472 leaves {source} (flannel.1 sent 24 packets) and does not arrive" in said
    assert [len(host.asked) for host in hosts.values()] == [1, 2, 2]
    (passing,) = asked.explained([Problem("node1", "node2/pod1", "another TTL", passes=True)])
    assert "no table that was read is wrong" in passing
    assert [len(host.asked) for host in hosts.values()] == [1, 2, 2]


def as_wanted(want: dict[str, State], node: Node, have: State, more: Evidence, told: object) -> Host:
    """Have a host hold what it should."""
    del have, told
    of = want[node.name]
    uplink = Nic(node.uplink, 1500, "02:00:00:00:00:01")
    routes = {Route(item.address.network, item.dev, proto="kernel") for item in of.addresses}
    seen = replace(of, links=of.links | {uplink}, routes=of.routes | routes)
    return Host(node, of, replace(seen, addresses=of.addresses | {Address(node.uplink, node.address)}), more)
