"""The real command line refuses a bad inventory before it contacts anybody: hosts point at a socket that listens."""

import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from pprint import pformat

import pytest

from tests.core.examples import GROUP, hosts

ROOT = Path(__file__).parents[2]
DEPLOY = ("-y", "INVENTORY", "deploys/vxlan.py")


@pytest.fixture
def door() -> Iterator[socket.socket]:
    """Listen where all hosts are said to be."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield listener


BAD: dict[str, tuple[dict[str, dict[str, object]], dict[str, object], str]] = {
    "a missing field": ({"node2": {"uplink": None}}, {}, "node2: `uplink` is None; it must be the name of the device"),
    "a wrong type": ({"node3": {"pods": "2"}}, {}, "node3: `pods` is '2'; it must be a count"),
    "pods for plugins": ({"node2": {"cni_pods": ["podnet-a"]}}, {}, "node2: `cni_pods` is 'podnet-a'; namespaces of"),
    "a second line": ({"node1": {"uplink": "eth0\nup"}}, {}, r"node1: `uplink` is 'eth0\nup'; it must be"),
    "a contradiction": ({"node2": {"pod_subnet": "10.244.1.0/24"}}, {}, "node2: `pod_subnet` 10.244.1.0/24 overlaps"),
    "a bad group field": ({}, {"vni": "1"}, "node1: `vni` is '1'; it must be a VXLAN network identifier"),
    "a host's own group field": ({"node3": {"vni": 7}}, {}, "node3: `vni` is 7; node1 has 1; give it once"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_inventory_is_refused_before_any_host_is_contacted(
    what: str, tmp_path: Path, door: socket.socket
) -> None:
    """The sentence is on standard error, the exit code says no, and nobody has knocked."""
    of_hosts, of_group, sentence = BAD[what]
    assert_refused(write(tmp_path, door, of_hosts, of_group), DEPLOY, door, sentence)


def test_group_data_files_are_checked_as_well(tmp_path: Path, door: socket.socket) -> None:
    """What group_data/ says beside the inventory is read by pyinfra, hence by us."""
    inventory = write(tmp_path, door)
    inventory.write_text(inventory.read_text().replace("'vni': 1,", ""))
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data" / "cluster.py").write_text("vni = 2**24\n")
    assert_refused(inventory, DEPLOY, door, "node1: `vni` is 16777216; it must be a VXLAN network identifier")


def test_a_host_listed_twice_is_refused(tmp_path: Path, door: socket.socket) -> None:
    """Pyinfra would mix both entries' data into one host, and say nothing."""
    inventory = write(tmp_path, door)
    inventory.write_text(inventory.read_text().replace("'node2'", "'node1'"))
    assert_refused(
        inventory, DEPLOY, door, "node1: `name` is given to 2 hosts of the group cluster; name each host once"
    )


def test_hosts_outside_the_limit_are_checked(tmp_path: Path, door: socket.socket) -> None:
    """node1 needs its peers' data whether or not they are deployed to: --limit hides none of them."""
    inventory = write(tmp_path, door, {"node3": {"address": "192.168.56.13"}})
    command = ("-y", "--limit", "node1", "INVENTORY", "deploys/vxlan.py")
    assert_refused(inventory, command, door, "node3: `address` is '192.168.56.13'; it must be the host's IPv4 address")


@pytest.mark.parametrize(
    "command", [("-y", "INVENTORY", "deploys/teardown.py"), ("-y", "INVENTORY", "exec", "--", "id")]
)
def test_whatever_is_run_the_inventory_is_checked(
    command: tuple[str, ...], tmp_path: Path, door: socket.socket
) -> None:
    """The check is the project's, not one deploy's."""
    assert_refused(write(tmp_path, door, group={"vni": 0}), command, door, "node1: `vni` is 0; it must be")


def test_a_good_inventory_contacts_its_hosts(tmp_path: Path, door: socket.socket) -> None:
    """The control: with nothing to refuse, the socket of these tests does see all three hosts knock."""
    inventory = write(tmp_path, door)
    knocks: list[str] = []
    doorman = threading.Thread(target=count, args=(door, 3, knocks), daemon=True)
    doorman.start()
    done = pyinfra(inventory, DEPLOY)
    doorman.join(timeout=10)
    assert done.returncode != 0
    assert "node1: " not in done.stderr
    assert len(knocks) == 3


@pytest.mark.parametrize(
    ("of_hosts", "group"),
    [
        ({}, {"net_conf": "/nowhere/net-conf.json"}),
        ({}, {"net_conf": {"Network": "10.244.0.0/99", "Backend": {"Type": "vxlan", "VNI": 5}}}),
        ({"node2": {"pods": "many"}}, {}),
    ],
    ids=["no file", "a bad file", "a bad field"],
)
def test_what_cannot_be_applied_is_taken_away_all_the_same(
    of_hosts: dict[str, dict[str, object]], group: dict[str, object], tmp_path: Path, door: socket.socket
) -> None:
    """A teardown needs to know whose things to take, and nothing else of the inventory; a deploy beside it does."""
    inventory = write(tmp_path, door, of_hosts, group)
    both = pyinfra(inventory, ("-y", "INVENTORY", "deploys/teardown.py", "deploys/vxlan.py"))
    assert both.returncode == 1
    assert select.select([door], [], [], 0)[0] == []
    knocks: list[str] = []
    doorman = threading.Thread(target=count, args=(door, 3, knocks), daemon=True)
    doorman.start()
    pyinfra(inventory, ("-y", "INVENTORY", "deploys/teardown.py"))
    doorman.join(timeout=10)
    assert len(knocks) == 3


def test_a_host_may_be_in_several_groups(tmp_path: Path, door: socket.socket) -> None:
    """Only within one group is a second entry a mistake."""
    inventory = write(tmp_path, door)
    inventory.write_text(inventory.read_text() + "\nweb = ['node1', 'node2']\n_hidden = ['node1', 'node1']\n")
    assert pyinfra(inventory, ("INVENTORY", "debug-inventory")).returncode == 0


def test_an_inventory_without_our_data_is_let_through(tmp_path: Path) -> None:
    """The project's config.py is read for every inventory, also for those that are about other things."""
    inventory = tmp_path / "other.py"
    inventory.write_text("web = [('w1', {'ssh_user': 'root', 'vni': 'mine'}), 'w2']\n")
    done = pyinfra(inventory, ("INVENTORY", "debug-inventory"))
    assert done.returncode == 0, done.stderr
    assert "[w1]" in done.stdout + done.stderr


def write(
    folder: Path,
    door: socket.socket,
    of_hosts: dict[str, dict[str, object]] | None = None,
    group: dict[str, object] | None = None,
) -> Path:
    """Write the good inventory with some data replaced, all of its hosts at the door."""
    there = {"ssh_hostname": "127.0.0.1", "ssh_port": door.getsockname()[1], "ssh_user": "nobody"}
    own = {name: {k: v for k, v in data.items() if k not in GROUP} for name, data in hosts().items()}
    listed = [(name, {**there, **data, **(of_hosts or {}).get(name, {})}) for name, data in own.items()]
    path = folder / "inventory.py"
    path.write_text(f"cluster = (\n{pformat(listed)},\n{pformat({**GROUP, **(group or {})})},\n)\n")
    return path


def pyinfra(inventory: Path, command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run pyinfra in the clone, with a home where nothing is known and no agent."""
    words = [str(inventory) if word == "INVENTORY" else word for word in command]
    return subprocess.run(
        [sys.executable, "-m", "pyinfra", *words],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(inventory.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_refused(inventory: Path, command: tuple[str, ...], door: socket.socket, sentence: str) -> None:
    """Expect that sentence, no traceback, and no connection: the kernel would hold it in the backlog."""
    done = pyinfra(inventory, command)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert select.select([door], [], [], 0)[0] == []


def count(door: socket.socket, expected: int, knocks: list[str]) -> None:
    """Count who comes, and send them away."""
    for _ in range(expected):
        caller, _ = door.accept()
        knocks.append(str(caller.getpeername()))
        caller.close()
