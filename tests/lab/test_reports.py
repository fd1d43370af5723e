"""What a run of the verification leaves behind: who refuses what, samples, a page and JUnit; and what it costs."""

import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from podnet.verify.reporting.report import HTML, JUNIT
from tests.core.test_report import Page
from tests.lab.at import BIN, CLONE, INTERRUPTIBLE, At, until

REACH = "podnet/verify/test_reach.py"
HOSTS = ("node1", "node2", "node3")


@pytest.fixture
def whole(vxlan: At) -> Iterator[At]:
    """Return the lab as it should be, and mend it afterwards."""
    assert vxlan.apply().code == 0
    yield vxlan
    assert vxlan.apply().code == 0


def cost(at: At, *options: str) -> list[int]:
    """Count the commands that a run of the verification has each host run."""
    before = [at.commands(host) for host in HOSTS]
    done = at.verify(*options)
    assert done.code == 0, done.said
    return [at.commands(host) - start for host, start in zip(HOSTS, before, strict=True)]


def test_the_mesh_costs_each_host_one_command_beside_its_tables(whole: At) -> None:
    """All sizes, all pods, and what the nodes ask themselves; the tables say which addresses pods have."""
    assert cost(whole, REACH) == [2, 2, 2]


def test_a_broken_pair_is_red_and_in_junit(whole: At, tmp_path: Path) -> None:
    """The edge between the two nodes, the cells of their pods, the failures with their messages."""
    whole.sh(
        "node1", "bridge fdb del $(bridge fdb show dev flannel.1 | grep 192.168.56.12 | cut -d' ' -f1) dev flannel.1"
    )
    done = whole.verify(f"--report={tmp_path / 'new' / 'folder'}")
    assert done.code == 1
    assert f"podnet: the report is {tmp_path / 'new' / 'folder' / HTML}" in done.out
    page = Page((tmp_path / "new" / "folder" / HTML).read_text())
    edges = page.edges()
    assert {pair for pair, drawn in edges.items() if "broken" in drawn} == {("node1", "node2"), ("node2", "node1")}
    lost = {pair for pair, cell in page.matrix().items() if cell == "LOST"}
    assert {(source[:5], target[:5]) for source, target in lost} == {("node1", "node2"), ("node2", "node1")}
    assert len(lost) == 8
    suite = ET.parse(tmp_path / "new" / "folder" / JUNIT).getroot().find("testsuite")  # noqa: S314  # our own file
    assert suite is not None
    failed = {case.get("name", ""): case.find("failure") for case in suite.iter("testcase")}
    said = failed["test_pods_reach_each_other_as_the_mode_says[node1]"]
    assert said is not None
    assert "node1/pod1 -> node2/pod1: expected a reply with TTL 62, saw no reply" in str(said.text)
    assert "node1/pod1 -> node2/pod1: expected a reply with TTL 62, saw no reply" in page.text
    assert failed["test_kernel_holds_exactly_the_computed_state[node3]"] is None


def test_a_router_that_refuses_is_named(whole: At) -> None:
    """A pod whose own device would let more pass is told by its node; a switch only drops, and that is a fault."""
    whole.sh("node1", "ip -n podnet-pod1 link set eth0 mtu 1500")
    done = whole.verify(REACH)
    problems = [line for line in done.out.splitlines() if "->" in line and not line.startswith("FAILED")]
    assert len(problems) == 1, done.said
    assert problems[0].startswith("node1/pod1 -> node1/pod2: expected a packet of 1451 bytes to be refused as too long")
    assert "1451 bytes from a pod are refused by the sender's own device: 25 pairs" in done.out
    assert "1451 bytes from a pod are refused by the path, by the router 10.244.1.1 (node1): 4 pairs" in done.out
    assert "MTU 1450, 6 pairs of nodes" in done.out


def test_a_way_that_is_too_narrow_is_found_and_remembered(whole: At) -> None:
    """The router says so, the node finds it too; pods that were told go on believing it until they are made forget."""
    whole.sh("node2", "ip link set flannel.1 mtu 1400")
    done = whole.verify(REACH)
    refused = "to pass unfragmented, saw it refused by the path, by the router 10.244.2.1 (node2), whose MTU is 1400"
    assert f"node2/pod1 -> node1/pod1: expected a packet of 1450 bytes {refused}" in done.out
    assert (
        "node2 -> node1/pod1: expected a packet of 1451 bytes to be refused as too long, by an MTU of 1450" in done.out
    )
    assert whole.apply().changed == {"node2"}
    assert "as the sender remembers (`ip route flush cache` in its namespace" in whole.verify(REACH).out
    whole.sh("node2", "for pod in pod1 pod2; do ip -n podnet-$pod route flush cache; done")
    assert whole.verify(REACH).code == 0


def test_a_sample_says_what_it_may_miss(whole: At) -> None:
    """With as many pairs as pairs of nodes each of these is covered; the seed repeats the draw."""
    done = whole.verify(REACH, "--pairs=9", "--pairs-seed=4")
    assert done.code == 0, done.said
    assert "9 of 30 pairs were tried, drawn with --pairs-seed=4; the probability of missing one broken" in done.out
    assert "of missing a broken pair of nodes 0.0 %; --pairs=30 tries all" in done.out
    refused = whole.verify(REACH, "--pairs=0")
    assert refused.code != 0
    assert "at least one pair must be tried" in refused.err


def test_an_unreachable_host_is_in_the_report(whole: At, tmp_path: Path) -> None:
    """It is red, it says why, and what the others saw of its pods is there."""
    whole.off("node3")
    try:
        done = whole.verify(REACH, f"--report={tmp_path}")
    finally:
        whole.up()
        whole.back("node3")
    assert done.code == 1
    page = Page((tmp_path / HTML).read_text())
    red = {a["data-node"] for tag, a in page.elements if tag == "g" and "broken" in str(a["class"])}
    assert red == {"node3"}
    assert "node3 cannot be reached" in page.text
    assert page.edges()["node1", "node3"] == "edge broken"
    assert page.edges()["node1", "node2"] == "edge ok"


def test_an_interrupted_run_leaves_its_report(whole: At, tmp_path: Path) -> None:
    """Ctrl-C while pings wait for replies that do not come."""
    whole.sh("node2", "ip link del flannel.1")
    words: list[str | Path] = [
        *INTERRUPTIBLE,
        BIN / "pytest",
        f"--hosts={','.join(HOSTS)}",
        f"--inventory={whole.inventory}",
        REACH,
    ]
    with subprocess.Popen([*words, f"--report={tmp_path}"], cwd=CLONE, stdout=subprocess.PIPE) as running:
        pinging = partial(whole.try_sh, "node2", "pgrep -x ping")
        until(lambda: pinging().code == 0, 20, "node2 pings")
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=30)
    assert running.returncode == pytest.ExitCode.INTERRUPTED
    assert "was interrupted" in Page((tmp_path / HTML).read_text()).text
    ET.parse(tmp_path / JUNIT)  # noqa: S314  # our own file


def test_junit_may_be_wanted_elsewhere_too(whole: At, tmp_path: Path) -> None:
    """Whoever gives pytest a place for it has it there, and in the report."""
    done = whole.verify(REACH, f"--report={tmp_path}", f"--junitxml={tmp_path / 'other.xml'}")
    assert done.code == 0, done.said
    assert (tmp_path / JUNIT).read_text() == (tmp_path / "other.xml").read_text()


@pytest.mark.parametrize("mode", ["host_gw", "macvlan", "proxy_arp", "vxlan_direct_routing", "vxlan"])
def test_the_path_refuses_where_pods_devices_would_not(whole: At, mode: str) -> None:
    """Of each mode that the path limits otherwise: routers say so, and the pods are as they were."""
    applied = whole.into(mode)
    assert applied.code == 0
    done = whole.verify("podnet/verify/disruptive/test_path.py", "--disruptive", mode=mode)
    assert done.code == 0, done.said
    assert "3 passed" in done.out
    assert [whole.differences(host, mode) for host in HOSTS] == [[], [], []]


def test_a_path_that_refuses_at_another_size_is_found(whole: At) -> None:
    """A stranger's route that is too narrow, in another table of the sender's node."""
    route = "10.244.3.2 via 10.244.3.0 dev flannel.1 onlink mtu lock 1400 table 99"
    whole.sh("node2", f"ip route add {route}; ip rule add to 10.244.3.2 lookup 99 priority 99")
    done = whole.verify("podnet/verify/disruptive/test_path.py", "--disruptive")
    assert done.code == 1
    too_long = "expected a packet of 1451 bytes to be refused as too long, by an MTU of 1450"
    by = "saw it refused by the path, by the router 10.244.2.1 (node2), whose MTU is 1400"
    assert f"node2/pod1 -> node3/pod1: {too_long}, {by}" in done.out
    whole.sh("node2", "ip rule del priority 99; ip route flush table 99")
    whole.sh("node2", "for pod in pod1 pod2; do ip -n podnet-$pod route flush cache; done")


def test_pods_keep_their_mtu_where_not_all_is_as_it_should_be(whole: At) -> None:
    """As all that changes hosts, this is only begun on healthy ones."""
    whole.sh("node2", "ip link set flannel.1 mtu 1400")
    done = whole.verify("podnet/verify/disruptive/test_path.py", "--disruptive")
    whole.sh("node2", "ip link set flannel.1 mtu 1450")
    assert done.code == 1
    assert (
        "nothing was changed, since not all was as it should be:\nnode2: wrong link: flannel.1: mtu is 1400" in done.out
    )
