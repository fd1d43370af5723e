"""What of the wanted state a host can have: as its own firewall writes it, without what it has no place for."""

from podnet.forwarding import fitted
from podnet.state import File, Item, Offload, State, Symlink, Sysctl

SMALLEST_IPV6_MTU = 1280  # RFC 8200 section 5

MODULES = {"net/bridge/": "br_netfilter"}
"""Settings that exist only once a module is loaded. Modules of device kinds are loaded by the kernel itself; what else
must be is told by `State.unloaded`."""

SOFTWARE = ("/etc/systemd", "/etc/modules-load.d", "/etc/sysctl.d", "/etc/tmpfiles.d", "/etc/NetworkManager")
"""Folders that belong to a program: where it is not installed, nobody reads our file, hence none is written."""

SYSTEMD, NETWORKD = "/run/systemd/system", "/run/systemd/netif"
"""Folders that are there while the program runs."""


def supported(want: State, have: State) -> State:
    """Say what is wanted as this host can have it: chains by its own firewall, and settings that it has.

    Left out are settings that are not there, where nothing is there either that they could protect from:
    IPv6's on a host without it, and on a device whose MTU is too small for it; br_netfilter's being off where it is
    not loaded. In the same way leave out files for programs that are not there, and to leave the checksums alone where
    nobody can tell.
    """
    told = {offload.dev for offload in have.offloads}
    paths = {seen.path for seen in have.sysctls}
    present = any(path.startswith("net/ipv6/") for path in paths)
    too_small: set[str | None] = {link.dev for link in want.links if link.mtu < SMALLEST_IPV6_MTU}

    def has_place(item: Item) -> bool:
        if isinstance(item, File | Symlink):
            return not any(item.path.startswith(f"{root}/") for root in set(SOFTWARE) - have.folders)
        if isinstance(item, Offload):
            return not item.on or item.dev in told
        if isinstance(item, Sysctl) and item.value == "0" and item.path.startswith(tuple(MODULES)):
            return item.path in paths
        if not isinstance(item, Sysctl) or not item.path.startswith("net/ipv6/"):
            return True
        return present and device_of(item.path) not in too_small

    return fitted(want.only(has_place, "files", "offloads", "sysctls"), have.firewall)


def device_of(path: str) -> str | None:
    """Name the device that a setting belongs to: net/FAMILY/conf/DEVICE/NAME, or neigh in place of conf."""
    parts = path.split("/")
    return parts[3] if parts[2:3] in (["conf"], ["neigh"]) else None
