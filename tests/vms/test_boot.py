"""What a host's own udev and sysctl make of podnet's devices."""

from pathlib import Path

from podnet import thresholds
from podnet.verify import inventory
from tests.lab.at import At

SHAPE = ("--hosts", "1")


def test_udev_gives_our_devices_no_mac_of_its_own(at: At) -> None:
    """It takes our file for them, and not for a stranger's device, whose name begins in the same way."""
    assert at.apply().code == 0
    at.sh(
        "node1", "ip link show vethstrange >/dev/null 2>&1 || ip link add vethstrange type veth peer name vethstrang2"
    )
    link = "udevadm test-builtin net_setup_link /sys/class/net/{} 2>&1"
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


def test_a_host_is_given_room_for_its_neighbours_now_and_at_the_next_boot(at: At, tmp_path: Path) -> None:
    """For 200 hosts on its segment; once, and what is larger already stays larger."""
    ((name, host),) = inventory.load(at.inventory).items()
    others = {
        f"peer{number}": {**host, "address": f"192.168.56.{number}/24", "pod_subnet": f"10.244.{number}.0/24"}
        for number in range(20, 220)
    }
    file = tmp_path / "crowd.py"
    inventory.write(file, {name: host, **others})
    look = "cd /proc/sys/net/ipv4/neigh/default; cat gc_thresh1 gc_thresh2 gc_thresh3"
    at.sh(name, "sysctl -q -w net.ipv4.neigh.default.gc_thresh2=9999")
    applied = at.apply("deploys/thresholds.py", "--limit", name, inventory=file)
    assert applied.changed == {name}, applied.log
    assert at.sh(name, look).split() == ["203", "9999", "1624"]
    assert at.apply("deploys/thresholds.py", "--limit", name, inventory=file).unchanged == {name}
    at.sh(name, "sysctl -q -w net.ipv4.neigh.default.gc_thresh1=128; systemctl restart systemd-sysctl")
    assert at.sh(name, look).split() == ["203", "9999", "1624"]
    at.sh(name, f"rm {thresholds.FILE}")
