"""Namespaces of the run's own, where libvirt, its networks and its machines live, and commands that are run there."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from podnet.labs import box
from tests.vagrant import init

CLONE = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
DOT = init.FOLDER / "dot"
CONSOLES = init.FOLDER / "consoles"
HOME = init.FOLDER / "home"
OWN = {
    "HOME": HOME,
    "PATH": f"{BIN}:{os.environ['PATH']}",
    "VAGRANT_HOME": init.FOLDER / "vagrant.d",
    "VAGRANT_DOTFILE_PATH": DOT,
    "VAGRANT_CWD": CLONE,
    "VAGRANT_DEFAULT_PROVIDER": "libvirt",
    "VAGRANT_CHECKPOINT_DISABLE": "1",
    "PODNET_VAGRANT_BOX": box.NAME,
    "PODNET_VAGRANT_DRIVER": "qemu",
    "PODNET_VAGRANT_CONSOLES": CONSOLES,
}
# Whoever starts them may be killed: then unshare is, then process 1 of the pid namespace, then all others in it.
MORTAL = ("setpriv", "--pdeathsig", "KILL")
NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    said: str


@dataclass(frozen=True)
class World:
    """The namespaces, by the process that is number 1 in them."""

    init: int

    def run(self, *words: str | Path) -> Done:
        """Run a command in the clone, with a Vagrant that is the run's own; show what it says as it says it."""
        print(f"\n$ {' '.join(map(str, words))}", flush=True)
        start = time.monotonic()
        said = []
        with subprocess.Popen(
            self.inside(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as running:
            assert running.stdout
            for line in running.stdout:
                said.append(line)
                print(f"  {line}", end="", flush=True)
        print(f"  ({time.monotonic() - start:.0f} s, exit status {running.returncode})", flush=True)
        return Done(running.returncode, "".join(said))

    def did(self, *words: str | Path) -> str:
        """Run a command that must succeed; return what it said."""
        done = self.run(*words)
        assert done.code == 0, done.said
        return done.said

    def inside(self, *words: str | Path) -> list[str]:
        """Return the command that runs these words there."""
        enter = ("nsenter", "--target", self.init, "--net", "--mount", "--pid", "env", f"--chdir={CLONE}")
        return [str(word) for word in (*MORTAL, *enter, *(f"{name}={value}" for name, value in OWN.items()), *words)]


@contextmanager
def world() -> Iterator[World]:
    """Make the namespaces, with libvirtd in them; end all that is there."""
    start = [*MORTAL, *NAMESPACES, sys.executable, init.__file__]
    with subprocess.Popen(start, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as unshare:
        try:
            assert unshare.stdout
            assert unshare.stdout.readline() == "ready\n", "libvirtd did not start"
            (first,) = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split()
            here = World(int(first))
            here.did("mkdir", HOME, CONSOLES)
            yield here
        finally:
            unshare.kill()
