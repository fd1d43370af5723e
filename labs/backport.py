"""The QEMU that Debian has for this machine beside its own: igb, and its virtual functions, came with QEMU 8."""

import re
import shutil
import subprocess
from pathlib import Path

from podnet.labs import apt, recipe

SYSTEM = "qemu-system-x86_64"
IGB_SINCE = (8, 0)
PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")


def unpack(draft: Path, into: Path) -> None:
    """Fetch a QEMU with igb from Debian's backports, unless this machine's own has it; say so if there is none."""
    own = version((SYSTEM,))
    if numbers(own) >= IGB_SINCE:
        return
    source = apt.backports(recipe.SUITE)
    folder = draft / "apt"
    (folder / "lists/partial").mkdir(parents=True)
    (folder / "sources.list").write_text(f"{source}\n")
    options = [
        *("-qq", "-o", f"Dir::Etc::SourceList={folder}/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null"),
        *("-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}", "-o", "APT::Sandbox::User=root"),
    ]
    wanted = [f"{package}/{recipe.SUITE}-backports" for package in PACKAGES]
    for words in (["update"], ["download", *wanted]):
        done = subprocess.run(["apt-get", *options, *words], check=False, cwd=folder, capture_output=True, text=True)
        if done.returncode or not source:
            print(f"QEMU {own} has no igb, and {recipe.SUITE}-backports is not in reach: VMs get no eth1")
            print(done.stderr.strip())
            return
    for package in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", package, draft / "qemu"], check=True)
    shutil.move(draft / "qemu", into)


def version(command: tuple[str, ...]) -> str:
    """Ask a QEMU which one it is."""
    said = subprocess.run([*command, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout
    (number,) = re.findall(r"version (\S+)", said)
    return str(number)


def numbers(version: str) -> tuple[int, ...]:
    """Return a version so that it can be compared."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
