"""What `--disruptive` shows of every mode, that each of its scenarios can fail, and that all is given back."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface

import pytest

from podnet.cluster import Pod
from podnet.verify.disruptive import dump, losses, moving
from tests.lab.at import BIN, CLONE, INTERRUPTIBLE, At, Done, until
from tests.lab.proof import MODES, needs
from tests.lab.test_modes import CROSSING

FOLDER = "podnet/verify/disruptive"
HOSTS = ("node1", "node2", "node3")


def disrupt(at: At, *options: str, mode: str = "vxlan", file: str = "") -> Done:
    """Run all of it, or one file, as a user does; a container that ends is started again from outside."""
    reboot = f"{BIN / 'podnet'} lab reboot --name {at.name} {{host}}"
    where = f"{FOLDER}/{file}" if file else FOLDER
    return at.verify("--disruptive", f"--reboot-command={reboot}", *options, where, mode=mode)


def dumped(at: At) -> dict[str, str]:
    """Write all hosts down."""
    return {host: at.sh(host, dump.SCRIPT) for host in HOSTS}


@pytest.fixture(scope="module")
def apart() -> Iterator[At]:
    """Return a lab of three hosts on two segments, with a router between them."""
    lab = At("disruptive-apart")
    lab.up("--hosts", "3", "--segments", "2")
    yield lab
    lab.down()


@pytest.mark.parametrize("mode", MODES)
def test_every_scenario_holds(at: At, mode: str, record_property: Callable[[str, object], None]) -> None:
    """None fails, none is skipped, what was lost is told, and the hosts are as they were."""
    needs(at, mode)
    assert faults(at, mode) == []
    record_property("proved", mode)


@pytest.mark.parametrize("mode", [mode for mode in CROSSING if "direct" in mode])
def test_every_scenario_holds_across_a_router(apart: At, mode: str) -> None:
    """Where neighbours are spoken to in one way and others in another."""
    needs(apart, mode)
    assert faults(apart, mode) == []


def faults(at: At, mode: str) -> list[str]:
    """Run all of it on hosts in that mode; say what is not as it must be, of the run and of the hosts afterwards."""
    at.into(mode)
    done = disrupt(at, mode=mode)
    told = [
        f"not told: {words}" for words in ("a second apply: 0 of ", f"switch from {mode} to ") if words not in done.out
    ]
    left = [f"{host}: {difference}" for host in HOSTS for difference in at.differences(host, mode)]
    return [*([done.said] if done.code or "skipped" in done.out else []), *told, *left]


def test_it_is_left_out_unless_it_is_asked_for(vxlan: At) -> None:
    """Without `--disruptive` nothing of it is even collected."""
    done = vxlan.verify("--collect-only", "-q")
    assert done.code == 0, done.said
    assert "disruptive" not in done.out
    named = vxlan.verify(FOLDER)
    assert "no tests ran" in named.out
    named = vxlan.verify(f"{FOLDER}/test_switch.py")
    assert named.code == 4
    assert "test_switch.py changes hosts: say --disruptive if it may" in named.err
    asked = vxlan.verify("--collect-only", "-q", "--disruptive")
    listed = [line for line in asked.out.splitlines() if "::" in line]
    assert ["disruptive" in line for line in listed] == sorted("disruptive" in line for line in listed)


def test_hosts_that_are_not_as_they_should_be_are_not_changed(vxlan: At) -> None:
    """What was wrong before cannot be told from what the tests would do."""
    vxlan.sh("node2", "ip route del 10.244.3.0/24")
    before = dumped(vxlan)
    done = disrupt(vxlan)
    assert done.code == 1
    assert "nothing was changed, since not all was as it should be:" in done.out
    assert "node2: missing route: route replace 10.244.3.0/24" in done.out
    assert dumped(vxlan) == before
    vxlan.into("vxlan")


def test_pings_outlive_an_icmp_error(vxlan: At) -> None:
    """A host that is being changed sends some; packets count as lost until it forwards again, and no longer."""
    pair = losses.Pair("node1/pod1", "podnet-pod1", "node2/pod1", Pod("pod1", IPv4Address("10.244.2.2")))
    folder = vxlan.sh("node1", losses.start([pair])).strip()
    vxlan.sh("node1", "ip route add unreachable 10.244.2.2")
    until(lambda: "Unreachable" in vxlan.sh("node1", f"cat {folder}/0"), 10, "an error is heard")
    vxlan.sh("node1", "ip route del unreachable 10.244.2.2")
    (loss,) = losses.parse([pair], vxlan.sh("node1", losses.stop(folder)))
    assert loss.lost > 0
    assert loss.at_the_end == 0


DROPPED = "iptables -I FORWARD -p icmp -j DROP; sleep 0.3; iptables -D FORWARD -p icmp -j DROP"

FAULTS = {
    "a second apply has something to mend": (
        *("test_second_apply.py", "before1:node2:ip route del 10.244.3.0/24"),
        "expected a second apply to change no host, saw changed:\n  node2",
    ),
    "a second apply changes what is not podnet's": (
        *("test_second_apply.py", "after1:node2:sysctl -q -w net.ipv4.conf.eth0.log_martians=1"),
        "saw:\n  node2: gone: /proc/sys/net/ipv4/conf/eth0/log_martians:0",
    ),
    "a second apply loses packets": (
        *("test_second_apply.py", f"after*:node2:{DROPPED}"),
        "expected no packet to be lost during a second apply, saw:\n  node1/pod1 -> node2/pod1: ",
    ),
    "a removed member is still routed to": (
        *("test_member.py", "after1:node1:ip route add 10.244.3.0/24 via 192.168.56.1 proto static"),
        "expected no trace of node3, saw:\n  node1: route replace 10.244.3.0/24 via 192.168.56.1",
    ),
    "a removed member is still tunnelled to": (
        *("test_member.py", "after1:node2:bridge fdb add 02:00:00:00:00:01 dev flannel.1 dst 192.168.56.13"),
        "without node3 not all was as it should be:\n  node2: extra FDB entry: ",
    ),
    "a removal loses packets of the others": (
        *("test_member.py", f"after1:node2:{DROPPED}"),
        "expected no packet to be lost during the removal of node3, saw:\n  node1/pod1 -> node2/pod1: ",
    ),
    "an addition loses packets of the others": (
        *("test_member.py", f"after2:node2:{DROPPED}"),
        "expected no packet to be lost during the addition of node3, saw:\n  node1/pod1 -> node2/pod1: ",
    ),
    "an added member is not reached": (
        *("test_member.py", "after2:node2:ip neigh del 10.244.3.0 dev flannel.1"),
        "with node3 again not all was as it should be:\n  node2: missing neighbour: ",
    ),
    "a new MAC is not found": (
        *("test_address.py::test_a_new_mac_of_the_uplink_needs_no_apply", "before1:node1:false"),
        "no reply",
    ),
    "a moved host is not known to one": (
        *("test_address.py", "after2:node1:bridge fdb del $(bridge fdb show dev flannel.1 | grep 254) dev flannel.1"),
        "node3 is at 192.168.56.254/24, and not all was as it should be:\n  node1: missing FDB entry: ",
    ),
    "a former address is still known": (
        *("test_address.py", "after3:node1:bridge fdb add 02:00:00:00:00:01 dev flannel.1 dst 192.168.56.254"),
        "node3 is at 192.168.56.13/24 again, and not all was as before:\n  node1: extra FDB entry: ",
    ),
    "a switch leaves a route": (
        *("test_switch.py", "after1:node2:ip route add 10.244.3.0/24 via 192.168.56.1 proto 77"),
        "not all was as it should be:\n  node2: extra route: route replace 10.244.3.0/24",
    ),
    "a switch leaves what is not podnet's": (
        *("test_switch.py", "after2:node2:ip link add stray type bridge"),
        "saw:\n  node2: left: stray: ",
    ),
}
MENDED = """
ip link del stray 2>/dev/null || test $? = 1
ip neigh del 192.168.56.13 dev eth0 2>/dev/null || test $? = 2
sysctl -q -w net.ipv4.conf.eth0.log_martians=0
"""


@pytest.mark.parametrize("fault", FAULTS)
def test_scenario_fails_where_something_goes_wrong(vxlan: At, fault: str) -> None:
    """It says what and where, and podnet's own tables are given back all the same."""
    file, clumsy, words = FAULTS[fault]
    if "MAC" in fault:
        vxlan.sh("node1", "ip neigh replace 192.168.56.13 lladdr 02:55:c0:a8:38:0d dev eth0 nud permanent")
    done = disrupt(vxlan, "-p", "tests.lab.clumsy", f"--clumsy={clumsy}", f"--clumsy-lab={vxlan.name}", file=file)
    for host in HOSTS:
        vxlan.sh(host, MENDED)
    assert done.code == 1, done.said
    assert words in done.out
    assert {host: vxlan.differences(host) for host in HOSTS} == {host: [] for host in HOSTS}


def test_host_that_comes_back_without_its_network_is_named(vxlan: At) -> None:
    """With its unit; and an apply gives it back."""
    podnet = BIN / "podnet"
    disabled = f"{podnet} lab exec --name {vxlan.name} {{host}} -- systemctl disable podnet.service"
    reboot = f"sh -c '{disabled}; {podnet} lab reboot --name {vxlan.name} {{host}}'"
    clumsy = ("-p", "tests.lab.clumsy", "--clumsy=never:node1::", f"--clumsy-lab={vxlan.name}")
    done = disrupt(vxlan, *clumsy, f"--reboot-command={reboot}", file="test_reboot.py")
    assert done.code == 1, done.said
    assert "after a reboot of all hosts not all was as it should be:\n  node1: podnet.service is inactive" in done.out
    assert {host: vxlan.differences(host) for host in HOSTS} == {host: [] for host in HOSTS}


def test_what_cannot_be_given_back_is_told_loudly(vxlan: At) -> None:
    """A stranger's entry that podnet cannot take away: how hosts are left is said at the end, and no more is run."""
    script = "ip neigh replace 192.168.56.12 lladdr 02:00:00:00:00:01 dev eth0 nud permanent"
    clumsy = ("-p", "tests.lab.clumsy", f"--clumsy=after2:node1:{script}", f"--clumsy-lab={vxlan.name}")
    done = disrupt(vxlan, *clumsy, f"{FOLDER}/test_member.py", file="test_switch.py")
    vxlan.sh("node1", "ip neigh del 192.168.56.12 dev eth0")
    assert done.code == 1, done.said
    assert "with node3 again not all was as it should be:\n  node1/pod1 -> node2/pod1: expected a reply" in done.out
    assert "podnet: NOT GIVEN BACK: node3 was removed from the cluster" in done.out
    assert "nothing more is changed: node3 was removed from the cluster" in done.out


OLD, NEW = IPv4Interface("192.168.56.13/24"), IPv4Interface("192.168.56.99/24")


def test_a_move_is_taken_back_from_wherever_it_has_come_to(vxlan: At) -> None:
    """Whole, begun and failed, not even begun, or still under way when it is to be taken back."""
    before = vxlan.sh("node3", dump.SCRIPT)
    there = moving.move_script("eth0", OLD, NEW, folder := moving.new_folder())
    back = moving.back_script("eth0", NEW, folder)
    vxlan.sh("node3", there)
    assert f"{NEW.ip}/24" in vxlan.sh("node3", "ip -o addr show dev eth0 primary")
    vxlan.sh("node3", back)
    assert vxlan.sh("node3", dump.SCRIPT) == before
    vxlan.sh("node3", back)
    failing = there.replace("again 's/", "false; again 's/")
    assert failing != there
    assert vxlan.try_sh("node3", failing).code == 1
    assert vxlan.sh("node3", dump.SCRIPT) == before
    slowly = there.replace("again 's/", "sleep 1; again 's/")
    vxlan.sh("node3", f"({slowly}) >/dev/null 2>&1 &\nuntil [ -e {folder}/routes ]; do :; done\n{back}")
    assert vxlan.sh("node3", dump.SCRIPT) == before
    assert vxlan.try_sh("node3", f"[ -e {folder} ]").code == 1


@pytest.mark.parametrize("ending", [(signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM)])
def test_interrupted_in_the_middle_it_gives_all_back(vxlan: At, ending: tuple[signal.Signals, ...]) -> None:
    """Ctrl-C, or timeout(1), while a member is away: it is one again before pytest ends, and no ping goes on."""
    before = dumped(vxlan)
    words = [
        *INTERRUPTIBLE,
        str(BIN / "pytest"),
        "--hosts=node1,node2,node3",
        f"--inventory={vxlan.inventory}",
        "--disruptive",
    ]
    process = subprocess.Popen(
        [*words, f"{FOLDER}/test_member.py"], cwd=CLONE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        until(lambda: "10.244.3.0" not in vxlan.sh("node1", "ip route"), 30, "the member is removed")
        for each in ending:
            process.send_signal(each)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "putting node1, node2, node3 back as they were" in said
    assert "KeyboardInterrupt" in said
    assert dumped(vxlan) == before
    assert [vxlan.try_sh(host, "pgrep -x ping").out for host in HOSTS] == ["", "", ""]
