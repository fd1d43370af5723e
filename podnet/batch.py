"""A plan in the order in which it can be carried out, as the standard input of a handful of processes.

Additions come before removals, and nothing comes before what it stands on: device, MAC, up, address, neighbour,
FDB entry, setting, rule, route; the reverse when removing. What keeps the host's own programs off our devices is told
before there is a device; what brings all back after a reboot, once all is there, and first of all it is removed: after
a cut and a reboot nothing is there that nobody wants. Addresses are reserved before all else, while it can still be
refused, and released once nobody uses them. The number of processes depends on what kinds of things
change and on the number of pods that change, never on the number of peers.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from podnet import spell, spell_chains
from podnet.firewall import NFT
from podnet.marks import FOLDER, private_key
from podnet.placing import flush, forget, leave, warn
from podnet.plan import FORWARD_ALL, Plan
from podnet.section import Section
from podnet.state import Address, Chain, Device, File, Item, Route, Sysctl, WgPeer, Wireguard, newborn
from podnet.store import release, reserve
from podnet.support import MODULES

SAVED = f"{FOLDER}/sysctls"
"""Where the host keeps the values that settings had before podnet, one `path = value` a line."""


def sections(plan: Plan) -> list[Section]:
    """Spell the whole plan; an empty list means that nothing is to be done."""
    parts = (
        reserve(plan),
        _note(plan),
        warn(plan),
        _build(plan),
        leave(plan),
        forget(plan),
        _clear(plan),
        release(plan),
        _give_back(plan),
        flush(plan),
    )
    return [section for part in parts for section in part]


def _note(plan: Plan) -> Iterator[Section]:
    """Write down what settings were, before the first of them changes."""
    if plan.saved != plan.noted:
        yield from _write(plan.saved)


def _build(plan: Plan) -> Iterator[Section]:
    """Make what is missing and mend what is wrong."""
    for root, module in MODULES.items():
        if any(item.path.startswith(root) for item in plan.tables["sysctls"].add if isinstance(item, Sysctl)):
            yield Section(f"modprobe {module}")
    for module in plan.load:
        yield Section(f"modprobe {module}")
    for netns, pod in plan.pods.items():
        taken = (line for loan in pod.taken for line in spell.remove(loan))
        yield from _batch(f"ip -n {netns} -batch -", [*(f"link del {dev}" for dev in pod.remake), *taken])
    spaces = [f"netns del {netns}" for netns in plan.drop if netns in plan.make]
    spaces += [f"netns add {netns}" for netns in plan.make]
    remake = [f"link del {dev}" for dev in plan.remake]
    devices = [*_mend(plan, "links", "ports", "addresses"), *_readdress(plan), *_mend(plan, "neighbours")]
    # No device that is to be made anew may go before its FOU port: afterwards nobody would know whose that was. And a
    # port comes before the tunnel that sends from it: no packet of a peer's is to meet a closed one.
    ports = [*(_prune(plan, "fous") if remake else ()), *remake, *_mend(plan, "fous")]
    yield from _batch("ip -batch -", [*ports, *spaces, *devices, *_planted(plan), *_imposed(plan)])
    for netns, pod in plan.pods.items():
        yield from _inside(netns, pod)
    yield from (Section(line) for line in _mend(plan, "offloads"))
    yield from _batch("bridge -batch -", _mend(plan, "fdb"))
    yield from _encrypt(plan)
    yield from _batch("sysctl -q -p -", _mend(plan, "sysctls"))
    yield from _filtered(plan)
    yield from _batch("ip -batch -", _routed(plan))


def _filtered(plan: Plan) -> Iterator[Section]:
    """Make and mend chains, each by what writes it, then the rules in chains of others."""
    added, changed, _ = plan.tables["chains"]
    todo = [(item, spell.add(item)) for item in added] + [(want, spell.change(have, want)) for have, want in changed]
    yield from _by_command(todo)
    yield from _batch(spell_chains.COMMANDS[NFT], _mend(plan, "openings"))


def _unfiltered(plan: Plan) -> Iterator[Section]:
    yield from _batch(spell_chains.COMMANDS[NFT], _prune(plan, "openings"))
    yield from _by_command([(item, spell.remove(item)) for item in plan.tables["chains"].remove])


def _by_command(todo: list[tuple[Item, list[str]]]) -> Iterator[Section]:
    """Say the lines of each program together: one table of iptables', and all of nft, are one transaction."""
    for command in dict.fromkeys(spell_chains.COMMANDS.values()):
        mine = (lines for item, lines in todo if isinstance(item, Chain) and spell_chains.COMMANDS[item.by] == command)
        yield from _batch(command, (line for lines in mine for line in lines))


def _planted(plan: Plan) -> Iterator[str]:
    """Make pods' devices that hang on the host's, or lead to other pods: from the host, which knows them all."""
    for netns, pod in plan.pods.items():
        for link in pod.tables["links"].add:
            if isinstance(link, Device):
                yield from spell.plant(link, netns)


def _imposed(plan: Plan) -> Iterator[str]:
    """Say what PFs impose, once NICs bear the note of what that was, and make those that are back what they were."""
    back = [(loan.at, loan.before) for loan in plan.returned if loan.before]
    yield from (line for dev, was in back if dev not in {"", was.dev} for line in spell.rename(dev, was.dev))
    yield from _mend(plan, "vfs")
    yield from (line for _, was in back for line in spell.restore(was))


def _inside(netns: str, pod: Plan) -> Iterator[Section]:
    """Do the same inside a pod, where a process must enter first."""
    lines = [
        *(line for link in pod.tables["links"].add for line in _begin(link)),
        *(line for have, want in pod.tables["links"].change for line in spell.change(have, want)),
        *_mend(pod, "addresses"),
        *_readdress(pod),
        *_mend(pod, "neighbours"),
        *_routed(pod),
        *_withdraw(pod),
        *_prune(pod, "links"),
    ]
    yield from _batch(f"ip -n {netns} -batch -", lines)
    yield from _batch(f"ip netns exec {netns} sysctl -q -p -", _mend(pod, "sysctls"))


def _begin(link: Item) -> list[str]:
    """Spell what is left to do for a device that `_planted` has made, or that came as a cable's end."""
    return spell.settle(link, newborn(link.dev)) if isinstance(link, Device) else spell.add(link)


def _clear(plan: Plan) -> Iterator[Section]:
    """Remove what nobody wants any more, from the route down to the device."""
    yield from _batch("ip -batch -", _withdraw(plan))
    yield from _batch("bridge -batch -", _prune(plan, "fdb"))
    yield from _peers((item, spell.remove(item)) for item in plan.tables["peers"].remove)
    spaces = [f"netns del {netns}" for netns in plan.drop if netns not in plan.make]
    ports = () if plan.remake else _prune(plan, "fous")
    yield from _batch("ip -batch -", [*ports, *_prune(plan, "ports", "links"), *spaces])
    yield from _unfiltered(plan)


def _give_back(plan: Plan) -> Iterator[Section]:
    """Restore settings, then forget what they were: in this order, so that after a cut in between it is repeated."""
    # Writing ip_forward overwrites every interface's own value: it goes first.
    restore = sorted(plan.restore, key=lambda old: (old.path != FORWARD_ALL, old.path))
    yield from _batch("sysctl -q -p -", [line for old in restore for line in spell.add(old)])
    if plan.keep and plan.keep != plan.saved:
        yield from _write(plan.keep)
    elif plan.saved and not plan.keep:
        yield Section(f"rm {SAVED}")
    if plan.forget:
        yield Section(f"rm {private_key(plan.forget)}")
    folder = any(_in_folder(item) for item in plan.tables["files"].remove)
    if plan.forget or folder or (plan.saved and not plan.keep):
        yield Section(f"rmdir --ignore-fail-on-non-empty {FOLDER}")


def _in_folder(item: Item) -> bool:
    return isinstance(item, File) and item.path.startswith(f"{FOLDER}/")


def _write(values: Iterable[Sysctl]) -> Iterator[Section]:
    """Write the file beside itself and rename it: it is the old one or the new one, never half."""
    yield Section(f"mkdir -p {FOLDER}")
    yield Section(
        f"cat >{SAVED}.new", tuple(f"{old.path} = {old.value}" for old in sorted(values, key=lambda s: s.key))
    )
    yield Section(f"sync {SAVED}.new")
    yield Section(f"mv {SAVED}.new {SAVED}")


def _encrypt(plan: Plan) -> Iterator[Section]:
    """Give wireguard devices their keys and ports, and tell them of their peers: one process a device for each."""
    added, changed, _ = plan.tables["links"]
    pairs = [(None, new) for new in added] + list(changed)
    for old, new in pairs:
        if isinstance(new, Wireguard) and (words := spell.key_and_port(old, new)):
            yield Section(f"wg set {new.dev} {words}")
    added, changed, _ = plan.tables["peers"]
    yield from _peers(
        [(new, spell.add(new)) for new in added] + [(new, spell.change(old, new)) for old, new in changed]
    )


def _peers(spelled: Iterable[tuple[Item, list[str]]]) -> Iterator[Section]:
    """Spell peers as words: wg reads files too, but then forgets the private key, or removes nobody."""
    by_device: dict[str, list[str]] = defaultdict(list)
    for item, lines in spelled:
        if isinstance(item, WgPeer):
            by_device[item.dev] += lines
    yield from (Section(f"wg set {dev}", tuple(lines), further=True) for dev, lines in by_device.items())


def _batch(command: str, lines: Iterable[str]) -> Iterator[Section]:
    if whole := tuple(lines):
        yield Section(command, whole)


def _mend(plan: Plan, *tables: str) -> Iterator[str]:
    for table in tables:
        for item in plan.tables[table].add:
            yield from spell.add(item)
        for have, want in plan.tables[table].change:
            yield from spell.change(have, want)


def _routed(plan: Plan) -> Iterator[str]:
    """Make and mend routes, those on a link first: a gateway must be reachable before a route may name it."""
    added, changed, _ = plan.tables["routes"]
    todo = [([*spell.add(route)], route) for route in added] + [(spell.change(old, new), new) for old, new in changed]
    for lines, _ in sorted(todo, key=lambda line: isinstance(line[1], Route) and line[1].via is not None):
        yield from lines


def _prune(plan: Plan, *tables: str) -> Iterator[str]:
    for table in tables:
        for item in plan.tables[table].remove:
            yield from spell.remove(item)


def _withdraw(plan: Plan) -> Iterator[str]:
    """Remove extra routes and neighbours, unless `_readdress` did."""
    if not plan.tables["addresses"].remove:
        yield from _prune(plan, "routes", "neighbours")


def _readdress(plan: Plan) -> Iterator[str]:
    """Remove extra addresses while it is still early, and say the wanted ones again.

    We would like to remove just the one address; the kernel, when it is the first of its subnet, takes the others
    of that subnet along (unless promote_secondaries is 1), and with a device's last address its routes and
    neighbours; hence what else is extra goes before, and what is wanted is said after.
    """
    devices = {item.dev for item in plan.tables["addresses"].remove if isinstance(item, Address)}
    if devices:
        yield from _prune(plan, "routes", "neighbours", "addresses")
    for item in sorted(plan.want.addresses, key=lambda item: item.key):
        if item.dev in devices:
            yield from spell.add(item)
