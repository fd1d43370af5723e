"""What was applied is there again after a reboot, by the hosts themselves; what was taken away is not."""

from collections.abc import Iterator

import pytest

from podnet.batch import sections
from podnet.plan import plan
from podnet.state import State
from tests.lab.at import At, until
from tests.lab.test_apply import PING, lost

BOTH = ("node1", "node2")
MODES = ("vxlan", "bridge", "host_gw", "proxy_arp", "veth_pair", "macvlan", "vxlan_direct_routing")
"""Those that kernels have whose modules are few. tests/vms has them all."""
OURS = "find /etc /run -name '*podnet*' ! -path '*sshd_config.d*' ! -path '*journald.conf.d*' ! -path '*system.conf.d*'"
"""Files by our name; those of the last three folders are the lab's own."""


@pytest.fixture(scope="module")
def at() -> Iterator[At]:
    """Return a lab of two bare hosts."""
    lab = At("reboot")
    lab.up("--hosts", "2")
    yield lab
    lab.down()


def applied(at: At, mode: str) -> None:
    """Put both hosts into a mode."""
    done = at.apply(f"deploys/{mode}.py")
    assert done.code == 0, done.log


def rebooted(at: At) -> None:
    """Pull both plugs, and wait until the hosts have come back by themselves."""
    at.off(*BOTH)
    at.up()
    at.back(*BOTH)


@pytest.mark.parametrize("mode", MODES)
def test_all_is_there_again_after_all_hosts_lost_power(at: At, mode: str) -> None:
    """No table lacks anything or has too much, every pod reaches whom it should, and an apply finds nothing to do."""
    applied(at, mode)
    rebooted(at)
    assert {host: at.differences(host, mode) for host in BOTH} == {host: [] for host in BOTH}
    done = at.verify("podnet/verify/test_reach.py", "--mode", mode, hosts=",".join(BOTH))
    assert done.code == 0, done.said
    assert at.apply(f"deploys/{mode}.py").unchanged == set(BOTH)


def test_host_that_comes_back_late_is_reached_again(at: At) -> None:
    """The others neither wait for it nor forget it."""
    applied(at, "vxlan")
    at.off("node2")
    at.sh("node1", "systemctl restart podnet.service")
    assert at.differences("node1") == []
    at.up()
    at.back("node2")
    done = at.verify("podnet/verify/test_reach.py", hosts=",".join(BOTH))
    assert done.code == 0, done.said


def test_host_whose_uplink_is_late_waits_for_its_address(at: At) -> None:
    """The unit says what it waits for, and goes on as soon as it is there."""
    applied(at, "vxlan")
    at.sh("node1", "ip link del flannel.1; ip addr del 192.168.56.11/24 dev eth0; systemctl stop podnet.service")
    at.sh("node1", "systemctl start --no-block podnet.service")
    waiting = "waiting for eth0 that is up and has 192.168.56.11"
    journal = "journalctl --unit podnet --output cat"
    until(lambda: at.sh("node1", journal).count(waiting) == 1, 10, "the unit waits")
    assert at.sh("node1", "systemctl is-active podnet.service || test $? = 3") == "activating\n"
    at.sh("node1", "ip addr add 192.168.56.11/24 dev eth0; ip route add default via 192.168.56.1")
    at.back("node1")
    assert at.differences("node1") == []


def test_run_twice_it_loses_no_packet(at: At) -> None:
    """On hosts that have everything the unit changes nothing that anybody could notice."""
    applied(at, "vxlan")
    at.sh("node1", f"({PING.format(seconds=3)} >/run/ping) & true")
    for host in BOTH:
        at.sh(host, "systemctl restart podnet.service")
    assert lost(at) == 0
    assert {host: at.differences(host) for host in BOTH} == {host: [] for host in BOTH}


@pytest.mark.parametrize(
    "damage",
    [
        "ip link del flannel.1",
        "ip link del cni0",
        "ip netns del podnet-pod1",
        "ip netns del podnet-pod1; touch /run/netns/podnet-pod1",
        "iptables -D FORWARD -j PODNET-FWD",
        "iptables -F; iptables -X; iptables -t nat -F",
        "ip -n podnet-pod2 addr flush dev eth0; sysctl -q -w net/ipv4/ip_forward=0",
    ],
)
def test_host_that_has_half_of_it_is_completed(at: At, damage: str) -> None:
    """Whatever is missing is made, by hand too."""
    applied(at, "vxlan")
    at.sh("node1", damage)
    assert at.differences("node1") != []
    at.sh("node1", "sh /etc/podnet/podnet.sh")
    assert at.differences("node1") == []


def test_failure_is_told_and_tried_again(at: At) -> None:
    """The journal has the kernel's words and the command, and once the reason is gone the unit succeeds by itself."""
    applied(at, "vxlan")
    socket = (
        'socket(S, 2, 2, 17); bind(S, sockaddr_in(8472, INADDR_ANY)) or die; open(F, ">/run/bound"); close F; sleep'
    )
    at.sh(
        "node1",
        f"ip link del flannel.1; (perl -MSocket -e '{socket}' >/dev/null 2>&1 & echo $! >/run/pid); "
        "until [ -e /run/bound ]; do :; done",
    )
    assert at.try_sh("node1", "systemctl restart podnet.service").code != 0
    said = at.sh("node1", "journalctl --unit podnet --output cat")
    assert "RTNETLINK answers: Address already in use" in said
    assert "podnet: failed at: ip -batch -" in said
    assert "podnet.service" in at.sh("node1", "systemctl list-units --no-legend --state=failed,activating")
    at.sh("node1", "kill $(cat /run/pid); rm /run/bound /run/pid")
    at.back("node1")
    assert at.differences("node1") == []


def test_after_a_switch_the_last_mode_comes_back(at: At) -> None:
    """Nothing of the former mode does."""
    applied(at, "vxlan")
    applied(at, "proxy_arp")
    rebooted(at)
    assert {host: at.differences(host, "proxy_arp") for host in BOTH} == {host: [] for host in BOTH}
    assert "flannel.1" not in at.sh(
        "node1", "ip link; grep -r flannel.1 /etc/podnet /etc/systemd /etc/sysctl.d || test $? = 1"
    )


@pytest.mark.parametrize(
    ("mode", "before"),
    [
        ("teardown", "systemctl daemon-reload"),
        ("proxy_arp", "mv /etc/sysctl.d"),
        ("proxy_arp", "sync"),
        ("proxy_arp", "mv /etc/podnet/podnet.sh.new"),
        ("proxy_arp", "ip -batch"),
    ],
)
def test_reboot_in_the_middle_of_an_apply_ends_with_the_next(at: At, mode: str, before: str) -> None:
    """Whatever the host came back with, one apply makes it right, and a further reboot brings just that."""
    applied(at, mode)
    todo = at.todo("node1", "vxlan")
    last = max(i for i, section in enumerate(todo) if section.command.startswith(before))
    at.carry_out("node1", todo[:last])
    at.off("node1")
    at.up()
    at.back("node1")
    applied(at, "vxlan")
    assert at.differences("node1") == []
    rebooted(at)
    assert at.differences("node1") == []


@pytest.mark.parametrize("after", ["systemctl stop", "rm -f", "systemctl daemon-reload"])
def test_teardown_that_was_cut_brings_nothing_back(at: At, after: str) -> None:
    """The unit goes before anything else does; the next teardown takes the rest."""
    applied(at, "vxlan")
    want = State()
    todo = sections(plan(want, at.have("node1", want), at.cluster.marks))
    last = max(i for i, section in enumerate(todo) if section.command.startswith(after))
    at.carry_out("node1", todo[: last + 1])
    at.off("node1")
    at.up()
    if after != "systemctl stop":
        assert "podnet" not in at.sh("node1", "ip netns; ip link; iptables-save; systemctl list-unit-files")
    assert at.apply("deploys/teardown.py").code == 0
    assert at.sh("node1", OURS) == ""


def test_nothing_comes_back_after_a_teardown(at: At) -> None:
    """No file is left, no unit is known, and a reboot brings a bare host."""
    applied(at, "vxlan")
    at.sh("node1", "systemctl restart podnet.service")  # a unit that is active is a harder case than one that is not
    assert at.apply("deploys/teardown.py").code == 0
    for _ in ("now", "after a reboot"):
        assert at.sh("node1", OURS) == ""
        assert "podnet" not in at.sh("node1", "ip netns; ip link; iptables-save; systemctl list-units --all")
        at.off(*BOTH)
        at.up()


DAMAGES = {
    "the script is deleted": ("rm /etc/podnet/podnet.sh", "missing file: /etc/podnet/podnet.sh"),
    "the script is changed": ("echo exit >>/etc/podnet/podnet.sh", "wrong file: /etc/podnet/podnet.sh: digest is "),
    "the script is empty": (": >/etc/podnet/podnet.sh", "wrong file: /etc/podnet/podnet.sh: digest is "),
    "the unit may be written by all": (
        "chmod 666 /etc/systemd/system/podnet.service",
        "wrong file: /etc/systemd/system/podnet.service: mode is 666, and should be 644",
    ),
    "the unit is disabled": (
        "systemctl disable podnet.service",
        "missing file: /etc/systemd/system/multi-user.target.wants/podnet.service to /etc/systemd/system/podnet",
    ),
    "a file was not finished": (
        "cp /etc/podnet/podnet.sh /etc/podnet/podnet.sh.new",
        "extra file: /etc/podnet/podnet.sh.new",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_file_that_is_not_as_it_was_written_is_named_and_mended(at: At, damage: str) -> None:
    """A host that would not come back as it is now is not as it should be."""
    applied(at, "vxlan")
    script, words = DAMAGES[damage]
    at.sh("node2", script)
    found = at.verify("podnet/verify/test_state.py", hosts=",".join(BOTH))
    assert found.code == 1, found.said
    assert f"node2: {words}" in found.out
    mended = at.apply()
    assert mended.changed == {"node2"}, mended.log
    assert at.differences("node2") == []


@pytest.mark.parametrize("put", ["echo mine >{path}", "ln -s /dev/null {path}", "mkdir {path}"])
def test_file_of_a_strangers_in_our_place_is_left_alone(at: At, put: str) -> None:
    """The host is refused with a sentence; a teardown leaves the file where it is."""
    assert at.apply("deploys/teardown.py").code == 0
    path = "/etc/sysctl.d/99-podnet.conf"
    at.sh("node1", put.format(path=path))
    look = f"ls -ld {path}; if [ ! -d {path} ]; then cat {path}; fi"
    before = at.sh("node1", look)
    refused = at.apply()
    assert refused.failed == {"node1"}
    assert f"{path} is somebody else's, and podnet needs its place" in refused.log
    assert "podnet" not in at.sh("node1", "ip link; ls /etc")
    if "/dev/null" not in put:
        assert at.apply("deploys/teardown.py").unchanged == {"node1"}
        assert at.sh("node1", look) == before
    at.sh("node1", f"rm -r {path}")
