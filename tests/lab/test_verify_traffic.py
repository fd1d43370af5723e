"""What pings between pods do not show goes red when it breaks: TCP, sizes, nodes, the outside, counters."""

import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from podnet.marks import FIRST
from podnet.verify.entering import by_name
from podnet.verify.traffic import transfer
from podnet.verify.traffic.transfer import End
from tests.lab.at import At, Done, until

OUTSIDE = "node4"
PLACE = "podnet/verify"
TRANSFER, NODES, COUNTERS, BEYOND = (f"{PLACE}/test_{name}.py" for name in ("transfer", "nodes", "counters", "outside"))


@pytest.fixture(scope="module")
def at() -> Iterator[At]:
    """Return a lab of four bare hosts, the last of which is no member."""
    lab = At("verify-traffic")
    lab.up("--hosts", "4")
    yield lab
    lab.down()


@dataclass(frozen=True)
class Members:
    """The lab's first three hosts as a cluster."""

    at: At
    inventory: Path

    def into(self, mode: str) -> None:
        self.at.into(mode, inventory=self.inventory)

    def verify(self, *tests: str, mode: str) -> Done:
        """Verify a part, the host outside included."""
        return self.at.verify(*tests, f"--outside={OUTSIDE}", mode=mode, inventory=self.inventory)


@pytest.fixture
def members(at: At, tmp_path: Path) -> Callable[..., Members]:
    """Make a cluster of three of the hosts, whose group data may be changed."""

    def make(**changed: object) -> Members:
        inventory = tmp_path / "inventory.py"
        inventory.write_text(
            textwrap.dedent(f"""\
                import runpy

                _hosts, _data = runpy.run_path({str(at.inventory)!r})["nodes"]
                nodes = (_hosts[:3], {{**_data, **{changed!r}}})
                """)
        )
        return Members(at, inventory)

    return make


@pytest.mark.parametrize("masquerade", [True, False])
@pytest.mark.parametrize("mode", ["bridge", "host_gw", "macvlan", "proxy_arp", "veth_pair", "vxlan"])
def test_all_is_as_promised_with_a_host_outside(
    members: Callable[..., Members], mode: str, *, masquerade: bool
) -> None:
    """Nodes, pods and the outside reach each other, or do not, and see the addresses that the inventory says."""
    three = members(masquerade=masquerade)
    three.into(mode)
    done = three.verify(TRANSFER, NODES, COUNTERS, BEYOND, mode=mode)
    assert done.code == 0, done.said
    assert "was not looked at" not in done.out


@dataclass(frozen=True)
class Break:
    """A damage on a host, how it is mended, which tests stay green, what the red one says, and names as the cause."""

    mode: str
    host: str
    damage: str
    mend: str
    green: tuple[str, ...]
    red: str
    says: str
    cause: str = ""


REACH = f"{PLACE}/test_reach.py::test_pods_reach_each_other_as_the_mode_says"

BREAKS = {
    "TCP alone is dropped": Break(
        "vxlan",
        "node2",
        "iptables -I FORWARD -p tcp -d 10.244.2.0/24 -j DROP",
        "iptables -D FORWARD -p tcp -d 10.244.2.0/24 -j DROP",
        (REACH, NODES),
        TRANSFER,
        "node1/pod1 -> node2/pod1: TCP: expected 64 bytes there and back, saw nothing answered when it connected",
    ),
    "large TCP segments are dropped": Break(
        "host_gw",
        "node2",
        "iptables -I FORWARD -p tcp -d 10.244.2.0/24 -m length --length 1000: -j DROP",
        "iptables -D FORWARD -p tcp -d 10.244.2.0/24 -m length --length 1000: -j DROP",
        (REACH, NODES),
        TRANSFER,
        "node1/pod1 -> node2/pod1: TCP: expected 1048576 bytes there and back, saw it connected, then stalled: 0 of ",
    ),
    "large TCP segments are dropped on the way back": Break(
        "host_gw",
        "node2",
        "iptables -I FORWARD -p tcp -s 10.244.2.2 -m length --length 1000: -j DROP",
        "iptables -D FORWARD -p tcp -s 10.244.2.2 -m length --length 1000: -j DROP",
        (REACH, NODES),
        TRANSFER,
        "node1/pod1 -> node2/pod1: TCP: expected 1048576 bytes there and back, saw it connected, then stalled: all "
        "1048576 bytes arrived there, 0 came back",
    ),
    "fragments are dropped": Break(
        "host_gw",
        "node2",
        "nft 'table ip stranger { chain f { type filter hook prerouting priority -450; "
        "ip frag-off & 0x3fff != 0 drop; }; }'",
        "nft delete table ip stranger",
        (REACH, NODES),
        TRANSFER,
        "node1/pod1 -> node2/pod1: UDP: expected 1500 bytes there and back, saw no answer to",
    ),
    "pods' addresses are translated": Break(
        "vxlan",
        "node1",
        "iptables -t nat -I POSTROUTING -s 10.244.1.2 -d 10.244.2.0/24 -j MASQUERADE",
        "iptables -t nat -D POSTROUTING -s 10.244.1.2 -d 10.244.2.0/24 -j MASQUERADE",
        (REACH, COUNTERS),
        TRANSFER,
        "node1/pod1 -> node2/pod1: TCP: expected to be seen as 10.244.1.2, was seen as 10.244.1.0",
    ),
    "pods' addresses are translated behind our rules": Break(
        "host_gw",
        "node1",
        "iptables -t nat -A POSTROUTING -s 10.244.1.0/24 -d 10.244.2.0/24 -j MASQUERADE",
        "iptables -t nat -D POSTROUTING -s 10.244.1.0/24 -d 10.244.2.0/24 -j MASQUERADE",
        (REACH, COUNTERS),
        TRANSFER,
        "node1/pod1 -> node2/pod1: TCP: expected to be seen as 10.244.1.2, was seen as 192.168.56.11",
        "  cause: node1: firewall: iptables nat POSTROUTING has translated ",
    ),
    "an MTU is smaller at one end": Break(
        "vxlan",
        "node2",
        "ip link set cni0 mtu 1300",
        "ip link set cni0 mtu 1450",
        (REACH, NODES),
        TRANSFER,
        "node1/pod1 -> node2/pod1: UDP, not to be fragmented: expected 1422 bytes there and back, saw",
    ),
    "masquerading is gone": Break(
        "vxlan",
        "node1",
        "iptables -t nat -D POSTROUTING -j PODNET-POSTRTG",
        "iptables -t nat -I POSTROUTING -j PODNET-POSTRTG",
        (REACH, TRANSFER),
        NODES,
        "node1/pod1 -> node2: expected the source 192.168.56.11, saw 10.244.1.2",
        "  cause: node1: wrong firewall chain: nat PODNET-POSTRTG: jumps is none",
    ),
    "masquerading is gone, seen from outside": Break(
        "bridge",
        "node1",
        "iptables -t nat -D POSTROUTING -j PODNET-POSTRTG",
        "iptables -t nat -I POSTROUTING -j PODNET-POSTRTG",
        (REACH, TRANSFER),
        BEYOND,
        "node1/pod2 -> node4: expected the source 192.168.56.11, saw 10.244.1.3",
        "  cause: node1: wrong firewall chain: nat PODNET-POSTRTG: jumps is none",
    ),
    "the outside is refused": Break(
        "vxlan",
        "node3",
        "iptables -I FORWARD ! -s 10.244.0.0/16 -m conntrack --ctstate NEW -j DROP",
        "iptables -D FORWARD ! -s 10.244.0.0/16 -m conntrack --ctstate NEW -j DROP",
        (REACH, TRANSFER, NODES),
        BEYOND,
        "node4 -> node3/pod2: expected a reply with TTL 63, saw no reply",
        "  cause: node3: firewall: iptables filter FORWARD has refused ",
    ),
    "the outside is let in translated": Break(
        "proxy_arp",
        "node3",
        "iptables -t nat -I POSTROUTING ! -s 10.244.0.0/16 -d 10.244.3.0/24 -j MASQUERADE",
        "iptables -t nat -D POSTROUTING ! -s 10.244.0.0/16 -d 10.244.3.0/24 -j MASQUERADE",
        (REACH, TRANSFER, NODES),
        BEYOND,
        "node4 -> node3/pod1: expected the source 192.168.56.14, saw 192.168.56.13",
        "  cause: node3: wrong firewall chain: nat PODNET-POSTRTG: jumps is POSTROUTING 2",
    ),
    "pods do not reach their node": Break(
        "host_gw",
        "node1",
        "iptables -I INPUT -s 10.244.1.0/24 -p icmp -j DROP",
        "iptables -D INPUT -s 10.244.1.0/24 -p icmp -j DROP",
        (REACH, TRANSFER),
        NODES,
        "node1/pod1 -> node1: expected a reply with TTL 64, saw no reply",
    ),
    "pods reach a node that they should not": Break(
        "macvlan",
        "node1",
        "ip link add shim link eth0 type macvlan mode bridge; ip addr add 10.244.255.1/32 dev shim; "
        "ip link set shim up; ip route add 10.244.1.0/24 dev shim",
        "ip link del shim",
        (REACH, TRANSFER),
        NODES,
        "node1 -> node1/pod1: expected no reply, saw TTL 64",
    ),
    "a stranger's route leads around the tunnel": Break(
        "vxlan",
        "node1",
        "ip route add 10.244.2.2 via 192.168.56.12 dev eth0",
        "ip route del 10.244.2.2 via 192.168.56.12 dev eth0",
        (REACH, TRANSFER, NODES),
        COUNTERS,
        "node1: expected the tx counter of flannel.1 to rise by 200 packets, saw 100",
        "  cause: node1: a stranger's route to 10.244.2.2 comes before 10.244.2.0/24",
    ),
    "a stranger's route leads by another node": Break(
        "vxlan",
        "node1",
        "ip route add 10.244.2.2 via 10.244.3.0 dev flannel.1 onlink",
        "ip route del 10.244.2.2 via 10.244.3.0 dev flannel.1",
        (),
        COUNTERS,
        "node3: expected the rx counter of flannel.1 to rise by 200 packets, saw 4",
        "  cause: node1: a stranger's route to 10.244.2.2 comes before 10.244.2.0/24",
    ),
    "perl is missing": Break(
        "bridge",
        "node2",
        "mv /usr/bin/perl /usr/bin/perl.away",
        "mv /usr/bin/perl.away /usr/bin/perl",
        (REACH, COUNTERS),
        TRANSFER,
        "node2: a command failed with exit status 1: perl is needed: install perl-base",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_it_goes_red_and_says_why(members: Callable[..., Members], what: str) -> None:
    """Each damage is seen by the test for it, and what it does not touch stays green."""
    damaged, three = BREAKS[what], members()
    three.into(damaged.mode)
    three.at.sh(damaged.host, damaged.damage)
    try:
        done = three.verify(damaged.red, *damaged.green, mode=damaged.mode)
    finally:
        three.at.sh(damaged.host, damaged.mend)
    assert damaged.says in done.out, done.out
    assert damaged.cause in done.out, done.out
    failed = {line.split("::")[0] for line in done.out.splitlines() if line.startswith("FAILED")}
    assert failed == {f"FAILED {damaged.red}"}, done.out


def test_without_a_host_outside_it_is_said_what_was_not_looked_at(members: Callable[..., Members]) -> None:
    """Its tests are not collected; one line says how to have them."""
    three = members()
    three.into("bridge")
    done = three.at.verify(PLACE, mode="bridge", inventory=three.inventory)
    assert done.code == 0, done.said
    assert "test_outside" not in done.out
    assert "was not looked at: name one with --outside=HOST" in done.out


def test_a_member_is_not_outside(members: Callable[..., Members]) -> None:
    """The inventory says who is a member."""
    done = members().at.verify("--outside=node3", mode="bridge", inventory=members().inventory)
    assert done.code == 4
    assert "--outside=node3: the inventory names it" in done.err


SSHD = "$(systemctl show --property MainPID --value ssh)"


def test_a_host_that_ssh_does_not_reach_is_waited_for_once(members: Callable[..., Members]) -> None:
    """Its own tests say so at once, whatever they ask for, and those of the other hosts go on."""
    three = members()
    three.into("host_gw")
    three.at.sh("node2", f"kill -STOP {SSHD}")
    start = time.monotonic()
    try:
        done = three.at.verify(mode="host_gw", inventory=three.inventory)
    finally:
        three.at.sh("node2", f"kill -CONT {SSHD}")
    # Ten seconds, where each of a dozen stages would wait as long, and what the rest takes.
    assert time.monotonic() - start < 10 + 40, done.out
    failed = {line.split(" - ")[0] for line in done.out.splitlines() if line.startswith("FAILED")}
    assert {line.partition("[")[2] for line in failed if "[" in line} == {"node2]"}, done.out
    assert [line.rpartition("::")[2] for line in failed if "[" not in line] == ["test_second_apply_changes_nothing"]
    assert "node2 was not reached, and is not asked again (" in done.out


LISTENING = "ps -C perl -o pid= || test $? = 1; ip netns exec podnet-pod1 ss -Hltu"


def test_what_listens_ends_by_itself(members: Callable[..., Members], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody ends it any more, neither process nor port is left after its time."""
    three = members()
    three.into("vxlan")
    monkeypatch.setattr(transfer, "LIFE", 2)
    before = three.at.sh("node1", LISTENING)
    three.at.sh("node1", transfer.serve(by_name(FIRST), "token", [End("pod1", "10.244.1.2"), End("", "192.168.56.11")]))
    assert len(three.at.sh("node1", LISTENING).splitlines()) == len(before.splitlines()) + 4
    until(lambda: three.at.sh("node1", LISTENING) == before, 5, "what listened has ended by itself")


def test_where_one_end_cannot_listen_those_before_are_ended(members: Callable[..., Members]) -> None:
    """A pod without its address is told, and nothing goes on listening."""
    three = members()
    three.into("vxlan")
    before = three.at.sh("node1", LISTENING)
    ends = [End("pod1", "10.244.1.2"), End("pod2", "10.244.9.9")]
    done = three.at.try_sh("node1", transfer.serve(by_name(FIRST), "token", ends))
    assert done.code != 0
    assert "10.244.9.9 is not to be had here" in done.said
    until(lambda: three.at.sh("node1", LISTENING) == before, 5, "nothing listens any more")
