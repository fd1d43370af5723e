"""Each item in the words of ip(8), bridge(8) and sysctl(8): text only, nothing is run. Chains: podnet.spell_chains.

Lines go to `ip -batch` and its kin, so they lack the leading `ip`. Values are typed or checked names, hence need
no quoting. Replacing verbs are used where the kernel has them: a run that was cut anywhere can be run again.
"""

from podnet import nics, spell_chains
from podnet.marks import private_key
from podnet.state import (
    MAIN,
    Address,
    Before,
    Bridge,
    Chain,
    Device,
    FdbEntry,
    FouPort,
    Ipip,
    Ipvlan,
    Item,
    Link,
    Loan,
    Macvlan,
    Neighbour,
    Nic,
    Offload,
    Opening,
    Port,
    Route,
    Rule,
    Sysctl,
    Veth,
    Vf,
    Vxlan,
    WgPeer,
    Wireguard,
    newborn,
)

FORWARDING = 3  # linux/if_bridge.h, BR_STATE_FORWARDING
NO_OPTION = {"preshared-key": "/dev/null"}
"""What wg(8) takes for none."""


def add(item: Item) -> list[str]:  # noqa: PLR0912  # one branch per kind
    """Spell the lines that make `item` where nothing of its key is."""
    match item:
        case Device():
            return [*plant(item), *settle(item)]
        case Vf():
            return [f"link set {item.pf} vf {item.index} {nics.settings(item)}"]
        case Nic():
            return [f"link set {item.dev} address {item.mac} mtu {item.mtu} up"]
        case Port():
            return [
                f"link set {item.dev} master {item.bridge}",
                *_port(Port(item.dev, item.bridge, hairpin=False), item),
            ]
        case Address():
            return [f"addr replace {item.address} dev {item.dev}{_scope(item)}"]
        case Neighbour():
            return [f"neigh replace {item.to} lladdr {item.mac} dev {item.dev} nud permanent"]
        case FdbEntry():
            return [f"fdb replace {item.mac} dev {item.dev} dst {item.to}"]
        case Offload():
            return [f"ethtool -K {item.dev} {item.FEATURE} {_on(item.on)}"]
        case FouPort():
            return [f"fou add port {item.port} ipproto {item.ipproto}"]
        case WgPeer():
            return [f"{_peer(item)}{_no_options(item)}"]
        case Route():
            return [f"route replace {_route(item)}"]
        case Rule():
            return [f"rule add {_rule(item)}"]
        case Sysctl():
            return [f"{item.path} = {item.value}"]
        case Chain() | Opening():
            return spell_chains.add(item)
        case _:
            raise TypeError(f"{item} is of a kind that nobody has spelled")


def plant(link: Device, netns: str = "") -> list[str]:
    """Spell how a device comes to be in a pod: it is made there, or moved there, then named and noted at once."""
    there = f" netns {netns}" if netns else ""
    if isinstance(link, Loan):
        return [f'link set {link.at or link.nic}{there} name {link.dev} alias "{nics.note(link)}"']
    return [make(link, netns)]


def rename(dev: str, name: str) -> list[str]:
    """Spell the lines that name a device otherwise, for which it must be down."""
    return [f"link set {dev} down", f"link set {dev} name {name}"]


def restore(before: Before) -> list[str]:
    """Spell the line after which nothing of a loan is left on a NIC: only the last of its words removes the note."""
    up = " up" if before.up else ""
    return [*_reset(before.dev, before), f'link set {before.dev} address {before.mac} mtu {before.mtu}{up} alias ""']


def _reset(dev: str, before: Before | None) -> list[str]:
    """Spell how a VF's driver hears which MAC its PF has for it: until it is reset igbvf may refuse that very MAC."""
    return [f"link set {dev} up", f"link set {dev} down"] if before and before.vf else []


def make(link: Device, netns: str = "") -> str:
    """Spell the line that makes a device from the host's namespace, in that of a pod if one is named."""
    place = f"{newborn(link.dev)} netns {netns}" if netns else link.dev
    match link:
        case Bridge():
            return f"link add {place} address {link.mac} type bridge"
        case Vxlan():
            # Every value is given where iproute2 and flannel differ in their defaults: iproute2 learns unless
            # told not to, and warns unless it is told the port.
            return (
                f"link add {place} address {link.mac} mtu {link.mtu} type vxlan id {link.vni} dev {link.lower} "
                f"local {link.local} dstport {link.port} {_learning(link)}"
            )
        case Veth():
            other = f"peer name {link.peer} mtu {link.mtu} netns {link.netns}"
            return f"link add {place} address {link.mac} mtu {link.mtu} type veth {other}"
        case Ipip():
            return f"link add {place} mtu {link.mtu} type ipip {_ipip(link)}"
        case Macvlan():
            return f"link add {place} link {link.lower} address {link.mac} mtu {link.mtu} type macvlan mode {link.mode}"
        case Ipvlan():
            return f"link add {place} link {link.lower} mtu {link.mtu} type ipvlan mode {link.mode}"
        case Wireguard():
            return f"link add {place} mtu {link.mtu} type wireguard"
        case _:
            raise TypeError(f"{link} is of a kind that nobody has spelled")


def settle(link: Device, born: str = "") -> list[str]:
    """Spell how a new device becomes ours and starts, under its own name if it was born under another."""
    # A bridge takes the smallest MTU of its ports, unless its own is changed after it was made.
    mtu = f"mtu {link.mtu} " if isinstance(link, Bridge) else ""
    name = f"{born} name {link.dev}" if born else link.dev
    if isinstance(link, Loan):
        return [*_reset(link.dev, link.before), f"link set {link.dev} address {link.mac} mtu {link.mtu} up"]
    return [f"link set {name} {mtu}alias {link.alias} up"]


def change(have: Item, want: Item) -> list[str]:
    """Spell the lines that turn `have` into `want`, which has the same key."""
    match have, want:
        case Link(), Link():
            return _change_link(have, want)
        case Vf(), Vf():
            return _change_vf(have, want)
        case Address(), Address() if have.scope != want.scope:
            return [*remove(have), *add(want)]
        case Rule(), Rule():
            return [*add(want), *remove(have)]
        case WgPeer(), WgPeer():
            off = " persistent-keepalive off" if have.keepalive and not want.keepalive else ""
            return [f"{_peer(want)}{off}{_no_options(have)}"]
        case Port(), Port() if have.bridge == want.bridge:
            return _port(have, want)
        case FouPort(), FouPort():
            return [*remove(have), *add(want)]
        case Chain() | Opening(), Chain() | Opening():
            return spell_chains.change(have, want)
        case _:
            return add(want)


def remove(item: Item) -> list[str]:
    """Spell the lines after which nothing is left of `item`."""
    match item:
        case Loan(before=Before(dev=name)):
            # `1` is the machine's init, which is on the host.
            return [f"link set {item.dev} netns 1 name {name}"]
        case Device():
            return [f"link del {item.dev}"]
        case Port():
            return [f"link set {item.dev} nomaster"]
        case Address():
            return [f"addr del {item.address} dev {item.dev}"]
        case Neighbour():
            return [f"neigh del {item.to} dev {item.dev}"]
        case FdbEntry():
            return [f"fdb del {item.mac} dev {item.dev} dst {item.to}"]
        case FouPort():
            return [f"fou del port {item.port}"]
        case WgPeer():
            return [f"peer {item.public} remove"]
        case Route():
            return [f"route del {_route(item)}"]
        case Rule():
            return [f"rule del {_rule(item)}"]
        case Chain() | Opening():
            return spell_chains.remove(item)
        case _:
            raise TypeError(f"{item} was not made by podnet, hence is not podnet's to remove")


def _ipip(link: Ipip) -> str:
    # Where iproute2's and flannel's defaults differ the value is given: iproute2 sets DF on every outer packet.
    ends = f"local {link.local} remote {link.remote or 'any'}"
    outer = f"ttl {link.ttl or 'inherit'} {'' if link.pmtudisc else 'no'}pmtudisc"
    wrapped = f" encap fou encap-sport {link.fou} encap-dport {link.fou}" if link.fou else ""
    return f"mode any {ends} {outer}{wrapped}"


def key_and_port(have: Item | None, want: Wireguard) -> str:
    """Spell what wg(8) tells a device about itself; nothing if it was told. The private key is read from its file."""
    if isinstance(have, Wireguard) and (have.port, have.public) == (want.port, want.public):
        return ""
    return f"listen-port {want.port} private-key {private_key(want.alias)}"


def _peer(peer: WgPeer) -> str:
    alive = f" persistent-keepalive {peer.keepalive}" if peer.keepalive else ""
    return f"peer {peer.public} endpoint {peer.endpoint} allowed-ips {','.join(peer.allowed)}{alive}"


def _no_options(peer: WgPeer) -> str:
    return "".join(f" {option} {NO_OPTION[option]}" for option in peer.options)


def _change_vf(have: Vf, want: Vf) -> list[str]:
    """Spell what differs, a line each: a driver that cannot set one thing refuses all of a line."""
    words = {
        f"mac {want.mac}": have.mac != want.mac,
        f"vlan {want.vlan} qos {want.qos}": (have.vlan, have.qos) != (want.vlan, want.qos),
        f"max_tx_rate {want.max_tx_rate}": have.max_tx_rate != want.max_tx_rate,
        f"spoofchk {_on(want.spoofchk)}": have.spoofchk != want.spoofchk,
        f"trust {_on(want.trust)}": have.trust != want.trust,
        f"state {want.state}": have.state != want.state,
    }
    return [f"link set {have.pf} vf {have.index} {word}" for word, differs in words.items() if differs]


def _port(have: Port, want: Port) -> list[str]:
    """Spell the flags that differ; a port that was just plugged in has the kernel's."""
    flags = ("hairpin", "isolated", "learning", "flood")
    words = [f"{flag} {_on(getattr(want, flag))}" for flag in flags if getattr(have, flag) != getattr(want, flag)]
    words += [f"state {FORWARDING}"] if have.blocked else []
    return [f"link set {want.dev} type bridge_slave {' '.join(words)}"] if words else []


def _on(value: bool) -> str:  # noqa: FBT001  # a word for it is the whole purpose
    return "on" if value else "off"


def _scope(address: Address) -> str:
    return "" if address.scope == "global" else f" scope {address.scope}"


def _learning(link: Vxlan) -> str:
    return "learning" if link.learning else "nolearning"


def _change_link(have: Link, want: Link) -> list[str]:
    words = []
    mac = getattr(want, "mac", None)
    if getattr(have, "mac", None) != mac:
        words.append(f"address {mac}")
    if have.mtu != want.mtu:
        words.append(f"mtu {want.mtu}")
    if isinstance(want, Device) and isinstance(have, Device) and have.alias != want.alias:
        words.append(f'alias "{nics.note(want)}"' if isinstance(want, Loan) else f"alias {want.alias}")
    if have.arp != want.arp:
        words.append(f"arp {_on(want.arp)}")
    reset = _reset(want.dev, want.before) if isinstance(want, Loan) and getattr(have, "mac", None) != mac else []
    if have.up != want.up or reset:
        words.append("up")
    lines = [*reset, f"link set {want.dev} {' '.join(words)}"] if words else []
    if isinstance(have, Bridge) and isinstance(want, Bridge):
        for option in ("stp", "vlan_filtering"):
            if getattr(have, option) != getattr(want, option):
                word = {"stp": "stp_state"}.get(option, option)
                lines.append(f"link set {want.dev} type bridge {word} {int(getattr(want, option))}")
    if isinstance(have, Vxlan) and isinstance(want, Vxlan):
        if have.local != want.local:
            lines.append(f"link set {want.dev} type vxlan local {want.local}")
        if have.learning != want.learning:
            lines.append(f"link set {want.dev} type vxlan {_learning(want)}")
    if isinstance(have, Ipip) and isinstance(want, Ipip) and _ipip(have) != _ipip(want):
        lines.append(f"link set {want.dev} type ipip {_ipip(want)}")
    return lines


def _route(route: Route) -> str:
    kind = "" if route.kind == "unicast" else f"{route.kind} "
    tos = f" tos {route.tos}" if route.tos else ""
    via = f" via {route.via}" if route.via else ""
    dev = f" dev {route.dev}" if route.dev else ""
    onlink = " onlink" if route.onlink else ""
    metric = f" metric {route.metric}" if route.metric else ""
    table = f" table {route.table}" if route.table != MAIN else ""
    return f"{kind}{route.to}{tos}{via}{dev}{onlink}{metric}{table} proto {route.proto}"


def _rule(rule: Rule) -> str:
    words = {"from": rule.source, "to": rule.target, "iif": rule.iif, "fwmark": rule.fwmark, "table": rule.table}
    said = "".join(f" {word} {value}" for word, value in words.items() if value)
    return f"priority {rule.priority}{said} protocol {rule.proto}"
