"""A kernel small enough to read: it understands the lines that podnet spells, and refuses every other.

It has the habits that podnet.plan must know (modes.md 2.4): a new MAC flushes neighbours; a device takes along all
that is on it, its other end and what stands on it in any namespace; the first address of a subnet takes the others
along, the last address all routes and neighbours; ip_forward overwrites every interface's own forwarding; the module
ipip brings a device of its own. The lab tests hold podnet against a real one.
"""

import fnmatch
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from podnet.batch import SAVED
from podnet.facts import chains, sysctls
from podnet.facts.node import ALWAYS, asked
from podnet.marks import ANY_NETNS, CONFLIST, LINE, of, of_file, of_place
from podnet.nics import seen
from podnet.section import Section
from podnet.state import (
    TABLES,
    Address,
    Bridge,
    FdbEntry,
    File,
    FouPort,
    Ipip,
    Ipvlan,
    KeyOf,
    Macvlan,
    Neighbour,
    Nic,
    Offload,
    Port,
    Reservation,
    Route,
    State,
    Symlink,
    Sysctl,
    Vf,
    Vxlan,
    WgPeer,
    Wireguard,
)
from podnet.state import Veth as Cable
from podnet.support import SOFTWARE, SYSTEMD
from tests.core.examples import vf

NO_MAC = "00:00:00:00:00:00"
LOOPBACK = Nic("lo", 65536, "00:00:00:00:00:00", up=False)
FORWARD_ALL = ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding")  # two names of one setting
FALLBACK = "tunl0"
"""What the module ipip makes in every namespace as soon as it is loaded, and nobody can remove."""


FOLDERS = {"", ".d", ".wants"}  # how names of folders end


class Refused(Exception):  # noqa: N818  # what the kernel does, in its own words
    """A line that this kernel does not carry out."""


@dataclass(frozen=True, slots=True)
class Card(Nic):
    """Hardware, which no namespace takes along, and whose alias may be a note."""

    alias: str = field(default="", kw_only=True)


class Kernel:
    """One network namespace; the first one, the host's, knows the named ones."""

    def __init__(self, first: "Kernel | None" = None) -> None:
        """Be born like a namespace: a loopback that is down, and settings at their defaults."""
        self.first = first or self
        self.ipip = self.fou = False  # whether the modules are loaded
        self.tables: dict[str, list[Any]] = {table: [] for table in TABLES}
        self.sysctls = {"net/ipv4/ip_forward": "0", "net/ipv6/conf/all/accept_ra": "1"}
        self.rules: dict[str, dict[str, list[str]]] = {
            "filter": {"INPUT": [], "FORWARD": [], "OUTPUT": []},
            "nat": {"PREROUTING": [], "INPUT": [], "OUTPUT": [], "POSTROUTING": []},
        }
        self.sums: set[str] = set()  # devices that leave no checksum to the hardware
        self.files: dict[str, tuple[str, ...] | str] = {}  # lines, or where a symbolic link leads
        self.modes: dict[str, str] = {}
        self.folders = {*SOFTWARE[:-1], SYSTEMD}  # no NetworkManager
        self.last_reserved: dict[str, IPv4Address] = {}  # by the networks of which host-local has given any
        self.pods: dict[str, Kernel] = {}
        self.stopped: set[str] = set()  # VFs to which their PF has given a MAC, by their PCI addresses
        for name in ("all", "default"):
            self._settle(name)
        self.add_link(LOOPBACK)
        if self.first.ipip:
            self._fall_back()

    def see(self, want: State) -> State:
        """Answer as podnet.facts.node would, asked for the settings of `want`."""
        paths, pod_paths = asked(want)["paths"], asked(want)["pod_paths"]
        saved = sysctls.parse_saved(list(self.files.get(SAVED, ())))
        pods = {name: pod.inside(pod_paths) for name, pod in self.pods.items() if of(ANY_NETNS, name)}
        tables = {**self.tables, "links": map(_told, self.tables["links"]), "chains": chains.parse(self.save())}
        tables["offloads"] = [
            Offload(dev, on=dev not in self.sums) for dev in asked(want)["offloading"] if self.holds("links", (dev,))
        ]
        tables["files"] = [self._file(path) for path in self.files if of_file(path)]
        tables["sysctls"] = self._read([*paths, *ALWAYS, *(old.path for old in saved)])
        filled: dict[str, Any] = {table: frozenset(items) for table, items in tables.items()}
        unloaded = frozenset() if self.fou else frozenset({"fou"})
        keys = {Path(file).stem: "its public key" for file in self.files if file.endswith(".key")}
        folders = frozenset(self.folders)
        seen_only: dict[str, Any] = {"saved": saved, "keys": keys, "unloaded": unloaded, "folders": folders}
        return State(**filled, **seen_only, last_reserved={**self.last_reserved}, pods=pods)

    def inside(self, paths: Sequence[str]) -> State:
        """Answer as podnet.facts.pods would: of a cable between two pods, one end is the cable, all others are Nics."""
        kept: dict[str, Any] = {table: frozenset(self.tables[table]) for table in ("addresses", "neighbours", "routes")}
        ends = {link for link in self.tables["links"] if isinstance(link, Cable) and not self.name < (link.netns or "")}
        told = (
            Nic(x.dev, x.mtu, x.mac, up=x.up, arp=x.arp) if x in ends else _told(x, in_pod=True)
            for x in self.tables["links"]
        )
        return State(**kept, links=frozenset(told), sysctls=self._read(paths))

    @property
    def name(self) -> str:
        """The namespace's name; the host's has none."""
        return next((netns for netns, pod in self.first.pods.items() if pod is self), "")

    def space(self, netns: str | None) -> "Kernel":
        """Find a namespace by its name, the host's by none."""
        return self.first.pods[netns] if netns else self.first

    def _file(self, path: str) -> File | Symlink:
        held = self.files[path]
        if isinstance(held, str):
            return Symlink(path, held)
        file = File.of(path, "".join(f"{line}\n" for line in held))
        return replace(
            file,
            text="",
            mode=self.modes.get(path, "644"),
            marked=LINE in held or not held or of_place(path) == CONFLIST,
        )

    def _read(self, paths: Sequence[str]) -> frozenset[Sysctl]:
        patterns = [re.compile(fnmatch.translate(path)) for path in paths if "*" in path]
        named = {path for path in paths if path in self.sysctls}
        seen = named | {path for path in self.sysctls if any(pattern.match(path) for pattern in patterns)}
        return frozenset(Sysctl(path, self.sysctls[path]) for path in seen)

    def save(self) -> list[str]:
        """Print what iptables-save would."""
        lines: list[str] = []
        for table, held in self.rules.items():
            lines += [f"*{table}", *(f":{chain} - [0:0]" for chain in held)]
            lines += [*(f"-A {chain} {rule}" for chain, rules in held.items() for rule in rules), "COMMIT"]
        return lines

    def run(self, section: Section) -> None:  # noqa: PLR0912, PLR0915  # one branch per command
        """Carry out one command of a batch."""
        lines = section.lines
        match section.command.split():
            case ["ip", "-batch", "-"]:
                self._each(self.ip, lines)
            case ["ip", "-n", netns, "-batch", "-"]:
                self.pods[netns]._each(self.pods[netns].ip, lines)  # noqa: SLF001  # a kernel like this one
            case ["bridge", "-batch", "-"]:
                self._each(self.bridge, lines)
            case ["sysctl", "-q", "-p", "-"]:
                self._each(self.sysctl, lines)
            case ["ip", "netns", "exec", netns, "sysctl", "-q", "-p", "-"]:
                self.pods[netns]._each(self.pods[netns].sysctl, lines)  # noqa: SLF001  # as above
            case ["iptables-restore", "-w", "5", "--noflush"]:
                self.iptables_restore(lines)
            case ["ethtool", "-K", dev, "tx-checksum-ip-generic", ("on" | "off") as said]:
                (self.sums.discard if said == "on" else self.sums.add)(self.link(dev).dev)
            case ["modprobe", "fou"]:
                self.fou = True
            case ["modprobe", "br_netfilter"]:
                self.sysctls.setdefault("net/bridge/bridge-nf-call-iptables", "1")
            case ["wg", "set", dev, *words]:
                self.wg(dev, words, lines if section.further else ())
            case ["sh", "-eu", "-s", folder]:
                self.store(folder.rpartition("/")[2], lines)
            case ["mkdir", "-p", _] | ["rmdir", "--ignore-fail-on-non-empty", _]:
                pass
            case ["cat", path] if path.startswith(">"):
                self.files[path[1:]] = lines
            case ["install", "-D", "-m", mode, "/dev/stdin", path]:
                self.files[path] = lines
                self.modes[path] = mode
            case ["ln", "-sfn", to, path]:
                self.files[path] = to
            case ["sync", *paths] if all(path in self.files or Path(path).suffix in FOLDERS for path in paths):
                pass
            case ["mv", old, new]:
                self.files[new] = self.files.pop(old)
                self.modes[new] = self.modes.pop(old, "644")
            case ["rm", path]:
                del self.files[path]
            case ["rm", "-f", *paths]:
                for path in paths:
                    self.files.pop(path, None)
            case ["systemctl", "daemon-reload" | "stop" | "reset-failed" | "try-reload-or-restart", *_] if (
                SYSTEMD in self.folders
            ):
                pass
            case ["iptables", "-w", "5", "-t", table, *rule]:
                self.iptables_restore([f"*{table}", " ".join(rule), "COMMIT"])
            case ["sysctl", "-e", "-q", "-p", "-"]:
                self._each(self.sysctl, [line for line in lines if line.partition(" ")[0] in self.sysctls])
            case _:
                raise Refused(section.command)

    def store(self, network: str, lines: Sequence[str]) -> None:
        """Carry out the script that takes addresses from host-local, or gives them back."""
        for line in lines:
            match line.split():
                case ['"$1"', address, container, dev]:
                    wanted = Reservation(network, IPv4Address(address), container, dev)
                    had = [item for item in self.tables["reservations"] if item.key == wanted.key]
                    if had and had[0].container and not had[0].container.startswith(f"{network}-"):
                        raise Refused(f"{address} was given to the container {had[0].container} just now")
                    if not had and network in self.last_reserved:
                        self.last_reserved[network] = wanted.address
                    self.put("reservations", wanted)
                case ["give", address]:
                    self.tables["reservations"].remove(self.find("reservations", (network, int(IPv4Address(address)))))
                case _:
                    pass

    def wg(self, dev: str, words: Sequence[str], peers: Sequence[str]) -> None:
        """Carry out `wg set`. Addresses that one peer is allowed are taken from the others."""
        match words:
            case ["listen-port", port, "private-key", file]:
                self.files.setdefault(file, ("the private key",))  # what the operation `keys` has made
                self.put("links", replace(self.link(dev), port=int(port), public=KeyOf("node1")))
            case []:
                self.link(dev)
            case _:
                raise Refused(" ".join(words))
        for line in peers:
            match line.split():
                case ["peer", key, "remove"]:
                    self.tables["peers"].remove(self.find("peers", (dev, key)))
                case ["peer", key, "endpoint", endpoint, "allowed-ips", allowed, *alive]:
                    for other in [x for x in self.tables["peers"] if x.dev == dev and str(x.public) != key]:
                        left = tuple(to for to in other.allowed if to not in allowed.split(","))
                        self.put("peers", replace(other, allowed=left))
                    public = KeyOf(key.removeprefix("key-of-")) if key.startswith("key-of-") else key
                    seconds = int(dict([alive])["persistent-keepalive"].replace("off", "0")) if alive else 0
                    self.put("peers", WgPeer(dev, public, endpoint, tuple(allowed.split(",")), seconds))
                case _:
                    raise Refused(line)

    def _each(self, act: Callable[[str], None], lines: Sequence[str]) -> None:
        for line in lines:
            act(line)

    def ip(self, line: str) -> None:  # noqa: PLR0912, PLR0915  # one branch per line that podnet spells
        """Carry out a line of `ip -batch -`."""
        match shlex.split(line):
            case ["link", "add", dev, "netns", netns, *words]:
                if self.holds("links", (dev,)):
                    raise Refused(f"File exists: {line}")  # Linux before 6.14 looks in the wrong namespace too
                self._make(self._at(netns), dev, words)
            case ["link", "add", dev, *words]:
                self._make(self, dev, words)
            case ["link", "set", dev, "netns", netns, "name", name, *words]:
                self._move(dev, self.first if netns == "1" else self._at(netns), name, words)
            case ["link", "set", pf, "vf", index, *words]:
                self._impose(self.link(pf).dev, int(index), words)
            case ["link", "set", dev, "master", bridge]:
                self.link(bridge)
                self._drop("ports", lambda port: port.dev == dev)
                self.tables["ports"].append(Port(self.link(dev).dev, bridge, hairpin=False))
            case ["link", "set", dev, "nomaster"]:
                self.tables["ports"].remove(self.find("ports", (dev,)))
            case ["link", "set", dev, "type", "bridge_slave", *words, "state", "3"]:
                self.put("ports", replace(self.find("ports", (dev,)), blocked=False))
                if words:
                    self.ip(f"link set {dev} type bridge_slave {' '.join(words)}")
            case ["link", "set", dev, "type", "bridge_slave", *words]:
                flags = {flag: {"on": True, "off": False}[to] for flag, to in zip(words[::2], words[1::2], strict=True)}
                self.put("ports", replace(self.find("ports", (dev,)), **flags))
            case ["link", "set", dev, "type", "bridge", "stp_state", "0"]:
                self.put("links", replace(self.link(dev), stp=False))
            case ["link", "set", dev, "type", "bridge", "vlan_filtering", "0"]:
                self.put("links", replace(self.link(dev), vlan_filtering=False))
            case ["link", "set", dev, "type", "vxlan", "local", local]:
                self.put("links", replace(self.link(dev), local=IPv4Address(local)))
            case ["link", "set", dev, "type", "vxlan", ("learning" | "nolearning") as learning]:
                self.put("links", replace(self.link(dev), learning=learning == "learning"))
            case ["link", "set", dev, "type", "ipip", *words]:
                self.put("links", self._tunnel(self.link(dev), words))
            case ["link", "set", dev, *words]:
                self._set_link(dev, words)
            case ["link", "del", dev] if dev not in {"lo", FALLBACK}:
                self.del_link(dev)
            case ["fou", "add", "port", port, "ipproto", ipproto] if self.fou and not self.holds("fous", (int(port),)):
                self.tables["fous"].append(FouPort(int(port), int(ipproto)))
            case ["fou", "del", "port", port]:
                self.tables["fous"].remove(self.find("fous", (int(port),)))
            case ["addr", "replace", address, "dev", dev, *scope]:
                said = Address(self.link(dev).dev, IPv4Interface(address), "".join(scope[1:]) or "global")
                had = [item for item in self.tables["addresses"] if item.key == said.key]
                self.put("addresses", replace(said, scope=had[0].scope) if had else said)  # it keeps its scope
                self._connect(dev)
            case ["addr", "del", address, "dev", dev]:
                self._del_address(self.find("addresses", Address(dev, IPv4Interface(address)).key))
            case ["neigh", "replace", to, "lladdr", mac, "dev", dev, "nud", "permanent"]:
                self.put("neighbours", Neighbour(self.link(dev, up=True).dev, IPv4Address(to), mac))
            case ["neigh", "del", to, "dev", dev]:
                self.tables["neighbours"].remove(self.find("neighbours", (dev, int(IPv4Address(to)))))
            case ["route", "replace", *words]:
                self.put("routes", self._route(words))
            case ["route", "del", *words]:
                self.tables["routes"].remove(self._route(words))
            case ["netns", "add", netns] if netns not in self.pods:
                self.pods[netns] = Kernel(self)
            case ["netns", "del", netns]:
                for number, card in enumerate([x for x in self.pods[netns].tables["links"] if isinstance(x, Card)]):
                    self.pods[netns]._move(card.dev, self, f"dev{100 + number}", [])  # noqa: SLF001  # as above
                for cable in [x for x in self.pods[netns].tables["links"] if isinstance(x, Cable)]:
                    self.pods[netns].del_link(cable.dev)
                del self.pods[netns]
            case _:
                raise Refused(line)

    def bridge(self, line: str) -> None:
        """Carry out a line of `bridge -batch -`. Only the MAC of all zeros may have several destinations."""
        match line.split():
            case ["fdb", "replace", mac, "dev", dev, "dst", to]:
                self.put("fdb", FdbEntry(self.link(dev).dev, mac, to))
            case ["fdb", "del", mac, "dev", dev, "dst", *to] if self.find("fdb", (dev, mac)):
                self._drop("fdb", lambda entry: (entry.key, entry.to) == ((dev, mac), " ".join(to)))
            case _:
                raise Refused(line)

    def sysctl(self, line: str) -> None:
        """Carry out a line of `sysctl -p -`."""
        path, equals, value = line.split(" ")
        if equals != "=" or path not in self.sysctls:
            raise Refused(line)
        paths = {path}
        if path in FORWARD_ALL and self.sysctls[path] != value:
            paths = {
                p for p in self.sysctls if p in FORWARD_ALL or fnmatch.fnmatchcase(p, "net/ipv4/conf/*/forwarding")
            }
        self.sysctls.update(dict.fromkeys(paths, value))

    def iptables_restore(self, lines: Sequence[str]) -> None:
        """Carry out whole tables: all of a table's lines, or none."""
        held: dict[str, list[str]] = {}
        for line in lines:
            match line.split(" ", 2):
                case [star] if star.startswith("*"):
                    table, held = star[1:], {chain: [*rules] for chain, rules in self.rules[star[1:]].items()}
                case [chain, "-", "[0:0]"]:
                    held[chain[1:]] = []
                case ["-A", chain, rule]:
                    held[chain].append(rule)
                case ["-I", chain, rule] if rule.startswith("1 "):
                    held[chain].insert(0, rule.removeprefix("1 "))
                case ["-D", chain, rule]:
                    held[chain].remove(rule)
                case ["-F", chain]:
                    held[chain].clear()
                case ["-X", chain] if not held[chain] and not any(
                    f"-j {chain}" in r for rs in held.values() for r in rs
                ):
                    del held[chain]
                case ["COMMIT"]:
                    self.rules[table] = held
                case _:
                    raise Refused(line)

    def add_link(self, link: Any) -> None:
        """Make a device, with settings of its own. A name may be used once, and is 15 bytes at most."""
        if any(other.dev == link.dev for other in self.tables["links"]) or len(link.dev) > 15:
            raise Refused(f"cannot make {link.dev}")
        self.tables["links"].append(link)
        self._settle(link.dev)

    def _settle(self, name: str) -> None:
        forwarding = self.sysctls.get("net/ipv4/conf/default/forwarding", "0")
        self.sysctls[f"net/ipv4/conf/{name}/forwarding"] = forwarding
        self.sysctls[f"net/ipv4/conf/{name}/rp_filter"] = "0"
        self.sysctls[f"net/ipv4/conf/{name}/proxy_arp"] = "0"
        self.sysctls[f"net/ipv6/conf/{name}/accept_ra"] = "1"
        if name != "all":
            self.sysctls[f"net/ipv4/neigh/{name}/proxy_delay"] = "80"

    def _make(self, there: "Kernel", dev: str, words: Sequence[str]) -> None:
        """Make a device in a namespace; whatever is named beside it is in this one."""
        match words:
            case ["address", mac, "type", "bridge"]:
                there.add_link(Bridge(dev, 1500, mac, up=False, alias=""))
            case [
                "address", mac, "mtu", mtu, "type", "vxlan", "id", vni, "dev", lower,
                "local", local, "dstport", port, ("learning" | "nolearning") as learning,
            ] if there is self:  # fmt: skip
                if any(isinstance(x, Vxlan) and (x.vni, x.port) == (int(vni), int(port)) for x in self.tables["links"]):
                    raise Refused(f"a VXLAN device with that VNI already exists: {' '.join(words)}")
                self.link(lower)
                where = IPv4Address(local)
                learns = learning == "learning"
                self.add_link(Vxlan(dev, int(mtu), mac, int(vni), int(port), where, lower, learns, up=False, alias=""))
            case ["address", mac, "mtu", mtu, "type", "veth", "peer", *peer]:
                self._add_cable(there, dev, mac, int(mtu), peer)
            case ["mtu", mtu, "type", "ipip", *ends] if there is self:
                self._load_ipip()
                self.add_link(self._tunnel(Ipip(dev, int(mtu), None, up=False, alias=""), ends))
            case ["mtu", mtu, "type", "wireguard"] if there is self:
                self.add_link(Wireguard(dev, int(mtu), 0, "", up=False, alias=""))
            case ["link", lower, "address", mac, "mtu", mtu, "type", "macvlan", "mode", mode]:
                self._stand_on(lower, int(mtu), Ipvlan)
                there.add_link(Macvlan(dev, int(mtu), mac, lower, mode, up=False, alias=""))
            case ["link", lower, "mtu", mtu, "type", "ipvlan", "mode", mode]:
                self._stand_on(lower, int(mtu), Macvlan)
                there.add_link(Ipvlan(dev, int(mtu), lower, mode, up=False, alias=""))
            case _:
                raise Refused(f"link add {dev} {' '.join(words)}")

    def _at(self, netns: str) -> "Kernel":
        if netns not in self.pods:
            raise Refused(f"Cannot open network namespace {netns}")
        return self.pods[netns]

    def _add_cable(self, there: "Kernel", dev: str, mac: str, mtu: int, peer: Sequence[str]) -> None:
        """Make both ends of a cable, or none."""
        match peer:
            case ["name", other, "mtu", other_mtu, "netns", netns]:
                far = self._at(netns)
            case _:
                raise Refused(" ".join(peer))
        if far is there or far.holds("links", (other,)):
            raise Refused(f"File exists: {other}")
        there.add_link(Cable(dev, mtu, netns, mac, other, up=False, alias=""))
        far.add_link(Cable(other, int(other_mtu), there.name or None, "ee:00:00:00:00:01", dev, up=False, alias=""))

    def _load_ipip(self) -> None:
        if not self.first.ipip:
            self.first.ipip = True
            for space in self.first.spaces():
                space._fall_back()  # noqa: SLF001  # a kernel like this one

    def _fall_back(self) -> None:
        self.add_link(Ipip(FALLBACK, 1480, None, up=False, alias=""))

    def spaces(self) -> "Iterator[Kernel]":
        """Go through the host's namespace and the named ones."""
        yield self.first
        yield from self.first.pods.values()

    def _tunnel(self, link: Ipip, words: Sequence[str]) -> Ipip:
        """Give a tunnel these ends and this wrapping: no two tunnels of a namespace have the same ends."""
        match words:
            case [
                "mode",
                "any",
                "local",
                local,
                "remote",
                remote,
                "ttl",
                ttl,
                ("nopmtudisc" | "pmtudisc") as df,
                *more,
            ]:
                ends = [None if end == "any" else IPv4Address(end) for end in (local, remote)]
            case _:
                raise Refused(" ".join(words))
        match more:
            case []:
                fou = None
            case ["encap", "fou", "encap-sport", sport, "encap-dport", dport] if sport == dport:
                if not self.first.fou:
                    raise Refused(f"Invalid argument, as the module fou is not loaded: {' '.join(words)}")
                fou = int(sport)
            case _:
                raise Refused(" ".join(more))
        if any(isinstance(x, Ipip) and x.dev != link.dev and [x.local, x.remote] == ends for x in self.tables["links"]):
            raise Refused(f"File exists: {' '.join(words)}")
        hops = None if ttl == "inherit" else int(ttl)
        return replace(link, local=ends[0], remote=ends[1], ttl=hops, pmtudisc=df == "pmtudisc", fou=fou)

    def _stand_on(self, lower: str, mtu: int, rival: type[Macvlan | Ipvlan]) -> None:
        """Refuse a device what its lower one does not allow: more bytes, or the company of the other kind."""
        if mtu > self.link(lower).mtu:
            raise Refused(f"Invalid argument: {mtu} bytes are too many for {lower}")
        if any(isinstance(x, rival) and x.lower == lower for space in self.spaces() for x in space.tables["links"]):
            raise Refused(f"Device or resource busy: {lower}")

    def del_link(self, dev: str) -> None:
        """Remove a device with all that is on it, plugged into it or stands on it, and at its other end."""
        link = self.link(dev)
        here = self.name
        self.tables["links"].remove(link)
        for table in ("ports", "addresses", "neighbours", "fdb", "peers", "routes"):
            self._drop(table, lambda item: item.dev == dev)
        self._drop("ports", lambda port: port.bridge == dev)
        self.sysctls = {path: value for path, value in self.sysctls.items() if f"/{dev}/" not in path}
        if isinstance(link, Cable) and (link.netns or here):
            far = self.space(link.netns)
            ends = [end for end in far.tables["links"] if isinstance(end, Cable) and (end.netns or "") == here]
            for end in ends:
                if dev == end.peer or end.dev == link.peer:  # either may have been renamed
                    far.del_link(end.dev)
        for space in self.spaces() if self is self.first else ():
            for above in [x for x in space.tables["links"] if isinstance(x, Macvlan | Ipvlan) and x.lower == dev]:
                space.del_link(above.dev)

    def _move(self, dev: str, there: "Kernel", name: str, words: Sequence[str]) -> None:
        """Move a NIC into another namespace, where it is down and has nothing but its MAC, MTU and alias."""
        link = self.link(dev)
        if there.holds("links", (name,)) or isinstance(link, Cable):  # a kernel like this one
            raise Refused(f"File exists: {name}")
        self.del_link(dev)
        there.add_link(replace(link, dev=name, up=False))
        there._set_link(name, words)  # noqa: SLF001  # as above

    def _impose(self, pf: str, index: int, words: Sequence[str]) -> None:
        """Have a PF impose something on a VF; with a new MAC the VF's driver stops until it is reset."""
        (had,) = (vf for vf in self.tables["vfs"] if (vf.pf, vf.index) == (pf, index))
        said = dict(zip(words[::2], words[1::2], strict=True))
        on = {"on": True, "off": False}
        kinds: dict[str, Callable[[str], Any]] = {
            "vlan": int,
            "qos": int,
            "max_tx_rate": int,
            "spoofchk": on.get,
            "trust": on.get,
            "mac": str,
            "state": str,
        }
        self.put("vfs", replace(had, **{word: kinds[word](value) for word, value in said.items()}))
        if "mac" in said:
            self.first.stopped.add(had.nic)

    def _set_link(self, dev: str, words: Sequence[str]) -> None:
        rest = iter(words)
        for word in rest:
            link = self.link(dev)
            match word:
                case "down":
                    if link.up:
                        self.first.stopped.discard(getattr(link, "pci", ""))
                    self.put("links", replace(link, up=False))
                    self._drop("routes", partial(_is_on, link.dev))
                case "up":
                    self.put("links", replace(link, up=True))
                    self._connect(dev)
                    if dev == "lo":
                        self.put("addresses", Address("lo", IPv4Interface("127.0.0.1/8"), "host"))
                case "arp":
                    self.put("links", replace(link, arp=next(rest) == "on"))
                case "alias":
                    self.put("links", replace(link, alias=next(rest)))
                case "mtu":
                    self.put("links", replace(link, mtu=int(next(rest))))
                case "name" if not link.up:
                    self.tables["links"].remove(link)
                    self.sysctls = {path: value for path, value in self.sysctls.items() if f"/{dev}/" not in path}
                    dev = next(rest)
                    self.add_link(replace(link, dev=dev))
                case "address" if getattr(link, "pci", "") in self.first.stopped:
                    raise Refused(f"Cannot assign requested address: {dev}")
                case "address":
                    self.put("links", replace(link, mac=next(rest)))
                    self._drop("neighbours", partial(_is_on, link.dev))
                case _:
                    raise Refused(f"link set {dev} {word}")

    def _del_address(self, gone: Address) -> None:
        held = self.tables["addresses"]
        same = [x for x in held if x.dev == gone.dev and x.address.network == gone.address.network]
        for address in same if same[0] == gone else [gone]:
            held.remove(address)
        if not any(address.dev == gone.dev for address in held):
            self._drop("routes", lambda route: route.dev == gone.dev)
            self._drop("neighbours", lambda neighbour: neighbour.dev == gone.dev)
        self._connect(gone.dev)

    def _connect(self, dev: str) -> None:
        """Let a device that is up lead to the networks of its addresses, and to no others."""
        self._drop("routes", lambda route: (route.dev, route.proto) == (dev, "kernel"))
        networks = {item.address.network for item in self.tables["addresses"] if item.dev == dev and dev != "lo"}
        if self.link(dev).up:
            self.tables["routes"] += [Route(to, dev, proto="kernel") for to in sorted(networks) if to.prefixlen < 32]

    def _route(self, words: Sequence[str]) -> Route:
        kind = words[0] if words[0] in {"blackhole", "unreachable"} else "unicast"
        rest = [word for word in words if word not in {kind, "onlink"}]
        said = dict(zip(rest[1::2], rest[2::2], strict=True))
        if len(rest) % 2 == 0 or not said.keys() <= {"tos", "via", "dev", "metric", "proto"}:
            raise Refused(f"route {' '.join(words)}")
        via, dev, onlink = said.get("via"), said.get("dev"), "onlink" in words
        if dev:
            self.link(dev, up=True)
        elif kind == "unicast" or via:
            raise Refused(f"route {' '.join(words)}")
        # A gateway must be reached by a route without one; `scope link`, as `ip route` says of those.
        near = (
            x for x in self.tables["routes"] if x.dev == dev and not x.via and x.kind == "unicast" and x.to.prefixlen
        )
        if via and not onlink and not any(IPv4Address(via) in x.to for x in near):
            raise Refused(f"the gateway {via} is unreachable")
        to, metric = IPv4Network(rest[0]), int(said.get("metric", 0))
        return Route(
            to, dev, IPv4Address(via) if via else None, onlink, metric, said.get("tos", ""), kind, said["proto"]
        )

    def link(self, dev: str, *, up: bool = False) -> Any:
        """Find a device, which may have to be up."""
        link = self.find("links", (dev,))
        if up and not link.up:
            raise Refused(f"{dev} is down")
        return link

    def holds(self, table: str, key: object) -> bool:
        """Say whether there is an item of that key."""
        return any(item.key == key for item in self.tables[table])

    def find(self, table: str, key: object) -> Any:
        """Find the first item of that key."""
        for item in self.tables[table]:
            if item.key == key:
                return item
        raise Refused(f"there is no {key} among the {table}")

    def put(self, table: str, item: Any) -> None:
        """Set an item in the place of the one of its key, or after all others."""
        for i, other in enumerate(self.tables[table]):
            if other.key == item.key:
                self.tables[table][i] = item
                return
        self.tables[table].append(item)

    def _drop(self, table: str, gone: Callable[[Any], bool]) -> None:
        self.tables[table] = [item for item in self.tables[table] if not gone(item)]


def _told(link: Any, *, in_pod: bool = False) -> Any:
    """Tell a device as `ip link` does, which does not know the name of a cable's other end."""
    if isinstance(link, Card):
        nic = Nic(link.dev, link.mtu, link.mac, up=link.up, arp=link.arp, pci=link.pci)
        return seen(nic, link.mac, link.pci, link.alias, in_pod=in_pod)
    return replace(link, peer="eth0") if isinstance(link, Cable) else link


def _is_on(dev: str, item: Any) -> bool:
    return bool(item.dev == dev)


def machine() -> Kernel:
    """Make such a host with one NIC more, whose virtual functions make eight more."""
    kernel = host()
    kernel.add_link(Card("eth1", 1500, "02:56:c0:a8:38:0b", pci="0000:01:00.0"))
    for number in range(8):
        nic = vf(number)
        kernel.add_link(Card(f"eth{number + 2}", 1500, f"02:57:c0:a8:38:0{number}", pci=nic, up=False))
        kernel.tables["vfs"].append(Vf(nic, NO_MAC, pf="eth1", index=number))
    return kernel


def host() -> Kernel:
    """Make a freshly installed host of `examples`: a loopback and an uplink."""
    kernel = Kernel()
    kernel.ip("link set lo up")
    kernel.add_link(Nic("eth0", 1500, "52:54:00:00:00:0b"))
    kernel.ip("addr replace 192.168.56.11/24 dev eth0")
    return kernel
