"""Debian's programs on a lab's hosts that no lab has by itself: what others need there, and what measures."""

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from podnet.labs import apt, recipe
from tests.lab.at import BIN, CLONE, At

KEPT = CLONE / ".bench"


def give(at: At, hosts: Iterable[str], packages: Sequence[str], parts: Sequence[str]) -> None:
    """Unpack parts of packages on hosts; what is fetched once is kept."""
    tree = KEPT / f"{packages[0]}.tar"
    if not tree.exists():
        _fetch(packages, tree)
    unpack = ["tar", "--extract", "--file=-", "--directory=/", "--wildcards", "--exclude=*/test", *parts]
    for host in hosts:
        with tree.open("rb") as debs:
            enter = [str(BIN / "podnet"), "lab", "exec", "--name", at.name, host, "--"]
            subprocess.run([*enter, *unpack], stdin=debs, check=True)


def _fetch(packages: Sequence[str], tree: Path) -> None:
    """Get packages, and what they depend on, from where the labs' images come from."""
    KEPT.mkdir(exist_ok=True)
    draft = tree.with_name(f"draft-{tree.name}")
    options = [f"--include={','.join(packages)}", *(f"--aptopt={setting}" for setting in apt.settings())]
    command = ["mmdebstrap", "--mode=root", "--variant=extract", *options, recipe.SUITE, str(draft)]
    subprocess.run([*command, *apt.sources(recipe.SUITE)], check=True, stderr=subprocess.DEVNULL)
    draft.rename(tree)
