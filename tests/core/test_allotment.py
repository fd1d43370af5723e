"""Which addresses pods have beside containers: they come in any order, and nobody is moved who was there before."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

import pytest

from podnet import inventory, modes
from podnet.batch import sections
from podnet.cluster import Cluster
from podnet.differences import differences
from podnet.facts.node import asked
from podnet.modes import macvlan, vxlan
from podnet.obstacles import obstacles
from podnet.plan import plan
from podnet.section import Section
from podnet.state import Address, Nic, Reservation, State
from podnet.verify.fleet import Fleet
from podnet.verify.settling import named, settled
from tests.core import goldens
from tests.core.examples import GROUP, cluster, hosts
from tests.core.kernel import Kernel, Refused, host

LAST = 254


def of(pods: object, subnet: str = "10.244.1.0/24") -> Cluster:
    """Make a cluster of one node with such pods."""
    return inventory.read(
        {"node1": {**GROUP, "address": "192.168.56.11/24", "uplink": "eth0", "pod_subnet": subnet, "pods": pods}}
    )


def store(network: str = "podnet", **held: str) -> frozenset[Reservation]:
    """Write down who has which address: by the last number of 10.244.1.0/24, after an underscore."""
    return frozenset(
        Reservation(network, IPv4Address(f"10.244.1{each.replace('_', '.')}"), who) for each, who in held.items()
    )


def allotted(pods: object, have: State = State(), subnet: str = "10.244.1.0/24") -> list[int]:  # noqa: B008  # a value
    """Return the last numbers of the addresses that pods have or get."""
    there = of(pods, subnet)
    want = modes.wanted(vxlan, there, there.nodes[0])
    found = modes.settled(want, vxlan, there, there.nodes[0], have)
    return [
        int(item.address) & 0xFF
        for pod in there.nodes[0].pods
        for item in found.reservations
        if item.container == f"podnet-{pod.name}"
    ]


def has(last: int | None = None, **held: str) -> State:
    """Return what a host holds with these addresses in its store."""
    return State(reservations=store(**held), last_reserved={"podnet": IPv4Address(f"10.244.1.{last}")} if last else {})


def test_a_pod_has_the_computed_address_unless_somebody_has_it() -> None:
    """With nobody in the way the inventory alone says it, wherever host-local is, and whoever was there."""
    assert allotted(3) == [2, 3, 4]
    assert allotted(3, has(last=99, _9="box")) == [2, 3, 4]
    assert allotted(2, has(_2="podnet-gone", _3="")) == [2, 3]


def test_only_the_pod_in_whose_place_a_container_is_gets_another_address() -> None:
    """The next one that is nobody's: not that of a pod behind it, which is free."""
    assert allotted(3, has(_2="box")) == [5, 3, 4]
    assert allotted(3, has(_2="box", _3="box2", _5="box3")) == [6, 7, 4]


def test_it_goes_on_from_the_last_address_that_was_given() -> None:
    """Once around: the network, its gateway and the broadcast address are nobody's, and the last comes last."""
    assert allotted(3, has(last=77, _2="box", _78="box2")) == [79, 3, 4]
    assert allotted(4, has(last=252, _2="box", _3="box2", _4="box3")) == [253, LAST, 6, 5]
    assert allotted(1, has(last=LAST, _2="box")) == [3]
    assert allotted(1, has(last=255, _2="box")) == [3]
    full = {f"_{number}": "box" for number in range(2, LAST + 1) if number != 77}
    assert allotted(1, has(last=77, **full)) == [77]


def test_what_was_given_last_elsewhere_counts_for_nothing() -> None:
    """The network had another subnet before; or it is another cluster's."""
    before = State(reservations=store(_2="box"), last_reserved={"podnet": IPv4Address("10.244.9.77")})
    assert allotted(1, before) == [3]
    others = State(reservations=store("podnet7", _2="box"), last_reserved={"podnet7": IPv4Address("10.244.1.77")})
    assert allotted(1, others) == [2]


def test_a_pod_keeps_the_address_that_it_has() -> None:
    """Also when the container that was in its place is gone, and where its place in the inventory is another now."""
    assert allotted(3, has(last=7, _2="box", _7="podnet-pod1", _3="podnet-pod2")) == [7, 3, 4]
    assert allotted(3, has(last=7, _7="podnet-pod1", _3="podnet-pod2")) == [7, 3, 4]
    assert allotted(["new", "web", "db"], has(_2="podnet-web", _3="podnet-db")) == [4, 2, 3]
    assert allotted(["db", "web"], has(_2="podnet-web", _3="podnet-db")) == [3, 2]


def test_of_two_that_it_has_a_pod_keeps_the_computed_one() -> None:
    """An apply that was cut off, or a hand, has left the other."""
    assert allotted(2, has(_3="podnet-pod2", _2="podnet-pod2")) == [2, 3]
    assert allotted(2, has(_7="podnet-pod1", _9="podnet-pod1")) == [7, 3]


def test_no_pod_keeps_what_no_pod_may_have() -> None:
    """Neither an address of an earlier subnet, nor the gateway's, nor a subnet's ends."""
    earlier = State(reservations=frozenset({Reservation("podnet", IPv4Address("10.244.9.7"), "podnet-pod1")}))
    assert allotted(1, earlier) == [2]
    assert allotted(2, has(_1="podnet-pod1", _255="podnet-pod2")) == [2, 3]
    assert allotted(1, has(_2="podnet7-pod1")) == [3]
    assert allotted(1, State(reservations=store("podnet7", _9="podnet-pod1"))) == [2]


def inside(number: int, mac: int) -> dict[str, State]:
    """Return a first pod that has such an address, and the MAC that goes with that one."""
    eth0 = Nic("eth0", 1450, f"0a:58:0a:f4:01:{mac:02x}")
    address = Address("eth0", IPv4Interface(f"10.244.1.{number}/24"))
    return {"podnet-pod1": State(links=frozenset({eth0}), addresses=frozenset({address}))}


def test_a_pod_keeps_its_address_where_somebody_has_emptied_the_store() -> None:
    """Unless it was only changed by hand: the MAC then tells; or a container has it meanwhile."""
    assert allotted(2, State(pods=inside(7, mac=7))) == [7, 3]
    assert allotted(2, State(pods=inside(99, mac=2))) == [2, 3]
    assert allotted(2, replace(has(last=7, _7="box"), pods=inside(7, mac=7))) == [2, 3]
    assert allotted(2, replace(has(_9="podnet-pod1"), pods=inside(99, mac=2))) == [9, 3]


def test_addresses_that_the_inventory_names_stay() -> None:
    """Whoever has them, and whatever the pods had before; a container's are refused."""
    pods = {"web": "10.244.1.10", "db": "10.244.1.2"}
    assert allotted(pods, has(_10="box", _3="podnet-db")) == [10, 2]
    there = of(pods)
    want, have = modes.wanted(vxlan, there, there.nodes[0]), has(_10="box")
    told = [line for line in obstacles(want, have, there, "node1") if "10.244.1.10 (podnet-web)" in line]
    assert len(told) == 1


def test_a_mode_whose_wire_is_its_own_asks_no_store() -> None:
    """Nobody else may give addresses there, nor does one stand in the store afterwards."""
    there = of(2)
    want = modes.wanted(macvlan, there, there.nodes[0])
    assert modes.settled(want, macvlan, there, there.nodes[0], has(_2="box", _9="podnet-pod2")) is want


@pytest.mark.parametrize(("pods", "full"), [(2, False), (3, True)])
def test_a_full_subnet_is_told_by_node_and_subnet(pods: int, *, full: bool) -> None:
    """A /29 has room for five; of the pods none is then given an address that another has."""
    have, subnet = has(_2="box", _3="box2", _6="box3"), "10.244.1.0/29"
    assert allotted(pods, have, subnet) == ([2, 3, 4] if full else [4, 5])
    there = of(pods, subnet)
    want = modes.settled(modes.wanted(vxlan, there, there.nodes[0]), vxlan, there, there.nodes[0], have)
    told = [line for line in obstacles(want, have, there, "node1") if "exhausted" in line or "containers have" in line]
    reason = (
        "node1: its `pod_subnet` 10.244.1.0/29 is exhausted: of its 5 addresses containers have 3, and 3 are for pods; "
        "remove containers, or ask for fewer `pods`"
    )
    assert told == ([reason] if full else [])


@pytest.mark.parametrize("mode", goldens.MODES)
def test_what_a_host_is_asked_depends_on_no_pods_address(mode: str) -> None:
    """So it is asked once, before addresses are known."""
    there = cluster()
    me = there.node("node1")
    moved = replace(me, pods=tuple(replace(pod, address=me.pod_subnet[99 + i]) for i, pod in enumerate(me.pods)))
    one, other = (modes.wanted(goldens.mode(mode), there, each) for each in (me, moved))
    assert asked(one) == asked(other)
    assert one != other


def apply(kernel: Kernel, there: Cluster) -> list[Section]:
    """Do what an apply does to the first host, and expect nothing to be left."""
    me = there.nodes[0]
    computed = modes.wanted(vxlan, there, me)
    want = modes.settled(computed, vxlan, there, me, kernel.see(computed))
    assert [*obstacles(want, kernel.see(want), there, me.name)] == []
    done = sections(plan(want, kernel.see(want)))
    for section in done:
        kernel.run(section)
    settled = modes.settled(computed, vxlan, there, me, kernel.see(computed))
    assert differences(settled, kernel.see(settled)) == []
    return done


def held(kernel: Kernel) -> Mapping[str, str]:
    """Say which addresses pods really have."""
    return {
        name: str(item.address)
        for name, pod in sorted(kernel.pods.items())
        for item in pod.tables["addresses"]
        if item.dev == "eth0"
    }


def test_pods_come_after_containers_and_stay() -> None:
    """In a kernel: with all that follows from an address; a second apply has nothing to do, whoever has gone."""
    kernel, box = host(), Reservation("podnet", IPv4Address("10.244.1.2"), "box")
    kernel.put("reservations", box)
    kernel.last_reserved["podnet"] = box.address
    apply(kernel, of(2))
    assert held(kernel) == {"podnet-pod1": "10.244.1.4/24", "podnet-pod2": "10.244.1.3/24"}
    assert kernel.pods["podnet-pod1"].link("eth0").mac == "0a:58:0a:f4:01:04"
    assert apply(kernel, of(2)) == []
    kernel.tables["reservations"].remove(box)
    assert apply(kernel, of(2)) == []
    apply(kernel, of(3))
    assert held(kernel)["podnet-pod3"] == "10.244.1.5/24"  # its own is pod1's now; it went on from that
    assert kernel.last_reserved == {"podnet": IPv4Address("10.244.1.5")}


def test_a_container_that_comes_between_reading_and_writing_is_given_way_to_by_the_next_run() -> None:
    """The batch is refused under the lock, and nothing is changed; the next one knows of the container."""
    kernel, there = host(), of(2)
    want = modes.wanted(vxlan, there, there.nodes[0])
    folder, taking, *_ = sections(plan(want, kernel.see(want)))
    kernel.put("reservations", Reservation("podnet", IPv4Address("10.244.1.3"), "box"))
    kernel.run(folder)
    with pytest.raises(Refused, match="was given to the container box"):
        kernel.run(taking)
    apply(kernel, there)
    assert held(kernel) == {"podnet-pod1": "10.244.1.2/24", "podnet-pod2": "10.244.1.4/24"}


def test_the_verification_expects_pods_where_hosts_have_them() -> None:
    """Of hosts that told; the fleet is the same one if nobody is elsewhere."""
    data = hosts(2)
    there = inventory.read(data)
    fleet = Fleet(there, dict.fromkeys(("node1", "node2")), "outside")
    want = {node.name: modes.wanted(vxlan, there, node) for node in there.nodes}
    assert settled(fleet, want, {"node1": has(_3="podnet-pod2")}) is fleet
    found = settled(fleet, want, {"node1": has(_2="box", _7="podnet-pod1")})
    assert [[str(pod.address) for pod in node.pods] for node in found.nodes] == [
        ["10.244.1.7", "10.244.1.3"],
        ["10.244.2.2", "10.244.2.3"],
    ]
    assert (found.cluster.nodes, found.outside) == (found.nodes, "outside")
    assert named(data, fleet) == data
    assert named(data, found) == data | {
        "node1": data["node1"] | {"pods": {"pod1": "10.244.1.7", "pod2": "10.244.1.3"}}
    }
