"""A sample of the faults whose whole score `make fault-score` measures: each is caught, and its cause is named."""

from collections.abc import Iterator

import pytest

from tests.faults import score
from tests.faults.faults import faults
from tests.lab.at import At

SAMPLE = {
    "vxlan": (
        "tunnel deleted",
        "tunnel with another MAC",
        "gateway address deleted",
        "route to a peer deleted",
        "FDB entry names another host",
        "ip_forward off",
        "rule before ours",
        "outer packets lost on the underlay",
        "wrong gateway in a pod",
    ),
    "proxy_arp": (
        "proxy_arp off",
        "route to a peer's pod shadowed by a stranger's blackhole",
        "underlay's MTU too small on one side",
        "a peer's pod address on this host",
    ),
}


@pytest.fixture(scope="module", params=SAMPLE)
def mode(request: pytest.FixtureRequest, at: At) -> Iterator[str]:
    """Put the lab into each of the modes."""
    at.into(request.param)
    yield request.param
    at.into("teardown")


def test_damage_is_caught_and_its_cause_is_named(at: At, mode: str) -> None:
    """The verification goes red, and for every pair that fails it names what was broken, and nothing before it."""
    damages = faults(score.place(at, mode))
    for name in SAMPLE[mode]:
        result = score.inflicted(at, mode, damages[name], vms=False)
        assert result.caught, name
        assert result.right, f"{name}: {result.cause}"
    assert at.verify(mode=mode).code == 0


def test_captures_show_where_packets_end(at: At, mode: str) -> None:
    """On request a failure shows what both ends see: here requests that leave one node, and get no reply."""
    target, other = at.cluster.node("node2").pods[0].address, at.cluster.node("node1").pods[0].address
    at.sh("node2", f"iptables -t raw -I PREROUTING -s {other} -j DROP")
    at.sh("node2", "iptables -I INPUT -p udp --dport 8472 -j DROP")
    done = at.verify("podnet/verify/test_reach.py", "--captures", mode=mode)
    at.sh("node2", f"iptables -t raw -D PREROUTING -s {other} -j DROP")
    at.sh("node2", "iptables -D INPUT -p udp --dport 8472 -j DROP")
    assert done.code == 1, done.said
    sender, _, receiver = done.out.partition("as node1 sees it:")[2].partition("as node2 sees it:")
    assert f"{other} > {target}: ICMP echo request" in sender
    assert "ICMP echo reply" not in receiver.partition("cause:")[0]


def test_captures_show_what_fails(at: At, mode: str) -> None:
    """Where TCP alone is lost, TCP is tried again: pings, which pass, would show nothing."""
    at.sh("node2", "iptables -t raw -I PREROUTING -p tcp -s 10.244.1.2 -j DROP")
    done = at.verify("podnet/verify/test_transfer.py", "--captures", mode=mode)
    at.sh("node2", "iptables -t raw -D PREROUTING -p tcp -s 10.244.1.2 -j DROP")
    assert done.code == 1, done.said
    seen = done.out.partition("as node1 sees it:")[2].partition("cause:")[0]
    assert "Flags [S]" in seen
    assert "ICMP" not in seen
