"""What a host's own udev and sysctl make of podnet's devices."""

from tests.lab.at import At

SHAPE = ("--hosts", "1")


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
        assert "ID_NET_LINK_FILE=/etc/systemd/network/10-podnet.link" in at.sh("node1", link.format(dev))
    assert "ID_NET_LINK_FILE=/etc/systemd/network/10-podnet.link" not in at.sh("node1", link.format("vethstrange"))
    at.sh("node1", "ip link del vethstrange")


def test_settings_that_are_for_all_devices_are_not_for_ours(at: At) -> None:
    """`sysctl --system`, which packages run when they are installed, leaves the mode's settings as they are."""
    assert at.apply().code == 0
    at.sh("node1", "echo 'net.ipv4.conf.*.rp_filter = 1' >/etc/sysctl.d/50-all.conf")
    at.sh("node1", "systemctl restart systemd-sysctl.service; rm /etc/sysctl.d/50-all.conf")
    assert at.differences("node1") == []
