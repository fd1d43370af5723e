"""What the vxlan mode does to a host, byte for byte, and what that must not depend on."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from podnet.batch import sections
from podnet.inventory import LARGEST_VNI, read
from podnet.modes import vxlan
from podnet.plan import plan
from podnet.section import Section
from tests.core import goldens
from tests.core.examples import cluster, hosts
from tests.core.kernel import host

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", goldens.MODES)
def test_a_mode_does_to_a_host_what_its_golden_says(name: str) -> None:
    """Every command, every line and their order are those of golden/MODE.txt; `make golden` writes it anew."""
    assert goldens.text(name, cluster()) == (goldens.FOLDER / f"{name}.txt").read_text()


def test_every_golden_has_a_mode() -> None:
    """A golden that nothing is compared with would promise what nobody keeps."""
    assert [path.stem for path in sorted(goldens.FOLDER.iterdir())] == goldens.MODES


@pytest.mark.parametrize("seed", ["1", "2", "4711"])
def test_the_bytes_do_not_depend_on_the_order_of_hashes(seed: str) -> None:
    """Python orders sets by hashes, which differ from run to run unless a seed is given."""
    out = subprocess.run(
        [sys.executable, "-m", "tests.core.goldens", "vxlan"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout == (goldens.FOLDER / "vxlan.txt").read_text()


def test_the_bytes_do_not_depend_on_the_order_of_the_inventory() -> None:
    """Neither the order of hosts nor that of their data is a reason to change anything on a host."""
    backwards = {name: dict(reversed(data.items())) for name, data in reversed(hosts().items())}
    assert list(backwards) == ["node3", "node2", "node1"]
    assert goldens.text("vxlan", read(backwards)) == goldens.text("vxlan", cluster())


def test_a_node_is_never_its_own_peer() -> None:
    """Whoever asks with an equal node, read from the same inventory once more, gets the same answer."""
    of = cluster()
    assert vxlan.state(of, cluster().node("node1")) == vxlan.state(of, of.node("node1"))


def test_each_peer_costs_three_lines_and_no_process() -> None:
    """One more peer is one more neighbour, FDB entry and route, whatever the number of peers."""
    few, many = batch(3), batch(50)
    assert [section.command for section in few] == [section.command for section in many]
    added = lines(many) - lines(few)
    assert added.total() == 3 * 47
    assert Counter(" ".join(line.split()[:2]) for line in added) == {
        "neigh replace": 47,
        "fdb replace": 47,
        "route replace": 47,
    }
    assert not lines(few) - lines(many)


def test_each_peer_is_named_by_its_own_address_subnet_and_mac() -> None:
    """The three answers for one peer fit together: route to neighbour, neighbour to MAC, MAC to host."""
    of = cluster()
    said = lines(batch(3))
    for peer in of.peers(of.node("node1")):
        assert said[f"route replace {peer.pod_subnet} via {peer.vtep} dev flannel.1 onlink proto 77"] == 1
        assert said[f"neigh replace {peer.vtep} lladdr {peer.vtep_mac} dev flannel.1 nud permanent"] == 1
        assert said[f"fdb replace {peer.vtep_mac} dev flannel.1 dst {peer.ip}"] == 1


def test_a_vtep_mac_is_local_and_unicast() -> None:
    """A MAC of our own making must neither be a manufacturer's nor a group's, and no two nodes may share one."""
    macs = {node.vtep_mac for node in cluster(200, pods=0).nodes}
    assert len(macs) == 200
    assert {int(mac[:2], 16) & 0b11 for mac in macs} == {0b10}


@pytest.mark.parametrize("vni", [1, LARGEST_VNI])
def test_every_vni_has_a_device_name_that_the_kernel_takes(vni: int) -> None:
    """A device's name has 15 characters at most (linux/if.h, IFNAMSIZ): what the inventory lets pass must fit."""
    of = cluster(vni=vni)
    assert {len(link.dev) <= 15 for link in vxlan.state(of, of.node("node1")).links} == {True}


def test_the_overhead_comes_off_the_mtu_everywhere() -> None:
    """A pod that may send 1500 bytes into a tunnel that has room for 1450 gets stuck at the first large answer."""
    of = cluster(underlay_mtu=9000)
    want = vxlan.state(of, of.node("node1"))
    assert {link.mtu for link in want.links} == {8950}
    assert {link.mtu for pod in want.pods.values() for link in pod.links if link.dev == "eth0"} == {8950}


def test_without_masquerade_nothing_touches_the_nat_table() -> None:
    """`masquerade` False leaves the pods' own addresses on everything that they send."""
    of = cluster(masquerade=False)
    assert {chain.table for chain in vxlan.state(of, of.node("node1")).chains} == {"filter"}


def batch(nodes: int) -> list[Section]:
    """Return what is done to node1 of so many."""
    of = cluster(nodes)
    want = vxlan.state(of, of.node("node1"))
    return sections(plan(want, host().see(want)))


def lines(of: list[Section]) -> Counter[str]:
    """Count every line."""
    return Counter(line for section in of for line in section.lines)
