"""Two clusters on one host, each in a mode of its own: what one does leaves the other's things exactly as they are."""

import itertools
import re
from typing import Any

import pytest

from podnet import modes
from podnet.batch import SAVED, sections
from podnet.cluster import Cluster
from podnet.differences import differences
from podnet.inventory import read
from podnet.marks import ANY_ALIAS, ANY_CHAIN, ANY_NETNS, LAST_PROTO, OTHERS_PROTO, Marks, of
from podnet.obstacles import obstacles
from podnet.ownership import owned
from podnet.plan import plan
from podnet.state import TABLES, Bridge, State
from tests.core import goldens
from tests.core.examples import cluster, hosts
from tests.core.goldens import MODES
from tests.core.kernel import Kernel, machine
from tests.core.test_switching import remains

FIRST = cluster()


def tenant(vni: int) -> Cluster:
    """Make up another cluster of the same hosts, whose pods have addresses of their own."""
    said = hosts(network="10.245.0.0/16", vni=vni, wireguard_port=51820 + vni)
    for number, data in enumerate(said.values(), 1):
        data["pod_subnet"] = f"10.245.{number}.0/24"
    return read(said)


SEVENTH = tenant(7)
TUNNELS = {"ipip", "ipip_direct_routing", "udp"}
SHARING = [
    (one, other)
    for one, other in itertools.product(MODES, repeat=2)
    if not {one, other} <= TUNNELS and {one, other} != {"macvlan", "ipvlan"}
]
"""The pairs of modes that the kernel allows at once: two tunnels of IPv4 in IPv4 would have the same ends."""


def want_of(name: str, of: Cluster) -> State:
    """Say what node1 should hold of that cluster."""
    return modes.wanted(goldens.mode(name), of, of.node("node1"))


def run(kernel: Kernel, want: State, of: Cluster) -> list[str]:
    """Bring that cluster's part of the host to `want`."""
    done = sections(plan(want, kernel.see(want), of.marks))
    for section in done:
        kernel.run(section)
    assert differences(want, kernel.see(want), of.marks) == []
    assert sections(plan(want, kernel.see(want), of.marks)) == []
    return [line for section in done for line in section.lines]


def put(kernel: Kernel, name: str, of: Cluster) -> list[str]:
    """Put that cluster's part of the host into a mode, as podnet.operations.node would."""
    want = want_of(name, of)
    assert obstacles(want, kernel.see(want), of, "node1") == []
    return run(kernel, want, of)


def belongings(kernel: Kernel, name: str, of: Cluster) -> tuple[State, dict[str, Any]]:
    """Return all that is a cluster's, with the settings that it needs, and its pods to the last detail."""
    want = want_of(name, of)
    mine = owned(want, kernel.see(want), of.marks)
    pods = {netns: remains(pod) for netns, pod in kernel.pods.items() if netns.startswith(of.marks.netns)}
    assert set(pods) == set(want.pods)
    return State(**{table: getattr(mine, table) for table in vars(mine) if table in TABLES}), pods


def give_back(kernel: Kernel, name: str, of: Cluster) -> None:
    """The next run of the last cluster gives back what the other had changed and this one does not need, no more."""
    before = belongings(kernel, name, of)
    said = put(kernel, name, of)
    assert all(re.fullmatch(r"net/\S+ = \S+|(mkdir|mv|rm|rmdir) .*/etc/podnet\S*.*", line) for line in said), said
    assert belongings(kernel, name, of) == before
    assert put(kernel, name, of) == []


@pytest.mark.parametrize(("one", "other"), SHARING)
def test_a_second_cluster_leaves_the_first_as_it_is(one: str, other: str) -> None:
    """Applied, applied again, switched and taken away: the first has all that it had, and finds nothing to do."""
    kernel = machine()
    put(kernel, one, FIRST)
    before = belongings(kernel, one, FIRST)
    possible = [name for first, name in SHARING if first == one]
    for name in (other, other):
        put(kernel, name, SEVENTH)
        assert belongings(kernel, one, FIRST) == before
        assert put(kernel, one, FIRST) == []
    put(kernel, possible[possible.index(other) - 1], SEVENTH)
    assert belongings(kernel, one, FIRST) == before
    give_back(kernel, one, FIRST)
    run(kernel, State(), SEVENTH)
    assert belongings(kernel, one, FIRST) == before
    assert not [netns for netns in kernel.pods if netns.startswith(SEVENTH.marks.netns)]
    give_back(kernel, one, FIRST)
    run(kernel, State(), FIRST)
    assert remains(kernel) == remains(machine())


@pytest.mark.parametrize(("one", "other"), SHARING)
def test_the_first_cluster_leaves_the_second_as_it_is(one: str, other: str) -> None:
    """Who came first is not told from who came second: the first may go first too."""
    kernel = machine()
    put(kernel, one, FIRST)
    put(kernel, other, SEVENTH)
    before = belongings(kernel, other, SEVENTH)
    run(kernel, State(), FIRST)
    assert belongings(kernel, other, SEVENTH) == before
    give_back(kernel, other, SEVENTH)
    run(kernel, State(), SEVENTH)
    assert remains(kernel) == remains(machine())


@pytest.mark.parametrize(("one", "other"), SHARING)
def test_settings_are_given_back_by_the_last_alone(one: str, other: str) -> None:
    """While another cluster is forwarded for, nothing of what they share goes, and its old value stays noted."""
    kernel = machine()
    put(kernel, one, FIRST)
    put(kernel, other, SEVENTH)
    noted = kernel.files.get(SAVED)
    forwarding = kernel.sysctls["net/ipv4/ip_forward"]
    run(kernel, State(), FIRST)
    if want_of(other, SEVENTH).sysctls:
        assert (kernel.sysctls["net/ipv4/ip_forward"], kernel.files.get(SAVED)) == (forwarding, noted)
    else:
        assert (kernel.sysctls["net/ipv4/ip_forward"], SAVED in kernel.files) == ("0", False)


@pytest.mark.parametrize(("one", "other"), sorted({*itertools.product(MODES, repeat=2)} - {*SHARING}))
def test_what_the_kernel_allows_only_once_is_told_before_anything_is_changed(one: str, other: str) -> None:
    """The refusal names the other cluster's device, and nothing is left to the kernel's File exists."""
    kernel = machine()
    put(kernel, one, FIRST)
    want = want_of(other, SEVENTH)
    reasons = obstacles(want, kernel.see(want), SEVENTH, "node1")
    assert reasons
    for reason in reasons:
        assert re.search(
            r"already has local 192\.168\.56\.11, remote any|in podnet-pod\d is a device of the kind", reason
        )
    put(kernel, "vxlan", SEVENTH)
    assert obstacles(want, kernel.see(want), SEVENTH, "node1") == reasons  # also where the cluster is already


@pytest.mark.parametrize("vni", [1, 7, OTHERS_PROTO, 2**24 - 1])
def test_marks_of_a_cluster_are_told_from_those_of_any_other(vni: int) -> None:
    """Names begin with the whole number, which a dash or the end closes: podnet7- is not podnet77-."""
    marks = Marks(vni)
    assert of(ANY_ALIAS, marks.alias) == marks
    assert of(ANY_NETNS, f"{marks.netns}pod1") == marks
    assert of(ANY_CHAIN, f"{marks.chains}FWD") == marks
    assert of(ANY_NETNS, f"{marks.netns}7-a") == marks
    assert len(f"{marks.chains}POSTRTG") <= 28  # iptables: XT_EXTENSION_MAXNAMELEN


def test_two_clusters_whose_protocol_numbers_meet_are_refused() -> None:
    """There are 86 numbers for all VNIs but the first: routes of the two would look alike."""
    meeting = 7 + LAST_PROTO + 1 - OTHERS_PROTO
    assert Marks(meeting).proto == Marks(7).proto
    kernel = machine()
    put(kernel, "vxlan", SEVENTH)
    said = hosts(network="10.246.0.0/16", vni=meeting)
    for number, data in enumerate(said.values(), 1):
        data["pod_subnet"] = f"10.246.{number}.0/24"
    of_both = read(said)
    want = want_of("vxlan", of_both)
    (reason,) = obstacles(want, kernel.see(want), of_both, "node1")
    assert reason == (
        f"`vni` {meeting} marks its routes with protocol 107, as does the cluster with VNI 7 on this host; choose "
        "another `vni`"
    )


def test_two_clusters_of_one_network_are_refused() -> None:
    """Nobody could say whose a pod's address is."""
    kernel = machine()
    put(kernel, "vxlan", FIRST)
    of_both = cluster(vni=7)
    want = want_of("vxlan", of_both)
    said = " ".join(obstacles(want, kernel.see(want), of_both, "node1"))
    assert "`network` 10.244.0.0/16 overlaps 10.244.1.1/24 of the device cni0, which is not podnet's" in said


def test_one_clusters_notes_do_not_make_another_known() -> None:
    """A stranger's device is not taken for a damaged one of ours because somebody else's settings are noted."""
    kernel = machine()
    put(kernel, "vxlan", FIRST)
    kernel.add_link(Bridge("cni.7", 1500, "02:aa:00:00:00:01", alias=""))
    want = want_of("vxlan", SEVENTH)
    (reason,) = obstacles(want, kernel.see(want), SEVENTH, "node1")
    assert reason.startswith("the device cni.7 exists on a host where nothing else is podnet's; podnet needs the name")
