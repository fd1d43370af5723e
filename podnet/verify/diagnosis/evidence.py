"""What is read of a host once something has failed: one more remote command, which changes nothing.

Beside tables that podnet does not own (policy routing, everybody's firewall rules, settings of all devices) it tells
what moves: the host pings from its own pods once more, and counts before and after. All hosts do so at the same time,
so that what one sends is seen, or missed, in the counters of another.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from podnet.facts import routes, rules, sysctls
from podnet.state import Route, Rule, Sysctl
from podnet.verify.diagnosis import refusals
from podnet.verify.diagnosis.refusals import ICMP, Refusal
from podnet.verify.mesh.probe import HEADERS

MARK = "==further=="
NO_PING = "no ping"
PINGS, INTERVAL, WINDOW = 6, 0.2, 2
"""How often, and within how many seconds, the pings are repeated whose way the counters show."""
MOST_PINGS = 11
"""How many one ping sends within that time if nobody replies."""
AT_MOST = 10  # seconds for the same by TCP and UDP: on an emulated processor Perl takes long to start
SETTINGS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/*/rp_filter",
    "net/ipv4/conf/*/forwarding",
    "net/ipv4/conf/*/proxy_arp",
    "net/bridge/bridge-nf-call-iptables",
)
POD_SETTINGS = ("net/ipv4/ip_default_ttl", "net/ipv4/icmp_echo_ignore_all", "net/ipv4/conf/*/rp_filter")
SAVERS = {
    "iptables": "command -v iptables-save >/dev/null",
    # Asking the legacy kind makes it load modules where nobody uses it, unless a file says that somebody does.
    "iptables-legacy": "[ -e /proc/net/ip_tables_names ] && grep -q . /proc/net/ip_tables_names "
    "&& command -v iptables-legacy-save >/dev/null",
}


KNOCK = """use strict;
use Socket qw(:DEFAULT SOCK_NONBLOCK);
my $protocol = $ARGV[0];
for (1 .. $ARGV[2]) {
    my $to = pack_sockaddr_in($_ % 2 ? 9 : 60999, inet_aton($ARGV[1]));
    socket(my $socket, PF_INET, ($protocol == 6 ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0) or die;
    $protocol == 6 ? connect($socket, $to) : send($socket, "podnet", 0, $to);
    select(undef, undef, undef, $ARGV[3]);
}"""
"""Sends packets of TCP or UDP to ports where nobody listens: firewalls count them all the same.

They are that of RFC 863, and the last of those that the kernel gives to whoever asks for any, as what failed has done.
"""


@dataclass(frozen=True)
class Ping:
    """A ping to be repeated: from the pod in `netns`, from the host itself if that is empty.

    `size` is in bytes on the wire, not to be fragmented.
    With the `protocol` of TCP or UDP a packet of that is sent instead.
    """

    netns: str
    target: IPv4Address
    size: int | None = None
    protocol: int = ICMP


@dataclass(frozen=True)
class Way:
    """What the kernel said when it was asked for a way: a device and a gateway, or why there is none.

    `mtu` is what it remembers of a router that could not pass more on.
    """

    dev: str | None = None
    via: IPv4Address | None = None
    refused: str = ""
    mtu: int | None = None


@dataclass(frozen=True)
class Moved:
    """What a device has sent, received and dropped meanwhile, in packets."""

    sent: int
    received: int
    dropped: int


@dataclass(frozen=True)
class Echoes:
    """How many requests a pod has sent meanwhile, and how many it has received."""

    sent: int
    received: int


@dataclass(frozen=True)
class Evidence:
    """What one host told."""

    rules: frozenset[Rule] = frozenset()
    routes: frozenset[Route] = frozenset()
    """Those of all tables, to which rules of policy routing may lead."""
    neighbours: Mapping[tuple[str, IPv4Address], tuple[str, str]] = field(default_factory=dict)
    ways: Mapping[str, Way] = field(default_factory=dict)
    settings: frozenset[Sysctl] = frozenset()
    pod_settings: Mapping[str, frozenset[Sysctl]] = field(default_factory=dict)
    echoes: Mapping[str, Echoes] = field(default_factory=dict)
    moved: Mapping[str, Moved] = field(default_factory=dict)
    counted: Mapping[str, int] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()
    risen: Mapping[tuple[str, str], int] = field(default_factory=dict)
    pings: bool = True
    """Whether the host could try again: else what its counters did not count tells nothing."""
    tried: tuple[Ping, ...] = ()
    """What the host itself has sent again: of other packets the counters say nothing."""

    def setting(self, path: str) -> str | None:
        """Return a setting of the host."""
        return next((item.value for item in self.settings if item.path == path), None)

    def number(self, path: str) -> int:
        """Return a setting as a number; one that is not there is as if it were 0."""
        return int(self.setting(path) or 0)


def script(pings: Collection[Ping], ways: Iterable[str], namespaces: Collection[str]) -> str:
    """Spell the shell script that tells all this."""
    parts = [
        "set -eu",
        _heading("rules"),
        rules.COMMAND,
        _heading("routes"),
        f"{routes.COMMAND} table all",
        _heading("neighbours"),
        "ip -4 -j neigh show",
        *(line for way in ways for line in _asked(way)),
        *(line for ping in pings for line in _asked(ping.target, ping.netns)),
        _heading("settings"),
        f"({sysctls.script(SETTINGS)})",
    ]
    for netns in namespaces:
        parts += [_heading(f"pod {netns}"), f"ip netns exec {netns} sh -ec '{sysctls.script(POD_SETTINGS)}'"]
    parts.append(f"if ! command -v ping >/dev/null; then {_heading(NO_PING)}; fi")
    parts += _counters("before", namespaces)
    parts += [f"{_ping(ping)} >/dev/null 2>&1 &" for ping in pings]
    parts += ["wait", *_counters("after", namespaces), _heading("end")]
    return "\n".join(parts)


def _heading(name: str) -> str:
    return f"echo '{MARK} {name}'"


def _asked(to: object, netns: str = "") -> Iterator[str]:
    yield _heading(f"way {netns} {to}" if netns else f"way {to}")
    yield f"ip {f'-n {netns} ' if netns else ''}-j route get {to} 2>&1 || echo refused"


def _ping(ping: Ping) -> str:
    inside = f"ip netns exec {ping.netns} " if ping.netns else ""
    if ping.protocol != ICMP:
        return f"{inside}{knock(ping.protocol, ping.target)}"
    size = f" -M do -s {ping.size - HEADERS}" if ping.size else ""
    return f"{inside}ping -n -q -c {PINGS} -i {INTERVAL} -w {WINDOW}{size} {ping.target}"


def knock(protocol: int, to: IPv4Address) -> str:
    """Spell packets of TCP or UDP, as many as there would be pings."""
    return f"timeout {AT_MOST} perl -e '{KNOCK}' {protocol} {to} {PINGS} {INTERVAL}"


def _counters(when: str, namespaces: Iterable[str]) -> Iterator[str]:
    for netns in namespaces:
        yield _heading(f"echoes {when} {netns}")
        yield f"ip netns exec {netns} cat /proc/net/snmp"
    yield _heading(f"links {when}")
    yield "ip -s -j link show"
    yield _heading(f"counters {when}")
    yield "cat /proc/net/snmp /proc/net/netstat"
    for tool, there in SAVERS.items():
        yield f"if {there}; then {_heading(f'{tool} {when}')}; {tool}-save -c; fi"
    yield f"if command -v nft >/dev/null; then {_heading(f'nft {when}')}; nft -j -t list ruleset; fi"


def parse(output: str) -> Evidence:
    """Read what `script` printed; ValueError unless it is whole."""
    chunks: dict[str, list[str]] = {}
    for line in output.splitlines():
        if line.startswith(MARK):
            heading = line.removeprefix(MARK).strip()
            chunks[heading] = []
        elif chunks:
            chunks[heading].append(line)
    if "end" not in chunks:
        raise ValueError("what was read further was cut short")
    firewall = {when: [*_refusals(chunks, when)] for when in ("before", "after")}
    return Evidence(
        pings=NO_PING not in chunks,
        rules=rules.parse(_document(chunks["rules"])),
        routes=routes.parse([entry for entry in _document(chunks["routes"]) if ":" not in entry["dst"]]),
        neighbours={
            (entry["dev"], IPv4Address(entry["dst"])): (entry.get("lladdr", ""), " ".join(entry["state"]))
            for entry in _document(chunks["neighbours"])
        },
        ways={name.removeprefix("way "): _way(said) for name, said in chunks.items() if name.startswith("way ")},
        settings=sysctls.parse(sorted(set(chunks["settings"]))),
        pod_settings={
            name.removeprefix("pod "): sysctls.parse(said) for name, said in chunks.items() if name.startswith("pod ")
        },
        echoes={
            name.removeprefix("echoes after "): _echoes(chunks[name.replace("after", "before", 1)], said)
            for name, said in chunks.items()
            if name.startswith("echoes after ")
        },
        moved=_moved(*(_document(chunks[f"links {when}"]) for when in ("before", "after"))),
        counted=_counted(*(chunks[f"counters {when}"] for when in ("before", "after"))),
        refusals=tuple(firewall["after"]),
        risen=refusals.risen(firewall["before"], firewall["after"]),
    )


def _document(said: list[str]) -> list[dict[str, Any]]:
    return [entry for entry in json.loads("\n".join(said) or "[]") if entry]


def _way(said: list[str]) -> Way:
    if said and said[-1] == "refused":
        return Way(refused=" ".join(said[:-1]))
    (way, *_) = _document(said)
    if way.get("type") in {"blackhole", "unreachable", "prohibit"}:
        return Way(refused=str(way["type"]))
    mtus = [metrics["mtu"] for metrics in way.get("metrics", ()) if "mtu" in metrics and "expires" in metrics]
    mtus += [metrics["mtu"] for metrics in way.get("metrics", ()) if "mtu" in metrics and "expires" in way]
    via = IPv4Address(way["gateway"]) if "gateway" in way else None
    return Way(way.get("dev"), via, mtu=min(mtus, default=None))


def _echoes(before: list[str], after: list[str]) -> Echoes:
    counted = _counted(before, after)
    return Echoes(counted["IcmpOutEchos"], counted["IcmpInEchos"])


def _moved(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Moved]:
    first = {entry["ifname"]: _packets(entry) for entry in before}
    return {
        dev: Moved(*(late - early for early, late in zip(first.get(dev, (0, 0, 0)), last, strict=True)))
        for dev, last in ((entry["ifname"], _packets(entry)) for entry in after)
    }


def _packets(entry: dict[str, Any]) -> tuple[int, int, int]:
    sent, received = (entry.get("stats64", entry.get("stats", {}))[way] for way in ("tx", "rx"))
    return sent["packets"], received["packets"], sent["dropped"] + received["dropped"]


def _counted(before: list[str], after: list[str]) -> dict[str, int]:
    first = dict(_counters_of(before))
    return {name: value - first.get(name, 0) for name, value in _counters_of(after)}


def _counters_of(said: list[str]) -> Iterator[tuple[str, int]]:
    """Read /proc/net/snmp: a line of names, and a line of numbers, each behind the same first word."""
    for names, numbers in zip(said[::2], said[1::2], strict=True):
        group, *columns = names.split()
        for name, value in zip(columns, numbers.split()[1:], strict=True):
            yield f"{group.rstrip(':')}{name}", int(value)


def _refusals(chunks: Mapping[str, list[str]], when: str) -> Iterator[Refusal]:
    for tool in SAVERS:
        yield from refusals.of_iptables(chunks.get(f"{tool} {when}", []), tool)
    if said := chunks.get(f"nft {when}"):
        yield from refusals.of_nft("\n".join(said), beside_iptables=f"iptables {when}" in chunks)
