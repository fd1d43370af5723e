"""A sample of the faults whose whole score `make fault-score` measures: each is caught, named, and published so."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import score
from tests.faults.faults import faults
from tests.faults.page import DATA
from tests.lab.at import At

SAMPLE = {
    "bridge": ("cable down",),
    "host_gw": ("bare packets of pods refused as they come in",),
    "macvlan": ("pods' packets lost on the underlay",),
    "proxy_arp": (
        "proxy_arp off",
        "route to a peer's pod shadowed by a stranger's blackhole",
        "underlay's MTU too small on one side",
        "a peer's pod address on this host",
    ),
    "veth_pair": ("pod's MTU too large",),
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
    "vxlan_direct_routing": ("asymmetric routing, and a strict rp_filter",),
}
PUBLISHED: dict[str, Any] = json.loads(DATA.read_text())
CAPTURED = pytest.mark.parametrize("mode", ["vxlan", "proxy_arp"])


@pytest.fixture(scope="module")
def apart() -> Iterator[At]:
    """Return a lab of three hosts on two segments, as the score of modes that mind it has."""
    lab = At("faults-apart")
    lab.up("--hosts", "3", "--segments", "2")
    yield lab
    lab.down()


def essence(cause: str) -> str:
    """Leave out of a cause what the next run may count in another way: packets, and what follows from it."""
    return re.sub(r"\d+ packets", "packets", cause.partition(" (look: ")[0].partition("; and ")[0])


@pytest.mark.parametrize("mode", SAMPLE)
def test_damage_is_caught_and_its_cause_is_named(mode: str, request: pytest.FixtureRequest) -> None:
    """The verification goes red, for every pair that fails it names what was broken first, and docs/faults.md is so."""
    at: At = request.getfixturevalue("apart" if mode in score.TWO_SEGMENTS else "at")
    at.into(mode)
    damages = faults(score.place(at, mode))
    for name in SAMPLE[mode]:
        result = score.inflicted(at, mode, damages[name], vms=False)
        assert result.caught, name
        assert result.right, f"{name}: {result.cause}"
        published = PUBLISHED[mode]["faults"][name]
        assert result.tests[0] == published["tests"][0], name
        assert essence(result.cause) == essence(published["cause"])
    assert at.verify(mode=mode).code == 0


@CAPTURED
def test_captures_show_where_packets_end(at: At, mode: str) -> None:
    """On request a failure shows what both ends see: here requests that leave one node, and get no reply."""
    at.into(mode)
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


@CAPTURED
def test_captures_show_what_fails(at: At, mode: str) -> None:
    """Where TCP alone is lost, TCP is tried again: pings, which pass, would show nothing."""
    at.into(mode)
    at.sh("node2", "iptables -t raw -I PREROUTING -p tcp -s 10.244.1.2 -j DROP")
    done = at.verify("podnet/verify/test_transfer.py", "--captures", mode=mode)
    at.sh("node2", "iptables -t raw -D PREROUTING -p tcp -s 10.244.1.2 -j DROP")
    assert done.code == 1, done.said
    seen = done.out.partition("as node1 sees it:")[2].partition("cause:")[0]
    assert "Flags [S]" in seen
    assert "ICMP" not in seen
