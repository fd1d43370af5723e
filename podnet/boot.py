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
from podnet import nics, spell
from podnet.batch import sections
from podnet.cluster import Cluster, Node
from podnet.firewall import Firewall
from podnet.marks import FOR_OTHERS, LINE, Marks, of_place
from podnet.plan import NEW_NETNS, plan
from podnet.rendering import render
from podnet.section import Section
from podnet.state import Before, Device, File, Loan, State, Symlink, Sysctl, Vf, Wireguard, newborn
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


def fitted(want: State, cluster: Cluster, me: Node, have: State) -> State:
    """Say the files that go with `want` by what the host filters with: at boot nobody looks before it is spoken to.

    The keys that `want` names are known by now, too, and so is which NICs of the host's it lends, and what they were.
    """
    if not want.files or (have.firewall == Firewall() and not _keyed(want) and not want.vfs):
        return want  # they say so already
    live = replace(want, files=frozenset(item for item in want.files if of_place(item.path) in FOR_OTHERS))
    return live | files(nics.placed(live, have, cluster.marks), cluster, me, have.firewall)


def _keyed(want: State) -> bool:
    """Say whether anything in `want` goes by keys: its peers may all be gone, as nobody knows theirs."""
    return any(isinstance(link, Wireguard) for link in want.links)


def files(want: State, cluster: Cluster, me: Node, host: Firewall = Firewall()) -> State:  # noqa: B008  # a value
    """Compute the files that go with `want`, which bears its marks already; none if nothing is wanted."""
    if want == State():
        return State()
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
        "loans": [(netns, loan) for netns, pod in sorted(want.pods.items()) for loan in nics.lent(pod)],
        "pfs": sorted({vf.pf for vf in _lent(want).values()}),
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
    lending = [netns for netns, pod in sorted(want.pods.items()) if nics.lent(pod)]
    for netns in lending:
        yield Step(f"ip netns add {netns}", unless=f"namespace {netns}")
        for loan in nics.lent(want.pods[netns]):
            yield from _lend(loan, netns, _lent(want).get(loan.nic))
    bare = replace(BARE, firewall=host, pods=dict.fromkeys(lending, NEW_NETNS))
    # What settings were is known from the first apply, and must not be noted again.
    nothing: frozenset[Sysctl] = frozenset()
    pods = {netns: pod.only(lambda item: not isinstance(item, Loan), "links") for netns, pod in want.pods.items()}
    rest = replace(want, vfs=frozenset(), pods=pods)
    for section in sections(replace(plan(rest, bare, mine), saved=nothing, noted=nothing, keep=nothing)):
        yield from _openings(section, mine) if section.lines[:1] and OPENS in section.lines[0] else _repeatable(section)
    # What `supported` leaves out for want of a place may have one on this host.
    for enter, space in (("", want), *((f"ip netns exec {netns} ", pod) for netns, pod in sorted(want.pods.items()))):
        if left_out := sorted(space.sysctls - supported(space, BARE).sysctls, key=lambda item: item.key):
            yield Step(f"{enter}{ONLY_IF_THERE}", tuple(f"{item.path} = {item.value}" for item in left_out))


def _lent(want: State) -> dict[str, Vf]:
    """Name the virtual functions that pods have, as far as their PFs are known, by their PCI addresses."""
    loans = {loan.nic for pod in want.pods.values() for loan in nics.lent(pod)}
    return {vf.nic: vf for vf in want.vfs if vf.pf and vf.nic in loans}


def _lend(loan: Loan, netns: str, vf: Vf | None) -> Iterator[Step]:
    """Spell how a NIC comes into a pod, with the note that it had before but for its name: that may be another now."""
    done = f"bears {netns} {loan.dev} {loan.mac}"
    name = f"$(nic {loan.nic})"
    for line in spell.plant(replace(loan, at=name, before=loan.before and replace(loan.before, dev=name)), netns):
        yield Step(f"ip {line}", unless=f"inside {netns} {loan.dev}")
    for line in _imposed(vf, loan.before) if vf else ():
        yield Step(f"ip {line}", unless=done)
    yield Step(f"ip -n {netns} -batch -", tuple(spell.settle(loan)), unless=done)


def _imposed(vf: Vf, before: Before | None) -> list[str]:
    """Spell what the PF imposes: on a VF that was just made, and on one of which somebody says again what it was."""
    first = replace(vf, mac=nics.NO_MAC, vlan=0, qos=0, max_tx_rate=0, spoofchk=True, trust=False, state="auto")
    was = replace(before.vf, pf=vf.pf, index=vf.index) if before and before.vf else first
    return [*dict.fromkeys([*spell.change(first, vf), *spell.change(was, vf)])]


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
    kinds = {link.KIND for space in spaces for link in space.links if isinstance(link, Device)} - {Loan.KIND}
    fou = {FOU for space in spaces if space.fous}
    settings = supported(want, BARE).sysctls
    return sorted(
        kinds | fou | {module for root, module in MODULES.items() if any(s.path.startswith(root) for s in settings)}
    )
