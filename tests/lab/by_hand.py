"""Experiments done by hand: what one types on a bare host, and what one sees there.

Whatever an experiment makes on a host is taken away after it, and the host is compared with what it was before.
"""

import json
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from typing import Any

from tests.lab.at import BIN, At, Done

SOON = 0.5  # seconds in which a reply would long have come
UNANSWERED = (("INCOMPLETE", ""), ("FAILED", ""))  # neighbours that are asked for, or were, and did not say their MAC

END = "==end=="

SYSCTLS = (
    r"sysctl --all --pattern"
    r" '^net\.(ipv4\.ip_(forward|default_ttl)|ipv4\.conf\..*\.(forwarding|rp_filter|proxy_arp|accept_local)"
    r"|bridge\.bridge-nf-call-iptables)$'"
)
LINKS = "ip -o link | sed 's/^[0-9]*: \\([^:@]*\\).*/\\1/'"
LOOK = f"{LINKS}; ip -4 addr; ip -4 route show table all; ip rule; ip netns; nft list ruleset; {SYSCTLS}"
REMEMBER = f"{LINKS} >/run/links; ip route save table main >/run/routes; {SYSCTLS} >/run/sysctls"
# Links go first: those in a namespace go some time after it, and their other ends with them.
FORGET = f"""
for link in $({LINKS}); do
    if ! grep -qx "$link" /run/links && {LINKS} | grep -qx "$link"; then ip link del dev "$link"; fi
done
ip --all netns del
ip route flush table all proto boot
ip route flush table main
ip route restore </run/routes
ip rule flush
ip rule add lookup main pref 32766
ip rule add lookup default pref 32767
ip neigh flush dev eth0
nft flush ruleset
sysctl -q -p /run/sysctls
"""


class Shell:
    """A shell of a host which stays open: to have `podnet lab exec` open one for each command takes 0.1 s."""

    def __init__(self, at: At, host: str) -> None:
        """Open it on a host as the lab made it."""
        self.host = host
        self.process = subprocess.Popen(
            [str(BIN / "podnet"), "lab", "exec", "--name", at.name, host, "--", "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.bare = self.run(f"{REMEMBER}; {LOOK}").out

    def run(self, script: str) -> Done:
        """Run a script until a command fails."""
        assert self.process.stdin
        typed = f"sh -euc {shlex.quote(script)} </dev/null 2>/run/stderr; code=$?"
        self.process.stdin.write(f"{typed}; echo; echo {END}; cat /run/stderr; echo; echo {END} $code\n")
        self.process.stdin.flush()
        out, _ = self.read()
        err, code = self.read()
        return Done(int(code), out, err)

    def read(self) -> tuple[str, str]:
        """Read until the next mark; return what stands before it, and behind it."""
        assert self.process.stdout
        lines: list[str] = []
        while not (line := self.process.stdout.readline()).startswith(END):
            assert line, f"the shell on {self.host} has ended"
            lines.append(line)
        return "".join(lines).removesuffix("\n"), line.removeprefix(END).strip()

    def close(self) -> None:
        self.process.communicate()


class Shells(dict[str, Shell]):
    """The shells of a lab's hosts, opened when they are first asked for."""

    def __init__(self, at: At) -> None:
        """Open none."""
        super().__init__()
        self.at = at

    def __missing__(self, host: str) -> Shell:
        """Open one."""
        self[host] = Shell(self.at, host)
        return self[host]

    def sh(self, host: str, script: str) -> str:
        """Type commands on a host, which all succeed; return what they print."""
        done = self[host].run(script)
        assert done.code == 0, f"{host}: {script}: {done.said}"
        return done.out

    def close(self) -> None:
        for shell in self.values():
            shell.close()


@dataclass
class Hand:
    """Somebody at the shells of a lab's hosts."""

    shells: Shells
    touched: set[str] = field(default_factory=set)

    def try_sh(self, host: str, script: str) -> Done:
        """Type commands on a host."""
        self.touched.add(host)
        return self.shells[host].run(script)

    def sh(self, host: str, script: str) -> str:
        """Type commands on a host, which all succeed; return what they print."""
        self.touched.add(host)
        return self.shells.sh(host, script)

    def refused(self, host: str, command: str) -> str:
        """Type a command that fails; return what it says."""
        done = self.try_sh(host, command)
        assert done.code != 0, f"{host}: {command} is not refused: {done.said}"
        return done.said.strip()

    def clean(self) -> None:
        """Make all hosts that were touched bare again."""
        looks = {host: self.sh(host, FORGET + LOOK) for host in sorted(self.touched)}
        for host, look in looks.items():
            other = set(self.shells[host].bare.splitlines()) ^ set(look.splitlines())
            assert not other, f"{host} is not as it was: {other}"

    def ping(self, host: str, to: str, netns: str = "", within: float = 3, size: int = 84) -> int | None:
        """Ping once; return the reply's TTL, or None if none came. `size` is the packet's, headers included."""
        done = self.try_sh(host, ping(to, netns, within, size))
        assert done.code in (0, 1), done.said  # 2 is an error that is none of the network's
        reply = re.search(r" ttl=(\d+) ", done.out)
        return int(reply[1]) if reply else None

    def wire(self, host: str, wanted: str, command: str, count: int = 2) -> str:
        """Return what tcpdump prints of the packets on the host's uplink while a command runs there."""
        return self.sh(
            host,
            f"""
: >/run/said
timeout 5 tcpdump -i eth0 -nn -v -e -l --immediate-mode -c {count} '{wanted}' >/run/wire 2>>/run/said &
until grep -q 'listening on' /run/said; do kill -0 $!; done
{command} >&2 || test $? = 1
wait $!
cat /run/wire
""",
        )

    def json(self, host: str, command: str) -> Any:
        return json.loads(self.sh(host, command))

    def counted(self, host: str, link: str, way: str, what: str) -> int:
        """Return one of a link's counters: "rx" or "tx"; "packets", "dropped"."""
        (found,) = self.json(host, f"ip -s -j link show {link}")
        return int(found["stats64"][way][what])

    def mac(self, host: str, link: str, netns: str = "") -> str:
        (found,) = self.json(host, f"ip {f'-n {netns} ' if netns else ''}-j link show {link}")
        return str(found["address"])

    def neighbour(self, host: str, address: str, link: str, netns: str = "") -> tuple[str, str]:
        """Return the state of an entry of the neighbour table, and its MAC."""
        found = self.json(host, f"ip {f'-n {netns} ' if netns else ''}-j neigh show {address} dev {link}")
        return (found[0]["state"][0], found[0].get("lladdr", "")) if found else ("", "")


def ping(to: str, netns: str = "", within: float = 3, size: int = 84) -> str:
    """Spell one ping, which may not be cut in pieces."""
    inside = f"ip netns exec {netns} " if netns else ""
    return f"{inside}ping -n -c 1 -W {within} -M do -s {size - 28} {to}"


def lengths(wire: str) -> list[int]:
    """Return the lengths of all IPv4 packets of a capture: a tunnelled one's follows that of the tunnel's packet."""
    return [int(length) for length in re.findall(r", length (\d+)\)", wire)]


def ttls(wire: str) -> list[int]:
    """Return their TTLs, in the same order."""
    return [int(ttl) for ttl in re.findall(r", ttl (\d+),", wire)]


def pod(name: str, address: str, bridge: str, gateway: str = "", mtu: int = 1500) -> str:
    """Spell a namespace whose eth0 hangs on a bridge; the cable's other end has the namespace's name."""
    route = f"ip -n {name} route add default via {gateway}" if gateway else ""
    return f"""
ip netns add {name}
ip -n {name} link set lo up
ip link add name {name} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {name}
ip link set {name} master {bridge} up
ip -n {name} addr add {address} dev eth0
ip -n {name} link set eth0 up
{route}
"""


def vtep(number: int) -> str:
    """Return the MAC of a node's tunnel device."""
    return f"02:00:00:00:00:{number:02}"


def flannel(number: int, underlay: str) -> str:
    """Spell a node as flannel's vxlan leaves it, without peers: 172.22.NUMBER.0/24, and one pod, .2.

    Only the tunnel has no IPv6 address, so that it counts nothing but what the experiment sends.
    """
    return f"""
sysctl -q -w net.ipv4.ip_forward=1
ip link add flannel.1 address {vtep(number)} mtu 1450 type vxlan id 1 dev eth0 local {underlay} dstport 8472 nolearning
sysctl -q -w net/ipv6/conf/flannel.1/disable_ipv6=1
ip addr add 172.22.{number}.0/32 dev flannel.1
ip link set flannel.1 up
ip link add cni0 mtu 1450 type bridge
ip addr add 172.22.{number}.1/24 dev cni0
ip link set cni0 up
{pod("pod", f"172.22.{number}.2/24", "cni0", f"172.22.{number}.1", 1450)}
"""


def neighbour(number: int) -> str:
    """Spell whose MAC a node's tunnel address is."""
    return f"ip neigh replace 172.22.{number}.0 lladdr {vtep(number)} dev flannel.1 nud permanent\n"


def fdb(number: int, underlay: str) -> str:
    """Spell behind which node a MAC is."""
    return f"bridge fdb replace {vtep(number)} dev flannel.1 dst {underlay} self permanent\n"


def route(number: int) -> str:
    """Spell the way to a node's pods."""
    return f"ip route replace 172.22.{number}.0/24 via 172.22.{number}.0 dev flannel.1 onlink\n"


def peer(number: int, underlay: str) -> str:
    """Spell what a node knows of another one."""
    return neighbour(number) + fdb(number, underlay) + route(number)
