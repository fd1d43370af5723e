"""What each mode does to a freshly installed host, as text that an administrator reads.

`python -m tests.core.goldens` writes tests/core/golden/MODE.txt anew for every mode, to be reviewed as a diff;
`python -m tests.core.goldens MODE` prints one. Of the script for the next boot, which says the same once more, the
lines are only counted; that of one mode stands whole in tests/core/boot.sh.
"""

import importlib
import pkgutil
import sys
from pathlib import Path

from podnet import modes
from podnet.batch import sections
from podnet.cluster import Cluster
from podnet.marks import SCRIPT, Marks
from podnet.modes import Mode, vxlan
from podnet.plan import plan
from podnet.section import Section
from podnet.state import File
from tests.core.examples import cluster
from tests.core.kernel import host, machine

FOLDER = Path(__file__).parent / "golden"
BOOT = Path(__file__).parent / "boot.sh"
MODES = sorted(module.name for module in pkgutil.iter_modules(modes.__path__))


def mode(name: str) -> Mode:
    """Import the mode of that name."""
    return importlib.import_module(f"podnet.modes.{name}")


def text(name: str, of: Cluster, node: str = "node1") -> str:
    """Write down every command that puts the node of that cluster into the mode, and what each is fed."""
    want = modes.wanted(mode(name), of, of.node(node))
    kernel = machine() if want.vfs else host()
    return "".join(f"{section.command}\n{_fed(section)}" for section in sections(plan(want, kernel.see(want))))


def _fed(section: Section) -> str:
    if Marks().place(SCRIPT) in section.command and section.lines:
        return f"    ... {len(section.lines)} lines\n"
    return "".join(f"    {line}".rstrip() + "\n" for line in section.lines)


def boot_script(of: Cluster, node: str = "node1") -> str:
    """Return the script that a node of that cluster boots with."""
    left = modes.wanted(vxlan, of, of.node(node)).files
    return next(file.text for file in left if isinstance(file, File) and file.path == of.marks.place(SCRIPT))


if __name__ == "__main__":
    for asked in sys.argv[1:]:
        sys.stdout.write(text(asked, cluster()))
    for each in MODES if not sys.argv[1:] else ():
        (FOLDER / f"{each}.txt").write_text(text(each, cluster()))
    if not sys.argv[1:]:
        BOOT.write_text(boot_script(cluster()))
