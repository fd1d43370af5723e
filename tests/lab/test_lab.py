"""The lab keeps its promises: it comes up whatever was left, goes down whatever is left, and touches nothing else.

Needs root, or sudo that asks for no password, and about a minute.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from podnet.labs import access, cgroup, limits
from podnet.labs.home import Home, named
from podnet.labs.wait import until

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
ROOTS_PATH = f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin"

LISTINGS = (
    *("ip -j link", "ip -j addr", "ip -j route show table all", "ip -6 -j route show table all", "ip rule"),
    *("ip neigh", "ip netns", "nft list ruleset", "iptables -S", "sysctl -a"),
)
# These tick by themselves on any machine, or count the terminals that are open.
RESTLESS = re.compile(r"^(fs\.(dentry|inode|file)-|fs\.inode-|kernel\.(random|ns_last_pid|pty\.nr)|.*\.route\.flush)")


def podnet(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run one command of podnet to its end."""
    command = [sys.executable, "-m", "podnet.cli", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload, no-any-return]  # the options are subprocess.run's own


def as_root(*words: str) -> str:
    """Return what a command prints that only root may run on this machine."""
    environment = {**os.environ, "PATH": ROOTS_PATH}
    done = subprocess.run([*AS_ROOT, *words], check=False, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def kill(pid: int) -> None:
    """End a process of root's, at once."""
    as_root("kill", "-KILL", str(pid))


def up(home: Home, *options: str) -> str:
    """Bring a lab up; return what was said."""
    done = podnet("lab", "up", "--name", home.name, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def inside(home: Home, host: str, command: str) -> str:
    """Return what a shell command in a host prints."""
    done = podnet("lab", "exec", "--name", home.name, host, "--", "sh", "-c", command)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def over_ssh(home: Home, host: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a host, by nothing but ssh and the lab's ssh_config."""
    words = ["ssh", "-F", str(home.ssh_config), host, *command]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=20)


def init_of(home: Home, host: str) -> int:
    """Return the machine's number for a host's process 1."""
    init = (home.cgroup / host).init()
    assert init
    return init


def nspawn_of(home: Home, host: str) -> int:
    """Return the machine's number for a host's systemd-nspawn."""
    pids = (home.cgroup / host).pids()
    return next(pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().startswith("systemd-nspawn"))


def boots(home: Home, host: str) -> str:
    """Return what changes with every start of a host."""
    return Path(f"/proc/{init_of(home, host)}/stat").read_text().rsplit(")")[1].split()[19]


def machine() -> dict[str, list[str]]:
    """Return what this machine's own kernel holds, as far as this machine has the tools to list it."""
    seen = {}
    for listing in LISTINGS:
        if shutil.which(listing.split()[0], path=ROOTS_PATH):
            listed = as_root("sh", "-c", f"{listing}; echo exit code $?")  # some kernels lack some of it
            seen[listing] = [line for line in listed.splitlines() if not RESTLESS.match(line)]
    return seen


def changed(before: dict[str, list[str]]) -> dict[str, list[str]]:
    """Say what is not as before. What is so for a moment only, as the kernel counts what others do, may pass."""
    deadline = time.monotonic() + 10
    while True:
        after = machine()
        found = {name: sorted({*lines} ^ {*before[name]}) for name, lines in after.items() if lines != before[name]}
        if not found or time.monotonic() > deadline:
            return found


def traces(home: Home) -> list[str]:
    """Return what is left of a lab anywhere on the machine."""
    tag, directory = home.tag, str(home.path)
    processes = [
        f"process {path.name}"
        for path in Path("/proc").glob("[0-9]*")
        if any(tag in text or directory in text for text in texts(path))
    ]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if "podnet" in line]
    files = [str(path) for path in (home.path, access.control(home)) if path.exists()]
    groups = [str(path) for top in cgroup.hierarchies() for path in top.glob(f"**/{tag}")]
    return [*processes, *mounts, *files, *groups]


def texts(process: Path) -> Iterator[str]:
    """Yield what tells whose a process is."""
    for name in ("cmdline", "cgroup"):
        try:
            yield (process / name).read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            yield ""


@pytest.fixture
def home() -> Iterator[Home]:
    """A place for a lab; whatever a test leaves there is removed, and removed whole."""
    yield from place("test-lab")


@pytest.fixture
def other() -> Iterator[Home]:
    """A place for a second lab."""
    yield from place("test-other")


@pytest.fixture(scope="module")
def steady() -> Iterator[Home]:
    """A lab for tests that change nothing in it: three hosts, two segments."""
    for home in place("test-steady"):
        up(home, "--segments", "2", "--mtu", "1400")
        yield home


def place(name: str) -> Iterator[Home]:
    """Yield a lab's place, empty before and after."""
    home = named(name)
    podnet("lab", "down", "--name", name)
    yield home
    assert podnet("lab", "down", "--name", name).returncode == 0
    assert traces(home) == []


def test_the_machine_does_not_notice_a_lab(home: Home) -> None:
    """Links, addresses, routes, rules, filters and sysctls of the machine are the same before, during and after."""
    before = machine()
    up(home, "--hosts", "2", "--segments", "2")
    assert changed(before) == {}
    podnet("lab", "down", "--name", home.name)
    assert changed(before) == {}


def test_hosts_are_real_hosts(steady: Home) -> None:
    """Each has its systemd, its keys and names, the underlay's MTU, a default route; admin may do what root may."""
    assert inside(steady, "node1", "cat /etc/hostname; cat /proc/1/comm").split() == ["node1", "systemd"]
    assert inside(steady, "node1", "systemctl list-units --failed --no-legend") == ""
    assert inside(steady, "node1", "ip route show default").startswith("default via 192.168.56.1 dev eth0")
    assert inside(steady, "node2", "ip -o -4 addr show eth0").split()[3] == "192.168.57.12/24"
    assert inside(steady, "node1", "ping -c 1 -M do -s 1372 node3 && ping -c 1 192.168.56.1")
    assert "mtu=1400" in over_ssh(steady, "node1", "ping -c 1 -M do -s 1373 node3 2>&1").stdout.replace(" = ", "=")
    ids = {inside(steady, host, "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub") for host in ("node1", "node2")}
    assert len(ids) == 2
    assert over_ssh(steady, "admin@node1", "sudo", "id", "-u").stdout == "0\n"
    assert inside(steady, "node1", "sysctl -w net.ipv4.ip_forward=1")
    assert podnet("lab", "exec", "--name", steady.name, "node1", "--", "sysctl", "kernel.panic=9").returncode != 0


def test_up_again_disturbs_nobody(home: Home) -> None:
    """A second `up` starts nothing anew; more hosts join and fewer stay without the others noticing."""
    up(home, "--hosts", "2")
    node1, config = boots(home, "node1"), home.ssh_config.read_text()
    assert "node1 is up" not in up(home)
    assert home.ssh_config.read_text() == config
    assert "node4 is up" in up(home, "--hosts", "4")
    assert config in home.ssh_config.read_text()
    inside(home, "node1", "ping -c 1 node4")
    up(home, "--hosts", "1")
    assert boots(home, "node1") == node1
    assert "Host node2" not in home.ssh_config.read_text()
    assert over_ssh(home, "node1", "hostname").stdout == "node1\n"


def kill_the_keeper(home: Home) -> None:
    """End what keeps the lab."""
    assert home.keeper
    kill(home.keeper)


def kill_an_nspawn(home: Home) -> None:
    """End what started a host; the host itself goes on."""
    kill(nspawn_of(home, "node1"))


def kill_an_init(home: Home) -> None:
    """End a host's process 1."""
    kill(init_of(home, "node1"))


def power_off(home: Home) -> None:
    """Switch a host off from inside."""
    inside(home, "node1", "systemctl poweroff")


def stop_sshd(home: Home) -> None:
    """Make a host deaf."""
    inside(home, "node1", "systemctl stop ssh")


DAMAGES = [kill_the_keeper, kill_an_nspawn, kill_an_init, power_off, stop_sshd]


def down_is_seen(home: Home) -> bool:
    """Whether `status` says that something is amiss."""
    return podnet("lab", "status", "--name", home.name).returncode == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_seen_and_mended_or_removed(home: Home, damage: Callable[[Home], None]) -> None:
    """`status` tells of it; `up` mends it, with keys, ports, addresses as before; `down` leaves nothing."""
    up(home, "--hosts", "2")
    inside(home, "node1", "touch /root/kept; ip link add gone type bridge")
    files = home.known_hosts.read_text(), home.ssh_config.read_text()
    damage(home)
    until(lambda: down_is_seen(home), 15, f"{damage.__name__} is not seen by status")
    up(home)
    assert podnet("lab", "status", "--name", home.name).returncode == 0
    assert (home.known_hosts.read_text(), home.ssh_config.read_text()) == files
    assert over_ssh(home, "node1", "hostname").stdout == "node1\n"
    assert "gone" not in inside(home, "node1", "ip -br link")
    inside(home, "node2", "ping -c 1 node1")
    if damage is not kill_the_keeper:
        inside(home, "node1", "ls /root/kept")
    damage(home)
    assert podnet("lab", "down", "--name", home.name).returncode == 0
    assert traces(home) == []


def kill_up(home: Home) -> None:
    """End an `up` unless it has ended: itself and, where it became root, the sudo that it runs under."""
    words = f"podnet.cli lab up --name {home.name}"
    pids = [path.name for path in Path("/proc").glob("[0-9]*") if words in next(texts(path)).replace("\0", " ")]
    as_root("sh", "-c", 'for pid; do kill -KILL "$pid" || test ! -e "/proc/$pid"; done', "sh", *pids)


@pytest.mark.parametrize("milliseconds", [300, 600])
def test_a_killed_up_is_completed_or_removed(home: Home, milliseconds: int) -> None:
    """Wherever `up` is killed, the next `up` completes the lab, and `down` removes it."""
    for finish in ("down", "up"):
        command = [sys.executable, "-m", "podnet.cli", "lab", "up", "--name", home.name]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as starting:
            try:
                starting.wait(milliseconds / 1000)
            except subprocess.TimeoutExpired:
                kill_up(home)
        assert podnet("lab", finish, "--name", home.name).returncode == 0
        assert finish == "up" or traces(home) == []
    assert podnet("lab", "status", "--name", home.name).returncode == 0


def test_a_lab_outlives_its_starter(home: Home) -> None:
    """The end of the session that called `up` is not the end of the lab."""
    command = [sys.executable, "-m", "podnet.cli", "lab", "up", "--hosts", "1", "--name", home.name]
    starter = subprocess.Popen(["sh", "-c", '"$@"; cat', "sh", *command], stdin=subprocess.PIPE, start_new_session=True)
    until(lambda: os.access(home.key, os.R_OK) and not down_is_seen(home), 30, "the lab does not come up")
    os.killpg(starter.pid, signal.SIGKILL)
    starter.communicate()
    assert over_ssh(home, "node1", "hostname").stdout == "node1\n"


def test_two_labs_do_not_meet(home: Home, other: Home) -> None:
    """Two labs have the same names and addresses, and neither hears of the other, also when that goes."""
    up(home, "--hosts", "2")
    up(other, "--hosts", "1", "--mtu", "9000")
    assert over_ssh(home, "node1", "cat /sys/class/net/eth0/mtu").stdout == "1500\n"
    assert over_ssh(other, "node1", "cat /sys/class/net/eth0/mtu").stdout == "9000\n"
    assert podnet("lab", "exec", "--name", other.name, "node1", "--", "ping", "-c1", "-W1", "192.168.56.12").returncode
    podnet("lab", "down", "--name", other.name)
    assert over_ssh(home, "node1", "hostname").stdout == "node1\n"


def test_two_ups_at_once_make_one_lab(home: Home) -> None:
    """The second waits for the first, and finds its work done."""
    command = [sys.executable, "-m", "podnet.cli", "lab", "up", "--hosts", "2", "--name", home.name]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = "".join(process.communicate()[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said.count("node1 is up") == 1


def test_a_host_takes_what_up_reckons_with(steady: Home) -> None:
    """`up` refuses hosts that there are not enough inotify instances for; so many are root's in a host."""
    roots = "find /proc/[0-9]* -maxdepth 0 -user root"  # its fd/ says root also of who only began as root
    each = f"for one in $({roots}); do find $one/fd -lname anon_inode:inotify || test $? = 1; done"
    found = inside(steady, "node1", each)
    assert len(found.splitlines()) == limits.TAKEN_BY_A_HOST


def test_segments_are_joined_by_a_router(steady: Home) -> None:
    """A peer in the other segment is one router away; the router can be entered like a node."""
    assert "ttl=63" in inside(steady, "node1", "ping -c 1 node2")
    assert "ttl=64" in inside(steady, "node1", "ping -c 1 node3")
    assert over_ssh(steady, "router", "sysctl", "-n", "net.ipv4.ip_forward").stdout == "1\n"


def test_host_keys_are_checked(steady: Home, tmp_path: Path) -> None:
    """A host that shows another host's key is not talked to."""
    (port, key), (_, another), *_ = (line.split(maxsplit=1) for line in steady.known_hosts.read_text().splitlines())
    (tmp_path / "right").write_text(f"{port} {key}\n")
    (tmp_path / "wrong").write_text(f"{port} {another}\n")
    assert over_ssh(steady, f"-oUserKnownHostsFile={tmp_path}/right", "node1", "true").returncode == 0
    refused = over_ssh(steady, f"-oUserKnownHostsFile={tmp_path}/wrong", "node1", "true")
    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr


def test_exec_passes_everything_through(home: Home) -> None:
    """Input, output and exit code are the command's, whether the host's sshd runs or not."""
    up(home, "--hosts", "1")
    stop_sshd(home)
    words = ("lab", "exec", "--name", home.name, "node1", "--", "sh", "-c", "cat; echo bad >&2; exit 7")
    done = podnet(*words, input="good")
    assert (done.stdout, done.stderr, done.returncode) == ("good", "bad\n", 7)


def test_the_inventory_is_what_the_lab_is(steady: Home) -> None:
    """The lab's own inventory has its nodes, their addresses, and the underlay's MTU."""
    names: dict[str, Any] = {}
    exec(compile(steady.inventory.read_text(), steady.inventory, "exec"), names)  # noqa: S102  # as pyinfra does
    nodes, common = names["nodes"]
    assert [(name, node["address"]) for name, node in nodes] == [
        ("node1", "192.168.56.11/24"),
        ("node2", "192.168.57.12/24"),
        ("node3", "192.168.56.13/24"),
    ]
    assert common["underlay_mtu"] == json.loads((steady.path / "lab.json").read_text())["mtu"] == 1400


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["up", "--hosts", "0"], "--hosts 0 is out of range: give a number from 1 to 200"),
        (["up", "--segments", "9"], "--segments 9 is out of range: give a number from 1 to 8"),
        (["up", "--mtu", "100"], "--mtu 100 is out of range: give a number from 656 to 65535"),
        (["up", "--name", "No_Name"], "'No_Name' cannot name a lab"),
        (["status"], "there is no lab test-lab: `podnet lab up --name test-lab` makes one"),
        (["ssh", "node1"], "there is no lab test-lab"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(home: Home, words: list[str], sentence: str) -> None:
    """One line says what is wrong and what to do; nothing was made."""
    done = podnet("lab", words[0], "--name", home.name, *words[1:])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"podnet: {sentence}")
    assert done.stderr.count("\n") == 1
    assert traces(home) == []


def test_a_broken_lab_says_how_to_be_rid_of_it(home: Home) -> None:
    """`up`, `status`, `exec` and `ssh` say that `down` removes it, in one line; `down` does."""
    up(home, "--hosts", "1")
    os.truncate(home.path / "lab.json", 20)
    for words in (["up"], ["status"], ["exec", "node1", "true"], ["ssh", "node1"]):
        done = podnet("lab", words[0], "--name", home.name, *words[1:])
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"podnet: {home.path}/lab.json is broken: `podnet lab down --name {home.name}` removes the lab\n"
        )
    assert podnet("lab", "down", "--name", home.name).returncode == 0
    assert traces(home) == []


def test_a_lab_that_is_there_keeps_its_shape(steady: Home) -> None:
    """Another MTU or number of segments needs another lab; a host that is not there is named with those that are."""
    changed = podnet("lab", "up", "--name", steady.name, "--mtu", "9000")
    assert "`podnet lab down --name test-steady` first" in changed.stderr
    stranger = podnet("lab", "exec", "--name", steady.name, "node9", "--", "true")
    assert stranger.stderr == "podnet: lab test-steady has no host node9, it has node1, node2, node3, router\n"
