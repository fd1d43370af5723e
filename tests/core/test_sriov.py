"""NICs on loan: which ones an inventory may name, what a host says of them, what stands in the way, the way back."""

import json
from dataclasses import replace
from ipaddress import IPv4Interface
from typing import Any

import pytest

from podnet import modes
from podnet.batch import sections
from podnet.cluster import Card, Cluster
from podnet.differences import differences
from podnet.errors import ClusterError
from podnet.facts import links, vfs
from podnet.inventory import read
from podnet.modes import sriov, vxlan
from podnet.nics import note, remembered
from podnet.obstacles import obstacles
from podnet.plan import plan
from podnet.state import Address, Before, Bridge, Loan, Nic, Port, State, Vf
from tests.core.examples import cluster, hosts, vf
from tests.core.kernel import Kernel, machine

FIRST, SECOND = vf(0), vf(1)
ALIAS = (
    "podnet name eth2 address 62:13:4f:83:46:27 mtu 1500 down vf mac 00:00:00:00:00:00 vlan 0 qos 0 max_tx_rate 0 "
    "spoofchk on trust off state auto"
)
PF: dict[str, Any] = {
    "ifname": "eth1", "flags": ["UP"], "mtu": 1500, "address": "02:56:c0:a8:38:0b", "parentbus": "pci",
    "parentdev": "0000:01:00.0", "vfinfo_list": [
        {"vf": 0, "link_type": "ether", "address": "0a:58:0a:f4:01:02", "vlan_list": [{"vlan": 100, "qos": 3}],
         "rate": {"max_tx": 50, "min_tx": 0}, "spoofchk": False, "link_state": "auto", "trust": True},
        {"vf": 1, "link_type": "ether", "address": "00:00:00:00:00:00", "vlan_list": [{}],
         "rate": {"max_tx": 0, "min_tx": 0}, "link_state": "auto"},
    ],
}  # fmt: skip
"""What iproute2 6.1 prints of an igb with two VFs, shortened; the second one as a driver that tells less would."""
LENT: dict[str, Any] = {
    "ifname": "eth0", "flags": ["UP"], "mtu": 1500, "address": "0a:58:0a:f4:01:02", "parentbus": "pci",
    "parentdev": "0000:01:10.0", "ifalias": ALIAS,
}  # fmt: skip


def given(nics: dict[str, object], pods: object = 2) -> Cluster:
    """Read an inventory whose node1 gives its pods these NICs."""
    said = hosts(pods=pods)
    said["node1"]["nics"] = nics
    return read(said)


def want_of(of: Cluster) -> State:
    """Say what node1 should hold."""
    return modes.wanted(sriov, of, of.node("node1"))


def run(kernel: Kernel, want: State) -> list[str]:
    """Bring a host to `want`, and find nothing wrong and nothing to do after."""
    done = sections(plan(want, kernel.see(want)))
    for section in done:
        kernel.run(section)
    assert differences(want, kernel.see(want)) == []
    assert sections(plan(want, kernel.see(want))) == []
    return [line for section in done for line in section.lines]


def why(kernel: Kernel, of: Cluster) -> list[str]:
    """Say what stands in node1's way."""
    want = want_of(of)
    return obstacles(want, kernel.see(want), of, "node1")


def test_a_nic_is_text_or_a_dict_of_settings() -> None:
    """A PCI address or a name; what is not said is as the kernel has it at first."""
    said: dict[str, object] = {
        "pod1": FIRST,
        "pod2": {"nic": "eth3", "vlan": 7, "max_tx_rate": 9, "spoofchk": False, "trust": True},
    }
    assert given(said).node("node1").cards == (
        Card("pod1", FIRST),
        Card("pod2", "eth3", vlan=7, max_tx_rate=9, spoofchk=False, trust=True),
    )


@pytest.mark.parametrize(
    ("nics", "words"),
    [
        (
            {"pod1": FIRST, "pod2": FIRST},
            "the NIC 0000:01:10.0 is already taken by node1; give each of its pods its own",
        ),
        ({"pod1": FIRST, "pod2": "eth0"}, "`nics` gives pod2 the `uplink` eth0; name another NIC"),
    ],
)
def test_nics_that_cannot_be_given_are_refused_with_the_inventory(nics: dict[str, object], words: str) -> None:
    """Before any host is contacted."""
    with pytest.raises(ClusterError, match=rf"^node1: {words}"):
        given(nics)


def test_every_pod_needs_a_nic_in_this_mode_alone() -> None:
    """Other modes do not look at `nics`."""
    of = given({"pod1": FIRST})
    assert modes.wanted(vxlan, of, of.node("node1")).pods
    with pytest.raises(ClusterError, match="node1: sriov needs a NIC for every pod, and `nics` has none for pod2"):
        want_of(of)


def test_what_a_pf_says_of_its_vfs_is_read() -> None:
    """Also where a driver tells less than igb does: what it does not tell is as the kernel has it at first."""
    there = ["/sys/class/net/eth1/device/virtfn0", "/sys/class/net/eth1/device/virtfn1"]
    found = ["/sys/devices/pci0000:00/0000:00:04.0/0000:01:10.0", "/sys/devices/pci0000:00/0000:00:04.0/0000:01:10.2"]
    first, second = sorted(vfs.parse([*there, *found], [PF]), key=lambda item: item.key)
    assert first == Vf(FIRST, "0a:58:0a:f4:01:02", 100, 3, 50, spoofchk=False, trust=True)
    assert (first.pf, first.index, second.pf, second.index) == ("eth1", 0, "eth1", 1)
    assert second == Vf(SECOND, "00:00:00:00:00:00")
    assert frozenset(vfs.Vfs().process([json.dumps([PF]), *there, *found]) or ()) == {first, second}
    assert vfs.parse([], [PF]) == frozenset()


def test_a_note_is_read_as_it_was_written() -> None:
    """In a pod, and on a host to which the kernel gave the NIC back: that it bears the note makes it a loan."""
    (lent,) = links.parse([LENT], {}, in_pod=True)
    assert isinstance(lent, Loan)
    assert lent == Loan("eth0", 1500, "0a:58:0a:f4:01:02", FIRST)
    assert lent.before == Before("eth2", "62:13:4f:83:46:27", 1500, vf=Vf(FIRST, "00:00:00:00:00:00"))
    assert note(lent) == ALIAS
    assert links.parse([LENT], {}) == {lent}
    assert links.parse([{**LENT, "ifalias": "mine"}], {}) == {Nic("eth0", 1500, lent.mac)}
    assert links.parse([{**LENT, "ifalias": ""}], {}, in_pod=True) == {replace(lent, alias="")}


def test_a_host_with_its_nics_has_no_obstacles_before_and_after() -> None:
    """By their PCI addresses or by their names; a loan that runs is not in its own way."""
    kernel, of = machine(), given({"pod1": FIRST, "pod2": "eth3"})
    assert why(kernel, of) == []
    run(kernel, want_of(of))
    assert why(kernel, of) == []
    run(kernel, want_of(given({"pod1": "eth2", "pod2": SECOND})))


def missing(kernel: Kernel) -> None:
    """Take the VF's driver away."""
    kernel.del_link("eth2")


def unplugged(kernel: Kernel) -> None:
    """Have no VFs at all."""
    kernel.del_link("eth2")
    kernel.tables["vfs"].clear()


def in_use(kernel: Kernel) -> None:
    """Give it an address."""
    kernel.put("addresses", Address("eth2", IPv4Interface("192.0.2.1/24")))


def enslaved(kernel: Kernel) -> None:
    """Plug it into a bridge."""
    kernel.add_link(Bridge("br0", 1500, "", alias=""))
    kernel.tables["ports"].append(Port("eth2", "br0", hairpin=False))


def pf_down(kernel: Kernel) -> None:
    """Let nothing pass."""
    kernel.put("links", replace(kernel.link("eth1"), up=False))


IN_THE_WAY = [
    (missing, "the virtual function 0 of eth1, whose device is not on this host: it has no driver, or is in a names"),
    (unplugged, "which is not on this host, nor in a pod; the host has eth0, eth1 (0000:01:00.0), eth3 (0000:01:10.2)"),
    (in_use, "which is in use: it has the address 192.0.2.1/24; name another, or take the address away"),
    (enslaved, "which is a part of br0; name another, or take it out (ip link set eth2 nomaster)"),
    (pf_down, "a virtual function of eth1, which is down, so that nothing passes: ip link set eth1 up"),
]


@pytest.mark.parametrize(("damage", "words"), IN_THE_WAY, ids=lambda value: getattr(value, "__name__", ""))
def test_a_nic_that_cannot_be_lent_is_refused(damage: Any, words: str) -> None:
    """Before anything is touched, with a way out."""
    kernel = machine()
    damage(kernel)
    (reason, *_) = why(kernel, given({"pod1": FIRST, "pod2": SECOND}))
    assert reason.startswith(f"`nics` gives pod1 the NIC {FIRST}, {words}")


@pytest.mark.parametrize(
    ("nics", "words"),
    [
        ({"pod1": FIRST, "pod2": "eth2"}, "gives pod2 the NIC eth2, which is the one of pod1; give each pod its own"),
        ({"pod1": "eth1", "pod2": FIRST}, "gives pod1 the NIC eth1, which has virtual functions that pods are given"),
        ({"pod1": FIRST, "pod2": "eth1"}, "gives pod2 the NIC eth1, which has virtual functions that pods are given"),
        ({"pod1": FIRST, "pod2": "cni0"}, "gives pod2 the NIC cni0, which is a bridge and no NIC; name another"),
        (
            {"pod1": FIRST, "pod2": {"nic": "plain", "vlan": 7}},
            "the NIC plain, which is no virtual function here: take",
        ),
    ],
)
def test_a_wrong_nic_is_refused(nics: dict[str, object], words: str) -> None:
    """What only the host can tell: which NIC is which."""
    kernel = machine()
    kernel.add_link(Bridge("cni0", 1500, "", alias=""))
    kernel.add_link(Nic("plain", 1500, "02:58:00:00:00:01"))
    (reason,) = why(kernel, given(nics))
    assert words in reason


def test_a_nic_that_another_cluster_has_is_refused() -> None:
    """It is in one of that cluster's pods."""
    kernel, of = machine(), cluster()
    run(kernel, want_of(of))
    said = hosts(network="10.245.0.0/16", vni=7)
    for number, data in enumerate(said.values(), 1):
        data["pod_subnet"] = f"10.245.{number}.0/24"
        data["nics"] = {"pod1": FIRST, "pod2": "eth3"}
    reasons = why(kernel, read(said))
    assert [reason.partition(", ")[2] for reason in reasons] == [
        "which podnet-pod1 of another cluster has; name another",
        "which podnet-pod2 of another cluster has; name another",
    ]


def test_what_a_pf_had_imposed_before_is_given_back() -> None:
    """With name, MAC, MTU and state of the NIC; and no word of ours is left on it."""
    kernel = machine()
    kernel.ip("link set eth1 vf 0 vlan 5 qos 1 max_tx_rate 8 trust on")
    kernel.ip("link set eth2 mtu 9000 up")
    before, imposed = kernel.link("eth2"), list(kernel.tables["vfs"])
    run(kernel, want_of(given({"pod1": {"nic": FIRST, "vlan": 100}, "pod2": SECOND})))
    assert kernel.find("vfs", (FIRST,)).vlan == 100
    run(kernel, State())
    assert kernel.link("eth2") == before
    assert kernel.tables["vfs"] == imposed


DAMAGES = [
    (
        "link set eth1 vf 0 mac 02:00:00:00:00:09",
        "wrong VF: 0000:01:10.0, which is eth1 vf 0: mac is 02:00:00:00:00:09",
    ),
    ("link set eth1 vf 0 vlan 9", "wrong VF: 0000:01:10.0, which is eth1 vf 0: vlan is 9, and should be 0"),
    ("netns del podnet-pod1", "missing pod: namespace podnet-pod1"),
]


@pytest.mark.parametrize(("line", "words"), DAMAGES, ids=lambda value: value)
def test_damage_on_the_host_is_named_and_healed(line: str, words: str) -> None:
    """A NIC whose namespace went is found again by its PCI address, under whatever name it came back."""
    kernel, want = machine(), want_of(cluster())
    run(kernel, want)
    kernel.ip(line)
    assert any(sentence.startswith(words) for sentence in differences(want, kernel.see(want)))
    run(kernel, want)


@pytest.mark.parametrize(
    "lines",
    [
        ["link set eth0 down", "link set eth0 name other"],
        ["link set eth0 netns 1 name back"],
        ["link set eth0 alias x"],
    ],
    ids=lambda lines: lines[-1],
)
@pytest.mark.parametrize("then", ["again", "away"])
def test_a_nic_that_was_moved_or_renamed_in_its_pod_is_found(lines: list[str], then: str) -> None:
    """Put back into its place, or given back under its old name; with its note lost, under a free one."""
    kernel, want = machine(), want_of(cluster())
    run(kernel, want)
    for line in lines:
        kernel.pods["podnet-pod1"].ip(line)
    assert differences(want, kernel.see(want))
    run(kernel, want if then == "again" else State())
    back = {link.pci: link for link in kernel.tables["links"] if isinstance(link, Nic)}
    assert (FIRST in back) == (then == "away")
    assert then == "again" or (back[FIRST].dev, back[FIRST].alias) == ("eth2", "")  # type: ignore[attr-defined]  # a Card


def test_a_nic_whose_name_another_has_by_now_comes_back_under_a_free_one() -> None:
    """VFs that were made meanwhile, or at a boot in another order; two of them get two names."""
    kernel = machine()
    run(kernel, want_of(cluster()))
    kernel.add_link(Nic("eth2", 1500, "02:58:00:00:00:01"))
    kernel.add_link(Nic("eth3", 1500, "02:58:00:00:00:02"))
    run(kernel, State())
    names = [link.dev for link in kernel.tables["links"]]
    assert len(names) == len(set(names))
    back = {link.pci: link.dev for link in kernel.tables["links"] if isinstance(link, Nic)}
    assert {back[FIRST], back[SECOND]}.isdisjoint({"eth2", "eth3"})


def test_a_nic_without_a_pci_address_gets_a_free_name_too() -> None:
    """Such a NIC is known by its name, and so is the stranger that has it by now."""
    before = Before("eth2", "02:57:00:00:00:01", 1500, up=False)
    loan = Loan("eth0", 1500, "0a:58:0a:f4:01:02", "eth2", before, "", alias="podnet")
    have = State(
        links=frozenset({Nic("eth2", 1500, "02:58:00:00:00:01")}), pods={"podnet-pod1": State(links=frozenset({loan}))}
    )
    back = remembered(loan, have).before
    assert back is not None
    assert back.dev == "eth0"


def test_pods_swap_their_nics() -> None:
    """Both are taken out before either is put in."""
    kernel = machine()
    run(kernel, want_of(given({"pod1": FIRST, "pod2": SECOND})))
    lines = run(kernel, want_of(given({"pod1": SECOND, "pod2": FIRST})))
    assert lines[:2] == ["link set eth0 netns 1 name eth2", "link set eth0 netns 1 name eth3"]
    assert [kernel.pods[netns].link("eth0").pci for netns in ("podnet-pod1", "podnet-pod2")] == [SECOND, FIRST]
