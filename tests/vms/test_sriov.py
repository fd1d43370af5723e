"""Pods get VFs of a real (emulated) NIC, or a NIC by its name, and give them back as they were."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import shown
from tests.lab.at import At, Done, until
from tests.lab.nics import FIRST, MAKE_VFS, SECOND, VFS_AT_BOOT, carriers, inventory
from tests.lab.test_switching import EVERYTHING as WITH_PERMADDR

SHAPE = ("--hosts", "3")
HOSTS = {"node1", "node2", "node3"}
EVERYTHING = f"{{ {WITH_PERMADDR.strip()}\n}} | sed 's/ permaddr [0-9a-f:]*//'"
"""What igbvf calls permanent is the MAC that its PF had for it at the last reset, heard in time or not."""
MAKE_SPARE = "ip link add spare0 address 02:99:00:00:00:01 type veth peer name spare1"


@pytest.fixture(scope="module", autouse=True)
def vfs(at: At) -> None:
    """Make VFs on each host, now and at each boot, and a virtual NIC; load what every mode loads."""
    for host in sorted(HOSTS):
        at.sh(host, MAKE_VFS + MAKE_SPARE + VFS_AT_BOOT)
    at.into("vxlan")
    at.into("teardown")


@pytest.fixture(scope="module")
def both(at: At) -> Path:
    """Give pod1 the first VF by its PCI address, and pod2 the second by its name."""
    return inventory(at, "both", {"pod1": FIRST, "pod2": "eth3"})


@pytest.fixture(scope="module")
def sriov(at: At, both: Path) -> Path:
    """Put all hosts into the mode; return its inventory."""
    assert at.into("sriov", inventory=both).changed == HOSTS
    carriers(at)
    return both


def verify(at: At, inventory: Path) -> Done:
    """Verify all hosts."""
    return at.verify(mode="sriov", inventory=inventory)


def test_it_is_verified(at: At, sriov: Path, record_property: Callable[[str, object], None]) -> None:
    """State, reach with TTL 64 across, sizes, nothing on the uplink, and a second apply is silent."""
    done = verify(at, sriov)
    assert done.code == 0, done.said
    assert "skipped" not in done.out
    record_property("proved", "sriov")


DAMAGES = {
    "ip link set eth1 vf 0 mac 02:99:00:00:00:09": f"wrong VF: {FIRST}, which is eth1 vf 0: mac is 02:99:00:00:00:09",
    "ip link set eth1 vf 0 vlan 7 qos 2": f"wrong VF: {FIRST}, which is eth1 vf 0: vlan is 7, and should be 0; qos is",
    "ip link set eth1 vf 0 spoofchk off": f"wrong VF: {FIRST}, which is eth1 vf 0: spoofchk is off",
    "ip link set eth1 vf 0 max_tx_rate 10": f"wrong VF: {FIRST}, which is eth1 vf 0: max_tx_rate is 10",
    "ip -n podnet-pod1 link set eth0 mtu 1400": "pod podnet-pod1: wrong link: eth0: mtu is 1400, and should be 1500",
    "ip -n podnet-pod1 link set eth0 down; ip -n podnet-pod1 link set eth0 name other": (
        f"pod podnet-pod1: missing link: eth0, the NIC {FIRST}"
    ),
    "ip -n podnet-pod1 link set eth0 netns 1 name back": f"missing link: eth0, the NIC {FIRST} (back)",
    "ip -n podnet-pod1 link set eth0 alias mine": "wrong link: eth0: alias is mine, and should be podnet",
    "ip netns del podnet-pod1; udevadm settle": "missing pod: namespace podnet-pod1",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_healed(at: At, sriov: Path, damage: str) -> None:
    """Whatever is done to a VF, on its PF, in the pod or with the pod."""
    at.sh("node1", damage)
    if "netns del" in damage:
        until(lambda: FIRST in at.sh("node1", "ip -d link show"), 10, "the kernel has given the NIC back")
    found = at.differences("node1", "sriov", sriov)
    assert any(DAMAGES[damage] in sentence for sentence in found), found
    assert at.into("sriov", inventory=sriov).changed == {"node1"}
    assert at.differences("node1", "sriov", sriov) == []
    carriers(at)
    at.sh("node1", "ip netns exec podnet-pod1 ping -n -c 1 -w 10 10.244.2.2 | grep ttl=64")
    shown.note(15, "sriov", at.kind)


def test_a_pod_does_not_take_another_mac(at: At, sriov: Path) -> None:
    """The PF refuses it, since it has one for the VF and does not trust it."""
    done = at.try_sh("node1", "ip -n podnet-pod1 link set eth0 address 02:99:00:00:00:08")
    assert "Cannot assign requested address" in done.said
    assert at.differences("node1", "sriov", sriov) == []


def test_a_switch_leaves_exactly_the_new_mode(at: At, sriov: Path) -> None:
    """From vxlan and back to vxlan, line by line; a teardown leaves each NIC as it was, on the PF too."""
    at.into("teardown", inventory=sriov)
    bare = at.sh("node1", EVERYTHING)
    at.into("vxlan", inventory=sriov)
    fresh = at.sh("node1", EVERYTHING)
    pods = at.sh("node1", "stat -c %i /run/netns/podnet-*")
    at.into("sriov", inventory=sriov)
    assert at.differences("node1", "sriov", sriov) == []
    assert at.sh("node1", "stat -c %i /run/netns/podnet-*") == pods
    at.into("vxlan", inventory=sriov)
    assert at.sh("node1", EVERYTHING).splitlines() == fresh.splitlines()
    at.into("sriov", inventory=sriov)
    at.into("teardown", inventory=sriov)
    assert at.sh("node1", EVERYTHING).splitlines() == bare.splitlines()


def test_what_a_pf_imposes_is_as_said_and_vlans_are_apart(at: At, sriov: Path) -> None:
    """Pods of one VLAN reach each other across hosts, and nobody of another one; a trusted pod may set its MAC."""
    vlan = {"nic": FIRST, "vlan": 100, "max_tx_rate": 100, "spoofchk": False, "trust": True}
    apart = inventory(at, "vlan", {"pod1": vlan, "pod2": SECOND})
    at.into("sriov", inventory=apart)
    assert [at.differences(host, "sriov", apart) for host in sorted(HOSTS)] == [[], [], []]
    words = at.sh("node1", "ip link show eth1 | grep 'vf 0'")
    assert "link/ether 0a:58:0a:f4:01:02" in words
    assert "vlan 100, tx rate 100 (Mbps), max_tx_rate 100Mbps, spoof checking off, link-state auto, trust on" in words
    carriers(at)
    ping = "ip netns exec podnet-{} ping -n -c 1 -w 10 {} | grep ttl=64"
    at.sh("node1", ping.format("pod1", "10.244.2.2"))
    at.sh("node1", ping.format("pod2", "10.244.2.3"))
    for pod, other in (("pod1", "10.244.2.3"), ("pod2", "10.244.2.2"), ("pod1", "10.244.1.3")):
        assert at.try_sh("node1", f"ip netns exec podnet-{pod} ping -n -c 2 -w 3 {other}").code == 1
    at.sh("node1", "ip -n podnet-pod1 link set eth0 address 02:99:00:00:00:08")
    found = at.differences("node1", "sriov", apart)
    assert any("wrong link: eth0: mac is 02:99:00:00:00:08" in sentence for sentence in found), found
    at.into("sriov", inventory=sriov)
    assert [at.differences(host, "sriov", sriov) for host in sorted(HOSTS)] == [[], [], []]
    carriers(at)
    assert verify(at, sriov).code == 0


def test_any_nic_can_be_lent_by_its_name(at: At, sriov: Path) -> None:
    """A virtual one here, whose other end stays on the host; it comes back with the MAC, MTU and name that it had."""
    was = at.sh("node1", "ip -br link show spare0")
    named = inventory(at, "named", {"pod1": "spare0", "pod2": SECOND})
    at.into("sriov", inventory=named)
    assert at.differences("node1", "sriov", named) == []
    at.sh("node1", "ip link set spare1 up; ip addr add 10.244.200.1/16 dev spare1; ping -n -c 1 -w 10 10.244.1.2")
    at.sh("node1", "ip addr flush dev spare1; ip link set spare1 down")
    at.into("sriov", inventory=sriov)
    assert at.sh("node1", "ip -br link show spare0") == was


def test_a_nic_in_a_strangers_namespace_is_refused(at: At, both: Path) -> None:
    """Before anything is touched, whoever has it."""
    at.into("teardown", inventory=both)
    at.sh("node1", "ip netns add stranger; ip link set eth3 netns stranger")
    applied = at.apply("deploys/sriov.py", inventory=both)
    assert applied.failed == {"node1"}
    assert "`nics` gives pod2 the NIC eth3, which is not on this host, nor in a pod; the host has eth0," in applied.log
    assert at.sh("node1", "ls /run/netns") == "stranger\n"
    at.sh("node1", "ip -n stranger link set eth3 netns 1; ip netns del stranger")


@pytest.fixture(scope="module")
def addressed(at: At, sriov: Path) -> Path:  # noqa: ARG001  # it comes after that
    """Say both NICs by their PCI addresses: after a reboot names may be other NICs'."""
    path = inventory(at, "addressed", {"pod1": FIRST, "pod2": SECOND})
    at.into("sriov", inventory=path)
    return path


def test_it_is_there_again_after_a_reboot_of_all_hosts_at_once(at: At, addressed: Path) -> None:
    """Without the controller: the unit waits for the VFs that udev makes, and an apply finds nothing to do."""
    at.reboot(*HOSTS)
    at.back(*HOSTS, seconds=180)
    carriers(at)
    done = verify(at, addressed)
    assert done.code == 0, done.said
    assert at.into("sriov", inventory=addressed).unchanged == HOSTS
    shown.note(11, "sriov", at.kind)


def test_it_does_not_wait_for_a_machine_that_is_slow_to_come_back(at: At, addressed: Path) -> None:
    """All but one lost power at once: they are as they should be while node2 is still away, and later so is it."""
    at.off("node2")
    at.crash("node1")
    at.back("node1", seconds=180)
    assert at.differences("node1", "sriov", addressed) == []
    at.up("--vms", *SHAPE)
    at.back("node2", seconds=180)
    carriers(at)
    done = verify(at, addressed)
    assert done.code == 0, done.said


@pytest.mark.usefixtures("addressed")
def test_the_unit_is_run_again_without_anybody_noticing(at: At) -> None:
    """A NIC that is as it should be is not reset: its carrier would be away for seconds."""
    ping = "ip netns exec podnet-pod1 ping -n -c 1 -w 10 10.244.2.2"
    at.sh("node1", ping)
    changes = "ip netns exec podnet-pod1 cat /sys/class/net/eth0/carrier_changes"
    before = at.sh("node1", changes)
    at.sh("node1", "systemctl restart podnet.service")
    assert at.sh("node1", changes) == before
    at.sh("node1", ping)


def test_a_host_whose_vfs_nobody_made_says_what_it_waits_for(at: At, addressed: Path) -> None:
    """In the journal; once they are there it goes on by itself."""
    at.sh("node1", "mv /etc/udev/rules.d/90-vfs.rules /run/vfs; cp /run/vfs /etc/vfs; sync")
    at.reboot("node1")
    waits = f"journalctl --boot --unit podnet --output cat | grep -c 'waiting for NIC {FIRST}' || test $? = 1"
    until(lambda: at.sh("node1", waits) == "1\n", 60, "the unit waits")
    at.sh("node1", f"mv /etc/vfs /etc/udev/rules.d/90-vfs.rules; sync{MAKE_VFS}")
    at.back("node1", seconds=60)
    assert at.differences("node1", "sriov", addressed) == []
    carriers(at)


def test_every_disruptive_scenario_holds(at: At, addressed: Path) -> None:
    """None fails, none is skipped."""
    done = at.verify(
        "--disruptive", "--other-mode=vxlan", "podnet/verify/disruptive", mode="sriov", inventory=addressed
    )
    assert done.code == 0, done.said
    assert "skipped" not in done.out
    carriers(at)
