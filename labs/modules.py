"""The kernel module that hosts need and cannot load: containers share this machine's kernel."""

import subprocess
from pathlib import Path

from podnet.labs.error import LabError

NAME = "br_netfilter"
SWITCHES = Path("/proc/sys/net/bridge")


def load(labs: Path) -> None:
    """Load br_netfilter unless the kernel has it; note in the directory of all labs that it was us.

    We would like to have it in the hosts alone; the kernel has this machine's own bridges meet iptables as well
    from the moment that it is loaded; hence its switches are turned off here. A new namespace begins with its own,
    turned on.
    """
    if SWITCHES.exists():
        return
    done = subprocess.run(["modprobe", NAME], check=False, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"this kernel lacks {NAME}, which hosts need ({done.stderr.strip()}): install its modules")
    for switch in SWITCHES.glob("bridge-nf-call-*"):
        switch.write_text("0\n")
    labs.mkdir(exist_ok=True)
    (labs / NAME).touch()
    print(f"loaded the module {NAME}, turned off for this machine's own bridges; the last `podnet lab down` unloads it")


def unload(labs: Path) -> None:
    """Unload what `load` loaded, once no lab is left."""
    note = labs / NAME
    if note.exists() and list(labs.iterdir()) == [note]:
        done = subprocess.run(["modprobe", "--remove", NAME], check=False, capture_output=True, text=True)
        if done.returncode:
            raise LabError(f"the module {NAME} cannot be unloaded ({done.stderr.strip()}): `modprobe -r {NAME}` later")
        note.unlink()
