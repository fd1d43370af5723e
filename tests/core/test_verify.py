"""The verification's own tools: short scripts, captures read strictly, nobody else's tests touched."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import planning
from podnet.cluster import Cluster, Node, Pod
from podnet.modes import vxlan, wanted
from podnet.verify import capture, fleet, inventory
from podnet.verify.capture import NotCapturedError, Packet
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.numbers import NUMBERS, udp_fault, vxlan_fault
from tests.core import goldens
from tests.core.examples import cluster


def node(number: int, pods: int) -> Node:
    """Make up the n-th node."""
    subnet = IPv4Network(f"10.{number}.0.0/16")
    names = tuple(Pod(f"pod{i}", subnet[i + 1]) for i in range(1, pods + 1))
    return Node(f"node{number}", IPv4Interface(f"192.168.56.{number}/24"), "eth0", subnet, names)


@pytest.mark.parametrize("printed", ["", "==wire==", "==wire==\nd4 c3 b2", "==wire==\nwelcome", "no mark at all"])
def test_a_capture_that_is_none_is_an_error(printed: str) -> None:
    """Nothing captured and nothing readable are not the same."""
    with pytest.raises(NotCapturedError):
        capture.parse(printed)


def test_a_wrong_vni_is_told() -> None:
    """The header behind UDP is looked at, not believed."""
    of = Cluster(IPv4Network("10.0.0.0/8"), (node(1, 1),))
    header = bytes(28) + bytes([8, 0, 0, 0, 0, 0, 2, 0])
    assert vxlan_fault(of, Packet(header)) == "expected VNI 1, saw 2"
    assert vxlan_fault(of, Packet(bytes(36))) == "expected a VXLAN header, whose flags are 0x08, saw 0x00"


def test_what_is_not_bare_ipv4_in_udp_is_told() -> None:
    """Both ports are looked at, and whether an IPv4 header follows at once."""
    of = Cluster(IPv4Network("10.0.0.0/8"), (node(1, 1),))
    ports = (8285).to_bytes(2) * 2
    assert udp_fault(of, Packet(bytes(20) + ports + bytes(4) + b"\x45")) is None
    assert udp_fault(of, Packet(bytes(20) + ports + bytes(5))) == (
        "expected an IPv4 header (0x45) right behind UDP's, saw 0x00"
    )
    assert udp_fault(of, Packet(bytes(20) + ports[:2] + bytes(7))) == (
        "expected UDP from port 8285 to 8285, saw 8285 to 0"
    )


def test_every_mode_has_its_numbers() -> None:
    """Whoever adds a mode says what it looks like from outside, and in whose words it is on the wire."""
    assert sorted(NUMBERS) == goldens.MODES


@pytest.mark.parametrize("name", goldens.MODES)
def test_a_modes_mtu_is_the_underlays_less_what_is_said(name: str) -> None:
    """Two independent statements of the overhead, the mode's and the verification's, are the same number."""
    of = cluster()
    (pod, *_) = wanted(goldens.mode(name), of, of.node("node1")).pods.values()
    (eth0,) = (link for link in pod.links if link.dev == "eth0")
    assert eth0.mtu == 1500 - NUMBERS[name].less
    between = NUMBERS[name].wire(of.node("node1"), of.node("node2"))
    unused = 20 if name == "wireguard" else 0  # flannel counts an outer IPv6 header, which is never there
    assert between is None or between.overhead + unused == NUMBERS[name].less


def test_filter_names_both_directions_of_one_pair() -> None:
    """Other pods' packets between the same hosts are nobody's business."""
    said = capture.between(IPv4Address("10.1.0.2"), IPv4Address("10.2.0.2"), at=vxlan.OVERHEAD)
    assert said == (
        "((ip[62:4] = 0x0a010002 and ip[66:4] = 0x0a020002) or (ip[62:4] = 0x0a020002 and ip[66:4] = 0x0a010002))"
    )


def test_other_peoples_tests_are_left_alone(tmp_path: Path) -> None:
    """A project with fixtures of the same names, and with `--hosts`, runs its own tests as if podnet were not there."""
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "lab.py").write_text("raise SystemExit('nobody may read this')\n")
    (tmp_path / "test_theirs.py").write_text(
        "import pytest\n\n\n@pytest.fixture\ndef node():\n    return 1\n\n\n"
        "def test_theirs(node):\n    assert node == 1\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    for words in ([], ["--hosts=local://"]):
        command = [sys.executable, "-m", "pytest", "-q", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert "1 passed" in done.stdout


def test_only_hosts_that_are_verified_cost_an_ssh(tmp_path: Path) -> None:
    """Of a large inventory nobody else is spoken to, not even to end a connection that there never was."""
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\necho called >>{tmp_path}/calls\nexit 255\n")
    ssh.chmod(0o755)
    inventory.write(tmp_path / "inventory.py", planning.inventory(200))
    state = Path(fleet.__file__).parent / "test_state.py"
    words = ["--hosts=node1", f"--inventory={tmp_path}/inventory.py", str(state)]
    done = subprocess.run(
        [Path(sys.executable).parent / "pytest", *words],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "node1 cannot be reached" in done.stdout
    assert len((tmp_path / "calls").read_text().splitlines()) < 5


@dataclass
class Listener:
    """A host that answers, or that ssh does not reach; it counts how often it was asked."""

    reached: bool = True
    asked: int = 0

    def run(self, script: str) -> SimpleNamespace:
        self.asked += 1
        if not self.reached:
            raise RuntimeError(
                SimpleNamespace(stderr="ssh: connect to host 192.168.56.2 port 22: Connection timed out")
            )
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
        return SimpleNamespace(rc=done.returncode, stdout=done.stdout, stderr=done.stderr)


def test_a_host_that_was_not_reached_is_not_asked_again() -> None:
    """Each time would cost ten seconds: later stages are told at once, and the other hosts go on."""
    up, down = Listener(), Listener(reached=False)
    hosts: dict[str, Any] = {"node1": up, "node2": down}
    of = Fleet(Cluster(IPv4Network("10.0.0.0/8"), (node(1, 1), node(2, 1))), hosts, unreached={})
    why = "ssh: connect to host 192.168.56.2 port 22: Connection timed out"
    assert of.run_all(lambda _: "echo routes")["node2"].problem == f"node2 cannot be reached: {why}"
    told = f"node2 was not reached, and is not asked again ({why})"
    for later in (of, replace(of, nodes=()), of.only(["node1", "node2"])):
        assert later.run_all(lambda _: "echo links") == {"node1": Answer("links\n"), "node2": Answer("", problem=told)}
    assert (up.asked, down.asked) == (4, 1)


def test_whoever_changes_hosts_asks_them_again() -> None:
    """A host that boots is not reached for a while."""
    booting = Listener(reached=False)
    hosts: dict[str, Any] = {"node1": booting}
    of = Fleet(Cluster(IPv4Network("10.0.0.0/8"), (node(1, 1),)), hosts, unreached={}).forgetful()
    assert of.run_all(lambda _: "true")["node1"].problem
    booting.reached = True
    assert of.run_all(lambda _: "true") == {"node1": Answer("")}


@pytest.mark.parametrize("status", [1, 2, 254, 255])
def test_a_command_that_fails_is_no_host_that_was_not_reached(status: int) -> None:
    """Ssh has the exit status 255 for that, and so has `ip netns exec` where a namespace is missing."""
    hosts: dict[str, Any] = {"node1": Listener()}
    of = Fleet(Cluster(IPv4Network("10.0.0.0/8"), (node(1, 1),)), hosts, unreached={})
    script = f"set -eu\necho no such namespace >&2\n(exit {status})\necho never"
    said = "no such namespace\n"
    failed = f"node1: a command failed with exit status {status % 255 or 1}: {said.strip()}"
    assert of.run(node(1, 1), script) == Answer("", said, problem=failed)
    assert of.run(node(1, 1), "cat <<'EOF'\nwhole\nEOF") == Answer("whole\n")


@pytest.mark.parametrize("words", [["-n", "2"], ["--dist=load", "--tx=2*popen"]])
def test_several_processes_are_refused(words: list[str]) -> None:
    """Each would ask all hosts, at the same time, and none would have what the others have seen for the report."""
    command = [sys.executable, "-m", "pytest", "--inventory=inventories/example.py", *words]
    done = subprocess.run(command, cwd=goldens.FOLDER.parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "-n, or --dist: one process asks all hosts at once" in done.stderr
