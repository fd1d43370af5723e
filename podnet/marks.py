"""What tells one cluster's things on a host from strangers', and from those of other clusters on the same host.

A cluster is known by its VNI, in every mode. The first one, VNI 1, is plain `podnet`; others carry their number.
"""

import re
from dataclasses import dataclass
from functools import cache

NAME = "podnet"
FOLDER = "/etc/podnet"
"""Where the host keeps what is ours and is no table of the kernel."""
FIRST_PROTO, OTHERS_PROTO, LAST_PROTO = 77, 100, 185
"""Routing protocol numbers (rtnetlink(7), rtm_protocol) that no daemon of iproute2's rt_protos has: 80 and 12 belong
to Calico and BIRD, 99 to openr, 186 and above to FRR."""

CHAINS = {"filter": "FWD", "nat": "POSTRTG"}
"""Our firewall chains by their tables; the names are flannel's."""
LINE = "# podnet's: written anew by every apply that finds it changed, removed by the teardown."
"""The first line of every file of ours."""

CONFLIST = "/etc/cni/net.d/10-{alias}.conflist"
SUBNET_ENV = "/run/flannel/subnet{number}.env"
FLANNELS = SUBNET_ENV.format(number="")
"""Where flannel's own tools look: on a host one cluster's, whose own name may lead there."""
STORE = "/var/lib/cni/networks"
"""Where the CNI plugin host-local writes down whom it gave which address; a folder for each network."""
LAST_RESERVED = "last_reserved_ip.0"
"""In each of them: the address that host-local gave last, of the first range; there is one."""
SCRIPT = "/etc/podnet/{alias}.sh"
UNIT = "/etc/systemd/system/{alias}.service"
ENABLED = "/etc/systemd/system/multi-user.target.wants/{alias}.service"
MODULES = "/etc/modules-load.d/{alias}.conf"
SYSCTLS = "/etc/sysctl.d/99-{alias}.conf"
TMPFILES = "/etc/tmpfiles.d/{alias}.conf"
LINK = "/etc/systemd/network/10-{alias}.link"
NETWORK = "/etc/systemd/network/10-{alias}.network"
NETWORK_MANAGER = "/etc/NetworkManager/conf.d/{alias}.conf"

PLACES = (CONFLIST, SUBNET_ENV, ENABLED, UNIT, SCRIPT, MODULES, TMPFILES, SYSCTLS, LINK, NETWORK, NETWORK_MANAGER)
"""Where our files are; `Marks.place` fills the braces. What is first here is removed first."""
FOR_OTHERS = {CONFLIST, SUBNET_ENV}
"""What others read while the network is there: in their formats, which leave no room for LINE."""
BESIDE = ".new"
"""How a file's name ends until it is whole."""


@dataclass(frozen=True, order=True, slots=True)
class Marks:
    """The marks of the cluster with this VNI."""

    vni: int = 1

    @property
    def alias(self) -> str:
        """The alias of its devices (`ip link set alias`)."""
        return NAME if self.vni == 1 else f"{NAME}{self.vni}"

    @property
    def proto(self) -> str:
        """The protocol number of its routes. There are fewer numbers than VNIs: two clusters may meet in one."""
        return str(FIRST_PROTO if self.vni == 1 else OTHERS_PROTO + self.vni % (LAST_PROTO + 1 - OTHERS_PROTO))

    @property
    def netns(self) -> str:
        """How the names of its pods' network namespaces begin."""
        return f"{self.alias}-"

    @property
    def chains(self) -> str:
        """How the names of its firewall chains begin."""
        return f"{self.alias.upper()}-"

    def place(self, place: str) -> str:
        """Say where this cluster's file of one of the PLACES is."""
        return place.format(alias=self.alias, number=self.alias.removeprefix(NAME))

    def chain(self, table: str) -> str:
        """Name the chain of ours that takes the place of a table of iptables'."""
        return f"{self.chains}{CHAINS[table]}"

    def table(self, table: str) -> str:
        """Name the nft table that holds just that chain."""
        return f"{self.netns}{table}"


def private_key(alias: str) -> str:
    """Name the file that holds this host's private key for the cluster whose devices bear this alias."""
    return f"{FOLDER}/{alias}.key"


FIRST = Marks()

ANY_NETNS = re.compile(rf"{NAME}(\d*)-.+")
ANY_CHAIN = re.compile(rf"{NAME.upper()}(\d*)-.+")
ANY_TABLE = re.compile(rf"{NAME}(\d*)-({'|'.join(CHAINS)})")
ANY_ALIAS = re.compile(rf"{NAME}(\d*)")


def of(pattern: re.Pattern[str], name: str) -> Marks | None:
    """Say whose name this is: one of the four patterns matches it, or it is a stranger's."""
    found = pattern.fullmatch(name)
    return Marks(int(found[1] or 1)) if found else None


def of_file(path: str) -> Marks | None:
    """Say whose file this is, by its place alone; whole or still beside it."""
    owners = (of(_names(place), path) for place in PLACES)
    return next((owner for owner in owners if owner), None)


def of_place(path: str) -> str:
    """Say which of PLACES a file of ours is in."""
    return next(place for place in PLACES if _names(place).fullmatch(path))


def leads_to_flannels(path: str, to: str) -> bool:
    """Say whether a symbolic link is a cluster's own name for what is in flannel's place."""
    return path != FLANNELS and f"{path.rpartition('/')[0]}/{to}" == FLANNELS


@cache
def _names(place: str) -> re.Pattern[str]:
    before, _, after = re.split(r"(\{\w+\})", place)
    name = "" if "{number}" in place else NAME
    return re.compile(rf"{re.escape(before)}{name}(\d*){re.escape(after)}({re.escape(BESIDE)})?")
