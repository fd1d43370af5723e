"""Devices: `ip link`."""

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts import peers
from podnet.facts.peers import Tunnel
from podnet.facts.reading import Table, documents, strictly
from podnet.marks import NAME
from podnet.nics import seen
from podnet.state import Bridge, Ipip, Ipvlan, Link, Macvlan, Nic, Veth, Vxlan, Wireguard

COMMANDS = ("ip -d -j link show", "ip -j netns list")

NOBODY = -1  # a device with no other end, or one that is in a namespace without a number


class Links(FactBase[Table[Link] | None]):
    """All devices of the host, as podnet.state.Bridge, Vxlan and so on, or Nic for a kind that podnet never makes.

    .. code:: python

        links = host.get_fact(Links)
        assert any(link.dev == "eth0" and link.up for link in links)
    """

    @override
    def command(self) -> str:
        return " && ".join([*COMMANDS, f"{{\n{peers.COMMAND}\n}}"])

    @override
    def process(self, output: list[str]) -> Table[Link] | None:
        with strictly("the list of devices"):
            end = next((i for i, line in enumerate(output) if line.startswith(peers.MARK)), len(output))
            return Table(parse(*read(output[:end]), peers.tunnels(output[end:])))


def read(output: list[str]) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """Take the devices, and the names of the namespaces that this one has numbered.

    On a host that never had a named namespace `ip netns list` prints nothing at all.
    """
    devices, *namespaces = documents(output)
    return devices, numbered([entry for entries in namespaces for entry in entries])


def numbered(namespaces: list[dict[str, Any]]) -> dict[int, str]:
    """Name the namespaces that have a number here."""
    listed = [entry for entry in namespaces if "id" in entry]
    # A container runtime may have given one of our namespaces a second name: ours is told.
    listed.sort(key=lambda entry: str(entry["name"]).startswith(NAME))
    return {entry["id"]: entry["name"] for entry in listed}


def parse(
    links: list[dict[str, Any]],
    namespaces: dict[int, str],
    tunnels: Mapping[str, Tunnel] | None = None,
    *,
    in_pod: bool = False,
) -> frozenset[Link]:
    """Read what `ip -d -j link show` printed. It tells nothing of wireguard devices: `tunnels` do that themselves."""
    read = [(entry, _link(entry, namespaces, tunnels or {})) for entry in links]
    return frozenset(
        seen(link, entry.get("address", ""), _pci(entry), entry.get("ifalias", ""), in_pod=in_pod)
        for entry, link in read
    )


def _pci(entry: dict[str, Any]) -> str:
    return str(entry["parentdev"]) if entry.get("parentbus") == "pci" else ""


def indices(links: list[dict[str, Any]]) -> dict[int, str]:
    """Name the host's devices by their numbers, by which pods' devices refer to them."""
    return {entry["ifindex"]: entry["ifname"] for entry in links}


def inside(
    netns: str, links: list[dict[str, Any]], namespaces: dict[int, str], host: dict[int, str]
) -> frozenset[Link]:
    """Read the same from inside a pod, where a cable's end is a Nic: the cable is where its other end is.

    Of a cable between two pods the end in the first of them, by name, is the cable. What is below a device in another
    namespace is told by number; where that namespace has no name it is the host's.
    """
    told = [
        entry | {"link": host.get(entry["link_index"])}
        if entry.get("link_netnsid", NOBODY) not in {NOBODY, *namespaces}
        else entry
        for entry in links
    ]
    parsed = parse(told, namespaces, in_pod=True)
    nics = {link.dev: link for link in map(_nic, links)}
    ends = {link.dev for link in parsed if isinstance(link, Veth) and not netns < (link.netns or "")}
    return frozenset(nics[link.dev] if link.dev in ends else link for link in parsed)


def _nic(entry: dict[str, Any]) -> Nic:
    flags = entry["flags"]
    up, arp = "UP" in flags, "NOARP" not in flags
    where = {"pci": _pci(entry), "master": entry.get("master", "")}
    return Nic(entry["ifname"], entry["mtu"], entry.get("address", ""), up=up, arp=arp, **where)


def _link(entry: dict[str, Any], namespaces: dict[int, str], tunnels: Mapping[str, Tunnel]) -> Link:
    dev, mtu, alias = entry["ifname"], entry["mtu"], entry.get("ifalias", "")
    info = entry.get("linkinfo", {})
    data = info.get("info_data", {})
    up, arp = "UP" in entry["flags"], "NOARP" not in entry["flags"]
    match info.get("info_kind"):
        case "bridge":
            stp, filtering = bool(data["stp_state"]), bool(data["vlan_filtering"])
            return Bridge(dev, mtu, entry["address"], stp=stp, vlan_filtering=filtering, up=up, arp=arp, alias=alias)
        case "vxlan":
            return _vxlan(entry, data)
        case "veth":
            # NOBODY: the other end's namespace has no number here, so it has no name here either
            netns = namespaces.get(entry.get("link_netnsid", NOBODY))
            return Veth(dev, mtu, netns, entry["address"], up=up, arp=arp, alias=alias)
        case "ipip":
            return _ipip(entry, data)
        case "macvlan":
            lower = entry.get("link")
            return Macvlan(dev, mtu, entry["address"], lower, data["mode"], up=up, arp=arp, alias=alias)
        case "ipvlan":
            return Ipvlan(dev, mtu, entry.get("link"), data["mode"], up=up, arp=arp, alias=alias)
        case "wireguard":
            port, public = tunnels.get(dev, Tunnel())
            return Wireguard(dev, mtu, port, public, up=up, arp=arp, alias=alias)
        case _:
            return _nic(entry)


VXLAN_DEFAULTS: dict[str, tuple[object, ...]] = {
    "ttl": (0, "auto"),
    "tos": (0, "0"),
    "df": ("unset",),
    "ageing": (300,),
    "udp_csum": (True,),
    "port_range": ({"low": 0, "high": 0},),
}
"""What iproute2's versions print of a device that nobody gave an option."""
VXLAN_SWITCHES = ("external", "gbp", "gpe", "l2miss", "l3miss", "proxy", "remcsum_rx", "remcsum_tx", "rsc", "vnifilter")
"""Printed only if they are on, by iproute2 6.1 with the value null."""


def _vxlan(entry: dict[str, Any], data: dict[str, Any]) -> Vxlan:
    """A stranger's may lack nearly everything: an `external` one has neither VNI nor local address."""
    local = data.get("local")
    options = [
        f"{name} {data[name]}" for name, usual in VXLAN_DEFAULTS.items() if data.get(name, usual[0]) not in usual
    ]
    options += [name for name in VXLAN_SWITCHES if data.get(name, False) is not False]
    return Vxlan(
        entry["ifname"],
        entry["mtu"],
        entry["address"],
        vni=data.get("id", 0),
        port=data.get("port", 0),
        local=IPv4Address(local) if local else None,
        lower=data.get("link"),
        learning=data.get("learning", False),
        group=data.get("group") or data.get("remote") or data.get("group6") or data.get("remote6"),
        options=tuple(options),
        alias=entry.get("ifalias", ""),
        up="UP" in entry["flags"],
        arp="NOARP" not in entry["flags"],
    )


def _ipip(entry: dict[str, Any], data: dict[str, Any]) -> Ipip:
    """Each address may be `any`. The fallback device tunl0, which the module makes, has none at all."""
    local, remote = (None if data.get(end, "any") == "any" else IPv4Address(data[end]) for end in ("local", "remote"))
    wrapped = data.get("encap", {})
    ports = {wrapped.get("sport"), wrapped.get("dport")}
    fou = ports.pop() if wrapped.get("type") == "fou" and len(ports) == 1 else None
    options = [] if data["proto"] == "any" else [f"mode {data['proto']}"]
    options += [f"encap {wrapped}"] if wrapped and fou is None else []
    options += [f"{name} {data[name]}" for name in ("link", "tos") if data.get(name)]
    return Ipip(
        entry["ifname"],
        entry["mtu"],
        local,
        remote,
        ttl=data.get("ttl") or None,
        pmtudisc=data["pmtudisc"],
        fou=fou,
        options=tuple(options),
        alias=entry.get("ifalias", ""),
        up="UP" in entry["flags"],
        arp="NOARP" not in entry["flags"],
    )
