"""Which QEMU runs the VMs: this machine's own, or a newer one that Debian has for it."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from podnet.labs import apt, recipe

SYSTEM = "qemu-system-x86_64"
IGB_SINCE = 8
PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")


@dataclass(frozen=True)
class Qemu:
    """A QEMU and how it runs code: by "kvm" or "tcg"."""

    command: tuple[str, ...]
    version: str
    accel: str = "tcg"

    @property
    def major(self) -> int:
        """The number before the first point."""
        return int(self.version.split(".")[0])

    @property
    def has_igb(self) -> bool:
        """Whether it has a NIC with virtual functions."""
        return self.major >= IGB_SINCE


def found(unpacked: Path) -> Qemu:
    """Return the unpacked one, if there is one, else the machine's own."""
    command: tuple[str, ...] = (SYSTEM,)
    if unpacked.exists():
        share = unpacked / "usr/share"
        modules = next(unpacked.glob("usr/lib/*/qemu"))  # else it would load those of the machine's own QEMU
        command = ("env", f"QEMU_MODULE_DIR={modules}", str(unpacked / "usr/bin" / SYSTEM))
        command += ("-L", str(share / "qemu"), "-L", str(share / "seabios"))
    return Qemu(command, version(command))


def version(command: tuple[str, ...]) -> str:
    """Ask a QEMU which one it is."""
    said = subprocess.run([*command, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout
    (number,) = re.findall(r"version (\S+)", said)
    return str(number)


def unpack(draft: Path, into: Path) -> None:
    """Fetch a QEMU with igb from Debian's backports, unless this machine's own has it; say so if there is none."""
    own = Qemu((SYSTEM,), version((SYSTEM,)))
    if own.has_igb:
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
            print(f"QEMU {own.version} has no igb, and {recipe.SUITE}-backports is not in reach: VMs get no eth1")
            print(done.stderr.strip())
            return
    for package in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", package, draft / "qemu"], check=True)
    shutil.move(draft / "qemu", into)
