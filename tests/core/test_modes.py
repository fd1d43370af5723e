"""What modes refuse, and what the group's data change in them: before any host is asked, or by what a host says."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from podnet import modes
from podnet.batch import SAVED, sections
from podnet.cluster import Cluster
from podnet.differences import differences
from podnet.errors import ClusterError
from podnet.facts.node import asked
from podnet.inventory import read
from podnet.modes import bridge, host_gw, ipip, macvlan, udp, veth_pair, vxlan, vxlan_direct_routing
from podnet.obstacles import obstacles
from podnet.plan import plan
from podnet.section import Section
from podnet.state import Ipip, Ipvlan, State, Sysctl
from tests.core import goldens
from tests.core.examples import cluster, hosts
from tests.core.kernel import Kernel, host, machine

CALLS_IPTABLES = "net/bridge/bridge-nf-call-iptables"
ON_ONE_WIRE = ("host_gw", "ipvlan", "macvlan", "proxy_arp", "sriov")
WITH_A_BRIDGE = sorted({*goldens.MODES} - {"ipvlan", "macvlan", "proxy_arp", "sriov", "veth_pair"})


def behind_a_router() -> Cluster:
    """Put node3 on a segment of its own."""
    said = hosts()
    said["node3"]["address"] = "192.168.57.13/24"
    return read(said)


def wanted(mode: modes.Mode, of: Cluster, name: str = "node1") -> State:
    """Say what a node should hold in its kernel's tables; tests/core/test_files.py has the files."""
    return replace(modes.wanted(mode, of, of.node(name)), files=frozenset())


@pytest.mark.parametrize("node", ["node1", "node2", "node3"])
@pytest.mark.parametrize("name", ON_ONE_WIRE)
def test_a_mode_that_needs_one_segment_refuses_a_router_on_every_node(name: str, node: str) -> None:
    """Also on those that have no peer behind it themselves: a cluster is changed as a whole, or not at all."""
    with pytest.raises(ClusterError) as refusal:
        wanted(goldens.mode(name), behind_a_router(), node)
    said = str(refusal.value)
    assert said.startswith(f"node1: {name} ")
    assert "but node3 (192.168.57.13/24) is not on the segment of node1 (192.168.56.11/24); choose a mode that" in said


@pytest.mark.parametrize("name", sorted({*goldens.MODES} - {*ON_ONE_WIRE}))
def test_any_other_mode_crosses_routers(name: str) -> None:
    """Or has no way to other hosts at all."""
    assert wanted(goldens.mode(name), behind_a_router()).pods


@pytest.mark.parametrize("pods", [1, 3, 4])
def test_a_cable_has_two_ends(pods: int) -> None:
    """One pod has nobody to talk to, and a third has no end."""
    with pytest.raises(ClusterError, match=rf"^node1: veth_pair joins two pods .* `pods` names {pods}; name 2$"):
        wanted(veth_pair, cluster(pods=pods))


def test_a_host_without_pods_needs_no_cable() -> None:
    """Nor does anything of this mode stand on the host itself."""
    assert wanted(veth_pair, cluster(pods=0)) == State()


@pytest.mark.parametrize("pods", [["b", "a"], ["a", "b"]])
def test_of_two_pods_the_first_by_name_holds_the_cable(pods: list[str]) -> None:
    """Whatever the order in the inventory, which gives the addresses: facts read it so."""
    held = wanted(veth_pair, cluster(pods=pods)).pods
    kinds = {netns: type(link).__name__ for netns, pod in held.items() for link in pod.links if link.dev == "eth0"}
    assert kinds == {"podnet-a": "Veth", "podnet-b": "Nic"}


@pytest.mark.parametrize("name", ["vxlan_direct_routing", "ipip_direct_routing"])
def test_both_ends_of_a_pair_choose_the_same_way(name: str) -> None:
    """Were one to send bare what the other sends wrapped, a strict rp_filter would drop it."""
    of = behind_a_router()
    for me in of.nodes:
        to = {route.to: route for route in wanted(goldens.mode(name), of, me.name).routes}
        for peer in of.peers(me):
            assert (to[peer.pod_subnet].dev == me.uplink) == (peer in of.adjacent(me))
            assert (peer in of.adjacent(me)) == (me in of.adjacent(peer))


def test_direct_routing_without_a_router_is_host_gw_with_a_spare_tunnel() -> None:
    """No entry leads through it."""
    of = cluster()
    both, bare = wanted(vxlan_direct_routing, of), wanted(host_gw, of)
    assert both.routes == bare.routes
    assert not both.neighbours | both.fdb


@pytest.mark.parametrize("name", sorted({*goldens.MODES} - {"sriov"}))
def test_kinds_that_the_kernel_lacks_are_refused(name: str) -> None:
    """The kinds that are asked for are those of the mode's devices; each that is lacking is named with a way out."""
    of = cluster()
    want = wanted(goldens.mode(name), of)
    kinds = asked(want)["device_kinds"]
    assert kinds
    have = replace(host().see(want), lacks=frozenset(kinds))
    found = obstacles(want, have, of, "node1")
    assert [reason.split(",")[0] for reason in found] == [f"this kernel lacks the module {kind}" for kind in kinds]


def test_udp_needs_both_of_its_modules() -> None:
    """FOU is no kind of device, and a module all the same."""
    assert asked(wanted(udp, cluster()))["device_kinds"] == ("bridge", "fou", "ipip", "veth")


@pytest.mark.parametrize("mode", [ipip, udp])
def test_a_strangers_tunnel_of_the_same_ends_is_an_obstacle(mode: modes.Mode) -> None:
    """The kernel allows it once, wrapped or not; one to a single host has other ends."""
    of, kernel = cluster(), host()
    want, here = wanted(mode, of), IPv4Address("192.168.56.11")
    kernel.add_link(Ipip("tun1", 1480, here, IPv4Address("192.168.56.99"), alias=""))
    kernel.add_link(Ipip("tunl0", 1480, None, alias=""))
    assert obstacles(want, kernel.see(want), of, "node1") == []
    kernel.add_link(Ipip("tun0", 1480, here, alias=""))
    (reason,) = obstacles(want, kernel.see(want), of, "node1")
    assert reason.startswith("the device tun0 already has local 192.168.56.11, remote any, which flannel.")


def test_a_strangers_device_on_the_same_wire_is_an_obstacle() -> None:
    """The kernel calls the wire busy; on another wire, or of the same kind, it is none of our business."""
    of, kernel = cluster(), host()
    want = wanted(macvlan, of)
    kernel.add_link(Ipvlan("ipvl1", 1500, "eth1", alias=""))
    assert obstacles(want, kernel.see(want), of, "node1") == []
    kernel.add_link(Ipvlan("ipvl0", 1500, "eth0", alias=""))
    (reason,) = obstacles(want, kernel.see(want), of, "node1")
    assert reason == (
        "ipvl0 in this host is a device of the kind ipvlan on eth0, beside which the kernel allows no "
        "macvlan; remove it or choose another mode"
    )


def apply(kernel: Kernel, want: State) -> list[Section]:
    """Bring a host to `want`, and find nothing to do after."""
    done = sections(plan(want, kernel.see(want)))
    for section in done:
        kernel.run(section)
    assert differences(want, kernel.see(want)) == []
    assert sections(plan(want, kernel.see(want))) == []
    return done


@pytest.mark.parametrize("name", WITH_A_BRIDGE)
def test_bridged_packets_meet_iptables_or_not_as_the_group_says(name: str) -> None:
    """Every mode with a bridge says so either way; the others have nothing that is only bridged."""
    for said in (True, False):
        want = wanted(goldens.mode(name), cluster(bridge_netfilter=said))
        assert Sysctl(CALLS_IPTABLES, str(int(said))) in want.sysctls


def test_a_module_that_is_not_loaded_is_not_loaded_to_be_turned_off() -> None:
    """Where there is no such setting, bridged packets meet no iptables: nothing to do, and nothing is wrong."""
    kernel = host()
    done = apply(kernel, wanted(bridge, cluster(bridge_netfilter=False)))
    assert "modprobe br_netfilter" not in [section.command for section in done]
    assert CALLS_IPTABLES not in kernel.sysctls
    assert not [line for line in kernel.files[SAVED] if CALLS_IPTABLES in line]


def test_a_module_that_is_loaded_is_turned_off_and_given_back() -> None:
    """Somebody else had loaded it: his value is noted, and comes back when we go."""
    kernel = host()
    kernel.run(Section("modprobe br_netfilter"))
    apply(kernel, wanted(vxlan, cluster(bridge_netfilter=False)))
    assert kernel.sysctls[CALLS_IPTABLES] == "0"
    assert f"{CALLS_IPTABLES} = 1" in kernel.files[SAVED]
    apply(kernel, State())
    assert kernel.sysctls[CALLS_IPTABLES] == "1"


def test_a_change_of_mind_about_bridged_packets_needs_one_line() -> None:
    """On, off and on again; what there was before us stays noted."""
    kernel = host()
    apply(kernel, wanted(vxlan, cluster()))
    noted = kernel.files[SAVED]
    for said in (False, True):
        done = apply(kernel, wanted(vxlan, cluster(bridge_netfilter=said)))
        assert [line for section in done for line in section.lines] == [f"{CALLS_IPTABLES} = {int(said)}"]
        assert kernel.files[SAVED] == noted


def test_ports_are_the_groups() -> None:
    """FOU's port is where the tunnel sends from and to, and a change of it makes the tunnel anew."""
    kernel = host()
    apply(kernel, wanted(udp, cluster()))
    done = apply(kernel, wanted(udp, cluster(udp_port=9000)))
    first = done[0].lines[:3]
    assert first == ("fou del port 8285", "link del flannel.udp", "fou add port 9000 ipproto 4")
    assert len([line for section in done for line in section.lines if "flannel.udp" in line]) == 9


@pytest.mark.parametrize("vni", [2, 2**24 - 1])
@pytest.mark.parametrize("name", goldens.MODES)
def test_every_name_fits_whatever_the_vni(name: str, vni: int) -> None:
    """The kernel takes 15 characters for a device, 255 for a namespace, and iptables 28 for a chain."""
    of = cluster(vni=vni, pods=["a" * 63, "b" * 63])
    want = wanted(goldens.mode(name), of)
    assert all(len(link.dev) <= 15 for link in want.links)
    assert all(len(netns) <= 255 for netns in want.pods)
    assert all(len(chain.chain) <= 28 for chain in want.chains)
    kernel = machine()
    for section in sections(plan(want, kernel.see(want), of.marks)):
        kernel.run(section)
    assert differences(want, kernel.see(want), of.marks) == []


def test_checksums_are_left_to_the_hardware_or_not() -> None:
    """Switched off after the tunnel is made, seen when somebody switches it on, and given back with the option."""
    kernel = host()
    off = wanted(vxlan, cluster(checksum_offload=False))
    assert "ethtool -K flannel.1 tx-checksum-ip-generic off" in [section.command for section in apply(kernel, off)]
    assert apply(kernel, off) == []
    kernel.sums.clear()
    assert [section.command for section in apply(kernel, off)] == ["ethtool -K flannel.1 tx-checksum-ip-generic off"]
    on = [section.command for section in apply(kernel, wanted(vxlan, cluster()))]
    assert "ethtool -K flannel.1 tx-checksum-ip-generic on" in on
    assert apply(kernel, wanted(vxlan, cluster())) == []
