"""The wires of a lab: a bridge per segment in a namespace of the lab's own, and a veth to every NIC.

Runs in the lab's mount namespace, whose /run/netns is its own. Nothing here touches the machine's network.
"""

import os
from collections.abc import Iterable

from pyroute2 import IPRoute, netns

from podnet.labs.keeper import NETNS
from podnet.labs.plan import GATEWAY, Lab, Machine, Nic, at

UNDERLAY = "underlay"


def bridges(lab: Lab) -> None:
    """Make the lab's segments. Alone, a segment's bridge is the gateway too; else the router is."""
    namespace(UNDERLAY)
    with IPRoute(netns=UNDERLAY) as ip:
        for segment, network in lab.networks.items():
            if not ip.link_lookup(ifname=segment):
                # A bridge takes the lowest of its ports' MACs, so it would change as hosts come and go.
                itself = Nic(segment, "", segment, at(network, 0))
                ip.link("add", ifname=segment, kind="bridge", mtu=lab.mtu, address=itself.mac)
            (bridge,) = ip.link_lookup(ifname=segment)
            ip.link("set", index=bridge, state="up")
            if lab.segments == 1:
                address = at(network, GATEWAY)
                ip.addr("replace", index=bridge, address=str(address.ip), prefixlen=network.prefixlen)


def plug(machine: Machine, mtu: int) -> None:
    """Make the machine's network namespace, with its NICs, addresses and default route."""
    namespace(machine.name)
    with IPRoute(netns=UNDERLAY) as ip:
        for nic in machine.nics:
            wire(ip, machine, nic, mtu)
    with IPRoute(netns=machine.name) as ip:
        ip.link("set", index=1, state="up")
        for nic in machine.nics:
            (index,) = ip.link_lookup(ifname=nic.dev)
            address = nic.address
            ip.link("set", index=index, state="up")
            ip.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)
        if machine.gateway:
            ip.route("add", dst="default", gateway=str(machine.gateway))


def wire(ip: IPRoute, machine: Machine, nic: Nic, mtu: int) -> None:
    """Lay a veth from the bridge to the machine."""
    ip.link(
        "add",
        ifname=nic.port,
        kind="veth",
        mtu=mtu,
        peer={"ifname": nic.dev, "mtu": mtu, "address": nic.mac, "net_ns_fd": machine.name},
    )
    (port,), (bridge,) = ip.link_lookup(ifname=nic.port), ip.link_lookup(ifname=nic.segment)
    ip.link("set", index=port, master=bridge, state="up")


def unplug(name: str, ports: Iterable[str]) -> None:
    """Remove the machine's wires and its namespace, as far as they are there."""
    # The kernel removes a namespace's veths when its last user is gone, some time later; the names must be free now.
    with IPRoute(netns=UNDERLAY) as ip:
        for port in ports:
            for index in ip.link_lookup(ifname=port):
                ip.link("del", index=index)
    if (NETNS / name).exists():
        netns.remove(name)


def namespace(name: str) -> None:
    """Make a network namespace, and have it kept by a mount at /run/netns, if it is not there yet."""
    pinned = NETNS / name
    if not os.path.ismount(pinned):
        pinned.unlink(missing_ok=True)  # the file without the mount is what a killed `up` left
        netns.create(name)
