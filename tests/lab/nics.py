"""Labs whose pods are to have NICs of their own: what makes their VFs, and the inventory that gives them away."""

from dataclasses import dataclass
from pathlib import Path

from podnet import modes
from podnet.modes import Mode
from tests.core.examples import cluster
from tests.lab.at import At, until

PF, FIRST, SECOND = "eth1", "0000:01:10.0", "0000:01:10.2"
"""The NIC of a VM that has VFs, and the first two of them."""
CARRIER_WITHIN = 60.0
CARRIERS = "for pod in /run/netns/*; do ip netns exec ${pod##*/} cat /sys/class/net/eth0/carrier; done"

MAKE_VFS = f"""
if [ "$(cat /sys/class/net/{PF}/device/sriov_numvfs)" = 0 ]; then
  echo 3 >/sys/class/net/{PF}/device/sriov_numvfs
fi
ip link set {PF} up
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


def carriers(at: At) -> None:
    """Wait until every pod's NIC is plugged in: igbvf takes up to ten seconds to see it."""
    hosts = [node.name for node in at.cluster.nodes]
    until(
        lambda: all(set(at.sh(host, CARRIERS).split()) == {"1"} for host in hosts),
        CARRIER_WITHIN,
        "all VFs have a carrier",
    )


@dataclass(frozen=True)
class Lending(At):
    """A lab of VMs whose inventory gives each pod a VF."""

    def make(self) -> None:
        """Make the VFs, and that inventory."""
        for node in At(self.name).cluster.nodes:
            self.sh(node.name, MAKE_VFS)
        inventory(At(self.name), "lending", {"pod1": FIRST, "pod2": SECOND})

    @property
    def inventory(self) -> Path:
        return self.path / "lending.py"
