"""Labs whose pods are to have NICs of their own: what makes their VFs, and the inventory that gives them away."""

from pathlib import Path

from podnet import modes
from podnet.modes import Mode
from tests.core.examples import cluster
from tests.lab.at import At

FIRST, SECOND = "0000:01:10.0", "0000:01:10.2"
"""The first two VFs of a VM's eth1."""

MAKE_VFS = """
if [ "$(cat /sys/class/net/eth1/device/sriov_numvfs)" = 0 ]; then
  echo 3 >/sys/class/net/eth1/device/sriov_numvfs
fi
ip link set eth1 up
udevadm settle
"""

VFS_AT_BOOT = """
cat >/etc/udev/rules.d/90-vfs.rules <<'RULE'
ACTION=="add", SUBSYSTEM=="net", ENV{ID_NET_DRIVER}=="igb", ATTR{device/sriov_numvfs}="3"
RULE
printf '[Match]\\nName=eth1\\n[Network]\\nLinkLocalAddressing=no\\n' >/etc/systemd/network/eth1.network
sync
"""
"""As the page has its reader make them."""


def needed(mode: Mode) -> bool:
    """Whether a mode lends NICs to pods, which a lab of containers does not have."""
    return bool(modes.wanted(mode, cluster(), cluster().node("node1")).vfs)


def inventory(at: At, name: str, nics: dict[str, object]) -> Path:
    """Write an inventory that says what the lab's does, and gives each host these NICs."""
    path = at.path / f"{name}.py"
    path.write_text(f"{at.inventory.read_text()}\nfor _, _data in nodes[0]:\n    _data['nics'] = {nics!r}\n")
    return path
