"""WireGuard on VMs, whose kernel has it: cost, keys that stay where they are, the wire, damage, and the end."""

import re

import pytest

from podnet import boot, keys
from podnet.differences import differences
from podnet.facts import node
from tests.lab.at import At, run

BOTH = {"node1", "node2"}
DEPLOY = "deploys/wireguard.py"
FILE = "/etc/podnet/podnet.key"
DEV = "flannel-wg"
STRANGER = "2vGWvetuAgIXawd3gAJLnmdXvDqbvkA4xYPLinfx7RU="
DAMAGE = {
    "no peer": f"wg set {DEV} peer $(wg show {DEV} peers) remove",
    "no addresses": f"wg set {DEV} peer $(wg show {DEV} peers) allowed-ips ''",
    "a wrong endpoint": f"wg set {DEV} peer $(wg show {DEV} peers) endpoint 192.168.56.99:51820",
    "a keepalive and a shared key": f"wg set {DEV} peer $(wg show {DEV} peers) persistent-keepalive 9 "
    f"preshared-key {FILE}",
    "a stranger who takes the peer's addresses": f"wg set {DEV} peer {STRANGER} allowed-ips 10.244.2.0/24",
    "another port": f"wg set {DEV} listen-port 51999",
    "another private key": f"wg genkey >/run/key; wg set {DEV} private-key /run/key",
    "no device": f"ip link del {DEV}",
    "no route": "ip route del 10.244.0.0/16",
}


@pytest.fixture(scope="module")
def wg(at: At) -> At:
    """Return two VMs with the tunnel between them."""
    at.into("wireguard")
    return at


def told_of(at: At, name: str) -> list[str]:
    """Compare a host's tables with what they should be, as the verification of this one host does."""
    want, cluster = at.wanted(name, "wireguard")
    have = node.parse(at.sh(name, node.script(**node.asked(want))).splitlines())
    whole = keys.resolve(want, {name: have.keys.get(cluster.marks.alias, "")}, have)
    return differences(boot.fitted(whole, cluster, cluster.node(name), have), have, cluster.marks)


def test_first_apply_costs_three_commands_and_the_next_one(at: At) -> None:
    """Whatever pyinfra is told to print, no private key is in it; a look beforehand makes none."""
    looked = run("pyinfra", "--dry", at.inventory, DEPLOY)
    assert "peer key-of-node2 endpoint 192.168.56.12:51820 allowed-ips 10.244.2.0/24" in looked.said
    at.sh("node1", f"test ! -e {FILE}")
    start = at.commands("node1")
    first = run("pyinfra", "-y", "-vvv", at.inventory, DEPLOY)
    middle = at.commands("node1")
    second = run("pyinfra", "-y", "-vvv", "--debug", at.inventory, DEPLOY)
    assert (first.code, second.code) == (0, 0), first.said + second.said
    counting = 1  # on a VM the count itself comes by sshd
    assert (middle - start - counting, at.commands("node1") - middle - counting) == (3, 1)
    assert at.apply(DEPLOY).unchanged == BOTH
    for name in sorted(BOTH):
        private = at.sh(name, f"cat {FILE}").strip()
        assert len(private) == 44
        assert private not in first.said + second.said + looked.said
        assert at.sh(name, f"stat -c '%a %U' {FILE}").split() == ["600", "root"]
    assert at.sh("node1", f"wg pubkey <{FILE}").strip() in first.said


def test_the_whole_verification_passes(wg: At) -> None:
    """State, reach, TTL 62, 1420 bytes, and nothing readable on the wire; of one host alone as well."""
    done = wg.verify(mode="wireguard", hosts="node1,node2")
    assert done.code == 0, done.said
    done = wg.verify("podnet/verify/test_state.py", mode="wireguard", hosts="node1")
    assert done.code == 0, done.said


def test_what_is_readable_on_the_wire_is_found(wg: At) -> None:
    """Packets that go around the tunnel have their pattern and their addresses seen."""
    for name, pods, via in (("node1", "10.244.2.0/24", 12), ("node2", "10.244.1.0/24", 11)):
        wg.sh(name, f"ip route add {pods} via 192.168.56.{via}")
    done = wg.verify("podnet/verify/test_wire.py", mode="wireguard", hosts="node1,node2")
    for name, pods in (("node1", "10.244.2.0/24"), ("node2", "10.244.1.0/24")):
        wg.sh(name, f"ip route del {pods}")
    assert done.code != 0
    assert "expected nothing of a pod to be readable, saw b'podnet'" in done.out


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_and_healed(wg: At, damage: str) -> None:
    """One more apply, and everything is as it was, with the same keys.

    node2 may be changed too: it follows a packet that it could open to wherever that came from.
    """
    before = wg.sh("node1", "wg show all public-key; wg show all allowed-ips")
    wg.sh("node1", DAMAGE[damage])
    assert told_of(wg, "node1") != []
    applied = wg.apply(DEPLOY)
    assert applied.code == 0, applied.log
    assert applied.changed >= {"node1"}
    assert wg.sh("node1", "wg show all public-key; wg show all allowed-ips") == before
    assert [told_of(wg, name) for name in sorted(BOTH)] == [[], []]


def test_a_lost_private_key_is_made_anew_and_told(wg: At) -> None:
    """As on a host that was installed again: the others replace its peer, and the old key is gone."""
    old = wg.sh("node2", f"wg pubkey <{FILE}; rm {FILE}").strip()
    applied = wg.apply(DEPLOY)
    assert applied.code == 0, applied.log
    assert applied.changed == BOTH
    assert old not in wg.sh("node1", "wg show all allowed-ips")
    # A wish for a new session that came before the other knew the key is repeated after 5 s (REKEY_TIMEOUT).
    wg.sh("node1", "ip netns exec podnet-pod1 ping -n -c 1 -w 15 10.244.2.2")
    done = wg.verify(
        "podnet/verify/test_state.py", "podnet/verify/test_reach.py", mode="wireguard", hosts="node1,node2"
    )
    assert done.code == 0, done.said


def test_peers_that_cannot_be_asked_stay_as_they_are_or_are_left_out(wg: At) -> None:
    """With --limit the kernel's key is believed; where it has none, that is said."""
    assert wg.apply(DEPLOY, "--limit", "node1").unchanged == {"node1"}
    wg.sh("node1", DAMAGE["no peer"])
    applied = wg.apply(DEPLOY, "--limit", "node1")
    assert applied.changed == {"node1"}  # what it does at boot forgets the peer as well
    assert "node2 could not be asked for a key" in applied.log
    assert wg.apply(DEPLOY).changed == {"node1"}


def test_two_hosts_with_one_key_are_refused(wg: At) -> None:
    """As copied machines would be; the sentence says what to remove."""
    private = wg.sh("node1", f"cat {FILE}").strip()
    wg.sh("node2", f"cp {FILE} /run/key; echo {private} >{FILE}")
    applied = wg.apply(DEPLOY)
    wg.sh("node2", f"cp /run/key {FILE}; rm /run/key")
    assert applied.code != 0
    assert applied.changed == set()
    assert f"node1 and node2 have the same private key; remove {FILE} on one of them" in applied.log
    assert wg.apply(DEPLOY).unchanged == BOTH


def test_a_host_without_wg_is_refused_before_anything_is_touched(wg: At) -> None:
    """The package is named."""
    wg.sh("node2", "mv /usr/bin/wg /usr/bin/wg.away")
    applied = wg.apply(DEPLOY)
    wg.sh("node2", "mv /usr/bin/wg.away /usr/bin/wg")
    assert applied.failed == {"node2"}
    assert "nothing was changed: the mode needs wg on this host: install the package wireguard-tools" in applied.log


def test_another_mode_and_a_teardown_leave_no_key(wg: At) -> None:
    """And no device; the next apply makes a new key."""
    old = wg.sh("node1", f"wg pubkey <{FILE}")
    wg.into("vxlan")
    assert wg.sh("node1", f"ls /etc/podnet; ip -br link show type wireguard; test ! -e {FILE}").split()
    assert "podnet.key" not in wg.sh("node1", "ls /etc/podnet")
    wg.into("wireguard")
    assert wg.sh("node1", f"wg pubkey <{FILE}") != old
    assert wg.apply("deploys/teardown.py").changed == BOTH
    for name in sorted(BOTH):
        left = wg.sh(name, "ls /etc | grep podnet || test $? = 1; wg show interfaces")
        assert left.replace("podnet\n", "").strip() == ""
        assert not re.findall(r"\S*key\S*", wg.sh(name, "ls -A /etc/podnet || test $? = 2"))
