"""Hosts with kernels, modules and a udev of their own come back by themselves, in every mode."""

import pkgutil

import pytest

from podnet import modes
from tests.lab.at import At, run

BOTH = ("node1", "node2")
MODES = sorted(module.name for module in pkgutil.iter_modules(modes.__path__))


def rebooted(at: At) -> None:
    """Cut both hosts' power, and wait until they have come back by themselves."""
    for host in BOTH:
        done = run("podnet", "lab", "reboot", "--name", at.name, "--hard", host)
        assert done.code == 0, done.said
    at.back(*BOTH, seconds=180)


@pytest.mark.parametrize("mode", ["vxlan", *(mode for mode in MODES if mode != "vxlan")])
def test_all_is_there_again_after_all_hosts_lost_power(at: At, mode: str) -> None:
    """No table lacks anything or has too much, every pod reaches whom it should, and an apply finds nothing to do."""
    done = at.apply(f"deploys/{mode}.py")
    assert done.code == 0, done.log
    rebooted(at)
    assert {host: at.differences(host, mode) for host in BOTH} == {host: [] for host in BOTH}
    reached = at.verify("podnet/verify/test_reach.py", "--mode", mode, hosts=",".join(BOTH))
    assert reached.code == 0, reached.said
    assert at.apply(f"deploys/{mode}.py").unchanged == set(BOTH)


def test_udev_gives_our_devices_no_mac_of_its_own(at: At) -> None:
    """It takes our file for them, and not for a stranger's device, whose name begins in the same way."""
    assert at.apply().code == 0
    at.sh(
        "node1", "ip link show vethstrange >/dev/null 2>&1 || ip link add vethstrange type veth peer name vethstrang2"
    )
    link = "udevadm test-builtin net_setup_link /sys/class/net/{} 2>&1 || :"
    devices = [link.dev for link in at.wanted("node1")[0].links]
    assert devices
    for dev in devices:
        assert "/etc/systemd/network/10-podnet.link" in at.sh("node1", link.format(dev))
    assert "10-podnet.link" not in at.sh("node1", link.format("vethstrange"))
    at.sh("node1", "ip link del vethstrange")


def test_settings_that_are_for_all_devices_are_not_for_ours(at: At) -> None:
    """`sysctl --system`, which packages run when they are installed, leaves the mode's settings as they are."""
    assert at.apply().code == 0
    at.sh("node1", "echo 'net.ipv4.conf.*.rp_filter = 1' >/etc/sysctl.d/50-all.conf")
    at.sh("node1", "systemctl restart systemd-sysctl.service; rm /etc/sysctl.d/50-all.conf")
    assert at.differences("node1") == []
