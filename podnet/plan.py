"""From two states to what must be done, table by table, in the host and in each pod, and what was before.

Whose is what: podnet.ownership. What a host can have: podnet.support. What must go first: podnet.remake.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from podnet import nics
from podnet.diff import Diff, diff
from podnet.marks import FIRST, Marks
from podnet.ownership import known_to, others, owned
from podnet.remake import HOST, Place, after_flush, located, other_ends, to_remake
from podnet.state import TABLES, Item, Loan, Nic, State, Sysctl, Wireguard
from podnet.support import MODULES, NETWORKD, SYSTEMD, device_of, supported

FORWARD_ALL = "net/ipv4/ip_forward"
"""Writing another value here overwrites every interface's own `forwarding` (kernel, devinet_sysctl_forward)."""

FORWARD_DEFAULT = "net/ipv4/conf/default/forwarding"
"""What a device is born with, also one that only comes from another namespace."""

NEW_NETNS = State(links=frozenset({Nic("lo", 65536, "00:00:00:00:00:00", up=False)}))
"""What the kernel gives a network namespace at its birth."""


@dataclass(frozen=True)
class Plan:
    """What one network namespace needs.

    `remake` are devices to delete first, because the kernel cannot change what is wrong with them; `make` and
    `drop` are pods' namespaces, `load` modules. `taken` are NICs that leave a pod, `returned` those that the host then
    has as they were. Of the values that sysctls had before us, `noted` are written down on the host, `saved` have to be
    before the first change, `keep` remain so at the end, `restore` are given back. `running` are the
    programs that must be told when their files change, `forget` is the mark whose private key nobody needs any more.
    """

    want: State
    tables: Mapping[str, Diff[Item]]
    remake: tuple[str, ...] = ()
    make: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    load: tuple[str, ...] = ()
    taken: tuple[Loan, ...] = ()
    returned: tuple[Loan, ...] = ()
    pods: Mapping[str, "Plan"] = field(default_factory=dict)
    noted: frozenset[Sysctl] = frozenset()
    saved: frozenset[Sysctl] = frozenset()
    restore: frozenset[Sysctl] = frozenset()
    keep: frozenset[Sysctl] = frozenset()
    running: frozenset[str] = frozenset()
    forget: str = ""


def plan(want: State, have: State, mine: Marks = FIRST) -> Plan:
    """Plan the way from `have` to `want`, touching nothing that does not bear the marks `mine`."""
    shared = others(have, mine)
    have = known_to(have, mine)
    want = nics.placed(supported(want, have), have, mine)
    returned = nics.returning(want, have, mine)
    have = _after_moves(want, have, returned)
    ours = owned(want, have, mine)
    broken = {netns for netns in want.pods.keys() & have.pods.keys() if not have.pods[netns].links}
    lent = {place: link for place, link in located(ours) if isinstance(link, Loan)}
    remade = to_remake(want, ours, broken) | _moving(want, have, lent, returned)
    gone = remade | other_ends(remade, ours)
    tables = _tables_of(HOST, want, have, gone, mine)
    saved = have.saved | _first_touched(want, have, ours, tables)
    keep = saved if shared else frozenset(old for old in saved if _governed(old, want))
    return Plan(
        want=want,
        tables=tables,
        remake=_devices(remade - lent.keys(), HOST),
        returned=tuple(loan for _, loan in returned),
        make=tuple(sorted(want.pods.keys() - have.pods.keys() | broken)),
        drop=tuple(sorted(have.pods.keys() - want.pods.keys() | broken)),
        pods={
            netns: Plan(
                pod,
                _tables_of(netns, pod, inside, gone, mine),
                remake=_devices(remade - lent.keys(), netns),
                taken=tuple(nics.remembered(lent[netns, dev], have) for dev in _devices(remade & lent.keys(), netns)),
            )
            for netns, pod, inside in _pods(want, have, broken, remade)
        },
        load=tuple(sorted(have.unloaded)) if want.fous else (),
        noted=have.saved,
        saved=saved,
        restore=_given_back(saved - keep, have),
        keep=keep,
        running=have.folders & {SYSTEMD, NETWORKD},
        forget=mine.alias if mine.alias in have.keys and not any(isinstance(x, Wireguard) for x in want.links) else "",
    )


def _moving(want: State, have: State, lent: Mapping[Place, Loan], returned: list[tuple[Place, Loan]]) -> set[Place]:
    """Name the loans that end or begin anew: those in a place that is not theirs, or on a VF with another MAC.

    We would like to give a VF its MAC in place; its driver stops until it is reset when the PF sets another; hence it
    is taken out, which resets it.
    """
    homes = {link.nic: (netns, link.dev) for netns, pod in want.pods.items() for link in nics.lent(pod)}
    macs = {vf.nic: vf.mac for vf in want.vfs}
    stopped = {vf.nic for vf in have.vfs if macs.get(vf.nic, vf.mac) != vf.mac}
    moving = {place for place, loan in lent.items() if loan.nic in stopped or homes.get(loan.nic, place) != place}
    return moving | {place for place, _ in returned}


def _after_moves(want: State, have: State, returned: list[tuple[Place, Loan]]) -> State:
    """Say which settings of devices there will be: those of NICs that leave go, those of NICs that return are new."""
    leaving = {link.at for pod in want.pods.values() for link in nics.lent(pod)}
    default = next((item.value for item in have.sysctls if item.path == FORWARD_DEFAULT), None)
    names = {loan.before.dev for _, loan in returned if loan.before}
    born = {Sysctl(f"net/ipv4/conf/{name}/forwarding", default) for name in names if default is not None}
    present = {item for item in have.sysctls if device_of(item.path) not in leaving | names}
    return replace(have, sysctls=frozenset(present | born))


def _pods(want: State, have: State, broken: set[str], remade: set[Place]) -> Iterator[tuple[str, State, State]]:
    """Go through the wanted pods, each with what it holds now; a namespace that is made (anew) is born empty.

    Those that go are among them if a device of theirs is in the way of another's: the rest goes with the namespace.
    """
    going = {netns for netns, _ in remade} - want.pods.keys() - {HOST}
    for netns in sorted(want.pods.keys() | going):
        inside = NEW_NETNS if netns in broken else have.pods.get(netns, NEW_NETNS)
        yield (netns, State(), State()) if netns in going else (netns, supported(want.pods[netns], inside), inside)


def _tables_of(netns: str, want: State, have: State, gone: set[Place], mine: Marks) -> dict[str, Diff[Item]]:
    devices = set(_devices(gone, netns))
    return _diffs(want, after_flush(want, owned(want, have, mine), devices))


def _devices(places: set[Place], netns: str) -> tuple[str, ...]:
    return tuple(sorted(dev for space, dev in places if space == netns))


def plan_table(table: str, want: Iterable[Item], have: Iterable[Item]) -> Plan:
    """Plan one table alone, for deploys that decide themselves whose is what."""
    tables = {**dict.fromkeys(TABLES, Diff()), table: diff(want, have)}
    filled: dict[str, Any] = {table: frozenset(want)}
    return Plan(State(**filled), tables)


def compare(want: State, have: State, mine: Marks = FIRST) -> dict[str, Diff[Item]]:
    """Compare table by table what is ours: missing, wrong, extra. Pods are compared one by one, by the caller."""
    want = supported(want, have)
    return _diffs(want, owned(want, known_to(have, mine), mine))


def _diffs(want: State, ours: State) -> dict[str, Diff[Item]]:
    return {table: diff(getattr(want, table), getattr(ours, table)) for table in TABLES}


def _first_touched(want: State, have: State, ours: State, tables: Mapping[str, Diff[Item]]) -> frozenset[Sysctl]:
    """Name the values that are about to change for the first time, on devices that stay when we go."""
    now = {seen.path: seen for seen in have.sysctls}
    noted = {old.path for old in have.saved}
    own = {link.dev for link in want.links | ours.links}
    touched = {new.path for _, new in tables["sysctls"].change if isinstance(new, Sysctl)}
    if FORWARD_ALL in touched - noted:
        touched |= {path for path in now if _is_forwarding(path)}
    # A setting that comes into being with its module is 1 at once; before, it was as if it were 0.
    born = {
        new.path for new in tables["sysctls"].add if isinstance(new, Sysctl) and new.path.startswith(tuple(MODULES))
    }
    before = {Sysctl(path, "0") for path in born - noted}
    return frozenset({now[path] for path in touched - noted if device_of(path) not in own} | before)


def _given_back(old: frozenset[Sysctl], have: State) -> frozenset[Sysctl]:
    """Choose the values to write back: those that differ now, and those that writing ip_forward overwrites."""
    now = {seen.path: seen for seen in have.sysctls}
    differ = {value for value in old if value.path in now and now[value.path] != value}
    if any(value.path == FORWARD_ALL for value in differ):
        differ |= {value for value in old if value.path in now and _is_forwarding(value.path)}
    return frozenset(differ)


def _governed(old: Sysctl, want: State) -> bool:
    """Say whether the value is still ours to decide: wanted, or overwritten along with what is wanted."""
    wanted = {item.path for item in want.sysctls}
    return old.path in wanted or (_is_forwarding(old.path) and FORWARD_ALL in wanted)


def _is_forwarding(path: str) -> bool:
    return path.startswith("net/ipv4/conf/") and path.endswith("/forwarding")


def summary(plan: Plan) -> str:
    """Count what a plan does, table by table: made, mended, removed."""
    counts = {table: (len(d.add), len(d.change), len(d.remove)) for table, d in plan.tables.items()}
    mended = [
        netns for netns, pod in plan.pods.items() if netns not in plan.make and any(map(any, pod.tables.values()))
    ]
    counts["pods"] = (len(plan.make), len(mended), len(set(plan.drop) - set(plan.make)))
    counts["settings given back"] = (0, len(plan.restore), 0)
    words = (
        f"{table} {' '.join(f'{sign}{n}' for sign, n in zip('+~-', numbers, strict=True) if n)}"
        for table, numbers in counts.items()
        if any(numbers)
    )
    return ", ".join(words) or "what is noted down"
