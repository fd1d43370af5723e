"""The pages of docs/, followed on a lab as their reader would: each in the mode that it is about."""

import importlib
import re
from pathlib import Path

from podnet import modes
from podnet.facts import kinds, node
from podnet.inventory import read
from podnet.modes import Mode
from podnet.verify.inventory import load
from tests.docs_blocks import blocks, lab_options, matches, shape, steps
from tests.lab import nics
from tests.lab.at import CLONE, At

PAGES = sorted(
    (page for page in [CLONE / "README.md", *(CLONE / "docs").rglob("*.md")] if blocks(page, "console")),
    key=lambda page: (lab_options(page), page),
)
"""Those with console blocks. Pages that need the same lab stand together."""

CAPTURED = re.compile(r"tcpdump: |listening on |\d+ packets? (captured|received|dropped)")
CHANGES = re.compile(r"\b(add|del|set|flush)\b|sysctl -w")
"""What a command says that leaves a host otherwise than the mode has it."""


def mode(page: Path) -> str:
    """Name the mode that the page is about; vxlan, if it is about none."""
    return page.stem if page.parent.name == "modes" and page.stem != "README" else "vxlan"


def module(page: Path) -> Mode:
    """Import that mode."""
    return importlib.import_module(f"podnet.modes.{mode(page)}")


def lacking(at: At, page: Path) -> frozenset[str]:
    """Name the kinds of devices that the page's mode needs and the lab's kernel does not have."""
    if nics.needed(module(page)):
        return frozenset()
    cluster = read(load(at.inventory))
    needed = node.asked(modes.wanted(module(page), cluster, cluster.node("node1")))["device_kinds"]
    return kinds.parse(at.sh("node1", kinds.script(needed)).splitlines()) if needed else frozenset()


def lab(labs: dict[str, At], name: str, page: Path, *kind: str) -> At:
    """Make the lab that the page has its reader make; `labs` is the one that is up, by its options."""
    options = [*lab_options(page), *kind]
    if (key := " ".join(options)) not in labs:
        for other in [*labs]:
            labs.pop(other).down()
        labs[key] = At(name)
        labs[key].up(*options)
    return labs[key]


def inventory(at: At, page: Path) -> Path:
    """Return the inventory that the page has its reader use; where it gives NICs to pods, they are made first."""
    if not nics.needed(module(page)):
        return at.inventory
    for host in load(at.inventory):
        at.sh(host, nics.MAKE_VFS)
    return nics.inventory(at, "mine", {"pod1": nics.FIRST, "pod2": nics.SECOND})


def follow(at: At, page: Path) -> list[str]:
    """Type each command of the page on the host of its prompt; say what was printed that the page does not say."""
    wrong = []
    said = inventory(at, page)
    as_it_should_be = False
    for block in blocks(page, "console"):
        if not as_it_should_be:
            applied = at.apply(f"deploys/{mode(page)}.py", inventory=said)
            assert applied.code == 0, applied.log
        for host, command, shown in steps(block):
            done = at.try_sh(host, f"exec 2>&1\n{command}")
            seen = [line.rstrip() for line in done.out.splitlines() if not CAPTURED.match(line)]
            if not matches(shape(shown.splitlines()), shape(seen)):
                wrong.append("\n".join([f"{page.name}: {host}# {command}", *seen]))
        as_it_should_be = not any(CHANGES.search(command) for _, command, _ in steps(block))
    return wrong
