"""What each mode does to a freshly installed host, as text that an administrator reads.

`python -m tests.core.goldens` writes tests/core/golden/MODE.txt anew for every mode, to be reviewed as a diff;
`python -m tests.core.goldens MODE` prints one.
"""

import importlib
import pkgutil
import sys
from pathlib import Path

from podnet import modes
from podnet.batch import sections
from podnet.cluster import Cluster
from podnet.modes import Mode
from podnet.plan import plan
from tests.core.examples import cluster
from tests.core.kernel import host, machine

FOLDER = Path(__file__).parent / "golden"
MODES = sorted(module.name for module in pkgutil.iter_modules(modes.__path__))


def mode(name: str) -> Mode:
    """Import the mode of that name."""
    return importlib.import_module(f"podnet.modes.{name}")


def text(name: str, of: Cluster, node: str = "node1") -> str:
    """Write down every command that puts the node of that cluster into the mode, and what each is fed."""
    want = modes.wanted(mode(name), of, of.node(node))
    kernel = machine() if want.vfs else host()
    written = (
        f"{section.command}\n" + "".join(f"    {line}\n" for line in section.lines)
        for section in sections(plan(want, kernel.see(want)))
    )
    return "".join(written)


if __name__ == "__main__":
    for asked in sys.argv[1:]:
        sys.stdout.write(text(asked, cluster()))
    for each in MODES if not sys.argv[1:] else ():
        (FOLDER / f"{each}.txt").write_text(text(each, cluster()))
