"""A lab of VMs keeps the promises of one of containers, and those that containers cannot: modules, reboots, VFs."""

import signal
import subprocess
from collections.abc import Callable

import pytest

from podnet.labs.home import Home, named
from tests.lab.at import BIN, CLONE, At, run, until
from tests.lab.test_lab import as_root, changed, kill, machine, traces

MODULES = (
    *("bridge", "br_netfilter", "veth", "vxlan", "ipip", "fou", "wireguard", "macvlan", "ipvlan", "igbvf", "dummy"),
    *("vrf", "8021q", "nf_tables", "nft_masq", "xt_MASQUERADE", "xt_comment", "xt_mark", "xt_set", "ip_vs_rr"),
    *("geneve", "ip_gre", "tun", "bonding", "sch_netem", "sch_tbf", "act_mirred", "cls_bpf"),
)
CARRIER_WITHIN = 30.0


def home(at: At) -> Home:
    """Return the lab's place."""
    return named(at.name)


def up(at: At, *options: str) -> str:
    """Bring the lab up; return what was said."""
    done = run("podnet", "lab", "up", "--name", at.name, *options)
    assert done.code == 0, done.said
    return done.out


def boot_id(at: At, host: str) -> str:
    """Return what changes with every boot."""
    return at.sh(host, "cat /proc/sys/kernel/random/boot_id")


def is_up(at: At) -> bool:
    """Whether `status` finds nothing amiss."""
    return run("podnet", "lab", "status", "--name", at.name).code == 0


def qemu_of(at: At, group: str) -> int:
    """Return the process that is a host or a segment."""
    (pid,) = (home(at).cgroup / group).pids()
    return pid


def test_vms_are_hosts_with_a_kernel_of_their_own(at: At) -> None:
    """Each with its names, addresses, default route, udev, and every module that a mode may want."""
    assert boot_id(at, "node1") != boot_id(at, "node2") != as_root("cat", "/proc/sys/kernel/random/boot_id")
    assert at.sh("node1", "hostname; cat /etc/hostname; cat /proc/1/comm").split() == ["node1", "node1", "systemd"]
    assert at.sh("node1", "ip -o -4 addr show eth0").split()[3] == "192.168.56.11/24"
    assert at.sh("node1", "ip route show default").startswith("default via 192.168.56.1 dev eth0")
    assert at.sh("node1", "cat /sys/class/net/eth1/operstate; ip -4 addr show eth1") == "down\n"
    assert at.sh("node1", "systemctl is-active systemd-udevd systemd-networkd") == "active\nactive\n"
    assert at.sh("node1", "systemctl list-units --failed --no-legend") == ""
    at.sh("node1", f"modprobe --all {' '.join(MODULES)}; ping -c 1 -M do -s 1472 node2")
    assert len({at.sh(host, "cat /etc/machine-id /etc/ssh/*.pub") for host in ("node1", "node2")}) == 2
    assert run_ssh(at, "admin@node2", "sudo id -u").stdout == "0\n"


def test_a_vms_clock_is_right(at: At) -> None:
    """Also of one that goes on from a snapshot of yesterday."""
    for host in ("node1", "node2"):
        assert abs(float(at.sh(host, "date +%s.%N")) - float(as_root("date", "+%s.%N"))) < 5


def test_host_keys_are_checked(at: At) -> None:
    """A host that shows another's key is not talked to."""
    known = (at.path / "known_hosts").read_text().splitlines()
    port, another = known[0].split()[0], known[1].split(maxsplit=1)[1]
    wrong = at.path / "wrong"
    wrong.write_text(f"{port} {another}\n")
    refused = run_ssh(at, "-oUserKnownHostsFile=" + str(wrong), "node1", "true")
    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr


def run_ssh(at: At, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a host, by nothing but ssh and the lab's ssh_config."""
    command = ["ssh", "-F", str(at.path / "ssh_config"), *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)


def test_exec_passes_everything_through(at: At) -> None:
    """Words, input, output and exit code."""
    words = ("lab", "exec", "--name", at.name, "node1", "--", "sh", "-c", 'cat; echo "$1" >&2; exit 7', "sh", "a  'b")
    done = run("podnet", *words, given="good")
    assert (done.out, done.err, done.code) == ("good", "a  'b\n", 7)


def test_up_again_disturbs_nobody(at: At) -> None:
    """A second `up`, by whatever words, starts nothing anew."""
    before, config = boot_id(at, "node1"), (at.path / "ssh_config").read_text()
    assert " is up (" not in up(at).splitlines()[0].removeprefix("lab")
    up(at, "--vms", "--hosts", "2")
    assert (boot_id(at, "node1"), (at.path / "ssh_config").read_text()) == (before, config)


def test_a_lab_stays_of_its_kind(at: At) -> None:
    """Another shape needs another lab; so many VMs as this are too many."""
    changed = run("podnet", "lab", "up", "--name", at.name, "--mtu", "9000")
    assert f"`podnet lab down --name {at.name}` first" in changed.err
    many = run("podnet", "lab", "up", "--name", at.name, "--hosts", "9")
    assert many.err == f"podnet: --hosts 9 is too many VMs for lab {at.name}: give a number from 1 to 8\n"


def kill_a_qemu(at: At) -> None:
    """Cut a host's power."""
    kill(qemu_of(at, "node1"))


def kill_a_switch(at: At) -> None:
    """Cut the cables of a segment."""
    kill(qemu_of(at, "segment1"))


def power_off(at: At) -> None:
    """Switch a host off from inside."""
    at.try_sh("node1", "systemctl poweroff")


def stop_sshd(at: At) -> None:
    """Make a host deaf."""
    at.try_sh("node1", "systemctl stop ssh")


@pytest.mark.parametrize("damage", [kill_a_qemu, kill_a_switch, power_off, stop_sshd])
def test_damage_is_seen_and_mended(at: At, damage: Callable[[At], None]) -> None:
    """`status` tells of it; `up` mends it, with files, keys and ports as before; the other host does not notice."""
    at.sh("node1", f"echo {damage.__name__} >/root/kept; sync")
    files, other = [(at.path / name).read_text() for name in ("known_hosts", "ssh_config")], boot_id(at, "node2")
    damage(at)
    until(lambda: not is_up(at), 30, f"status sees {damage.__name__}")
    up(at)
    assert is_up(at)
    assert [(at.path / name).read_text() for name in ("known_hosts", "ssh_config")] == files
    assert at.sh("node1", "cat /root/kept; ip -br link show type bridge") == f"{damage.__name__}\n"
    at.sh("node1", "ping -c 1 -W 10 node2")
    assert boot_id(at, "node2") == other


@pytest.mark.parametrize("options", [[], ["--hard"]], ids=["soft", "hard"])
def test_a_reboot_keeps_what_is_on_the_disk(at: At, options: list[str]) -> None:
    """Files that were synced stay; links and namespaces go, as on any machine. Several boot at once."""
    before = {host: boot_id(at, host) for host in ("node1", "node2")}
    at.sh("node1", "echo here >/root/synced; sync; ip link add gone type bridge; ip netns add gone")
    done = run("podnet", "lab", "reboot", *options, "--name", at.name, *before)
    assert done.code == 0, done.said
    assert "node1, node2 have started anew" in done.out
    assert [host for host, last in before.items() if boot_id(at, host) == last] == []
    assert at.sh("node1", "cat /root/synced; ip -br link show type bridge; ip netns") == "here\n"
    at.sh("node1", "ping -c 1 node2")


def test_virtual_functions_reach_each_other(at: At) -> None:
    """A VF in a namespace of one host and one of the other, on the segment that eth0 is on."""
    for number in (1, 2):
        mac = f"02:99:00:00:00:0{number}"
        at.sh(
            f"node{number}",
            f"""
            ip link set eth1 up
            echo 2 >/sys/class/net/eth1/device/sriov_numvfs
            udevadm settle
            vf=$(ls /sys/class/net/eth1/device/virtfn0/net)
            ip link set eth1 vf 0 mac {mac}
            ip link set $vf address {mac}
            ip netns add pod
            ip link set $vf netns pod name vf0
            ip -n pod addr add 10.9.9.{number}/24 dev vf0
            ip -n pod link set vf0 up
            """,
        )
    until(lambda: all(has_carrier(at, host) for host in ("node1", "node2")), CARRIER_WITHIN, "the VFs have a carrier")
    assert "3 received" in at.sh("node1", "ip netns exec pod ping -c 3 -W 5 10.9.9.2")
    assert "3 received" in at.sh("node2", "ip netns exec pod ping -c 3 -W 5 10.9.9.1")


def has_carrier(at: At, host: str) -> bool:
    """Whether the host's first VF, which is in a namespace, is plugged in: igbvf takes up to ten seconds to see it."""
    return at.sh(host, "ip netns exec pod cat /sys/class/net/vf0/carrier") == "1\n"


@pytest.fixture
def alone() -> At:
    """A name for a lab that a test makes itself."""
    lab = At("vm-alone")
    lab.down()
    return lab


def test_the_machine_does_not_notice_a_lab(alone: At) -> None:
    """Its own network is the same before, during and after; nothing is left of the lab; ports are of 127.0.0.1."""
    before = machine()
    alone.up("--vms", "--hosts", "1")
    assert changed(before) == {}
    listening = as_root("ss", "-Hltnp", "sport", "=", run_port(alone))
    assert listening.split()[3].startswith("127.0.0.1:")
    alone.sh("node1", "true")
    alone.down()
    assert changed(before) == {}
    assert traces(home(alone)) == []


def run_port(at: At) -> str:
    """Return the port that leads to node1."""
    return (at.path / "known_hosts").read_text().split("]:")[1].split()[0]


@pytest.mark.parametrize("seconds", [0.4, 3.0])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_cut_up_is_completed_or_removed(alone: At, seconds: float, end: signal.Signals) -> None:
    """Wherever `up` ends, the next one completes the lab, and `down` removes it."""
    for finish in ("down", "up"):
        command = [str(BIN / "podnet"), "lab", "up", "--vms", "--hosts", "1", "--name", alone.name]
        with subprocess.Popen(command, cwd=CLONE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as starting:
            try:
                starting.wait(seconds)
            except subprocess.TimeoutExpired:
                starting.send_signal(end)
        assert run("podnet", "lab", finish, "--name", alone.name).code == 0
        assert finish == "up" or traces(home(alone)) == []
    assert is_up(alone)
    alone.down()
    assert traces(home(alone)) == []
