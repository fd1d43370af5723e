"""Applied to a small kernel, plans reach what is wanted, exactly that, from wherever a host may be."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest

from podnet import modes
from podnet.batch import SAVED, sections
from podnet.cluster import Cluster
from podnet.modes import Mode, host_gw, vxlan
from podnet.ownership import owned
from podnet.plan import NEW_NETNS, compare, plan, summary
from podnet.section import Section
from podnet.state import Address, Bridge, FdbEntry, Neighbour, Nic, Port, Route, State, Veth, Vxlan
from podnet.support import supported
from tests.core.examples import cluster
from tests.core.kernel import Kernel, host

CLUSTER = cluster()


def wanted(of: Cluster, mode: Mode = vxlan) -> State:
    """Say what node1 of that cluster should hold in its kernel's tables; tests/core/test_files.py has the files."""
    return replace(modes.wanted(mode, of, of.node("node1")), files=frozenset())


WANT = wanted(CLUSTER)
NODE2 = CLUSTER.node("node2")
MAC2, MAC3 = NODE2.vtep_mac, CLUSTER.node("node3").vtep_mac
POD, POD2 = sorted(WANT.pods)
CABLE, CABLE2 = (
    next(link for link in WANT.links if isinstance(link, Veth) and link.netns == netns) for netns in (POD, POD2)
)
TUNNEL = next(link for link in WANT.links if isinstance(link, Vxlan))
NONE = State()
MASQUERADE = next(chain for chain in WANT.chains if chain.table == "nat")


def batch(kernel: Kernel, want: State = WANT) -> list[Section]:
    """Say what must be done to reach `want`."""
    return sections(plan(want, kernel.see(want)))


def lines(of: list[Section]) -> list[str]:
    """List what the commands are fed; a command without input stands for itself."""
    return [line for section in of for line in section.lines or (section.command,)]


def apply(kernel: Kernel, want: State = WANT) -> list[str]:
    """Do it, hold the kernel to what is wanted, expect a second run to be silent, and return the lines."""
    todo = batch(kernel, want)
    for section in todo:
        kernel.run(section)
    assert_reached(kernel, want)
    return lines(todo)


def assert_reached(kernel: Kernel, want: State = WANT) -> None:
    """Nothing is missing, wrong or too much, neither on the host nor in any of its pods."""
    have = kernel.see(want)
    assert not {table: each for table, each in compare(want, have).items() if any(each)}
    assert have.pods.keys() == want.pods.keys()
    for netns, inside in want.pods.items():
        assert not {table: each for table, each in compare(inside, have.pods[netns]).items() if any(each)}
    assert batch(kernel, want) == []


def applied() -> Kernel:
    """Return a host on which everything is as wanted."""
    kernel = host()
    apply(kernel)
    return kernel


def test_an_empty_host_becomes_what_is_wanted() -> None:
    """One batch makes exactly the wanted state, and the next run has nothing to do."""
    kernel = host()
    assert apply(kernel)
    have = owned(WANT, kernel.see(WANT))
    assert (have.links, have.ports, have.neighbours, have.fdb) == (WANT.links, WANT.ports, WANT.neighbours, WANT.fdb)
    assert (have.addresses, have.chains, have.sysctls) == (WANT.addresses, WANT.chains, WANT.sysctls)
    assert have.routes == WANT.routes


class Damage:
    """What can be done to one object of ours behind our back, and the lines that mend it: no more, no fewer."""

    def __init__(self, what: str, harm: Callable[[Kernel], object], *mending: str) -> None:
        """Say what, how, and what mends it."""
        self.what, self.harm, self.mending = what, harm, mending


def ip(*text: str) -> Callable[[Kernel], object]:
    """Let somebody else type lines of that batch."""
    return lambda kernel: kernel.run(Section("ip -batch -", text))


def pod(*text: str) -> Callable[[Kernel], object]:
    """Let somebody type them inside the first pod."""
    return lambda kernel: kernel.run(Section(f"ip -n {POD} -batch -", text))


def bridge(*text: str) -> Callable[[Kernel], object]:
    """Let somebody else type lines about the FDB."""
    return lambda kernel: kernel.run(Section("bridge -batch -", text))


def write(path: str, value: str) -> Callable[[Kernel], object]:
    """Let somebody write a setting."""
    return lambda kernel: kernel.sysctl(f"{path} = {value}")


def put(table: str, item: Any) -> Callable[[Kernel], object]:
    """Let an item be otherwise."""
    return lambda kernel: kernel.put(table, item)


def rules(table: str, *text: str) -> Callable[[Kernel], object]:
    """Let somebody feed iptables-restore."""
    return lambda kernel: kernel.iptables_restore([f"*{table}", *text, "COMMIT"])


def lose(table: str, key: tuple[str | int, ...]) -> Callable[[Kernel], object]:
    """Let an item vanish."""
    return lambda kernel: kernel.tables[table].remove(kernel.find(table, key))


def usurp(kernel: Kernel) -> None:
    """Let a cable of ours have the bridge's name."""
    kernel.del_link("cni0")
    kernel.add_link(Veth("cni0", 1450, None, "02:00:00:00:00:01"))


NEIGHBOURS = (
    f"neigh replace 10.244.2.0 lladdr {MAC2} dev flannel.1 nud permanent",
    f"neigh replace 10.244.3.0 lladdr {MAC3} dev flannel.1 nud permanent",
)
FDB = (f"fdb replace {MAC2} dev flannel.1 dst 192.168.56.12", f"fdb replace {MAC3} dev flannel.1 dst 192.168.56.13")
ROUTES = (
    "route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink proto 77",
    "route replace 10.244.3.0/24 via 10.244.3.0 dev flannel.1 onlink proto 77",
)
TUNNEL_ANEW = (
    (
        f"link add flannel.1 address {TUNNEL.mac} mtu 1450 type vxlan id 1 dev eth0 local 192.168.56.11 dstport 8472 "
        "nolearning"
    ),
    "link set flannel.1 alias podnet up",
    "addr replace 10.244.1.0/32 dev flannel.1",
    *NEIGHBOURS,
    *FDB,
    "net/ipv4/conf/flannel.1/forwarding = 1",
    "net/ipv4/conf/flannel.1/rp_filter = 2",
    "net/ipv6/conf/flannel.1/accept_ra = 0",
    *ROUTES,
)
CABLE_ANEW = (
    f"link add {CABLE.dev} address {CABLE.mac} mtu 1450 type veth peer name eth0 mtu 1450 netns {POD}",
    f"link set {CABLE.dev} alias podnet up",
    f"link set {CABLE.dev} master cni0",
    f"link set {CABLE.dev} type bridge_slave hairpin on",
    "link set eth0 address 0a:58:0a:f4:01:02 mtu 1450 up",
    "addr replace 10.244.1.2/24 dev eth0",
    "route replace 0.0.0.0/0 via 10.244.1.1 dev eth0 proto 77",
    "route replace 10.244.0.0/16 via 10.244.1.1 dev eth0 proto 77",
)
BRIDGE_ANEW = (
    "link add cni0 address 0a:58:0a:f4:01:01 type bridge",
    "link set cni0 mtu 1450 alias podnet up",
    *(
        line
        for dev in sorted([CABLE.dev, CABLE2.dev])
        for line in (f"link set {dev} master cni0", f"link set {dev} type bridge_slave hairpin on")
    ),
    "addr replace 10.244.1.1/24 dev cni0",
    "net/ipv4/conf/cni0/forwarding = 1",
    "net/ipv4/conf/cni0/rp_filter = 2",
    "net/ipv6/conf/cni0/accept_ra = 0",
)
POD_ANEW = (
    *CABLE_ANEW[:5],
    "link set lo up",
    CABLE_ANEW[5],
    "addr replace 127.0.0.1/8 dev lo scope host",
    *CABLE_ANEW[6:],
)
RESET_FWD = (
    "*filter",
    "-D FORWARD -j PODNET-FWD",
    ":PODNET-FWD - [0:0]",
    "-A PODNET-FWD -s 10.244.0.0/16 -d 10.244.0.0/16 -j ACCEPT",
    *(f"-A PODNET-FWD -s 10.244.0.0/16 -o {dev}.+ -j DROP" for dev in ("cni", "flannel", "vxlan")),
    "-A PODNET-FWD -s 10.244.0.0/16 -j ACCEPT",
    "-A PODNET-FWD -d 10.244.0.0/16 -j ACCEPT",
    "-I FORWARD 1 -j PODNET-FWD",
    "COMMIT",
)
ADD_FWD = (RESET_FWD[0], *RESET_FWD[2:])

DAMAGES = [
    # devices
    Damage("a tunnel is deleted", ip("link del flannel.1"), *TUNNEL_ANEW),
    Damage("a tunnel is down", put("links", replace(TUNNEL, up=False)), "link set flannel.1 up"),
    Damage("a tunnel's MTU is other", ip("link set flannel.1 mtu 1400"), "link set flannel.1 mtu 1450"),
    Damage("a tunnel has lost its mark", put("links", replace(TUNNEL, alias="")), "link set flannel.1 alias podnet"),
    Damage(
        "a tunnel's MAC is other",
        ip("link set flannel.1 address 66:00:00:00:00:99"),
        f"link set flannel.1 address {TUNNEL.mac}",
        *NEIGHBOURS,
    ),
    Damage(
        "a tunnel's MAC is other, and somebody has said the neighbours again",
        ip("link set flannel.1 address 66:00:00:00:00:99", *NEIGHBOURS),
        f"link set flannel.1 address {TUNNEL.mac}",
        *NEIGHBOURS,
    ),
    Damage(
        "a tunnel sends from another address",
        ip("link set flannel.1 type vxlan local 192.168.56.99"),
        "link set flannel.1 type vxlan local 192.168.56.11",
    ),
    Damage("a tunnel learns", ip("link set flannel.1 type vxlan learning"), "link set flannel.1 type vxlan nolearning"),
    Damage("a tunnel has another VNI", put("links", replace(TUNNEL, vni=7)), "link del flannel.1", *TUNNEL_ANEW),
    Damage("a tunnel has another port", put("links", replace(TUNNEL, port=1)), "link del flannel.1", *TUNNEL_ANEW),
    Damage("a tunnel floods", put("links", replace(TUNNEL, group="239.0.0.1")), "link del flannel.1", *TUNNEL_ANEW),
    Damage(
        "a tunnel goes by another device", put("links", replace(TUNNEL, lower="lo")), "link del flannel.1", *TUNNEL_ANEW
    ),
    Damage("a bridge's MTU is other", ip("link set cni0 mtu 1500"), "link set cni0 mtu 1450"),
    Damage(
        "a bridge is deleted",
        ip("link del cni0"),
        *BRIDGE_ANEW,
    ),
    Damage(
        "a bridge's place holds a device of ours of another kind",
        usurp,
        "link del cni0",
        *BRIDGE_ANEW,
    ),
    Damage(
        "a stale tunnel is there", lambda k: k.add_link(replace(TUNNEL, dev="flannel.9", vni=9)), "link del flannel.9"
    ),
    # ports
    Damage(
        "a port is unplugged",
        ip(f"link set {CABLE.dev} nomaster"),
        f"link set {CABLE.dev} master cni0",
        f"link set {CABLE.dev} type bridge_slave hairpin on",
    ),
    Damage(
        "a port has no hairpin",
        ip(f"link set {CABLE.dev} type bridge_slave hairpin off"),
        f"link set {CABLE.dev} type bridge_slave hairpin on",
    ),
    Damage(
        "a port does not pass frames on",
        put("ports", Port(CABLE.dev, "cni0", hairpin=True, isolated=True, flood=False, blocked=True)),
        f"link set {CABLE.dev} type bridge_slave isolated off flood on state 3",
    ),
    Damage("a port too many", put("ports", Port("flannel.1", "cni0", hairpin=False)), "link set flannel.1 nomaster"),
    # addresses
    Damage("an address is deleted", ip("addr del 10.244.1.1/24 dev cni0"), "addr replace 10.244.1.1/24 dev cni0"),
    Damage(
        "an address has another prefix length, and stands first",
        ip("addr del 10.244.1.0/32 dev flannel.1", "addr replace 10.244.1.0/24 dev flannel.1"),
        "addr replace 10.244.1.0/32 dev flannel.1",
        "addr del 10.244.1.0/24 dev flannel.1",
        "addr replace 10.244.1.0/32 dev flannel.1",
        *NEIGHBOURS,  # had they been on the last address, the kernel would have dropped them with it
        *ROUTES,
    ),
    Damage(
        "an address is replaced by another",
        ip("addr replace 10.9.0.1/24 dev flannel.1", "addr del 10.244.1.0/32 dev flannel.1"),
        "addr replace 10.244.1.0/32 dev flannel.1",
        "addr del 10.9.0.1/24 dev flannel.1",
        "addr replace 10.244.1.0/32 dev flannel.1",
        *NEIGHBOURS,
        *ROUTES,
    ),
    Damage(
        "the only address is deleted, and with it all routes and neighbours",
        ip("addr del 10.244.1.0/32 dev flannel.1"),
        "addr replace 10.244.1.0/32 dev flannel.1",
        *NEIGHBOURS,
        *ROUTES,
    ),
    Damage(
        "an address too many, that takes ours along",
        ip(
            "addr del 10.244.1.1/24 dev cni0",
            "addr replace 10.244.1.99/24 dev cni0",
            "addr replace 10.244.1.1/24 dev cni0",
        ),
        "addr del 10.244.1.99/24 dev cni0",
        "addr replace 10.244.1.1/24 dev cni0",
    ),
    Damage(
        "an address too many, that takes ours along, and with the last one a stale route",
        ip(
            "addr del 10.244.1.1/24 dev cni0",
            "addr replace 10.244.1.99/24 dev cni0",
            "addr replace 10.244.1.1/24 dev cni0",
            "route replace 10.9.0.0/24 dev cni0 proto 77",
        ),
        "route del 10.9.0.0/24 dev cni0 proto 77",
        "addr del 10.244.1.99/24 dev cni0",
        "addr replace 10.244.1.1/24 dev cni0",
    ),
    # neighbours
    Damage("a neighbour is deleted", ip("neigh del 10.244.2.0 dev flannel.1"), NEIGHBOURS[0]),
    Damage(
        "a neighbour has another MAC",
        ip("neigh replace 10.244.3.0 lladdr 66:00:00:00:00:99 dev flannel.1 nud permanent"),
        NEIGHBOURS[1],
    ),
    Damage(
        "a neighbour was learnt",
        put("neighbours", Neighbour("flannel.1", IPv4Address("10.244.2.0"), MAC2, permanent=False)),
        NEIGHBOURS[0],
    ),
    Damage(
        "a neighbour is stale",
        ip(f"neigh replace 10.244.9.0 lladdr {MAC2} dev flannel.1 nud permanent"),
        "neigh del 10.244.9.0 dev flannel.1",
    ),
    # FDB entries
    Damage("an FDB entry is deleted", bridge(f"fdb del {MAC2} dev flannel.1 dst 192.168.56.12"), FDB[0]),
    Damage("an FDB entry leads elsewhere", bridge(f"fdb replace {MAC2} dev flannel.1 dst 192.168.56.99"), FDB[0]),
    Damage(
        "an FDB entry is not permanent",
        put("fdb", FdbEntry("flannel.1", MAC2, "192.168.56.12", permanent=False)),
        FDB[0],
    ),
    Damage(
        "an FDB entry goes by another port and device",
        put("fdb", FdbEntry("flannel.1", MAC2, "192.168.56.12 port 4790 via eth0")),
        FDB[0],
    ),
    Damage(
        "an FDB entry is stale",
        bridge("fdb replace 66:00:00:00:00:99 dev flannel.1 dst 192.168.56.99"),
        "fdb del 66:00:00:00:00:99 dev flannel.1 dst 192.168.56.99",
    ),
    Damage(
        "a tunnel floods to two hosts",
        lambda kernel: kernel.tables["fdb"].extend(
            FdbEntry("flannel.1", "00:00:00:00:00:00", f"192.168.56.{i}") for i in (13, 12)
        ),
        "fdb del 00:00:00:00:00:00 dev flannel.1 dst 192.168.56.12",
        "fdb del 00:00:00:00:00:00 dev flannel.1 dst 192.168.56.13",
    ),
    # routes
    Damage("a route is deleted", lose("routes", (0x0AF40200, 24, 0, "", "main")), ROUTES[0]),
    Damage("a route leads elsewhere", ip("route replace 10.244.3.0/24 dev eth0 proto 77"), ROUTES[1]),
    Damage("a route is a black hole", ip("route replace blackhole 10.244.3.0/24 proto 77"), ROUTES[1]),
    Damage(
        "a stale route",
        ip("route replace 10.244.9.0/24 dev eth0 proto 77"),
        "route del 10.244.9.0/24 dev eth0 proto 77",
    ),
    Damage(
        "a route is there twice",
        ip("route replace 10.244.2.0/24 dev eth0 metric 5 proto 77"),
        "route del 10.244.2.0/24 dev eth0 metric 5 proto 77",
    ),
    Damage(
        "somebody routes into our tunnel",
        ip("route replace 10.99.0.0/24 dev flannel.1 proto static"),
        "route del 10.99.0.0/24 dev flannel.1 proto static",
    ),
    # settings
    Damage(
        "a device's setting is other",
        write("net/ipv4/conf/flannel.1/rp_filter", "1"),
        "net/ipv4/conf/flannel.1/rp_filter = 2",
    ),
    Damage(
        "the bridge's packets go unseen",
        write("net/bridge/bridge-nf-call-iptables", "0"),
        "net/bridge/bridge-nf-call-iptables = 1",
    ),
    Damage(
        "a device forwards no more", write("net/ipv4/conf/eth0/forwarding", "0"), "net/ipv4/conf/eth0/forwarding = 1"
    ),
    Damage(
        "nobody forwards any more",
        write("net/ipv4/ip_forward", "0"),
        "net/ipv4/conf/cni0/forwarding = 1",
        "net/ipv4/conf/eth0/forwarding = 1",
        "net/ipv4/conf/flannel.1/forwarding = 1",
        "net/ipv4/ip_forward = 1",
    ),
    # rules
    Damage("a chain is emptied", rules("filter", "-F PODNET-FWD"), *RESET_FWD),
    Damage("a rule is missing", rules("filter", "-D PODNET-FWD -d 10.244.0.0/16 -j ACCEPT"), *RESET_FWD),
    Damage("a rule too many", rules("filter", "-A PODNET-FWD -j DROP"), *RESET_FWD),
    Damage("a jump is missing", rules("filter", "-D FORWARD -j PODNET-FWD"), *ADD_FWD),
    Damage("a jump comes second", rules("filter", "-I FORWARD 1 -j REJECT"), *RESET_FWD),
    Damage("a jump is there twice", rules("filter", "-A FORWARD -j PODNET-FWD"), *RESET_FWD[:2], *RESET_FWD[1:]),
    Damage("a chain is gone", rules("filter", "-D FORWARD -j PODNET-FWD", "-F PODNET-FWD", "-X PODNET-FWD"), *ADD_FWD),
    Damage(
        "a stale chain",
        rules("filter", ":PODNET-OLD - [0:0]", "-A PODNET-OLD -j DROP", "-A INPUT -j PODNET-OLD"),
        "*filter",
        "-D INPUT -j PODNET-OLD",
        "-F PODNET-OLD",
        "-X PODNET-OLD",
        "COMMIT",
    ),
    Damage(
        "a stale chain that nobody jumps to",
        rules("nat", ":PODNET-OLD - [0:0]"),
        "*nat",
        "-F PODNET-OLD",
        "-X PODNET-OLD",
        "COMMIT",
    ),
    # pods
    Damage("a pod is deleted", ip(f"netns del {POD}"), f"netns add {POD}", *POD_ANEW, "net/ipv4/ip_forward = 0"),
    Damage("a stale pod", ip("netns add podnet-old"), "netns del podnet-old"),
    Damage("a cable is deleted", ip(f"link del {CABLE.dev}"), *CABLE_ANEW),
    Damage(
        "a pod's end is called otherwise",
        lambda k: k.pods[POD].tables["links"].append(replace(k.pods[POD].tables["links"].pop(), dev="eth9")),
        f"link del {CABLE.dev}",
        *CABLE_ANEW,
    ),
    Damage("a pod's address is deleted", pod("addr del 10.244.1.2/24 dev eth0"), *CABLE_ANEW[5:]),
    Damage(
        "a pod has an address too many",
        pod("addr replace 10.9.0.1/24 dev eth0"),
        "addr del 10.9.0.1/24 dev eth0",
        *CABLE_ANEW[5:],
    ),
    Damage(
        "a pod's MAC is other",
        pod("link set eth0 address 0a:00:00:00:00:01"),
        "link set eth0 address 0a:58:0a:f4:01:02",
    ),
    Damage("a pod's MTU is other", pod("link set eth0 mtu 1400"), "link set eth0 mtu 1450"),
    Damage(
        "a pod's default route leads elsewhere",
        pod("route replace 0.0.0.0/0 via 10.244.1.9 dev eth0 proto 77"),
        "route replace 0.0.0.0/0 via 10.244.1.1 dev eth0 proto 77",
    ),
    Damage("a pod forwards", lambda k: k.pods[POD].sysctl("net/ipv4/ip_forward = 1"), "net/ipv4/ip_forward = 0"),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.what)
def test_whatever_was_changed_is_mended_and_nothing_else(damage: Damage) -> None:
    """Exactly these lines go to the host, they are enough, and the run after that is silent."""
    kernel = applied()
    damage.harm(kernel)
    assert sorted(apply(kernel)) == sorted(damage.mending)


def test_every_line_of_the_batch_is_needed() -> None:
    """Leave any one out: either the kernel refuses what stands on it, or the next run finds something to do."""
    todo = batch(host())
    for section, i in ((each, i) for each in todo for i in range(len(each.lines))):
        if section.command.startswith(("cat", "iptables", "sh")) or section.lines[i] in HARMLESS:
            continue
        rest = replace(section, lines=section.lines[:i] + section.lines[i + 1 :])
        kernel = host()
        try:
            for each in todo:
                kernel.run(rest if each is section else each)
        except Exception:  # noqa: BLE001, S112  # whichever way the small kernel says no
            continue
        assert batch(kernel), section.lines[i]


HARMLESS = {
    "addr replace 127.0.0.1/8 dev lo scope host",  # the kernel gives it to a loopback that comes up
    "net/ipv4/ip_forward = 0",  # a new namespace may inherit 1 (net.core.devconf_inherit_init_net)
    "net/ipv4/conf/eth0/forwarding = 1",  # ip_forward overwrites it, unless it was 1 already
    "net/ipv4/conf/cni0/forwarding = 1",  # likewise
    "net/ipv4/conf/flannel.1/forwarding = 1",  # likewise
    "net/bridge/bridge-nf-call-iptables = 1",  # the module's own default
}


def cuts(todo: list[Section]) -> Iterator[list[Section]]:
    """Yield the batch cut off after every section, and after every line of those that are no transactions."""
    for i, section in enumerate(todo):
        yield todo[:i]
        if section.command.endswith(("-batch -", "sysctl -q -p -")):
            for n in range(1, len(section.lines)):
                yield [*todo[:i], replace(section, lines=section.lines[:n])]


PEERS_GONE = wanted(cluster(2, pods=1))
OTHER_PORT = wanted(cluster(vxlan_port=4789))


@pytest.mark.parametrize(
    ("before", "want"),
    [(NONE, WANT), (WANT, NONE), (WANT, PEERS_GONE), (PEERS_GONE, WANT), (WANT, OTHER_PORT)],
    ids=["apply", "teardown", "a peer and a pod go", "a peer and a pod come", "another port"],
)
def test_a_run_that_was_cut_anywhere_is_completed_by_the_next(before: State, want: State) -> None:
    """After every section, and after every line where a line can be the last, a new plan converges."""
    start = host()
    apply(start, before)
    for part in cuts(batch(start, want)):
        kernel = host()
        apply(kernel, before)
        for section in part:
            kernel.run(section)
        apply(kernel, want)
        if not want.links:
            assert remains(kernel) == remains(host())


def test_a_peer_that_is_gone_takes_its_three_entries_along() -> None:
    """And nothing of the peers that stay is touched."""
    kernel = applied()
    want = wanted(cluster(2))
    assert apply(kernel, want) == [
        "route del 10.244.3.0/24 via 10.244.3.0 dev flannel.1 onlink proto 77",
        "neigh del 10.244.3.0 dev flannel.1",
        f"fdb del {MAC3} dev flannel.1 dst 192.168.56.13",
    ]


def test_a_peer_that_is_new_gets_its_three_entries() -> None:
    """Neighbour and FDB entry stand before the route that leads to them."""
    kernel = host()
    apply(kernel, wanted(cluster(2)))
    assert apply(kernel) == [NEIGHBOURS[1], FDB[1], ROUTES[1]]


def test_a_peer_that_moved_is_changed_in_place() -> None:
    """Another underlay address is one replaced FDB entry; no route or neighbour is missing for a moment."""
    kernel = applied()
    moved = replace(NODE2, address=IPv4Interface("192.168.56.112/24"))
    of = replace(CLUSTER, nodes=tuple(moved if node is NODE2 else node for node in CLUSTER.nodes))
    assert apply(kernel, wanted(of)) == [f"fdb replace {MAC2} dev flannel.1 dst 192.168.56.112"]


def test_additions_come_before_removals() -> None:
    """Make before break: peers are reached without the tunnel before it goes."""
    kernel = applied()
    said = apply(kernel, wanted(CLUSTER, host_gw))
    assert said.index("link del flannel.1") > max(i for i, line in enumerate(said) if line.startswith("route replace"))


STRANGERS = (
    "br-strange",
    "sv0",
    "sv1",
    "172.30",
    "10.99.",
    "192.168.56.9",
    "DOCKER",
    "strange",
    "vx-strange",
    "8.8.8.8",
)


def strange() -> Kernel:
    """Return a host where somebody else lives too."""
    kernel = host()
    kernel.add_link(Bridge("br-strange", 1500, "02:aa:00:00:00:01", alias=""))
    kernel.add_link(Veth("sv0", 1500, None, "02:aa:00:00:00:02", alias="uplink of strange"))
    kernel.add_link(Nic("sv1", 1500, "02:aa:00:00:00:03"))
    kernel.add_link(replace(TUNNEL, dev="vx-strange", vni=77, alias=""))
    kernel.put("ports", Port("sv0", "br-strange", hairpin=False))
    kernel.put("addresses", Address("br-strange", IPv4Interface("172.30.0.1/24")))
    kernel.put("routes", Route(IPv4Network("0.0.0.0/0"), "eth0", IPv4Address("192.168.56.1"), proto="boot"))
    kernel.put("routes", Route(IPv4Network("10.99.0.0/24"), None, proto="static"))  # of several next hops
    kernel.put("routes", Route(IPv4Network("10.99.1.0/24"), None, kind="blackhole", proto="boot"))
    kernel.put("routes", Route(IPv4Network("8.8.8.8/32"), "eth0", IPv4Address("192.168.56.1"), metric=3, proto="dhcp"))
    kernel.put("neighbours", Neighbour("eth0", IPv4Address("192.168.56.9"), "02:bb:00:00:00:09"))
    kernel.put("fdb", FdbEntry("vx-strange", "00:00:00:00:00:00", "192.168.56.99"))
    kernel.iptables_restore(["*filter", ":DOCKER - [0:0]", "-A FORWARD -j DOCKER", "-A FORWARD -j REJECT", "COMMIT"])
    kernel.ip("netns add strange")
    return kernel


def remains(kernel: Kernel) -> object:
    """Return all of a host, apart from the order of its tables."""
    tables = {table: sorted(map(repr, items)) for table, items in kernel.tables.items()}
    sysctls = {path: value for path, value in kernel.sysctls.items() if not path.startswith("net/bridge/")}
    return tables, sysctls, kernel.rules, kernel.files, {name: pod.tables for name, pod in kernel.pods.items()}


def test_a_stranger_is_in_no_line() -> None:
    """Neither applying nor tearing down names anything that somebody else made, and all of it is there after."""
    kernel, before = strange(), remains(strange())
    said = [*apply(kernel), *apply(kernel, OTHER_PORT), *apply(kernel, NONE)]
    forwarding = {f"net/ipv4/conf/{dev}/forwarding = 0" for dev in ("br-strange", "sv0", "sv1", "vx-strange")}
    assert [line for line in said if any(word in line for word in STRANGERS) and line not in forwarding] == []
    assert remains(kernel) == before


def test_a_strangers_port_on_our_bridge_and_route_to_it_stay() -> None:
    """A bridge is a place where others may plug in: a container of somebody else's, and a route to what is behind."""
    kernel = applied()
    kernel.add_link(Nic("tap0", 1450, "02:aa:00:00:00:05"))
    kernel.put("ports", Port("tap0", "cni0", hairpin=False))
    kernel.ip("route replace 10.50.0.0/24 via 10.244.1.9 dev cni0 proto static")
    assert apply(kernel) == []


def test_what_the_bridge_has_learnt_about_pods_stays() -> None:
    """Whoever talked to the node stands in its ARP table for a while: that is the kernel's business."""
    kernel = applied()
    kernel.put("neighbours", Neighbour("cni0", IPv4Address("10.244.1.2"), "0a:58:0a:f4:01:02", permanent=False))
    assert apply(kernel) == []


def test_a_strangers_chain_is_not_ours_even_if_it_is_seen() -> None:
    """The fact reads only ours; whoever hands over more loses nothing."""
    docker = replace(MASQUERADE, chain="DOCKER")
    assert owned(WANT, State(chains=frozenset({docker, MASQUERADE}))).chains == {MASQUERADE}


def test_teardown_leaves_nothing_of_ours() -> None:
    """Devices, pods, rules, settings and the note of them: the host is as it was."""
    kernel = applied()
    apply(kernel, NONE)
    assert remains(kernel) == remains(host())
    assert kernel.see(NONE).saved == frozenset()
    left = owned(NONE, kernel.see(NONE))
    assert not any(
        [left.links, left.ports, left.addresses, left.neighbours, left.fdb, left.routes, left.chains, left.pods]
    )


def test_tearing_down_what_is_not_there_does_nothing() -> None:
    """Teardown may be run twice, and on a host that never knew us."""
    assert apply(strange(), NONE) == []


def test_values_are_noted_before_they_are_changed() -> None:
    """Were they noted afterwards, a cut in between would lose them for good."""
    said = lines(batch(host()))
    noted = said.index(f"mv {SAVED}.new {SAVED}")
    assert said.index("net/ipv4/ip_forward = 0") < noted < said.index("net/ipv4/ip_forward = 1")


def test_the_first_value_is_kept_over_several_runs() -> None:
    """What we wrote ourselves is never taken for what was there before us."""
    kernel = applied()
    noted = kernel.files[SAVED]
    assert "net/ipv4/ip_forward = 0" in noted
    kernel.sysctl("net/ipv4/ip_forward = 0")
    apply(kernel)
    apply(kernel, OTHER_PORT)
    assert kernel.files[SAVED] == noted


def test_what_was_so_already_is_not_noted() -> None:
    """A host that forwards keeps forwarding when we go: nothing is written down that we did not change."""
    kernel = host()
    kernel.run(Section("modprobe br_netfilter"))
    kernel.sysctl("net/ipv4/ip_forward = 1")
    apply(kernel)
    assert SAVED not in kernel.files
    apply(kernel, NONE)
    assert kernel.sysctls["net/ipv4/ip_forward"] == "1"


def test_a_module_that_podnet_loads_is_turned_off_again() -> None:
    """Before the module was there no bridge's packets met iptables; after a teardown they do so no more."""
    kernel = host()
    apply(kernel)
    assert kernel.sysctls["net/bridge/bridge-nf-call-iptables"] == "1"
    apply(kernel, NONE)
    assert kernel.sysctls["net/bridge/bridge-nf-call-iptables"] == "0"


def test_every_interfaces_own_forwarding_is_noted_with_ip_forward() -> None:
    """Writing ip_forward overwrites them all, also those of devices that are none of our business."""
    kernel = strange()
    apply(kernel)
    assert {line.split()[0] for line in kernel.files[SAVED]} == {
        "net/bridge/bridge-nf-call-iptables",
        "net/ipv4/ip_forward",
        *(f"net/ipv4/conf/{name}/forwarding" for name in ("all", "default", "lo", "eth0")),
        *(f"net/ipv4/conf/{name}/forwarding" for name in ("br-strange", "sv0", "sv1", "vx-strange")),
    }


def test_a_device_that_forwarded_before_us_does_so_after_us() -> None:
    """Giving ip_forward back overwrites every interface's own value too, even one that is right at that moment."""
    kernel = strange()
    kernel.add_link(Nic("aa0", 1500, "02:aa:00:00:00:07"))  # in the alphabet before `all`, the other ip_forward
    kernel.sysctl("net/ipv4/conf/aa0/forwarding = 1")
    kernel.sysctl("net/ipv4/conf/br-strange/forwarding = 1")
    apply(kernel)
    apply(kernel, NONE)
    assert kernel.sysctls["net/ipv4/conf/aa0/forwarding"] == "1"
    assert kernel.sysctls["net/ipv4/conf/br-strange/forwarding"] == "1"
    assert kernel.sysctls["net/ipv4/conf/eth0/forwarding"] == "0"


def test_a_device_that_came_and_went_is_no_reason_to_fail() -> None:
    """Noted values of devices that are gone cannot be given back, and teardown succeeds all the same."""
    kernel = strange()
    apply(kernel)
    kernel.del_link("sv1")
    apply(kernel, NONE)
    assert SAVED not in kernel.files


def test_settings_of_our_own_devices_are_not_noted() -> None:
    """They go with the device; a note of them could never be given back."""
    kernel = applied()
    kernel.sysctl("net/ipv4/conf/flannel.1/rp_filter = 1")
    apply(kernel)
    assert not [line for line in kernel.files[SAVED] if "flannel.1" in line or "cni0" in line]


def test_a_host_without_ipv6_is_not_asked_for_its_settings() -> None:
    """Where the kernel has no IPv6 nothing has to be protected from router advertisements."""
    kernel = host()
    kernel.sysctls = {path: value for path, value in kernel.sysctls.items() if "ipv6" not in path}
    assert not [line for line in lines(batch(kernel)) if "ipv6" in line]
    assert supported(WANT, kernel.see(WANT)).sysctls < WANT.sysctls


def test_the_bridges_module_is_loaded_only_where_it_is_missing() -> None:
    """net/bridge/ appears with br_netfilter; a host that has it is not asked to load it again."""
    commands = [section.command for section in batch(host())]
    assert commands.count("modprobe br_netfilter") == 1
    loaded = host()
    loaded.run(Section("modprobe br_netfilter"))
    assert "modprobe br_netfilter" not in [section.command for section in batch(loaded)]


def test_a_namespace_whose_file_is_no_namespace_is_made_anew() -> None:
    """`ip netns add` that was killed leaves a file; it is deleted first, since its name is taken."""
    kernel = host()
    want = replace(WANT, pods={POD: WANT.pods[POD]}, links=WANT.links - {CABLE2})
    have = replace(kernel.see(want), pods={POD: State()})
    said = lines(sections(plan(want, have)))
    assert said.index(f"netns del {POD}") < said.index(f"netns add {POD}") < said.index(CABLE_ANEW[0])


def test_a_pod_on_a_strangers_cable_gets_ours() -> None:
    """Its eth0 exists and leads elsewhere: it goes, and the namespace with whoever runs in it stays."""
    kernel = applied()
    kernel.tables["links"].remove(kernel.link(CABLE.dev))
    kernel.tables["ports"].remove(kernel.find("ports", (CABLE.dev,)))
    said = apply(kernel)
    assert sorted(said) == sorted(["link del eth0", *CABLE_ANEW])


def test_a_new_namespace_holds_only_a_loopback() -> None:
    """What plan takes a new namespace for is what the kernel makes it."""
    assert NEW_NETNS.links == Kernel().inside([]).links


def test_processes_are_counted_by_pods_that_change_not_by_peers() -> None:
    """Two pods cost two processes each; what is as wanted costs none."""
    kernel = applied()
    kernel.pods[POD].ip("link set eth0 mtu 1400")
    assert [section.command for section in batch(kernel)] == [f"ip -n {POD} -batch -"]


def test_a_summary_counts_what_is_made_mended_and_removed() -> None:
    """One line tells an administrator how much is about to happen."""
    kernel = applied()
    kernel.ip("neigh del 10.244.2.0 dev flannel.1")
    kernel.ip("link set cni0 mtu 1500")
    kernel.ip("netns add podnet-old")
    assert summary(plan(WANT, kernel.see(WANT))) == "links ~1, neighbours +1, pods -1"
    assert summary(plan(NONE, kernel.see(NONE))).endswith("settings given back ~6")
