"""Files on the host: what keeps its own programs off our devices, and what brings all back after a reboot.

None is ever half: each is written beside itself, seen to be on the disk, and renamed.
"""

from collections.abc import Iterable, Iterator

from podnet import marks
from podnet.marks import FOLDER
from podnet.plan import Plan
from podnet.section import Section
from podnet.state import File, Symlink
from podnet.support import NETWORKD, SYSTEMD


def warn(plan: Plan) -> Iterator[Section]:
    """Tell the host's own programs which devices are ours, before they see any of them."""
    told = [item for item in _written(plan) if not _at_boot(item)]
    yield from _place(told)
    if NETWORKD in plan.running and any(marks.of_place(item.path) == marks.NETWORK for item in told):
        yield Section("systemctl try-reload-or-restart systemd-networkd.service")


def leave(plan: Plan) -> Iterator[Section]:
    """Leave what makes all this again after a reboot."""
    left = [item for item in _written(plan) if _at_boot(item)]
    yield from _place(left)
    yield from _reload(plan, left)


def forget(plan: Plan) -> Iterator[Section]:
    """Remove files that nobody wants, first of all what would run at the next boot."""
    gone = [item for item in plan.tables["files"].remove if isinstance(item, File | Symlink)]
    gone.sort(key=_in_order)
    units = [item.path.rpartition("/")[2] for item in gone if marks.of_place(item.path) == marks.UNIT]
    if SYSTEMD in plan.running:
        yield from (Section(f"systemctl stop {unit}") for unit in units)
    if gone:
        yield Section(f"rm -f {' '.join(item.path for item in gone)}")
    yield from _reload(plan, gone)
    if SYSTEMD in plan.running:
        # A pattern, because a unit's whole name is refused once there is no such unit any more.
        yield from (Section(f"systemctl reset-failed '{unit}*'") for unit in units)


def flush(plan: Plan) -> Iterator[Section]:
    """See that names on the disk are what they are here: a power cut would bring back what was renamed or removed."""
    changed = [*_written(plan), *plan.tables["files"].remove]
    folders = {item.path.rpartition("/")[0] for item in changed if isinstance(item, File | Symlink)}
    if folders:
        there = sorted(folders - {FOLDER} | {FOLDER.rpartition("/")[0]} | ({FOLDER} if plan.want.files else set()))
        yield Section(f"sync {' '.join(there)}")


def _reload(plan: Plan, changed: Iterable[File | Symlink]) -> Iterator[Section]:
    if SYSTEMD in plan.running and any(marks.of_place(item.path) in {marks.UNIT, marks.ENABLED} for item in changed):
        yield Section("systemctl daemon-reload")


def _written(plan: Plan) -> list[File | Symlink]:
    """List what is to be written, each after what it speaks of: the script, the unit, that it is enabled."""
    added, changed, _ = plan.tables["files"]
    items = [item for item in (*added, *(new for _, new in changed)) if isinstance(item, File | Symlink)]
    return sorted(items, key=_in_order, reverse=True)


def _in_order(item: File | Symlink) -> tuple[int, str]:
    return marks.PLACES.index(marks.of_place(item.path)), item.path


def _at_boot(item: File | Symlink) -> bool:
    return marks.of_place(item.path) in {
        marks.SCRIPT,
        marks.UNIT,
        marks.ENABLED,
        marks.MODULES,
        marks.TMPFILES,
        *marks.FOR_OTHERS,
    }


def _place(items: Iterable[File | Symlink]) -> Iterator[Section]:
    """Write files beside themselves, see that they are on the disk, and rename them: none is ever half."""
    beside = [(item, f"{item.path}{marks.BESIDE}") for item in items]
    for item, path in beside:
        if isinstance(item, File):
            yield Section(f"install -D -m {item.mode} /dev/stdin {path}", tuple(item.text.splitlines()))
        else:
            yield Section(f"mkdir -p {path.rpartition('/')[0]}")
            yield Section(f"ln -sfn {item.to} {path}")
    if whole := [path for item, path in beside if isinstance(item, File)]:
        yield Section(f"sync {' '.join(whole)}")
    for item, path in beside:
        yield Section(f"mv {path} {item.path}")
