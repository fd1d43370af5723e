"""NICs that pods have on loan: which of the host's they are, and what they were before.

What a NIC was is noted in its own alias, in the words of ip-link(8):

    podnet name eth2 address 62:13:4f:83:46:27 mtu 1500 down vf mac 00:00:00:00:00:00 vlan 0 qos 0 ...

We would like to note it in a file; a NIC whose namespace is deleted comes back to the host under a name of the
kernel's choice, and one that is taken out takes its settings along; hence the note goes where the NIC goes.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace

from podnet import marks
from podnet.marks import Marks
from podnet.state import Before, Device, Link, Loan, Nic, State, Veth, Vf

NO_MAC = "00:00:00:00:00:00"
NOTE = re.compile(
    rf"({marks.NAME}\d*) name (\S+) address (\S+) mtu (\d+) (up|down)"
    r"(?: vf mac (\S+) vlan (\d+) qos (\d+) max_tx_rate (\d+) spoofchk (on|off) trust (on|off) state (\S+))?"
)


def note(loan: Loan) -> str:
    """Write down in an alias whose the loan is, and what the NIC was before."""
    before = loan.before
    if before is None:
        return loan.alias
    said = f"{loan.alias} name {before.dev} address {before.mac} mtu {before.mtu} {'up' if before.up else 'down'}"
    return f"{said} vf {settings(before.vf)}" if before.vf else said


def settings(vf: Vf) -> str:
    """Spell all that a PF imposes on a VF."""
    spoofchk, trust = ("on" if on else "off" for on in (vf.spoofchk, vf.trust))
    limits = f"max_tx_rate {vf.max_tx_rate} spoofchk {spoofchk} trust {trust} state {vf.state}"
    return f"mac {vf.mac} vlan {vf.vlan} qos {vf.qos} {limits}"


def seen(link: Link, mac: str, pci: str, alias: str, *, in_pod: bool) -> Link:
    """Tell a device that bears a note, or hardware in a pod, from any other: it is on loan."""
    found = NOTE.fullmatch(alias)
    if not found and not (in_pod and pci):
        return link
    before = _noted(found, pci) if found else None
    nic = pci or (before.dev if before else link.dev)
    mark = found[1] if found else alias
    return Loan(link.dev, link.mtu, mac, nic, before, up=link.up, arp=link.arp, alias=mark)


def _noted(found: re.Match[str], pci: str) -> Before:
    _, dev, mac, mtu, up, *vf = found.groups()
    return Before(dev, mac, int(mtu), up == "up", _noted_vf(pci, *vf) if vf[0] else None)


def _noted_vf(pci: str, mac: str, vlan: str, qos: str, rate: str, spoofchk: str, trust: str, state: str) -> Vf:  # noqa: PLR0913, PLR0917  # the words of a note
    return Vf(pci, mac, int(vlan), int(qos), int(rate), spoofchk == "on", trust == "on", state)


def lent(pod: State) -> list[Loan]:
    """Name what a namespace has on loan."""
    return [link for link in sorted(pod.links, key=_dev) if isinstance(link, Loan)]


def loans(state: State, mine: Marks) -> Iterator[tuple[tuple[str, str], Loan]]:
    """Go through what pods of ours have on loan, and what came back to the host with our note on it, place by place."""
    yield from ((("", loan.dev), loan) for loan in lent(state) if loan.alias == mine.alias)
    for netns, pod in sorted(state.pods.items()):
        if marks.of(marks.ANY_NETNS, netns) == mine:
            yield from (((netns, loan.dev), loan) for loan in lent(pod))


def _dev(link: Link) -> str:
    return link.dev


def find(nic: str, have: State, mine: Marks) -> Link | None:
    """Find the NIC of that PCI address or name: on loan already, or the host's own."""
    own = sorted(have.links, key=_dev)
    found: list[Link] = [
        loan for _, loan in loans(have, mine) if nic == loan.nic or (loan.before and nic == loan.before.dev)
    ]
    found += [link for link in own if isinstance(link, Nic) and link.pci == nic]
    found += [link for link in own if link.dev == nic]
    return found[0] if found else None


def _identity(link: Link) -> str:
    match link:
        case Loan():
            return link.nic
        case Nic(pci=pci) if pci:
            return pci
        case _:
            return link.dev


def placed(want: State, have: State, mine: Marks) -> State:
    """Say which NICs of this host the wanted ones are, and what PFs are to impose: also on those that are given back.

    Where a NIC is not found the loan stays as the inventory has it.
    """
    found = {loan.nic: find(loan.nic, have, mine) for pod in want.pods.values() for loan in lent(pod)}
    names = {nic: _identity(link) for nic, link in found.items() if link}
    pods = {
        netns: replace(pod, links=frozenset(_placed(link, found, have) for link in pod.links))
        for netns, pod in want.pods.items()
    }
    want = replace(want, pods=pods)
    here = {vf.nic: vf for vf in have.vfs}
    back = (loan.before.vf for _, loan in returning(want, have, mine) if loan.before and loan.before.vf)
    imposed = [*back, *(replace(vf, nic=names.get(vf.nic, vf.nic)) for vf in want.vfs)]
    known = {vf.nic: replace(vf, pf=here[vf.nic].pf, index=here[vf.nic].index) for vf in imposed if vf.nic in here}
    return replace(want, vfs=frozenset(known.values()))


def _placed(link: Link, found: dict[str, Link | None], have: State) -> Link:
    nic = found.get(link.nic) if isinstance(link, Loan) else None
    if not isinstance(link, Loan) or nic is None:
        return link
    before = before_of(nic, have)
    return replace(link, nic=_identity(nic), before=before, at=nic.dev if nic in have.links else before.dev)


def returning(want: State, have: State, mine: Marks) -> list[tuple[tuple[str, str], Loan]]:
    """Name the loans that end, by the places where they are now: `at` is the name of one that is on the host.

    They are those that bear our mark and that nobody wants, and whatever hardware is in a pod that goes, or in the
    place of another device.
    """
    kept = {loan.nic for pod in want.pods.values() for loan in lent(pod)}
    wanted = {(netns, link.dev) for netns, pod in want.pods.items() for link in pod.links}
    return [
        ((netns, dev), replace(remembered(loan, have), at="" if netns else dev))
        for (netns, dev), loan in loans(have, mine)
        if loan.nic not in kept and (loan.alias == mine.alias or netns not in want.pods or (netns, dev) in wanted)
    ]


def remembered(loan: Loan, have: State) -> Loan:
    """Say of a loan what it was before, also if its note was lost, and what it is to be called if its name is taken."""
    before = before_of(loan, have)
    taken = {other.dev for other in have.links if not (isinstance(other, Loan) and other.nic == loan.nic)}
    return replace(loan, before=replace(before, dev=_free(loan, have)) if before.dev in taken else before)


def before_of(link: Link, have: State) -> Before:
    """Say what a NIC was before its loan. Of one whose note was lost only the name is chosen: a free one."""
    vfs = {vf.nic: vf for vf in have.vfs}
    mac = getattr(link, "mac", NO_MAC)
    if not isinstance(link, Loan):
        return Before(link.dev, mac, link.mtu, link.up, vfs.get(_identity(link)))
    if link.before:
        return link.before
    return Before(_free(link, have), mac, link.mtu, up=False, vf=Vf(link.nic, NO_MAC) if link.nic in vfs else None)


def _free(loan: Loan, have: State) -> str:
    """Choose a name that nobody has, nor had before, and for each loan another."""
    all_lent = [other for space in (have, *have.pods.values()) for other in lent(space)]
    taken = {link.dev for link in have.links} | {other.before.dev for other in all_lent if other.before}
    free = (name for name in map("eth{}".format, itertools.count()) if name not in taken)
    return next(itertools.islice(free, sorted(other.nic for other in all_lent).index(loan.nic), None))


def obstacles(want: State, have: State, mine: Marks, uplink: str | None) -> Iterator[str]:
    """Say why pods cannot have the NICs that they are to get."""
    vfs = {vf.nic: vf for vf in have.vfs}
    imposed = {vf.nic: vf for vf in want.vfs}
    asked_for = (find(loan.nic, have, mine) for pod in want.pods.values() for loan in lent(pod))
    pfs = {vfs[nic].pf for nic in {_identity(link) for link in asked_for if link} & vfs.keys()}
    taken: dict[str, str] = {}
    for netns, pod in sorted(want.pods.items()):
        for loan in lent(pod):
            name = netns.removeprefix(mine.netns)
            said = f"`nics` gives {name} the NIC {loan.nic}, "
            found = find(loan.nic, have, mine)
            if found is None:
                yield said + _missing(loan.nic, have, vfs)
                continue
            nic = _identity(found)
            if nic in taken:
                yield f"{said}which is the one of {taken[nic]}; give each pod its own"
            taken[nic] = name
            why = _used(found, have, uplink, pfs)
            if why:
                yield f"{said}which {why}"
            asked = imposed.get(loan.nic)
            if nic not in vfs and asked and asked != Vf(asked.nic, asked.mac):
                yield f"{said}which is no virtual function here: take away what `nics` sets beside `nic`, or name a VF"
            pf = vfs[nic].pf if nic in vfs else ""
            if any(link.dev == pf and not link.up for link in have.links):
                yield f"{said}a virtual function of {pf}, which is down, so that nothing passes: ip link set {pf} up"


def _used(found: Link, have: State, uplink: str | None, pfs: set[str]) -> str | None:
    """Say what a NIC of the host's is there for already."""
    if isinstance(found, Loan):
        return None
    held = sorted(str(item.address) for item in have.addresses if item.dev == found.dev)
    masters = [getattr(found, "master", ""), *(port.bridge for port in have.ports if port.dev == found.dev)]
    master = next((name for name in masters if name), "")
    if found.dev == uplink:
        return "is the `uplink`: name another, or the host is cut off"
    if held:
        return f"is in use: it has the address {', '.join(held)}; name another, or take the address away"
    if master:
        return f"is a part of {master}; name another, or take it out (ip link set {found.dev} nomaster)"
    if found.dev in pfs:
        return "has virtual functions that pods are given; name one of these"
    if isinstance(found, Device) and not isinstance(found, Veth):
        return f"is a {type(found).__name__.lower()} and no NIC; name another"
    return None


def _missing(nic: str, have: State, vfs: dict[str, Vf]) -> str:
    for netns, pod in sorted(have.pods.items()):
        if any(nic in {loan.nic, loan.before.dev if loan.before else ""} for loan in lent(pod)):
            return f"which {netns} of another cluster has; name another"
    if nic in vfs:
        return (
            f"the virtual function {vfs[nic].index} of {vfs[nic].pf}, whose device is not on this host: it has no "
            "driver, or is in a namespace of somebody else's; give it back, or name another"
        )
    there = ", ".join(
        sorted(link.dev + (f" ({link.pci})" if isinstance(link, Nic) and link.pci else "") for link in have.links)
    )
    return (
        f"which is not on this host, nor in a pod; the host has {there}; name one, or make its virtual functions first"
    )
