"""What is broken, one thing at a time: the damage as plain commands on one host, and what its cause must be called.

A fault applies to a mode if the host's wanted state holds what it breaks: its function then returns a Damage. Some
faults disturb no packet; their cause is a difference between the tables and what they should be.
"""

from collections.abc import Callable
from dataclasses import dataclass

from podnet import spell
from podnet.state import Address, Ipip, Nic, Route, Vxlan, Wireguard
from tests.faults.place import Place
from tests.lab.nics import PF


@dataclass(frozen=True)
class Damage:
    """A script, the regular expression that a right cause matches, and how a stranger's part of it is undone.

    `wire` are packets that get lost on their way to the host, behind all of its tables, in words of tc-u32(8).
    """

    script: str
    cause: str
    undo: str = ""
    wire: str = ""

    @property
    def told(self) -> str:
        """Say what was done."""
        return self.script or f"on the wire to the host, packets are lost that {self.wire}"


Fault = Callable[[Place], Damage | None]

STRANGER = "fault0"
OTHER_MAC = "02:00:00:00:00:99"
TABLE = "99"


def tunnel_anew(p: Place, vni: int, port: int) -> str:
    """Spell a vxlan device in the place of ours."""
    assert p.vxlan
    made = f"type vxlan id {vni} dev {p.uplink} local {p.node.ip} dstport {port} nolearning"
    name = p.vxlan.dev
    return (
        f"ip link del {name}; ip link add {name} address {p.vxlan.mac} mtu {p.vxlan.mtu} {made};"
        f"ip link set {name} alias {p.vxlan.alias} up"
    )


def links(p: Place) -> dict[str, Damage]:
    """Break the devices of the host."""
    found: dict[str, Damage] = {}
    if t := p.tunnel:
        found |= {
            "tunnel deleted": Damage(f"ip link del {t.dev}", f"missing link: link add {t.dev}"),
            "tunnel down": Damage(f"ip link set {t.dev} down", f"wrong link: {t.dev}: up is off"),
            "tunnel down and up again": Damage(
                f"ip link set {t.dev} down; ip link set {t.dev} up", "missing (route|neighbour)"
            ),
            "tunnel renamed": Damage(
                f"ip link set {t.dev} down; ip link set {t.dev} name {STRANGER}; ip link set {STRANGER} up",
                f"missing link: link add {t.dev}",
            ),
            "tunnel's MTU too small": Damage(f"ip link set {t.dev} mtu 1000", f"{t.dev}: mtu is 1000"),
        }
    if v := p.vxlan:
        found |= {
            "tunnel with another VNI": Damage(tunnel_anew(p, v.vni + 98, v.port), f"vni is {v.vni + 98}"),
            "tunnel with another port": Damage(tunnel_anew(p, v.vni, 4789), "port is 4789"),
            "tunnel with another MAC": Damage(f"ip link set {v.dev} address {OTHER_MAC}", f"mac is {OTHER_MAC}"),
            "tunnel that learns": Damage(f"ip link set {v.dev} type vxlan learning", "learning is on"),
            "tunnel with a TTL of its own": Damage(f"ip link set {v.dev} type vxlan ttl 9", "options is 'ttl 9'"),
            "stale tunnel with an old VNI": Damage(
                f"ip link add flannel.98 mtu {v.mtu} type vxlan id 98 dev {p.uplink} local {p.node.ip} "
                f"dstport {v.port} nolearning; ip link set flannel.98 alias {v.alias} up",
                "extra link: link add flannel.98",
            ),
        }
    if isinstance(p.tunnel, Vxlan | Ipip):
        kind = p.tunnel.KIND
        found["tunnel with another local address"] = Damage(
            f"ip link set {p.tunnel.dev} type {kind} local {p.free}", f"local is {p.free}"
        )
    if isinstance(p.tunnel, Ipip):
        dev = p.tunnel.dev
        found["tunnel that sets DF"] = Damage(
            f"ip link set {dev} type ipip mode any local {p.node.ip} remote any ttl 64 pmtudisc",
            "pmtudisc is on|ttl is 64",
        )
    if isinstance(p.tunnel, Wireguard):
        found["tunnel with another port"] = Damage(f"wg set {p.tunnel.dev} listen-port 4789", "port is 4789")
    if b := p.bridge:
        found |= {
            "bridge deleted": Damage(f"ip link del {b.dev}", f"missing link: link add {b.dev}"),
            "bridge down": Damage(f"ip link set {b.dev} down", f"wrong link: {b.dev}: up is off"),
            "bridge's MTU too small": Damage(f"ip link set {b.dev} mtu 1000", f"{b.dev}: mtu is 1000"),
            "bridge without ARP": Damage(f"ip link set {b.dev} arp off", f"{b.dev}: arp is off"),
            "bridge with another MAC": Damage(f"ip link set {b.dev} address {OTHER_MAC}", f"mac is {OTHER_MAC}"),
            "bridge with a spanning tree": Damage(f"ip link set {b.dev} type bridge stp_state 1", "stp is on"),
        }
    if c := p.cable:
        found |= {
            "cable deleted": Damage(f"ip link del {c.dev}", f"missing link: link add {c.dev}"),
            "cable down": Damage(f"ip link set {c.dev} down", f"wrong link: {c.dev}: up is off"),
            "cable's MTU too small on the host's side": Damage(
                f"ip link set {c.dev} mtu 1000", f"{c.dev}: mtu is 1000"
            ),
        }
    if port := p.port:
        dev = port.dev
        found |= {
            "port unplugged": Damage(f"ip link set {dev} nomaster", f"missing bridge port: link set {dev}"),
            "port blocked": Damage(f"bridge link set dev {dev} state 0", f"wrong bridge port: {dev}: blocked is on"),
            "port isolated": Damage(f"bridge link set dev {dev} isolated on", "isolated is on"),
            "port neither learns nor is flooded": Damage(
                f"bridge link set dev {dev} learning off flood off", "flood is off"
            ),
            "hairpin off": Damage(f"bridge link set dev {dev} hairpin off", "hairpin is off"),
        }
    return found


def addresses(p: Place) -> dict[str, Damage]:
    """Break the addresses of the host, or give away those of others."""
    found: dict[str, Damage] = {}
    theirs = p.peer.pods[0].address
    if b := p.bridge:
        gateway, length = p.node.gateway, p.node.pod_subnet.prefixlen
        found |= {
            "gateway address deleted": Damage(
                f"ip addr del {gateway} dev {b.dev}", f"missing address: addr replace {gateway}"
            ),
            "gateway address altered": Damage(
                f"ip addr del {gateway} dev {b.dev}; ip addr add {gateway.ip + 98}/{length} dev {b.dev}",
                f"missing address: addr replace {gateway}",
            ),
            "gateway address will expire": Damage(
                f"ip addr change {gateway} dev {b.dev} valid_lft 600 preferred_lft 600", "forever is off"
            ),
        }
    own = [item for item in p.want.addresses if p.tunnel and item.dev == p.tunnel.dev]
    if own:
        (item,) = own
        found |= {
            "tunnel's address deleted": Damage(
                f"ip addr del {item.address} dev {item.dev}", f"missing address: {_made(item)}"
            ),
            "tunnel with an address more": Damage(
                f"ip addr add {p.cluster.network[-2]}/32 dev {item.dev}", "extra address"
            ),
        }
    found["a peer's pod address on this host"] = Damage(
        f"ip addr add {theirs}/32 dev lo",
        f"duplicate address: {theirs}/32 on lo|{theirs}/32 of the device lo",
        undo=f"ip addr del {theirs}/32 dev lo",
    )
    found["a peer's pod address in a pod of this host"] = Damage(
        f"ip -n {p.second} addr add {theirs}/32 dev eth0",
        f"duplicate address: {theirs}/32 on eth0|extra address: addr replace {theirs}/32",
    )
    subnet = p.peer.gateway
    found["a peer's pod subnet on a stranger's bridge"] = Damage(
        f"ip link add {STRANGER} type bridge; ip addr add {subnet} dev {STRANGER}; ip link set {STRANGER} up",
        f"overlaps {subnet} of the device {STRANGER}|dev {STRANGER}",
        undo=f"ip link del {STRANGER}",
    )
    return found


def _made(item: Address) -> str:
    return f"addr replace {item.address} dev {item.dev}"


def routes(p: Place) -> dict[str, Damage]:
    """Break the routes of the host."""
    found: dict[str, Damage] = {}
    if r := p.route:
        to = r.to
        pod = p.peer.pods[0].address
        found |= {
            "route to a peer deleted": Damage(f"ip route del {to}", f"missing route: route replace {to}"),
            "route to a peer's pod shadowed by a stranger's blackhole": Damage(
                f"ip route add blackhole {pod}/32",
                f"a stranger's route to {pod}.*blackhole {pod}",
                undo=f"ip route del blackhole {pod}/32",
            ),
            "route to a peer marked as somebody else's": Damage(
                f"ip route del {to}; ip route add {_words(r)} proto static", f"wrong route: {to}: proto is static"
            ),
            "route to a peer twice": Damage(
                f"ip route add {_words(r)} metric 50 proto 77", "extra route: .* metric 50"
            ),
            "route to a peer with an MTU": Damage(
                f"ip route replace {_words(r)} proto 77 mtu lock 800", "options is 'mtu 800"
            ),
            "policy routing before the routes": Damage(
                f"ip route add blackhole default table {TABLE}; ip rule add to {to} lookup {TABLE} priority {TABLE}",
                "rule of policy routing comes before the routes",
                undo=f"ip rule del to {to} lookup {TABLE} priority {TABLE}; ip route flush table {TABLE}",
            ),
            "stale route to a peer that is gone": Damage(
                f"ip route add {_words(r).replace(str(to), str(_unused(p)))} proto 77",
                f"extra route: route replace {_unused(p)}",
            ),
        }
    if t := p.through:
        found["asymmetric routing: bare to a peer that answers by the tunnel"] = Damage(
            f"ip route replace {t.to} via {p.peer.ip} dev {p.uplink} onlink proto 77",
            f"wrong route: {t.to}: dev is {p.uplink}|missing route: route replace {t.to}",
        )
        found["asymmetric routing, and a strict rp_filter"] = Damage(
            f"sysctl -q -w net/ipv4/conf/all/rp_filter=1 net/ipv4/conf/{t.dev}/rp_filter=1;"
            f"ip route replace {t.to} via {p.peer.ip} dev {p.uplink} onlink proto 77",
            f"wrong route: {t.to}: dev is {p.uplink}|rp_filter",
            undo="sysctl -q -w net/ipv4/conf/all/rp_filter=0",
        )
        found["underlay route to a peer blackholed"] = Damage(
            f"ip route add blackhole {p.far.ip}/32",
            f"wrong underlay route: the way to {p.far.name}, {p.far.ip}",
            undo=f"ip route del blackhole {p.far.ip}/32",
        )
    if b := p.bare:
        found["route to a peer by a gateway that nobody is"] = Damage(
            f"ip route replace {b.to} via {p.free} dev {p.uplink} proto 77", f"wrong route: {b.to}: via is {p.free}"
        )
    if n := p.nowhere:
        found["route that leads nowhere deleted"] = Damage(
            f"ip route del {n.kind} {n.to}", f"missing route: route replace {n.kind} {n.to}"
        )
    if o := p.to_pod:
        found["route to a pod deleted"] = Damage(f"ip route del {o.to}", f"missing route: route replace {o.to}")
        found["route to a pod over another's cable"] = Damage(
            f"ip route replace {o.to} dev {next(dev for dev in p.devices if dev != o.dev)} proto 77",
            f"wrong route: {o.to}",
        )
    if br := p.bridge:
        network = p.node.pod_subnet
        found["kernel's own route to the pods deleted"] = Damage(
            f"ip route del {network} dev {br.dev} proto kernel",
            f"missing route: route replace {network} dev {br.dev}",
            undo=f"ip route replace {network} dev {br.dev} proto kernel scope link src {p.node.gateway.ip}",
        )
    return found


def _words(route: Route) -> str:

    (line,) = spell.add(route)
    return line.removeprefix("route replace ").rpartition(" proto ")[0]


def _unused(p: Place) -> object:
    taken = {node.pod_subnet for node in p.cluster.nodes}
    assert p.route
    return next(net for net in p.cluster.network.subnets(new_prefix=24) if net not in taken and int(net[0]) & 0xFF00)


def neighbours(p: Place) -> dict[str, Damage]:
    """Break ARP tables, the host's and a pod's."""
    found: dict[str, Damage] = {}
    if n := p.neighbour:
        at = f"{n.to} dev {n.dev}"
        found |= {
            "neighbour deleted": Damage(f"ip neigh del {at}", f"missing neighbour: neigh replace {n.to}"),
            "neighbour with another MAC": Damage(
                f"ip neigh replace {n.to} lladdr {OTHER_MAC} dev {n.dev} nud permanent",
                f"wrong neighbour: {at}: mac is {OTHER_MAC}",
            ),
            "neighbour turned reachable": Damage(
                f"ip neigh replace {n.to} lladdr {n.mac} dev {n.dev} nud reachable", "permanent is off"
            ),
            "neighbour turned failed": Damage(
                f"ip neigh replace {n.to} lladdr {n.mac} dev {n.dev} nud failed", f"(wrong|missing) neighbour: .*{n.to}"
            ),
            "stale neighbour": Damage(
                f"ip neigh add {p.cluster.network[-256]} lladdr {OTHER_MAC} dev {n.dev} nud permanent",
                "extra neighbour",
            ),
        }
    if f := p.fdb:
        found |= {
            "FDB entry deleted": Damage(
                f"bridge fdb del {f.mac} dev {f.dev} dst {f.to}", f"missing FDB entry: fdb replace {f.mac}"
            ),
            "FDB entry names another host": Damage(
                f"bridge fdb replace {f.mac} dev {f.dev} dst {p.free}",
                f"wrong FDB entry: {f.mac} dev {f.dev}: to is {p.free}",
            ),
            "FDB entry with another port": Damage(
                f"bridge fdb replace {f.mac} dev {f.dev} dst {f.to} port 4789", "wrong FDB entry.*port 4789"
            ),
            "FDB that floods": Damage(
                f"bridge fdb append 00:00:00:00:00:00 dev {f.dev} dst {f.to}", "extra FDB entry: fdb replace 00:00"
            ),
            "stale FDB entry": Damage(
                f"bridge fdb append {OTHER_MAC} dev {f.dev} dst {p.free}", f"extra FDB entry: fdb replace {OTHER_MAC}"
            ),
            "stale peer, all three entries": Damage(
                f"ip neigh add {p.cluster.network[-256]} lladdr {OTHER_MAC} dev {f.dev} nud permanent;"
                f"bridge fdb append {OTHER_MAC} dev {f.dev} dst {p.free};"
                f"ip route add {p.cluster.network[-256]}/24 via {p.cluster.network[-256]} dev {f.dev} onlink proto 77",
                "extra route",
            ),
        }
    if m := p.pods_neighbour:
        found["pod's entry deleted"] = Damage(
            f"ip neigh del {m.to} dev {m.dev}", f"missing neighbour: neigh replace {m.to}"
        )
        found["pod's entry with another MAC"] = Damage(
            f"ip neigh replace {m.to} lladdr {OTHER_MAC} dev {m.dev} nud permanent", f"mac is {OTHER_MAC}"
        )
    if p.bare:
        found["a peer on the underlay under another MAC"] = Damage(
            f"ip neigh replace {p.bare.via} lladdr {OTHER_MAC} dev {p.uplink} nud permanent",
            f"wrong neighbour: {p.bare.via} dev {p.uplink}: mac is {OTHER_MAC}",
            undo=f"ip neigh del {p.bare.via} dev {p.uplink}",
        )
    hop = p.way_out.via if p.way_out else (p.node.pods[1] if not p.has_own_wire else p.peer.pods[0]).address
    found["pod believes in another MAC"] = Damage(
        f"ip -n {p.netns} neigh replace {hop} lladdr {OTHER_MAC} dev eth0 nud permanent",
        f"extra neighbour: neigh replace {hop} lladdr {OTHER_MAC}|wrong neighbour: {hop} dev eth0",
    )
    for w in [p.wg_peer] if p.wg_peer else []:
        key = f"$(wg show {w.dev} allowed-ips | grep {w.allowed[0]} | cut -f1)"
        found |= {
            "WireGuard peer deleted": Damage(f"wg set {w.dev} peer {key} remove", "missing WireGuard peer"),
            "WireGuard peer at another address": Damage(
                f"wg set {w.dev} peer {key} endpoint {p.free}:51820", f"wrong WireGuard peer.*endpoint is {p.free}"
            ),
            "WireGuard peer may not send from its pods": Damage(
                f"wg set {w.dev} peer {key} allowed-ips 192.0.2.0/24", "wrong WireGuard peer.*allowed is"
            ),
        }
    for fou in sorted(p.want.fous, key=lambda fou: fou.key):
        found["FOU port deleted"] = Damage(f"ip fou del port {fou.port}", f"missing FOU port: fou add port {fou.port}")
    return found


def settings(p: Place) -> dict[str, Damage]:
    """Break settings of the kernel, the host's and a pod's."""
    found: dict[str, Damage] = {}

    def wrong(path: str, value: str) -> Damage:
        return Damage(f"sysctl -q -w {path}={value}", f"wrong sysctl: {path}: value is {value}")

    named = {
        "ip_forward off": ("net/ipv4/ip_forward", None, "0"),
        "uplink no longer forwards": ("/forwarding", p.uplink, "0"),
        "proxy_arp off": ("/proxy_arp", p.cable.dev if p.cable else None, "0"),
        "rp_filter strict where it should be loose": ("/rp_filter", p.bridge.dev if p.bridge else "", "1"),
        "rp_filter off where it should be strict": ("/rp_filter", p.to_pod.dev if p.to_pod else "", "0"),
        "bridged packets no longer meet iptables": ("bridge-nf-call-iptables", None, "0"),
        "router advertisements accepted": ("/accept_ra", None, "2"),
        "proxy_arp answers late": ("/proxy_delay", None, "80"),
    }
    if p.bridge:
        named["bridge no longer forwards"] = ("/forwarding", p.bridge.dev, "0")
    if p.tunnel:
        named["tunnel no longer forwards"] = ("/forwarding", p.tunnel.dev, "0")
    if p.to_pod and p.to_pod.dev:
        named["cable no longer forwards"] = ("/forwarding", p.to_pod.dev, "0")
    for name, (ending, dev, value) in named.items():
        path = p.sysctl(ending, dev)
        if path and dev != "":
            found[name] = wrong(path, value)
    inside = f"ip netns exec {p.netns} sysctl -q -w"
    found |= {
        "pod that forwards": Damage(f"{inside} net/ipv4/ip_forward=1", "net/ipv4/ip_forward: value is 1"),
        "pod that does not answer": Damage(
            f"{inside} net/ipv4/icmp_echo_ignore_all=1",
            "icmp_echo_ignore_all is 1",
            undo=f"{inside} net/ipv4/icmp_echo_ignore_all=0",
        ),
        "pod with another TTL": Damage(
            f"{inside} net/ipv4/ip_default_ttl=32",
            "ip_default_ttl is 32",
            undo=f"{inside} net/ipv4/ip_default_ttl=64",
        ),
    }
    for item in sorted(p.want.offloads, key=lambda item: item.key):
        found["checksums not left to the hardware"] = Damage(
            f"ethtool -K {item.dev} {item.FEATURE} {'off' if item.on else 'on'}", f"wrong checksum offload: {item.dev}"
        )
    return found


def firewall(p: Place) -> dict[str, Damage]:
    """Break the firewall of the host, or have a stranger's refuse."""
    found: dict[str, Damage] = {}
    if c := p.chain:
        name = c.chain
        found |= {
            "rule before ours": Damage(
                "iptables -I FORWARD -j DROP",
                "refused .*-A FORWARD -j DROP|jumps is FORWARD 2",
                undo="iptables -D FORWARD -j DROP",
            ),
            "rule of ours deleted": Damage(f"iptables -D {name} 1", f"wrong firewall chain: filter {name}: rules"),
            "rule added among ours": Damage(
                f"iptables -I {name} -j DROP", f"wrong firewall chain: filter {name}: rules"
            ),
            "jump to our chain deleted": Damage(f"iptables -D FORWARD -j {name}", "jumps is none"),
            "jump to our chain twice": Damage(f"iptables -A FORWARD -j {name}", "jumps is FORWARD 1, FORWARD 2"),
            "our chain deleted": Damage(
                f"iptables -D FORWARD -j {name}; iptables -F {name}; iptables -X {name}",
                f"missing firewall chain: filter {name}",
            ),
            "policy DROP, and no accept of ours": Damage(
                f"iptables -P FORWARD DROP; iptables -D FORWARD -j {name}",
                "refused .*policy DROP|jumps is none",
                undo="iptables -P FORWARD ACCEPT",
            ),
            "stranger's nft table refuses": Damage(
                f"nft add table inet {STRANGER};"
                f"nft 'add chain inet {STRANGER} forward {{ type filter hook forward priority -10; }}';"
                f"nft add rule inet {STRANGER} forward ip daddr {p.cluster.network} counter drop",
                f"refused .*drop|nft inet {STRANGER} forward",
                undo=f"nft delete table inet {STRANGER}",
            ),
            "stranger's nft table refuses, and does not count": Damage(
                f"nft add table inet {STRANGER};"
                f"nft 'add chain inet {STRANGER} forward {{ type filter hook forward priority -10; }}';"
                f"nft add rule inet {STRANGER} forward ip daddr {p.cluster.network} drop",
                f"nft inet {STRANGER} forward refuses such packets, and does not count them",
                undo=f"nft delete table inet {STRANGER}",
            ),
            "stranger refuses TCP only": Damage(
                f"iptables -t raw -I PREROUTING -p tcp -d {p.cluster.network} -j DROP",
                "firewall: iptables raw PREROUTING has refused",
                undo=f"iptables -t raw -D PREROUTING -p tcp -d {p.cluster.network} -j DROP",
            ),
        }
    if n := p.nat:
        found |= {
            "masquerading rule deleted": Damage(
                f"iptables -t nat -D {n.chain} 5", f"wrong firewall chain: nat {n.chain}: rules"
            ),
            "everything masqueraded, before our rules": Damage(
                "iptables -t nat -I POSTROUTING -j MASQUERADE",
                f"nat {n.chain}: jumps is POSTROUTING 2",
                undo="iptables -t nat -D POSTROUTING -j MASQUERADE",
            ),
        }
    if p.carried:
        asks = f"-p udp --dport {p.carried.split()[1]}" if " " in p.carried else f"-p {p.carried}"
        found |= {
            "outer packets refused as they come in": Damage(
                f"iptables -I INPUT {asks} -j DROP",
                "firewall: iptables filter INPUT has refused",
                undo=f"iptables -D INPUT {asks} -j DROP",
            ),
            "outer packets refused as they leave": Damage(
                f"iptables -I OUTPUT {asks} -j DROP",
                "firewall: iptables filter OUTPUT has refused",
                undo=f"iptables -D OUTPUT {asks} -j DROP",
            ),
            "outer packets lost on the underlay": Damage(
                "", "does not arrive at .*a filter between", wire=_outer_match(p)
            ),
        }
    if p.bare:
        found |= {
            "bare packets of pods refused as they come in": Damage(
                f"iptables -t raw -I PREROUTING -i {p.uplink} -s {p.cluster.network} -j DROP",
                "firewall: iptables raw PREROUTING has refused",
                undo=f"iptables -t raw -D PREROUTING -i {p.uplink} -s {p.cluster.network} -j DROP",
            ),
            "bare packets of pods lost on the underlay": Damage(
                "", "do not arrive at .*a filter between", wire=f"match ip src {p.cluster.network}"
            ),
        }
    if p.has_own_wire:
        found["pods' packets lost on the underlay"] = Damage(
            "", "do not arrive at .*a filter between", wire=f"match ip src {p.cluster.network}"
        )
    return found


def _outer_match(p: Place) -> str:
    if " " in p.carried:
        return f"match ip protocol 17 0xff match ip dport {p.carried.split()[1]} 0xffff"
    return f"match ip protocol {p.carried} 0xff"


def inside(p: Place) -> dict[str, Damage]:
    """Break a pod."""
    netns, at = p.netns, f"ip -n {p.netns}"
    own = next(item.address for item in p.pod.addresses if item.dev == "eth0")
    other = f"{p.node.pod_subnet[-2]}/{own.network.prefixlen}"
    found = {
        "pod deleted": Damage(f"ip netns del {netns}", f"missing pod: namespace {netns}"),
        "pod that is only a name": Damage(
            f"ip netns del {netns}; touch /run/netns/{netns}", f"{netns} is a name without a namespace"
        ),
        "pod that nobody named": Damage("ip netns add podnet-pod9", "extra pod: namespace podnet-pod9"),
        "pod's interface down": Damage(f"{at} link set eth0 down", "wrong link: eth0: up is off"),
        "pod's loopback down": Damage(f"{at} link set lo down", "wrong link: lo: up is off"),
        "pod's address deleted": Damage(f"{at} addr del {own} dev eth0", f"missing address: addr replace {own}"),
        "pod's address altered": Damage(
            f"{at} addr del {own} dev eth0; {at} addr add {other} dev eth0", f"missing address: addr replace {own}"
        ),
        "pod's MTU too small": Damage(f"{at} link set eth0 mtu 1000", "eth0: mtu is 1000"),
        "pod without ARP": Damage(f"{at} link set eth0 arp off", "eth0: arp is off"),
    }
    if not p.lent and (isinstance(p.eth0, Nic) or p.cable is None):
        mac = getattr(p.eth0, "mac", "")
        if mac:
            found["pod with another MAC"] = Damage(f"{at} link set eth0 address {OTHER_MAC}", f"mac is {OTHER_MAC}")
    if not p.has_own_wire:
        found["pod's MTU too large"] = Damage(f"{at} link set eth0 mtu 3000", "eth0: mtu is 3000")
    if w := p.way_out:
        found |= {
            "pod's way out deleted": Damage(f"{at} route del {w.to}", f"missing route: route replace {w.to}"),
            "wrong gateway in a pod": Damage(
                f"{at} route replace {w.to} via {p.node.pods[1].address} dev eth0 onlink proto 77",
                f"wrong route: {w.to}: via is {p.node.pods[1].address}",
            ),
        }
    return found


def lent(p: Place) -> dict[str, Damage]:
    """Break what lends a NIC to a pod, and what its PF imposes on it."""
    if not p.lent:
        return {}
    pf, vf, at = PF, f"ip link set {PF} vf 0", f"ip -n {p.netns} link set eth0"
    return {
        "VF with another MAC": Damage(f"{vf} mac {OTHER_MAC}", f"{pf} vf 0: mac is {OTHER_MAC}"),
        "VF in a VLAN": Damage(f"{vf} vlan 7", f"{pf} vf 0: vlan is 7"),
        "VF that may use any MAC as its own": Damage(f"{vf} spoofchk off", f"{pf} vf 0: spoofchk is off"),
        "VF that may take another MAC": Damage(f"{vf} trust on", f"{pf} vf 0: trust is on"),
        "VF with a limit": Damage(f"{vf} max_tx_rate 10", f"{pf} vf 0: max_tx_rate is 10"),
        "NIC taken back": Damage(f"{at} netns 1 name {STRANGER}", f"missing link: eth0, the NIC {p.lent.nic}"),
        "NIC with another name": Damage(
            f"{at} down; {at} name {STRANGER}", f"missing link: eth0, the NIC {p.lent.nic}"
        ),
        "NIC without our alias": Damage(f"{at} alias mine", "wrong link: eth0: alias is mine"),
        "PF down": Damage(f"ip link set {pf} down", f"{pf}, of which .* is down", undo=f"ip link set {pf} up"),
    }


def beside(p: Place) -> dict[str, Damage]:
    """Break what the next boot needs, and the underlay's MTU."""
    (script,) = [item.path for item in p.want.files if item.path.endswith("/podnet.sh")]
    found = {"file for the next boot deleted": Damage(f"rm {script}", f"missing file: {script}")}
    if p.route or p.has_own_wire:
        found["underlay's MTU too small on one side"] = Damage(
            f"ip link set {p.uplink} mtu 1300",
            f"uplink {p.uplink} is 1300|{p.uplink} has an MTU of 1300|mtu is 1300",
            undo=f"ip link set {p.uplink} mtu {p.cluster.underlay_mtu}",
        )
    return found


SUBJECTS = (links, addresses, routes, neighbours, settings, firewall, inside, lent, beside)


def faults(p: Place) -> dict[str, Damage]:
    """Return all that can be broken there, by name."""
    return {name: damage for subject in SUBJECTS for name, damage in subject(p).items()}
