"""Exchanges over TCP, UDP and ICMP between ends: spelled as three remote commands a host, and their answers read.

An end is a pod, a node or a host outside. What runs in each is exchange.pl: first all listen and tell their ports, then
all ask, then all are ended and tell whose pings they have seen.
"""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

PROGRAM = Path(__file__).with_name("exchange.pl")
LIFE = 60  # seconds after which whatever still listens ends by itself: the controller may have died
DEADLINE = 4  # seconds for an answer: time for a SYN that was lost, for ARP, and on a host that is busy
QUIET = 1  # seconds in which nothing is to come
LONG = 4  # seconds in which nothing of a large transfer moves: TCP repeats what was lost, and again
SMALL = 64
LARGE = 1024 * 1024
HEADERS = 20 + 8  # IPv4 and UDP
KINDS = {"tcp": "TCP", "udp": "UDP", "whole": "UDP, not to be fragmented", "icmp": "ping"}
"""What exchange.pl calls them, and we."""

MARK = "==told=="
SERVING = re.compile(r"serving (\S+) (\d+) (\d+)")
ANSWERED = re.compile(r"(tcp|udp|whole|icmp) (\S+) (\S+) (\d+) (ok|failed) (.+)")
SEEN = re.compile(r"seen (\S+) (\S+) (\S+)")
ENDED = re.compile(r"ended (\S+)")


class NotToldError(Exception):
    """A host's answer is not one that exchange.pl gives, or not whole."""


@dataclass(frozen=True)
class Ports:
    """Where an end listens; no ports where it is no pod's."""

    address: IPv4Address
    tcp: int
    udp: int


@dataclass(frozen=True)
class Talk:
    """What `kind` of exchange is asked for, from whoever asks to a port, with how many bytes of content.

    `seconds` is how long to wait for an answer, or for the next bytes of it.
    """

    kind: str
    to: IPv4Address
    port: int
    size: int
    seconds: int

    def __str__(self) -> str:
        """Spell it as exchange.pl reads it."""
        return f"{self.kind} {self.to} {self.port} {self.size} {self.seconds}"


@dataclass(frozen=True)
class Ping:
    """An echo request that is asked for; `via`: handed to this node, whatever the routes of who asks."""

    to: IPv4Address
    seconds: int
    via: IPv4Address | None = None

    def __str__(self) -> str:
        """Spell it as exchange.pl reads it."""
        return f"{self.to} {self.seconds} {self.via or '-'}"


@dataclass(frozen=True)
class Told:
    """How an exchange ended. `peer` is whom the other end took for who asks; a ping has a `ttl` instead.

    `problem` is a sentence without its subject, or empty if all went well.
    """

    kind: str
    source: IPv4Address
    target: IPv4Address
    size: int
    peer: IPv4Address | None = None
    ttl: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Seen:
    """A ping that came in: its source address as it arrived, who sent it, and to whom."""

    source: IPv4Address
    sender: IPv4Address
    target: IPv4Address


@dataclass(frozen=True)
class End:
    """Where exchange.pl runs: in a pod, or on the host itself if that is empty."""

    pod: str
    address: str

    def __str__(self) -> str:
        """Spell it as the scripts below read it."""
        return f"{self.pod or '-'} {self.address}"


def serve(enter: str, token: str, ends: Iterable[End]) -> str:
    """Spell: listen in all these ends of a host, in a pod's also at ports. If one cannot, those before it are ended.

    `enter`, here and below, is how the pods' namespaces are entered: podnet.verify.entering.
    """
    back = f'for pod in $started; do at "$pod" end {token} >&2; done'
    act = f"""ports=1
  if [ "$pod" = - ]; then ports=0; fi
  at "$pod" serve {token} {LIFE} "$address" $ports </dev/null
  started="$started $pod\""""
    trap = f"trap 'test $? = 0 || {{ {back}; }}' EXIT"
    return "\n".join([_head(enter), "started=", trap, _each(map(str, ends), act)])


@dataclass(frozen=True)
class Asked:
    """What a host's ends ask: each pod for `talks`, the first one also for the `large` ones; and for pings."""

    talks: tuple[Talk, ...] = ()
    large: tuple[Talk, ...] = ()
    of_pods: tuple[Ping, ...] = ()
    of_host: tuple[Ping, ...] = ()


def ask(enter: str, token: str, ends: Iterable[End], asked: Asked) -> str:
    """Spell: have all these ends of a host ask at the same time. What is asked is said once for all of them."""
    act = f"""case $pod in -) mine= pings=$of_host ;; *) mine=$talks$large pings=$of_pods large= ;; esac
  at "$pod" ask {token} "$address" "$mine" "$pings" </dev/null &
  all="$all $!\""""
    said = [f"{name}='{_rows(rows)}'" for name, rows in vars(asked).items()]
    return "\n".join([_head(enter), *said, "all=", _each(map(str, ends), act), "for each in $all; do wait $each; done"])


def end(enter: str, token: str, ends: Iterable[End]) -> str:
    """Spell: end what listens in these ends, and have it tell what it has seen."""
    return "\n".join([_head(enter), _each(map(str, ends), f'at "$pod" end {token} </dev/null')])


def _rows(rows: Iterable[object]) -> str:
    return "".join(f"{row}\n" for row in rows)


def _each(rows: Iterable[str], act: str) -> str:
    return "\n".join(["while read -r pod address; do", f"  {act}", "done <<'EOF'", *rows, "EOF"])


def _head(enter: str) -> str:
    """Say the program once, whatever the number of ends: ssh takes a script as one word of at most 128 KiB."""
    missing = 'echo "perl is needed: install perl-base" >&2; exit 1'
    return f"""set -eu
if ! command -v perl >/dev/null; then {missing}; fi
echo '{MARK}'
code={shlex.quote(_program())}
{enter}
at() {{
  where=$1
  shift
  if [ "$where" = - ]; then perl -e "$code" "$@"; else enter "$where" perl -e "$code" "$@"; fi
}}"""


def _program() -> str:
    """Leave out of the program what only its readers need."""
    lines = PROGRAM.read_text().splitlines()
    return "\n".join(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))


def parse_ports(printed: str) -> dict[IPv4Address, Ports]:
    """Read where a host's ends listen."""
    told = [_match(SERVING, line) for line in _lines(printed)]
    ports = [Ports(IPv4Address(found[1]), int(found[2]), int(found[3])) for found in told]
    return {each.address: each for each in ports}


def parse_told(printed: str) -> list[Told]:
    """Read how a host's exchanges ended."""
    return [_told(_match(ANSWERED, line)) for line in _lines(printed)]


def _told(found: re.Match[str]) -> Told:
    kind, source, target, size, how, words = found.groups()
    between = (IPv4Address(source), IPv4Address(target))
    if how == "failed":
        return Told(kind, *between, int(size), problem=words)
    if kind == "icmp":
        return Told(kind, *between, int(size), ttl=int(words))
    return Told(kind, *between, int(size), peer=IPv4Address(words))


def parse_seen(printed: str, ends: int) -> list[Seen]:
    """Read whose pings a host has seen; NotToldError unless each of its ends has told."""
    lines = _lines(printed)
    told = [line for line in lines if not ENDED.fullmatch(line)]
    if len(lines) - len(told) != ends:
        raise NotToldError(f"{len(lines) - len(told)} of {ends} ends said what they have seen")
    return [Seen(*map(IPv4Address, _match(SEEN, line).groups())) for line in told]


def _lines(printed: str) -> list[str]:
    before, mark, told = printed.partition(MARK)  # what comes before is a login shell's greeting
    if not mark:
        raise NotToldError(f"expected {MARK}, saw {before!r}")
    return told.strip().splitlines()


def _match(pattern: re.Pattern[str], line: str) -> re.Match[str]:
    if found := pattern.fullmatch(line):
        return found
    raise NotToldError(f"expected a line like {pattern.pattern!r}, saw {line!r}")
