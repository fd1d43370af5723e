"""What a lab consists of: machines, their addresses and their wires, computed from four numbers.

one segment                         two segments
node1 node2 node3                   node1 node3      node2
  |     |     |                       |     |          |
--+-----+-----+-- .1: the bridge    --+-----+--+     --+--+
                                               '- router -'  (.1 on each)
"""

import re
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from podnet.labs.error import LabError

NAME = re.compile(r"[a-z0-9-]{1,20}")
ALLOWED = {"hosts": range(1, 201), "segments": range(1, 9), "mtu": range(656, 65536)}

CONTAINERS, VMS = "containers", "VMs"
ROUTER = "router"
GATEWAY = 1  # the last byte of a segment's gateway; node N has N + 10
FIRST_NODE = 10


@dataclass(frozen=True)
class Nic:
    """One end of a veth, in a machine; the other end, `port`, hangs on the bridge `segment`."""

    dev: str
    port: str
    segment: str
    address: IPv4Interface

    @property
    def mac(self) -> str:
        """Computed from the address, so that a machine that was started again is still the same neighbour."""
        return "02:55:" + self.address.ip.packed.hex(":")


@dataclass(frozen=True)
class Machine:
    """A host of the lab: a node, or the router."""

    name: str
    nics: tuple[Nic, ...]
    gateway: IPv4Address | None

    @property
    def address(self) -> IPv4Interface:
        """The one that its name stands for."""
        return self.nics[0].address


@dataclass(frozen=True)
class Lab:
    """The shape of a lab."""

    name: str
    hosts: int = 3
    segments: int = 1
    mtu: int = 1500
    kind: str = CONTAINERS

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        check_name(self.name)
        for option, number in self.numbers.items():
            allowed = ALLOWED[option]
            if number not in allowed:
                raise LabError(f"--{option} {number} is out of range: give a number from {allowed[0]} to {allowed[-1]}")

    @property
    def numbers(self) -> dict[str, int]:
        """What the whole plan is computed from."""
        return {"hosts": self.hosts, "segments": self.segments, "mtu": self.mtu}

    @cached_property
    def networks(self) -> dict[str, IPv4Network]:
        """Each segment's range of addresses, by the name of its bridge."""
        return {f"segment{s}": IPv4Network(f"192.168.{55 + s}.0/24") for s in range(1, self.segments + 1)}

    @cached_property
    def nodes(self) -> tuple[Machine, ...]:
        """The hosts that an inventory names; they are dealt to the segments in turn."""
        return tuple(self._node(number) for number in range(1, self.hosts + 1))

    @cached_property
    def machines(self) -> tuple[Machine, ...]:
        """All hosts: the nodes, and a router where there is more than one segment."""
        return self.nodes if self.segments == 1 else (*self.nodes, self._router())

    def _node(self, number: int) -> Machine:
        name = f"node{number}"
        segment, network = list(self.networks.items())[(number - 1) % self.segments]
        nic = Nic("eth0", name, segment, at(network, FIRST_NODE + number))
        return Machine(name, (nic,), at(network, GATEWAY).ip)

    def _router(self) -> Machine:
        nics = (
            Nic(f"eth{i}", f"{ROUTER}{i}", segment, at(network, GATEWAY))
            for i, (segment, network) in enumerate(self.networks.items())
        )
        return Machine(ROUTER, tuple(nics), None)


def at(network: IPv4Network, position: int) -> IPv4Interface:
    """Return the address at a position of a network, with the network's prefix length."""
    return IPv4Interface((network[position], network.prefixlen))


def check_name(name: str) -> None:
    """Refuse a name that could not be a directory, a cgroup and a word on a command line alike."""
    if not NAME.fullmatch(name):
        raise LabError(f"{name!r} cannot name a lab: take 1 to 20 of a-z, 0-9 and -")
