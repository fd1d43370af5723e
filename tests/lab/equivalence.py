"""One pod by podnet, one by the reference plugins, on hosts that are else equal: all that two kernels say of them.

What podnet does otherwise on purpose stands in DELIBERATE, and with its reasons in the docs:
`python -m tests.lab.equivalence` writes it there.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "cni.md"
BEGIN, END = "<!-- differences: python -m tests.lab.equivalence -->\n", "<!-- end of differences -->\n"

TABLES = (
    "ip -d -j link show",
    "ip -d -j addr show",
    "ip -d -j route show table all",
    "ip -d -j -6 route show table all",
    "ip -d -j neigh show",
    "ip -d -j neigh show proxy",
    "ip -d -j rule show",
    "bridge -d -j fdb show",
)
SETTINGS = "ipv4/conf ipv4/neigh ipv4/ip_forward ipv6/conf ipv6/neigh bridge"
SCRIPT = f"""
for space in host pod; do
  if [ $space = pod ]; then in="ip netns exec $1"; else in=; fi
  for table in {" ".join(f"'{table}'" for table in TABLES)}; do
    echo "== $space $table"
    $in $table
  done
  echo "== $space sysctl"
  $in sh -ec 'cd /proc/sys/net; for i in {SETTINGS}; do
    if [ -e $i ]; then find $i -type f ! -name stable_secret | xargs grep -H ""; fi
  done'
done
"""
"""stable_secret cannot be read before it is set."""

GIVEN = re.compile(r"(ifindex|link_index|link_netnsid|_timer)$")
"""What the kernel gives to each device in turn, or counts down."""
SOLICITED = "33:33:ff:"
"""How the groups begin in which an IPv6 neighbour is asked for, by the end of its address."""
ABSENT = "—"


@dataclass(frozen=True)
class Difference:
    """What podnet does otherwise: an attribute, or a whole entry; what both have of it; and why."""

    what: str
    podnet: str
    plugins: str
    why: str


RANDOM = "random"
OWN_MAC = "computed from the pod's name or address: the same after it is made again, so that neighbours' tables hold"
MARK = "what is podnet's is marked, so that nothing else is ever removed"
QUEUE = "the kernel's own value for a cable; it calls none a misconfiguration once somebody adds a queueing discipline"
BROADCAST = (
    "the kernel routes the subnet's broadcast by the prefix; what is noted at the address only SIOCGIFBRDADDR tells"
)
ANNOUNCE = "the pod's MAC is the one that neighbours know already: nothing has to be announced"
DAD = "podnet gives no IPv6 addresses; link-local ones are the kernel's affair"
PROTO = "77"

BRIDGED = (
    Difference("host link cable address", "5a:17:63:0d:f1:26", RANDOM, OWN_MAC + "; udev leaves a given MAC alone"),
    Difference(
        "host link cni0 address",
        "0a:58:0a:f4:01:01",
        RANDOM,
        "computed from the gateway's address: the same after a reboot",
    ),
    Difference("pod link eth0 address", "0a:58:0a:f4:01:02", RANDOM, OWN_MAC),
    Difference("host link cable ifalias", "podnet", ABSENT, MARK),
    Difference("host link cni0 ifalias", "podnet", ABSENT, MARK),
    Difference("host link cable txqlen", "1000", ABSENT, QUEUE),
    Difference("pod link eth0 txqlen", "1000", ABSENT, QUEUE),
    Difference("host addr cni0 10.244.1.1 broadcast", ABSENT, "10.244.1.255", BROADCAST),
    Difference("pod addr eth0 10.244.1.2 broadcast", ABSENT, "10.244.1.255", BROADCAST),
    Difference("pod route main unicast default eth0 protocol", PROTO, "boot", MARK),
    Difference("pod route main unicast 10.244.0.0/16 eth0 protocol", PROTO, "boot", MARK),
    Difference(
        "host route main unreachable 10.244.0.0/16",
        "protocol 77, scope global",
        ABSENT,
        "pods are told that other hosts' pods are not reached; the default route would lead their packets out",
    ),
    Difference(
        "host sysctl ipv4/conf/cni0/rp_filter",
        "2",
        "0",
        "loose: a strict `all` of the host's would drop what comes and goes by different devices",
    ),
    Difference(
        "host sysctl ipv6/conf/cable/accept_ra",
        "1",
        "0",
        "left alone: the bridge takes all frames of its ports before IPv6",
    ),
    Difference("pod sysctl ipv4/conf/eth0/arp_notify", "0", "1", ANNOUNCE),
    Difference("pod sysctl ipv6/conf/eth0/accept_dad", "1", "0", DAD),
)

CALICO = (
    "Calico's way: every pod has the same gateway, which nobody has, with the same MAC; the host's end answers for it"
)
NO_SUBNET = "the pod's address is a /32: it has no subnet, and asks its node for everybody"
ROUTED = (
    Difference("host link cable address", "ee:ee:ee:ee:ee:ee", RANDOM, CALICO),
    Difference("pod link eth0 address", "0a:58:0a:f4:01:02", RANDOM, OWN_MAC),
    Difference("host link cable ifalias", "podnet", ABSENT, MARK),
    Difference("host link cable txqlen", "1000", ABSENT, QUEUE),
    Difference("pod link eth0 txqlen", "1000", ABSENT, QUEUE),
    Difference("host addr cable 10.244.1.1", ABSENT, "prefixlen 32, scope global", CALICO),
    Difference(
        "host route local local 10.244.1.1 cable", ABSENT, "prefsrc 10.244.1.1, protocol kernel, scope host", CALICO
    ),
    Difference(
        "host neigh 10.244.1.2 cable", "lladdr 0a:58:0a:f4:01:02, state PERMANENT", ABSENT, "no ARP towards the pod"
    ),
    Difference("host route main unicast 10.244.1.2 cable protocol", PROTO, "boot", MARK),
    Difference(
        "host route main unicast 10.244.1.2 cable scope",
        "link",
        "host",
        "what `ip route add ... dev` says of a neighbour",
    ),
    Difference(
        "host route main unicast 169.254.1.1 eth0",
        "metric 1, protocol 77, scope link",
        ABSENT,
        "the kernel answers for an address only if it has a route to it by another device",
    ),
    Difference(
        "host route main blackhole 10.244.1.0/24",
        "protocol 77, scope global",
        ABSENT,
        "packets for a pod that is not there are not handed to the default route",
    ),
    Difference("host sysctl ipv4/conf/cable/proxy_arp", "1", "0", CALICO),
    Difference(
        "host sysctl ipv4/neigh/cable/proxy_delay", "0", "80", "proxy ARP answers at once, not after up to 0.8 s"
    ),
    Difference(
        "host sysctl ipv4/conf/cable/rp_filter", "1", "0", "a packet from an address that is not the pod's is forged"
    ),
    Difference("pod addr eth0 10.244.1.2 prefixlen", "32", "24", NO_SUBNET),
    Difference("pod addr eth0 10.244.1.2 broadcast", ABSENT, "10.244.1.255", NO_SUBNET),
    Difference(
        "pod route local broadcast 10.244.1.255 eth0",
        ABSENT,
        "prefsrc 10.244.1.2, protocol kernel, scope link",
        NO_SUBNET,
    ),
    Difference(
        "pod route main unicast 10.244.1.0/24 eth0",
        ABSENT,
        "gateway 10.244.1.1, prefsrc 10.244.1.2, protocol boot, scope global",
        NO_SUBNET,
    ),
    Difference(
        "pod route main unicast 10.244.1.1 eth0", ABSENT, "prefsrc 10.244.1.2, protocol boot, scope link", CALICO
    ),
    Difference("pod route main unicast 169.254.1.1 eth0", "protocol 77, scope link", ABSENT, CALICO),
    Difference("pod route main unicast default eth0 gateway", "169.254.1.1", "10.244.1.1", CALICO),
    Difference("pod route main unicast default eth0 protocol", PROTO, "boot", MARK),
)
DELIBERATE = {"bridge": BRIDGED, "proxy_arp": ROUTED}
"""By the mode; it is compared with the plugin that its configuration list names."""
PLUGIN = {"bridge": "bridge", "proxy_arp": "ptp"}


def read(text: str) -> dict[str, dict[str, str]]:
    """Read what SCRIPT printed: entries of all tables, each with its attributes.

    The cable is called `cable`. What the kernel makes of a device's MAC is told by the device's name: such addresses
    differ wherever the MACs do.
    """
    (cable,) = set(re.findall(r'"ifname":"((?:veth|cali)[0-9a-f]+)"', text))
    text = text.replace(cable, "cable")
    chunks = [part.partition("\n") for part in re.split(r"^== ", text, flags=re.MULTILINE)[1:]]
    names: dict[str, str] = {}
    macs: dict[str, str] = {}
    for heading, _, body in chunks:
        space, _, table = heading.partition(" ")
        if table == "ip -d -j link show":
            names |= {
                word: f"{space}-{link['ifname']}" for link in json.loads(body) for word in _derived(link["address"])
            }
            macs |= {link["address"]: f"{space}-{link['ifname']}" for link in json.loads(body)}
    found: dict[str, dict[str, str]] = {}
    for heading, _, body in chunks:
        space, _, table = heading.partition(" ")
        for key, attributes in _entries(table, body):
            if [space, key[0], key[-1]] == ["host", "neigh", "eth0"]:
                continue  # whom the host itself has talked to
            known = macs if key[0] == "fdb" else names
            told = {name: known.get(value, value) for name, value in attributes.items()}
            found[" ".join([space, *(known.get(word, word) for word in key)])] = told
    return found


def _derived(mac: str) -> Iterator[str]:
    """Spell what the kernel makes of a MAC: a link-local address (RFC 4291 appendix A), and a bridge's id."""
    octets = [int(part, 16) for part in mac.split(":")]
    halves = [(octets[0] ^ 2) << 8 | octets[1], octets[2] << 8 | 0xFF, 0xFE00 | octets[3], octets[4] << 8 | octets[5]]
    yield "fe80::" + ":".join(f"{half:x}" for half in halves)
    yield "8000." + ":".join(f"{octet:x}" for octet in octets)


def _entries(table: str, body: str) -> Iterator[tuple[list[str], dict[str, str]]]:
    if table == "sysctl":
        for line in body.splitlines():
            path, _, value = line.partition(":")
            yield ["sysctl", path], {"": value}
        return
    for entry in filter(None, json.loads(body.strip() or "[]")):
        if "link" in table:
            yield ["link", entry["ifname"]], dict(_flat("", entry))
        elif "addr" in table:
            for item in entry["addr_info"]:
                yield ["addr", entry["ifname"], item["local"]], dict(_flat("", item))
        elif "route" in table:
            words = [entry.get("table", "main"), entry["type"], entry["dst"], entry.get("dev", "")]
            yield ["route", *filter(None, words)], dict(_flat("", entry))
        elif "neigh" in table:
            yield ["proxy" if "proxy" in table else "neigh", entry["dst"], entry["dev"]], dict(_flat("", entry))
        elif "fdb" in table:
            yield from _permanent(entry)
        else:
            yield ["rule", str(entry["priority"])], dict(_flat("", entry))


def _permanent(entry: dict[str, Any]) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Leave out what a bridge has learnt, which is of the moment, and the groups that the kernel makes of addresses."""
    if entry.get("state") in {"permanent", "static"} and not entry["mac"].startswith(SOLICITED):
        words = [entry["mac"], entry["ifname"], entry.get("master", ""), str(entry.get("vlan", ""))]
        yield ["fdb", *filter(None, [*words, *entry.get("flags", [])])], {}


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Name each attribute by its path, but for those that the kernel gives to each device in turn."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(f"{name}.{key}".removeprefix("."), each)
    elif not GIVEN.search(name):
        yield name, " ".join(sorted(map(str, value))) if isinstance(value, list) else str(value)


def compare(podnet: dict[str, dict[str, str]], plugins: dict[str, dict[str, str]]) -> dict[str, tuple[str, str]]:
    """Return what both have of each attribute that differs, or of an entry that only one of them has."""
    found: dict[str, tuple[str, str]] = {}
    for key in sorted({*podnet, *plugins}):
        ours, theirs = podnet.get(key), plugins.get(key)
        if ours is None or theirs is None:
            found[key] = (_whole(ours), _whole(theirs))
            continue
        for name in sorted({*ours, *theirs}):
            pair = (ours.get(name, ABSENT), theirs.get(name, ABSENT))
            if pair[0] != pair[1]:
                found[f"{key} {name}".strip()] = pair
    return found


SAID = re.compile(r"dst|dev|table|type|flags|local|label|family|\w+_life_time")
"""What an entry's name says already, or what is always the same."""


def _whole(attributes: dict[str, str] | None) -> str:
    if attributes is None:
        return ABSENT
    return ", ".join(f"{name} {value}" for name, value in sorted(attributes.items()) if not SAID.fullmatch(name))


def table() -> str:
    """Write the differences as the docs have them."""
    parts = []
    for mode, differences in DELIBERATE.items():
        parts += [f"{mode}, beside the plugin {PLUGIN[mode]}:", ""]
        parts += ["| | podnet | plugin | Why |", "|---|---|---|---|"]
        parts += [f"| {each.what} | {each.podnet} | {each.plugins} | {each.why} |" for each in differences]
        parts += [""]
    return "\n".join(parts)


def in_docs() -> str:
    """Return what the docs have."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip() + "\n"


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}")
