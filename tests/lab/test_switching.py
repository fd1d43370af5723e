"""Applying a mode on hosts in another leaves exactly the new one: every ordered pair that this lab's kernel can run."""

import itertools
from collections.abc import Iterator, Sequence

import pytest

from tests.lab.at import At
from tests.lab.proof import MODES, lacking

EVERYTHING = r"""
alike() {
  sed 's/^[0-9]*: //; s/@[a-z0-9]*//; s/ link-net.*//; s/ bridge_id.*//; s/ state [A-Z]*//; s/_timer *[0-9.]*//g'
}
for dev in $(ls /sys/class/net); do ip -d link show $dev | alike; done
ip -4 addr show | grep inet; ip -4 route show table all | sed 's/ linkdown//'; ip rule
ip neigh show nud permanent | sort
bridge fdb show | sort | grep dst || test $? = 1
for netns in $(ip netns list | sed 's/ .*//' | sort); do
  echo $netns
  ip -n $netns -d link show | alike
  ip -n $netns -4 addr show | grep inet; ip -n $netns -4 route; ip -n $netns neigh show nud permanent
  ip netns exec $netns sysctl net.ipv4.ip_forward
done
iptables-save | grep -v '^[#:]' | sort
grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/ipv4/ip_forward /proc/sys/net/bridge | sort
find /etc -type f -regextype egrep -regex '/etc/(podnet|systemd|modules-load\.d|sysctl\.d)/.*' | sort | xargs cat
"""
"""A host to the letter, but for numbers that the kernel counts up."""


def tour(modes: Sequence[str]) -> Iterator[str]:
    """Go from each mode to each other exactly once: a b a c a d, b c b d, c d, and back to a."""
    for i, first in enumerate(modes):
        for other in modes[i + 1 :]:
            yield from (first, other)
    yield modes[0]


@pytest.fixture(scope="module")
def fresh(at: At) -> dict[str, str]:
    """Write down node2 in each mode that this kernel can run, each applied to a bare host."""
    seen = {}
    for mode in MODES:
        if not lacking(at, mode):
            at.into(mode)
            seen[mode] = at.sh("node2", EVERYTHING)
            at.into("teardown")
    return seen


def test_every_mode_follows_every_other_without_a_trace(at: At, fresh: dict[str, str]) -> None:
    """After each switch the host is line by line as if the new mode had been the first, and pods are still the same."""
    steps = list(tour(sorted(fresh)))
    assert len({*itertools.pairwise(steps)}) == len(fresh) * (len(fresh) - 1)
    at.into(steps[0])
    pods = at.sh("node2", "stat -c %i /run/netns/podnet-*")
    for before, after in itertools.pairwise(steps):
        at.into(after)
        assert at.sh("node2", EVERYTHING).splitlines() == fresh[after].splitlines(), f"{before} -> {after}"
        assert [at.differences(node, after) for node in ("node1", "node3")] == [[], []], f"{before} -> {after}"
    assert at.sh("node2", "stat -c %i /run/netns/podnet-*") == pods
    done = at.verify(mode=steps[-1])
    assert done.code == 0, done.said


def test_teardown_after_a_switch_leaves_the_host_as_it_was(at: At) -> None:
    """Also what only the first of two modes had changed is given back."""
    at.into("teardown")
    bare = at.sh("node2", EVERYTHING)
    for mode in ("vxlan", "proxy_arp", "macvlan", "teardown"):
        at.into(mode)
    assert at.sh("node2", EVERYTHING).splitlines() == bare.splitlines()
