"""What flannel and Calico leave in the kernels of a lab's hosts, made by plain commands; podnet has no part in it.

Each is set up on node1 to node3 as its daemons and CNI plugins would: names, MACs, protocols, metrics and firewall
chains are theirs. The pods' namespaces are named as containerd names them, or have no name at all, as Docker's.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.at import At, Done, run

NUMBERS = (1, 2, 3)
PODS = (1, 2)


@dataclass(frozen=True)
class Stranger:
    """One way in which somebody set up a cluster: how, what the inventory says of it, and which mode it is like."""

    name: str
    mode: str
    node: Callable[[int], str]
    data: Mapping[str, Any] = field(default_factory=dict)
    subnet: str = "10.244.{}.0/24"


def underlay(number: int) -> str:
    """Return a host's address."""
    return f"192.168.56.1{number}"


def peers(number: int) -> list[int]:
    """Number the others."""
    return [other for other in NUMBERS if other != number]


def _named(name: str) -> str:
    """Spell a namespace that has a name, as containerd's have; `$at` is how ip(8) knows it."""
    return f"ip netns add {name}\nat={name}\nns=/run/netns/{name}\n"


def _unnamed(name: str) -> str:
    """Spell a namespace that only a process has, as Docker's."""
    return rf"""
systemd-run --quiet --unit={name} unshare --net sleep infinity
at=$(systemctl show --property MainPID --value {name})
own=$(readlink /proc/self/ns/net)
timeout 5 sh -c "while [ \$(readlink /proc/$at/ns/net) = $own ]; do :; done"
ns=/proc/$at/ns/net
"""


def _space(number: int, pod: int) -> str:
    name = f"cni-{hashlib.sha1(f'{number}.{pod}'.encode()).hexdigest()[:8]}"  # noqa: S324  # a name, as theirs
    return (_named if pod == 1 else _unnamed)(name)


def _bridged(number: int, mtu: int) -> str:
    """Spell cni0 and two pods on it, as the bridge plugin makes them for flannel."""
    subnet = f"10.244.{number}"
    lines = [
        f"ip link add cni0 mtu {mtu} type bridge",
        f"ip addr add {subnet}.1/24 brd {subnet}.255 dev cni0",
        "ip link set cni0 up",
    ]
    for pod in PODS:
        veth = f"veth{hashlib.sha1(f'{number}{pod}'.encode()).hexdigest()[:8]}"  # noqa: S324  # a name, as theirs
        lines += [
            _space(number, pod),
            f'ip link add {veth} mtu {mtu} type veth peer name eth0 mtu {mtu} netns "$at"',
            f"ip link set {veth} master cni0 up",
            f"bridge link set dev {veth} hairpin on",
            'in_pod() { nsenter --net="$ns" "$@"; }',
            "in_pod ip link set lo up",
            f"in_pod ip addr add {subnet}.{pod + 1}/24 brd {subnet}.255 dev eth0",
            "in_pod ip link set eth0 up",
            f"in_pod ip route add default via {subnet}.1",
            f"in_pod ip route add 10.244.0.0/16 via {subnet}.1",
        ]
    return "\n".join(lines)


def _rules_of_flannel(number: int) -> str:
    """Spell flannel's rules, in the order of its source, behind a policy as Docker leaves it."""
    network, own = "10.244.0.0/16", f"10.244.{number}.0/24"
    masq, forward = '-m comment --comment "flanneld masq"', '-m comment --comment "flanneld forward"'
    return f"""
sysctl -q -w net.ipv4.ip_forward=1 net/bridge/bridge-nf-call-iptables=1
iptables -P FORWARD DROP
iptables -N FLANNEL-FWD
iptables -A FORWARD {forward} -j FLANNEL-FWD
iptables -A FLANNEL-FWD -s {network} {forward} -j ACCEPT
iptables -A FLANNEL-FWD -d {network} {forward} -j ACCEPT
iptables -t nat -N FLANNEL-POSTRTG
iptables -t nat -A POSTROUTING {masq} -j FLANNEL-POSTRTG
iptables -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 {masq} -j RETURN
iptables -t nat -A FLANNEL-POSTRTG -s {own} -d {network} {masq} -j RETURN
iptables -t nat -A FLANNEL-POSTRTG -s {network} -d {own} {masq} -j RETURN
iptables -t nat -A FLANNEL-POSTRTG ! -s {network} -d {own} {masq} -j RETURN
iptables -t nat -A FLANNEL-POSTRTG -s {network} ! -d 224.0.0.0/4 {masq} -j MASQUERADE --random-fully
iptables -t nat -A FLANNEL-POSTRTG ! -s {network} -d {network} {masq} -j MASQUERADE --random-fully
mkdir -p /run/flannel
echo FLANNEL_NETWORK={network} >/run/flannel/subnet.env
"""


def flannel_mac(number: int) -> str:
    """Return the MAC of a host's flannel.1: a random one, which peers learn from a lease."""
    return f"{0x0A + 4 * number:02x}:9c:1e:77:{number:02x}:5f"


def _flannel_vxlan(number: int) -> str:
    mac, local = flannel_mac(number), underlay(number)
    lines = [
        f"ip link add flannel.1 address {mac} mtu 1450 type vxlan id 1 dev eth0 local {local} dstport 8472 nolearning",
        f"ip addr add 10.244.{number}.0/32 dev flannel.1",
        "ip link set flannel.1 up",
        *(line for other in peers(number) for line in flannel_peer(other)),
    ]
    return "\n".join([_rules_of_flannel(number), *lines, _bridged(number, 1450)])


def flannel_peer(other: int) -> list[str]:
    """Spell what flannel's vxlan has for a peer."""
    vtep, mac = f"10.244.{other}.0", flannel_mac(other)
    return [
        f"ip neigh replace {vtep} lladdr {mac} dev flannel.1 nud permanent",
        f"bridge fdb replace {mac} dev flannel.1 dst {underlay(other)} self permanent",
        f"ip route replace {vtep}/24 via {vtep} dev flannel.1 onlink",
    ]


def _flannel_host_gw(number: int) -> str:
    routes = [f"ip route replace 10.244.{other}.0/24 via {underlay(other)} dev eth0" for other in peers(number)]
    return "\n".join([_rules_of_flannel(number), *routes, _bridged(number, 1500)])


def _cabled(number: int, mtu: int) -> str:
    """Spell two pods with a cable each, as Calico's CNI plugin and Felix make them, and the block's blackhole."""
    lines = [f"ip route add blackhole 10.244.{number}.64/26 proto 80"]
    for pod in PODS:
        name = hashlib.sha1(f"default.pod{number}{pod}".encode()).hexdigest()  # noqa: S324  # Calico's own
        cali, address = f"cali{name[:11]}", f"10.244.{number}.{65 + pod}"
        mac = f"5e:21:3f:{number:02x}:{pod:02x}:8c"
        lines += [
            _space(number, pod),
            f'ip link add {cali} mtu {mtu} type veth peer name eth0 address {mac} mtu {mtu} netns "$at"',
            f"ip link set {cali} address ee:ee:ee:ee:ee:ee up",
            f"sysctl -q -w net/ipv4/conf/{cali}/proxy_arp=1 net/ipv4/conf/{cali}/forwarding=1",
            f"sysctl -q -w net/ipv4/neigh/{cali}/proxy_delay=0 net/ipv4/conf/{cali}/rp_filter=1",
            'in_pod() { nsenter --net="$ns" "$@"; }',
            "in_pod sysctl -q -w net/ipv4/ip_forward=0",
            "in_pod ip link set lo up",
            "in_pod ip link set eth0 up",
            "in_pod ip route add 169.254.1.1 dev eth0 scope link",
            "in_pod ip route add default via 169.254.1.1 dev eth0",
            f"in_pod ip addr add {address}/32 dev eth0",
            f"ip route add {address} dev {cali} scope link metric 1024",
            f"ip neigh replace {address} lladdr {mac} dev {cali} nud permanent",
        ]
    return "\n".join(lines)


RULES_OF_CALICO = """
sysctl -q -w net.ipv4.ip_forward=1
iptables -N cali-FORWARD
iptables -I FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD
iptables -A cali-FORWARD -j MARK --set-xmark 0x0/0xe0000
iptables -A cali-FORWARD -i cali+ -m comment --comment "cali:8ZoYfO5HKXWbB3pk" -j MARK --set-xmark 0x10000/0x10000
iptables -A cali-FORWARD -o cali+ -m comment --comment "cali:jdEuaPBe14V2hutn" -j MARK --set-xmark 0x10000/0x10000
iptables -A FORWARD -m mark --mark 0x10000/0x10000 -m comment --comment "Policy explicitly accepted packet" -j ACCEPT
iptables -t nat -N cali-nat-outgoing
iptables -t nat -I POSTROUTING -j cali-nat-outgoing
iptables -t nat -A cali-nat-outgoing -s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE --random-fully
"""


def calico_mac(number: int) -> str:
    """Return the MAC of a host's vxlan.calico: computed of its name."""
    return f"66:{hashlib.sha1(f'node{number}'.encode()).digest()[:5].hex(':')}"  # noqa: S324  # Calico's own


def _calico_vxlan(number: int) -> str:
    mac = calico_mac(number)
    vxlan = f"type vxlan id 4096 dev eth0 local {underlay(number)} dstport 4789 nolearning"
    lines = [
        f"ip link add vxlan.calico address {mac} mtu 1450 {vxlan}",
        f"ip addr add 10.244.{number}.64/32 dev vxlan.calico",
        "ip link set vxlan.calico up",
    ]
    for other in peers(number):
        tunnel, far = f"10.244.{other}.64", calico_mac(other)
        lines += [
            f"ip neigh replace {tunnel} lladdr {far} dev vxlan.calico nud permanent",
            f"bridge fdb replace {far} dev vxlan.calico dst {underlay(other)} self permanent",
            f"ip route replace {tunnel}/26 via {tunnel} dev vxlan.calico onlink mtu 1450",
        ]
    return "\n".join([RULES_OF_CALICO, *lines, _cabled(number, 1450)])


def _calico_bgp(number: int) -> str:
    routes = [
        f"ip route replace 10.244.{other}.64/26 via {underlay(other)} dev eth0 proto bird metric 1024"
        for other in peers(number)
    ]
    # Calico answers for 169.254.1.1 because a default route leads there; the lab's hosts have none by themselves.
    return "\n".join([RULES_OF_CALICO, *routes, _cabled(number, 1500)])


BLOCK = "10.244.{}.64/26"
STRANGERS = {
    stranger.name: stranger
    for stranger in (
        Stranger("flannel-vxlan", "vxlan", _flannel_vxlan),
        Stranger("flannel-host-gw", "host_gw", _flannel_host_gw),
        Stranger(
            "calico-vxlan",
            "vxlan",
            _calico_vxlan,
            {"vni": 4096, "vxlan_port": 4789},
            subnet=BLOCK,
        ),
        Stranger("calico-bgp", "proxy_arp", _calico_bgp, subnet=BLOCK),
    )
}


def set_up(at: At, stranger: Stranger) -> None:
    """Set a cluster up on a lab's hosts."""
    for number in NUMBERS:
        at.sh(f"node{number}", stranger.node(number))


def inventory(at: At, stranger: Stranger) -> Path:
    """Write the inventory that somebody would write for it."""
    path = at.path / f"{stranger.name}.py"
    path.write_text(
        f"{at.inventory.read_text()}\nnodes = (nodes[0], nodes[1] | {dict(stranger.data)!r})\n"
        f"for _number, (_, _data) in enumerate(nodes[0], 1):\n"
        f"    _data['pod_subnet'] = {stranger.subnet!r}.format(_number)\n"
    )
    return path


def observe(inventory: Path, mode: str, *options: str) -> Done:
    """Observe it as a user does. What is shown of strangers counts for no mode of podnet's."""
    return run("pytest", "--observe", f"--inventory={inventory}", f"--mode={mode}", *options)


@contextmanager
def standing(stranger: Stranger, prefix: str) -> Iterator[At]:
    """Set it up on a lab of its own."""
    at = At(f"{prefix}-{stranger.name}"[:20])
    at.up()
    try:
        set_up(at, stranger)
        yield at
    finally:
        at.down()
