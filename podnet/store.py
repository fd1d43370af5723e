"""The store of the CNI plugin host-local, where our pods' addresses stand too: no container is ever given one of them.

It is a folder for each network, in it a file for each address that somebody has. Whoever takes one holds the lock of
the folder meanwhile (flock(2) on the file `lock`), so that it is given once, also when both come at the same moment.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from podnet.marks import LAST_RESERVED, STORE
from podnet.plan import Plan
from podnet.section import Section
from podnet.state import Item, Reservation

PATIENCE = 60
"""Seconds that the lock is waited for; host-local holds it for a moment."""

HELD = f"has been held for {PATIENCE} s; see by whom (fuser), and end that"
BEGIN = (
    'cd "$1"',
    "umask 077",
    "exec 8>>lock",
    f'flock -w {PATIENCE} 8 || {{ echo "$1/lock {HELD}" >&2; exit 1; }}',
    r"cr=$(printf '\r')",
    'holder() { who=; if [ -e "$1" ]; then read -r who <"$1" || test $? = 1; fi; who=${who%"$cr"}; }',
    "ours() { case $who in '' | {ours}*) ;; *) return 1 ;; esac; }",
)
"""How a script begins that reads and writes the store. A file without a word is what a cut has left."""

TAKE = (
    "free() {",
    '  holder "$1"',
    '  ours || { echo "nothing was changed: $1, which $2 needs, was just given to container $who" >&2; exit 1; }',
    "}",
    "take() {",
    f'  if [ -e "$1" ]; then rm "$1"; elif [ -e {LAST_RESERVED} ]; then printf %s "$1" >{LAST_RESERVED}; fi',
    # By `set -C` it is made by nobody else, even if somebody does not care about the lock.
    r"""  set -C; printf '%s\r\n%s' "$2" "$3" >"$1"; set +C""",
    "}",
)
"""First all are seen to be free, or ours, and only then one is taken. It is written as host-local writes it, and if
that has ever been there, it is told where to go on: an address is not given again as soon as it is given back."""

GIVE = ('give() { holder "$1"; if [ -e "$1" ] && ours; then rm "$1"; fi; }',)

EMPTY = ('if [ "$(ls -A)" = lock ]; then rm lock; rmdir "$1"; fi',)
"""A folder in which no plugin has ever reserved anything goes with the last of ours."""


def reserve(plan: Plan) -> Iterator[Section]:
    """Write our pods' addresses into the store; all of them, or none if one is somebody else's."""
    added, changed, _ = plan.tables["reservations"]
    for network, mine in _by_network([*added, *(new for _, new in changed)]):
        yield Section(f"mkdir -p {STORE}/{network}")
        each = [f'  "$1" {item.address} {item.container} {item.dev}' for item in mine]
        yield _script(network, *TAKE, "each() {", *each, "}", "each free", "each take")


def release(plan: Plan) -> Iterator[Section]:
    """Take out of the store what is ours, and nobody uses any more."""
    for network, mine in _by_network(plan.tables["reservations"].remove):
        gone = [f"give {item.address}" for item in mine]
        yield _script(network, *GIVE, *gone, *(() if plan.want.reservations else EMPTY))


def _script(network: str, *lines: str) -> Section:
    begin = [line.replace("{ours}", f"{network}-") for line in BEGIN]
    return Section(f"sh -eu -s {STORE}/{network}", (*begin, *lines))


def _by_network(items: Iterable[Item]) -> Iterator[tuple[str, list[Reservation]]]:
    found: dict[str, list[Reservation]] = defaultdict(list)
    for item in items:
        if isinstance(item, Reservation):
            found[item.network].append(item)
    yield from found.items()
