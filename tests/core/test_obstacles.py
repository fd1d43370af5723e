"""What on a host stands in the way is found before anything is changed, and told with a way out."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from podnet import modes
from podnet.batch import sections
from podnet.marks import FIRST, Marks
from podnet.modes import macvlan, proxy_arp, vxlan
from podnet.obstacles import obstacles
from podnet.plan import plan
from podnet.state import Address, Bridge, Nic, Port, State, Veth, Vxlan
from tests.core.examples import cluster
from tests.core.kernel import Kernel, host

CLUSTER = cluster()
WANT = vxlan.state(CLUSTER, CLUSTER.node("node1"))


def found(kernel: Kernel, want: State = WANT) -> list[str]:
    """Say what stands in node1's way."""
    return obstacles(want, kernel.see(want), CLUSTER, "node1")


def test_a_fresh_host_has_no_obstacles() -> None:
    """Its uplink holds its address, and nobody else is there."""
    assert found(host()) == []


def test_an_applied_host_has_no_obstacles() -> None:
    """Nothing of ours is taken for a stranger's."""
    kernel = host()
    for link in WANT.links:
        kernel.tables["links"].append(link)
    kernel.tables["addresses"] += WANT.addresses
    assert found(kernel) == []


BRIDGE = next(link for link in WANT.links if isinstance(link, Bridge))
TUNNEL = next(link for link in WANT.links if isinstance(link, Vxlan))
STRANGE = [
    Nic("cni0", 1500, ""),
    Bridge("flannel.1", 1500, "", alias=""),
    replace(BRIDGE, mac="02:aa:00:00:00:01", alias=""),
]


@pytest.mark.parametrize("link", STRANGE, ids=repr)
def test_a_strangers_device_in_our_place_is_an_obstacle(link: Nic | Bridge) -> None:
    """We would have to delete or bend what somebody made, of whichever kind it is."""
    kernel = host()
    kernel.add_link(link)
    (reason,) = found(kernel)
    assert reason.startswith(f"the device {link.dev} exists ")
    assert reason.endswith(f"rename the device or remove it (ip link del {link.dev})")


def test_our_device_without_its_mark_is_no_obstacle() -> None:
    """A run was cut before the mark, or somebody took it off on a host that has other things of ours."""
    cut = host()
    cut.add_link(replace(BRIDGE, alias="", up=False))
    assert found(cut) == []
    damaged = host()
    damaged.add_link(TUNNEL)
    damaged.add_link(replace(BRIDGE, alias="", mac="02:aa:00:00:00:01"))
    assert found(damaged) == []


def test_a_device_of_another_kind_is_an_obstacle_even_among_ours() -> None:
    """No line could turn it into ours."""
    kernel = host()
    kernel.add_link(TUNNEL)
    kernel.add_link(Nic("cni0", 1500, ""))
    (reason,) = found(kernel)
    assert reason.startswith("the device cni0 exists and is no bridge; podnet needs the name: ")


def test_a_strangers_tunnel_of_the_same_vni_and_port_is_an_obstacle() -> None:
    """The kernel allows it once; another port, or another VNI, is none of our business."""
    kernel = host()
    other = Vxlan("vx0", 1450, "", 1, 8472, IPv4Address("192.168.56.11"), "eth0", alias="")
    kernel.add_link(other)
    kernel.add_link(replace(other, dev="vx1", port=4789))
    kernel.add_link(replace(other, dev="vx2", vni=2))
    (reason,) = found(kernel)
    assert reason == (
        "the device vx0 already has vni 1, port 8472, which flannel.1 needs; remove it (ip link del vx0), or "
        "change that in the inventory"
    )


def test_an_uplink_that_is_not_there_is_an_obstacle() -> None:
    """The devices that there are are named to choose from."""
    kernel = host()
    kernel.tables["links"] = [replace(kernel.link("eth0"), dev="ens3"), kernel.link("lo")]
    (reason,) = found(kernel)
    assert reason == "`uplink` eth0 is no device of this host, which has ens3, lo; name the right one"


@pytest.mark.parametrize("there", ["192.168.56.11/16", "192.168.56.99/24", None])
def test_an_address_that_is_not_on_the_uplink_is_an_obstacle(there: str | None) -> None:
    """Another prefix length is another address: peers would be looked for in another network."""
    kernel = host()
    kernel.tables["addresses"] = [Address("eth0", IPv4Interface(there))] if there else []
    (reason,) = found(kernel)
    said = there or "no IPv4 address"
    assert reason == f"`address` 192.168.56.11/24 is not on eth0, which has {said}; correct one of the two"


def test_an_underlay_mtu_that_the_uplink_lacks_is_an_obstacle() -> None:
    """Large packets would vanish; a larger MTU than said is fine."""
    kernel = host()
    kernel.ip("link set eth0 mtu 9000")
    assert found(kernel) == []
    kernel.ip("link set eth0 mtu 1400")
    (reason,) = found(kernel)
    assert reason.startswith("`underlay_mtu` is 1500, but eth0 has an MTU of 1400; lower the one")


def test_a_strangers_network_inside_the_pods_is_an_obstacle() -> None:
    """docker0 of 10.244.77.1/24 would take the packets of a node's pods."""
    kernel = host()
    kernel.add_link(Bridge("docker0", 1500, "", alias=""))
    kernel.put("addresses", Address("docker0", IPv4Interface("10.244.77.1/24")))
    (reason,) = found(kernel)
    assert reason.startswith("`network` 10.244.0.0/16 overlaps 10.244.77.1/24 of the device docker0")


def test_teardown_knows_no_obstacles() -> None:
    """Nothing is wanted, and the inventory may be gone: whoever stands in the way of nothing is left alone."""
    kernel = host()
    kernel.add_link(Nic("cni0", 1500, ""))
    assert obstacles(State(), kernel.see(State()), None, "node1") == []


def test_an_uplink_that_podnet_makes_is_an_obstacle() -> None:
    """A tunnel cannot go by itself."""
    me = replace(CLUSTER.node("node1"), uplink="cni0")
    of = replace(CLUSTER, nodes=(me, *CLUSTER.nodes[1:]))
    (reason,) = obstacles(WANT, host().see(WANT), of, "node1")
    assert reason == "`uplink` cni0 is a device that podnet makes; name the one that leads to other hosts"


def test_an_address_that_two_devices_hold_is_no_obstacle() -> None:
    """It is on the uplink, wherever else it is."""
    kernel = host()
    kernel.tables["addresses"].append(Address("lo", CLUSTER.node("node1").address))
    assert found(kernel) == []


def test_an_uplink_whose_address_is_leased_is_no_obstacle() -> None:
    """DHCP gives addresses that expire unless they are renewed: they are there all the same."""
    kernel = host()
    (held,) = (item for item in kernel.tables["addresses"] if item.dev == "eth0")
    kernel.put("addresses", replace(held, forever=False))
    assert found(kernel) == []


def applied(want: State, mine: Marks = FIRST) -> Kernel:
    """Return a host that holds this."""
    kernel = host()
    for section in sections(plan(want, kernel.see(want), mine)):
        kernel.run(section)
    return kernel


def plugged(kernel: Kernel, bridge: str = "cni0") -> None:
    """Put a container of somebody else's beside the pods, as the CNI plugin bridge does."""
    kernel.add_link(Veth("veth01234567", 1450, "", "02:00:00:00:00:09", alias=""))
    kernel.put("ports", Port("veth01234567", bridge, hairpin=True))


def test_containers_of_others_keep_the_bridge_that_they_hang_on() -> None:
    """A teardown, and a mode without it, are refused until they are gone, or may be cut off."""
    kernel = applied(modes.wanted(vxlan, CLUSTER, CLUSTER.node("node1")))
    plugged(kernel)
    assert found(kernel) == []
    for want in (State(), modes.wanted(proxy_arp, CLUSTER, CLUSTER.node("node1"))):
        (reason,) = obstacles(want, kernel.see(want), None, "node1")
        assert reason.startswith("cni0 would be removed, and veth01234567 would be cut off, which podnet did not make")
        assert "cni_pods" not in reason
        assert obstacles(want, kernel.see(want), None, "node1", cut_off=True) == []


def test_who_runs_in_a_pod_keeps_it() -> None:
    """A container that was started inside, or a server: a teardown, and an apply without the pod, name it."""
    want = modes.wanted(vxlan, CLUSTER, CLUSTER.node("node1"))
    inside = {"podnet-pod1": ("nginx (4711)",), "podnet7-pod1": ("nc (12)",)}
    have = replace(applied(want).see(want), running=inside)
    assert obstacles(want, have, CLUSTER, "node1") == []
    fewer = replace(want, pods={"podnet-pod2": want.pods["podnet-pod2"]})
    for gone in (State(), fewer):
        (reason,) = obstacles(gone, have, None, "node1")
        assert reason == (
            "the pod podnet-pod1 would be removed, and nginx (4711) would be cut off, which podnet did not start: "
            "somebody's container or server; end that first (ip netns pids podnet-pod1), or say `cut_off: True` as "
            "data of this host"
        )
        assert obstacles(gone, have, None, "node1", cut_off=True) == []
    crowd = replace(have, running={"podnet-pod1": tuple(f"nginx ({i})" for i in range(9))})
    (reason,) = obstacles(State(), crowd, None, "node1")
    assert "and nginx (0), nginx (1), nginx (2), nginx (3), nginx (4) and 4 more would be cut off" in reason


def test_containers_of_others_keep_the_way_that_they_hang_on() -> None:
    """The plugin ptp gives each cable an address of the node's subnet; pods of ours have none on the host."""
    want = modes.wanted(proxy_arp, CLUSTER, CLUSTER.node("node1"))
    kernel = applied(want)
    assert obstacles(State(), kernel.see(State()), None, "node1") == []
    kernel.add_link(Veth("veth01234567", 1500, "", "02:00:00:00:00:09", alias=""))
    kernel.put("addresses", Address("veth01234567", IPv4Interface("10.244.1.1/32")))
    assert obstacles(want, kernel.see(want), CLUSTER, "node1") == []
    (reason,) = obstacles(State(), kernel.see(State()), None, "node1")
    assert reason.startswith("the way to 10.244.1.0/24 would be removed, and veth01234567 would be cut off")


def test_a_teardown_looks_after_the_cluster_that_it_takes_away() -> None:
    """On a host of two, containers of the other one hinder nobody, and its own are not cut off unasked."""
    seventh = replace(CLUSTER, vni=7)
    kernel = applied(modes.wanted(vxlan, CLUSTER, CLUSTER.node("node1")))
    plugged(kernel)
    assert obstacles(State(), kernel.see(State()), None, "node1", seventh.marks) == []
    want = modes.wanted(vxlan, seventh, seventh.node("node1"))
    kernel = applied(want, seventh.marks)
    plugged(kernel, "cni.7")
    assert obstacles(State(), kernel.see(State()), None, "node1") == []
    (reason,) = obstacles(State(), kernel.see(State()), None, "node1", seventh.marks)
    assert reason.startswith("cni.7 would be removed, and veth01234567 would be cut off")


def test_the_inventorys_word_holds_wherever_the_cluster_is_given() -> None:
    """Keys are looked after by the same rules as what follows, and so is a deploy of one's own."""
    me = replace(CLUSTER.node("node1"), cut_off=True)
    allowed = replace(CLUSTER, nodes=(me, *CLUSTER.nodes[1:]))
    kernel = applied(modes.wanted(vxlan, CLUSTER, CLUSTER.node("node1")))
    plugged(kernel)
    want = modes.wanted(proxy_arp, CLUSTER, CLUSTER.node("node1"))
    assert any("would be cut off" in line for line in obstacles(want, kernel.see(want), CLUSTER, "node1"))
    assert obstacles(want, kernel.see(want), allowed, "node1") == []


def test_cables_that_lose_their_way_are_told_once_and_may_be_cut_off() -> None:
    """In another subnet the plugin ptp's old gateway is nobody's network that would be in the way."""
    kernel = applied(modes.wanted(proxy_arp, CLUSTER, CLUSTER.node("node1")))
    kernel.add_link(Veth("veth01234567", 1500, "", "02:00:00:00:00:09", alias=""))
    kernel.put("addresses", Address("veth01234567", IPv4Interface("10.244.1.1/32")))
    me = replace(CLUSTER.node("node1"), pod_subnet=IPv4Network("10.244.9.0/24"), pods=())
    moved = replace(CLUSTER, nodes=(me, *CLUSTER.nodes[1:]))
    want = modes.wanted(proxy_arp, moved, me)
    (reason,) = obstacles(want, kernel.see(want), moved, "node1")
    assert reason.startswith("the way to 10.244.1.0/24 would be removed, and veth01234567 would be cut off")
    assert obstacles(want, kernel.see(want), moved, "node1", cut_off=True) == []
    kernel.put("addresses", Address("veth01234567", IPv4Interface("10.244.2.1/32")))
    (reason,) = obstacles(want, kernel.see(want), moved, "node1", cut_off=True)
    assert "overlaps 10.244.2.1/32 of the device veth01234567" in reason


WEB = "/var/lib/cni/podnet/podnet-pods_cni.web-eth0"


@pytest.mark.parametrize("cut_off", [False, True])
def test_what_podnet_has_attached_is_detached_before_the_list_goes(*, cut_off: bool) -> None:
    """After a boot nothing hangs any more, but what is kept for DEL would stay for ever; another list is none's end."""
    kernel = applied(modes.wanted(vxlan, CLUSTER, CLUSTER.node("node1")))
    kernel.folders |= {WEB, "/var/lib/cni/podnet/podnet7-c1-eth0"}
    for mode in (None, macvlan):
        want = modes.wanted(mode, CLUSTER, CLUSTER.node("node1")) if mode else State()
        (reason,) = obstacles(want, kernel.see(want), None, "node1", cut_off=cut_off)
        assert reason == (
            "podnet has attached what is kept in /var/lib/cni/podnet: podnet-pods_cni.web-eth0; detach that first: "
            "those of `cni_pods` by deploys/pods_cni.py, once the inventory names none, others by cni.detach "
            "(docs/cni.md)"
        )
    for stays in (vxlan, proxy_arp):
        want = modes.wanted(stays, CLUSTER, CLUSTER.node("node1"))
        assert obstacles(want, kernel.see(want), None, "node1") == []


def test_what_podnet_has_attached_is_not_said_to_be_somebodys() -> None:
    """Nobody can tell its cables from others', so that both are named, each with its way out."""
    kernel = applied(modes.wanted(vxlan, CLUSTER, CLUSTER.node("node1")))
    plugged(kernel)
    kernel.folders |= {WEB}
    want = modes.wanted(proxy_arp, CLUSTER, CLUSTER.node("node1"))
    (reason,) = obstacles(want, kernel.see(want), None, "node1")
    assert reason == (
        "cni0 would be removed, and veth01234567 would be cut off: what podnet has attached, or somebody's containers "
        "or VMs; detach the former (those of `cni_pods` by deploys/pods_cni.py, once the inventory names none, others "
        "by cni.detach) and remove the latter first, or say `cut_off: True` as data of this host"
    )
