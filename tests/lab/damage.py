"""How to take away by hand one item of each table of a host, whatever mode it is in."""

from collections.abc import Iterator

from podnet import spell
from podnet.marks import STORE
from podnet.state import TABLES, File, Item, Nic, Offload, Reservation, State, Symlink, Sysctl, WgPeer


def one_of_each(want: State) -> Iterator[tuple[str, str]]:
    """Spell the damages, on the host and in its first pod, each with words that the difference must then contain."""
    yield from _of("", want)
    for netns in sorted(want.pods)[:1]:
        yield from _of(netns, want.pods[netns])


def _of(netns: str, state: State) -> Iterator[tuple[str, str]]:
    enter = f"ip netns exec {netns} " if netns else ""
    for table in TABLES:
        items: list[Item] = sorted(getattr(state, table), key=lambda item: (isinstance(item, Nic), item.key))
        if not items or isinstance(items[0], WgPeer):  # a peer goes by its key, which only its host knows
            continue
        match items[0]:
            case Sysctl() as item:
                yield f"{enter}sysctl -q -w {item.path}={0 if item.value != '0' else 1}", item.path
            case Offload() as item:
                other = "off" if item.on else "on"
                yield f"{enter}ethtool -K {item.dev} {item.FEATURE} {other}", f"wrong checksum offload: {item.dev}"
            case Nic() as item:
                yield f"{enter}ip link set {item.dev} down", item.dev
            case File() | Symlink() as item:
                yield f"rm {item.path}", f"missing file: {item.path}"
            case Reservation() as item:
                yield f"rm {STORE}/{item.network}/{item.address}", f"missing reserved address: {item.address}"
            case item:
                yield from _removed(enter, spell.remove(item))


def _removed(enter: str, lines: list[str]) -> Iterator[tuple[str, str]]:
    if lines[0].startswith("*"):
        text = "\\n".join(lines)
        yield f"printf '{text}\\n' | iptables-restore --noflush", "missing firewall chain"
    else:
        program = "bridge" if lines[0].startswith("fdb") else "ip"
        yield f"{enter}{program} {lines[0]}", "missing"
