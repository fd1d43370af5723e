"""What an apply leaves on a host, so that its network is there again after a reboot and nobody else meddles with it.

The script is the batch that a bare host would be sent, in the same words. Run again on a host that has it all it
changes nothing, and one that has half it completes: most words replace (`addr replace`), and what the kernel refuses to
make twice is made unless it is there.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from podnet import marks as places
from podnet.batch import sections
from podnet.cluster import Cluster, Node
from podnet.firewall import Firewall
from podnet.marks import FOR_OTHERS, LINE, Marks, of_place
from podnet.plan import plan
from podnet.rendering import render
from podnet.section import Section
from podnet.state import Device, File, Loan, State, Symlink, Sysctl, newborn
from podnet.support import MODULES, supported

PATIENCE = 60
"""Seconds that the script waits for the uplink's address. systemd starts it again after that, six times in all."""

ONLY_IF_THERE = "sysctl -e -q -p -"

FOU = "fou"
OPENS = "insert rule "
BARE = State(unloaded=frozenset({FOU}))
"""What a host holds that has just booted, as far as we care."""


@dataclass(frozen=True)
class Step:
    """A command with the lines of its standard input; nothing is done if `unless`, a shell command, succeeds.

    As in Section, lines may be `further` words of the command.
    """

    command: str
    lines: tuple[str, ...] = ()
    unless: str = ""
    further: bool = False


def fitted(want: State, cluster: Cluster, me: Node, host: Firewall) -> State:
    """Say the files that go with `want` by what the host filters with: at boot nobody looks before it is spoken to.

    The keys that `want` names are known by now, too.
    """
    if not want.files or (host == Firewall() and not want.peers):
        return want  # they say so already
    live = replace(want, files=frozenset(item for item in want.files if of_place(item.path) in FOR_OTHERS))
    return live | files(live, cluster, me, host)


def files(want: State, cluster: Cluster, me: Node, host: Firewall = Firewall()) -> State:  # noqa: B008  # a value
    """Compute the files that go with `want`, which bears its marks already; none if nothing is wanted."""
    if want == State() or any(isinstance(link, Loan) for pod in want.pods.values() for link in pod.links):
        return State()  # a NIC on loan: at boot nobody knows its name, nor whether its VF has been made
    devices = sorted(link.dev for link in want.links)
    settings = sorted(want.sysctls, key=lambda item: item.key)
    templates = {
        places.SCRIPT: ("boot.sh.j2", True),
        places.UNIT: ("boot.service.j2", True),
        places.MODULES: ("modules-load.conf.j2", bool(modules := _modules(want))),
        places.TMPFILES: ("tmpfiles.conf.j2", any(of_place(item.path) == places.CONFLIST for item in want.files)),
        places.SYSCTLS: ("sysctl.conf.j2", bool(settings)),
        places.LINK: ("systemd.link.j2", bool(devices)),
        places.NETWORK: ("systemd.network.j2", bool(devices)),
        places.NETWORK_MANAGER: ("NetworkManager.conf.j2", bool(devices)),
    }
    alias = cluster.marks.alias
    values = {
        "line": LINE,
        "alias": alias,
        "script": cluster.marks.place(places.SCRIPT),
        "node": me,
        "patience": PATIENCE,
        "steps": [*steps(want, cluster.marks, host)],
        "modules": modules,
        "settings": settings,
        "devices": devices,
        "store": f"{places.STORE}/{alias}",
        "reservations": sorted(want.reservations, key=lambda item: item.key),
    }
    left = {
        File.of(cluster.marks.place(place), render(template, **values))
        for place, (template, needed) in templates.items()
        if needed
    }
    return State(
        files=frozenset({*left, Symlink(cluster.marks.place(places.ENABLED), cluster.marks.place(places.UNIT))})
    )


def steps(want: State, mine: Marks, host: Firewall = Firewall()) -> Iterator[Step]:  # noqa: B008  # a value
    """Spell how a host that holds nothing comes to hold `want`, so that it can be repeated."""
    bare = replace(BARE, firewall=host)
    # What settings were is known from the first apply, and must not be noted again.
    nothing: frozenset[Sysctl] = frozenset()
    for section in sections(replace(plan(want, bare, mine), saved=nothing, noted=nothing, keep=nothing)):
        yield from _openings(section, mine) if section.lines[:1] and OPENS in section.lines[0] else _repeatable(section)
    # What `supported` leaves out for want of a place may have one on this host.
    for enter, space in (("", want), *((f"ip netns exec {netns} ", pod) for netns, pod in sorted(want.pods.items()))):
        if left_out := sorted(space.sysctls - supported(space, BARE).sysctls, key=lambda item: item.key):
            yield Step(f"{enter}{ONLY_IF_THERE}", tuple(f"{item.path} = {item.value}" for item in left_out))


def _openings(section: Section, mine: Marks) -> Iterator[Step]:
    """Open each chain of a stranger's that is there and has no rule of ours."""
    for base, lines in itertools.groupby(section.lines, key=lambda line: line.split()[2:5]):
        yield Step(section.command, tuple(lines), unless=f"opened {' '.join(base)} {mine.alias}")


def _repeatable(section: Section) -> Iterator[Step]:
    """Take out of a section the lines that work only once, each with the shell function that tells whether it has."""
    if section.further:
        yield Step(section.command, section.lines, further=True)
        return
    plain: list[str] = []
    later: list[Step] = []
    table = ""
    tool, restores, _ = section.command.partition("-restore ")
    for line in section.lines:
        table = line[1:] if restores and line.startswith("*") else table
        match line.split():
            case ["-I", hook, _, *rest] if table:
                rule = f"-A {hook} {' '.join(rest)}"
                later.append(Step(f"{tool} -w 5 -t {table} {line}", unless=f"rule {tool} {table} '{rule}'"))
                continue
            case ["netns", "add", netns]:
                unless = f"namespace {netns}"
            case ["link", "add", born, "netns", netns, *_]:
                unless = f"inside {netns} {born.removeprefix(newborn(''))} || inside {netns} {born}"
            case ["link", "set", born, "name", dev, *words]:
                # Given its name once, and the rest as often as one likes.
                (netns,) = re.findall(r"^ip -n (\S+) ", section.command)
                yield Step(f"ip -n {netns} link set {born} name {dev}", unless=f"inside {netns} {dev}")
                plain.append(f"link set {dev} {' '.join(words)}")
                continue
            case ["link", "add", dev, *_]:
                unless = f"device {dev}"
            case ["fou", "add", "port", port, *_]:
                unless = f"fou {port}"
            case _:
                plain.append(line)
                continue
        if plain:
            yield Step(section.command, tuple(plain))
            plain = []
        yield Step(f"ip {line}", unless=unless)
    if plain or not section.lines:
        yield Step(section.command, tuple(plain), unless=_loaded(section.command))
    yield from later


def _loaded(command: str) -> str:
    """Spell how to see that a module is there, be it built in: by the settings that come with it, if any."""
    match command.split():
        case ["modprobe", module]:
            settings = {name: f"/proc/sys/{root}" for root, name in MODULES.items()}
            return f"[ -d {settings.get(module, f'/sys/module/{module}')} ]"
        case _:
            return ""


def _modules(want: State) -> list[str]:
    """Name the modules that the kernel should have ready: those of devices it would load by itself, later."""
    spaces = [want, *want.pods.values()]
    kinds = {link.KIND for space in spaces for link in space.links if isinstance(link, Device)}
    fou = {FOU for space in spaces if space.fous}
    settings = supported(want, BARE).sysctls
    return sorted(
        kinds | fou | {module for root, module in MODULES.items() if any(s.path.startswith(root) for s in settings)}
    )
