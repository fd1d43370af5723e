"""A kernel small enough to read: it understands the lines that podnet spells, and refuses every other.

It has the habits that podnet.plan must know (modes.md 2.4): a new MAC flushes neighbours; a device takes along all
that is on it; the first address of a subnet takes the others along, the last address all routes and neighbours;
ip_forward overwrites every interface's own forwarding. The lab tests hold podnet against a real one.
"""

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from podnet.batch import SAVED, Section
from podnet.facts import chains, sysctls
from podnet.facts.node import ALWAYS, asked
from podnet.marks import ANY_NETNS, of
from podnet.state import (
    TABLES,
    Address,
    Bridge,
    FdbEntry,
    Neighbour,
    Nic,
    Port,
    Route,
    State,
    Sysctl,
    Vxlan,
)
from podnet.state import Veth as Cable

LOOPBACK = Nic("lo", 65536, "00:00:00:00:00:00", up=False)
FORWARD_ALL = ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding")  # two names of one setting


class Refused(Exception):  # noqa: N818  # what the kernel does, in its own words
    """A line that this kernel does not carry out."""


class Kernel:
    """One network namespace, and the named ones inside it."""

    def __init__(self) -> None:
        """Be born like a namespace: a loopback that is down, and settings at their defaults."""
        self.tables: dict[str, list[Any]] = {table: [] for table in TABLES}
        self.sysctls = {"net/ipv4/ip_forward": "0", "net/ipv6/conf/all/accept_ra": "1"}
        self.rules: dict[str, dict[str, list[str]]] = {
            "filter": {"INPUT": [], "FORWARD": [], "OUTPUT": []},
            "nat": {"PREROUTING": [], "INPUT": [], "OUTPUT": [], "POSTROUTING": []},
        }
        self.files: dict[str, tuple[str, ...]] = {}
        self.pods: dict[str, Kernel] = {}
        for name in ("all", "default"):
            self._settle(name)
        self.add_link(LOOPBACK)

    def see(self, want: State) -> State:
        """Answer as podnet.facts.node would, asked for the settings of `want`."""
        paths, pod_paths = asked(want)["paths"], asked(want)["pod_paths"]
        saved = sysctls.parse_saved(list(self.files.get(SAVED, ())))
        pods = {name: pod.inside(pod_paths) for name, pod in self.pods.items() if of(ANY_NETNS, name)}
        tables = {**self.tables, "chains": chains.parse(self.save())}
        tables["sysctls"] = self._read([*paths, *ALWAYS, *(old.path for old in saved)])
        filled: dict[str, Any] = {table: frozenset(items) for table, items in tables.items()}
        return State(**filled, saved=saved, pods=pods)

    def inside(self, paths: Sequence[str]) -> State:
        """Answer as podnet.facts.pods would: there every device was put in by somebody else."""
        kept: dict[str, Any] = {
            table: frozenset(self.tables[table]) for table in ("links", "addresses", "neighbours", "routes")
        }
        return State(**kept, sysctls=self._read(paths))

    def _read(self, paths: Sequence[str]) -> frozenset[Sysctl]:
        seen = [path for path in self.sysctls if any(fnmatch.fnmatchcase(path, pattern) for pattern in paths)]
        return frozenset(Sysctl(path, self.sysctls[path]) for path in seen)

    def save(self) -> list[str]:
        """Print what iptables-save would."""
        lines: list[str] = []
        for table, held in self.rules.items():
            lines += [f"*{table}", *(f":{chain} - [0:0]" for chain in held)]
            lines += [*(f"-A {chain} {rule}" for chain, rules in held.items() for rule in rules), "COMMIT"]
        return lines

    def run(self, section: Section) -> None:  # one branch per command
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
            case ["modprobe", "br_netfilter"]:
                self.sysctls.setdefault("net/bridge/bridge-nf-call-iptables", "1")
            case ["mkdir", "-p", _] | ["rmdir", "--ignore-fail-on-non-empty", _]:
                pass
            case ["cat", path] if path.startswith(">"):
                self.files[path[1:]] = lines
            case ["mv", old, new]:
                self.files[new] = self.files.pop(old)
            case ["rm", path]:
                del self.files[path]
            case _:
                raise Refused(section.command)

    def _each(self, act: Callable[[str], None], lines: Sequence[str]) -> None:
        for line in lines:
            act(line)

    def ip(self, line: str) -> None:  # noqa: PLR0912, PLR0915  # one branch per line that podnet spells
        """Carry out a line of `ip -batch -`."""
        match line.split():
            case ["link", "add", dev, "address", mac, "type", "bridge"]:
                self.add_link(Bridge(dev, 1500, mac, up=False, alias=""))
            case [
                "link", "add", dev, "address", mac, "mtu", mtu, "type", "vxlan", "id", vni, "dev", lower,
                "local", local, "dstport", port, ("learning" | "nolearning") as learning,
            ]:  # fmt: skip
                if any(isinstance(x, Vxlan) and (x.vni, x.port) == (int(vni), int(port)) for x in self.tables["links"]):
                    raise Refused(f"a VXLAN device with that VNI already exists: {line}")
                self.link(lower)
                where = IPv4Address(local)
                learns = learning == "learning"
                self.add_link(Vxlan(dev, int(mtu), mac, int(vni), int(port), where, lower, learns, up=False, alias=""))
            case ["link", "add", dev, "mtu", mtu, "type", "veth", "peer", "name", peer, "mtu", _, "netns", netns]:
                self.pods[netns].add_link(Nic(peer, int(mtu), "ee:00:00:00:00:01", up=False))
                self.add_link(Cable(dev, int(mtu), netns, peer, up=False, alias=""))
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
            case ["link", "set", dev, *words]:
                self._set_link(dev, words)
            case ["link", "del", dev]:
                self.del_link(dev)
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
                self.pods[netns] = Kernel()
            case ["netns", "del", netns]:
                del self.pods[netns]
                for cable in [x for x in self.tables["links"] if isinstance(x, Cable) and x.netns == netns]:
                    self.del_link(cable.dev)
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
        self.sysctls[f"net/ipv6/conf/{name}/accept_ra"] = "1"

    def del_link(self, dev: str) -> None:
        """Remove a device with all that is on it, plugged into it, and at its other end."""
        link = self.link(dev)
        self.tables["links"].remove(link)
        for table in ("ports", "addresses", "neighbours", "fdb", "routes"):
            self._drop(table, lambda item: item.dev == dev)
        self._drop("ports", lambda port: port.bridge == dev)
        self.sysctls = {path: value for path, value in self.sysctls.items() if f"/{dev}/" not in path}
        other = self.pods.get(link.netns or "") if isinstance(link, Cable) else None
        if other and any(end.dev == link.peer for end in other.tables["links"]):
            other.del_link(link.peer)

    def _set_link(self, dev: str, words: Sequence[str]) -> None:
        rest = iter(words)
        for word in rest:
            link = self.link(dev)
            match word:
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
                case "address":
                    self.put("links", replace(link, mac=next(rest)))
                    self._drop("neighbours", lambda item: item.dev == dev)
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
        near = any(via and x.dev == dev and IPv4Address(via) in x.address.network for x in self.tables["addresses"])
        if via and not onlink and not near:
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


def host() -> Kernel:
    """Make a freshly installed host of `examples`: a loopback and an uplink."""
    kernel = Kernel()
    kernel.ip("link set lo up")
    kernel.add_link(Nic("eth0", 1500, "52:54:00:00:00:0b"))
    kernel.ip("addr replace 192.168.56.11/24 dev eth0")
    return kernel
