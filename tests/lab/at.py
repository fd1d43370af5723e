"""A running lab as the tests use it: by podnet's, pyinfra's and pytest's own command lines."""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from podnet import boot, modes
from podnet.batch import sections
from podnet.cluster import Cluster
from podnet.differences import differences
from podnet.facts import node
from podnet.inventory import read
from podnet.keys import resolve
from podnet.labs import lab
from podnet.labs.error import LabError
from podnet.labs.home import named
from podnet.operations.writing import script
from podnet.plan import plan
from podnet.section import Section
from podnet.state import State
from podnet.support import supported
from podnet.verify.inventory import load
from tests import shown

CLONE = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err


def run(*words: str | Path, cwd: Path = CLONE, given: str = "") -> Done:
    """Run a command of the virtual environment to its end, whatever that is."""
    command = [str(BIN / words[0]), *map(str, words[1:])]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, input=given, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def until(holds: Callable[[], bool], seconds: float, why: str) -> None:
    """Wait until something holds; fail after that many seconds, saying what was waited for."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"after {seconds} s still waiting until {why}"


INTERRUPTIBLE = ("env", "--default-signal=INT")
"""What to start a command by that is to be interrupted: where the shell put tests into the background, nobody is."""


@dataclass(frozen=True)
class Applied:
    """What pyinfra reports of a run: who was changed, who was not, who failed."""

    code: int
    changed: frozenset[str]
    unchanged: frozenset[str]
    failed: frozenset[str]
    log: str


@cache
def cluster_of(inventory: Path, _: str) -> Cluster:
    """Read an inventory once for each shape of its lab: pyinfra takes half a second to do so."""
    return read(load(inventory))


@dataclass(frozen=True)
class At:
    """One lab, by its name."""

    name: str

    @property
    def path(self) -> Path:
        return CLONE / ".lab" / self.name

    @property
    def inventory(self) -> Path:
        return self.path / "inventory.py"

    def up(self, *options: str) -> None:
        """Make the lab, or change it; fail if that fails."""
        done = run("podnet", "lab", "up", "--name", self.name, *options)
        assert done.code == 0, done.said

    def reboot(self, *hosts: str) -> None:
        """Have hosts boot, as by `systemctl reboot`; `--hard` among them cuts their power first."""
        done = run("podnet", "lab", "reboot", "--name", self.name, *hosts)
        assert done.code == 0, done.said

    def crash(self, host: str) -> None:
        """Have a host start anew without being told to stop, as when its power fails for a moment."""
        before = self._boot(host)
        self.try_sh(host, "systemctl --force --force reboot")
        until(lambda: self._boot(host) not in {before, ""}, 120, f"{host} has booted")

    def _boot(self, host: str) -> str:
        return self.try_sh(host, "cat /proc/sys/kernel/random/boot_id").out

    def down(self) -> None:
        done = run("podnet", "lab", "down", "--name", self.name)
        assert done.code == 0, done.said

    def sh(self, host: str, script: str) -> str:
        """Run a shell script on a host, without its sshd, and return what it printed; fail if it fails."""
        done = self.try_sh(host, script)
        assert done.code == 0, f"{host}: {script}: {done.said}"
        return done.out

    def try_sh(self, host: str, script: str) -> Done:
        """Run what `podnet lab exec` becomes: thousands of times a Python less is started."""
        command = ["sh", "-euc", script]
        if os.geteuid() != 0:
            return run("podnet", "lab", "exec", "--name", self.name, host, "--", *command)
        try:
            words = lab.inside(named(self.name), host, command)
        except LabError as e:
            return Done(1, "", str(e))
        done = subprocess.run(words, cwd=CLONE, capture_output=True, text=True, input="", check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    def apply(self, deploy: str = "deploys/vxlan.py", *options: str, inventory: Path | None = None) -> Applied:
        """Run a deploy unattended."""
        done = run("pyinfra", "-y", "--json", *options, inventory or self.inventory, deploy)
        if not done.out:  # pyinfra gives up without a report if it has no host left
            return Applied(done.code, frozenset(), frozenset(), frozenset(), done.err)
        report: dict[str, Any] = json.loads(done.out)["results"]
        changed = {host for operation in report["operations"] for host in operation["success"]}
        return Applied(
            done.code,
            changed=frozenset(changed),
            unchanged=frozenset(host for op in report["operations"] for host in op["no_change"]) - changed,
            failed=frozenset(report["failed_hosts"]),
            log=done.err,
        )

    def into(self, mode: str, **also: Any) -> Applied:
        """Put all hosts into a mode; fail if that fails."""
        applied = self.apply(f"deploys/{mode}.py", **also)
        assert applied.code == 0, applied.log
        return applied

    def verify(
        self,
        *options: str | Path,
        mode: str = "vxlan",
        hosts: str = "node1,node2,node3",
        inventory: Path | None = None,
    ) -> Done:
        """Run the verification as a user does, and note what it has shown of a mode, if one is named."""
        asked = [
            f"--hosts={hosts}",
            f"--inventory={inventory or self.inventory}",
            *([f"--mode={mode}"] if mode else []),
        ]
        with tempfile.TemporaryDirectory() as folder:
            junit = Path(folder, "junit.xml")
            done = run("pytest", *asked, f"--junitxml={junit}", *options)
            if junit.exists() and mode:
                shown.read(junit, mode, self.kind)
        return done

    @property
    def kind(self) -> str:
        """Say of what kind its hosts are (podnet.labs.plan)."""
        kind: str = json.loads((self.path / "lab.json").read_text())["kind"]
        return kind

    def verify_state(self, mode: str = "vxlan") -> Done:
        """Run the part of it that compares kernel tables."""
        return self.verify("podnet/verify/test_state.py", mode=mode)

    def commands(self, host: str) -> int:
        """Count the commands that the host's sshd has run."""
        return int(
            self.sh(host, "journalctl --unit ssh --output cat | grep -c 'Starting session: command' || test $? = 1")
        )

    def wanted(self, host: str, mode: str = "vxlan", inventory: Path | None = None) -> tuple[State, Cluster]:
        """Compute what a host should hold."""
        cluster = cluster_of(inventory or self.inventory, (self.path / "lab.json").read_text())
        module: Any = importlib.import_module(f"podnet.modes.{mode}")
        return modes.wanted(module, cluster, cluster.node(host)), cluster

    def possible(self, host: str, mode: str) -> State:
        """Compute what a host should hold of that, being as it is: no files for programs that it has not."""
        want, _ = self.wanted(host, mode)
        return supported(want, self.have(host, want))

    def differences(self, host: str, mode: str = "vxlan", inventory: Path | None = None) -> list[str]:
        """Compare a host's tables with the computed ones, as the verification does, but in this process."""
        return self.look(host, mode, inventory)[0]

    def look(self, host: str, mode: str = "vxlan", inventory: Path | None = None) -> tuple[list[str], list[Section]]:
        """Read a host's tables once; say what differs from the computed ones, and what an apply would run."""
        want, cluster = self.wanted(host, mode, inventory)
        have = self.have(host, want)
        settled = self._settled(want, have, cluster, host)
        return differences(settled, have, cluster.marks), sections(plan(settled, have, cluster.marks))

    @property
    def cluster(self) -> Cluster:
        return cluster_of(self.inventory, (self.path / "lab.json").read_text())

    def have(self, host: str, want: State) -> State:
        """Read a host's tables, and what else is needed to compare them with `want`."""
        return node.parse(self.sh(host, node.script(**node.asked(want))).splitlines())

    def todo(self, host: str, mode: str) -> list[Section]:
        """Say what an apply would run on a host."""
        return self.look(host, mode)[1]

    def _settled(self, want: State, have: State, cluster: Cluster, host: str) -> State:
        """Fit what is wanted to the host; what it says itself of its key, and of its peers', is believed here."""
        own = have.keys.get(cluster.marks.alias)
        return boot.fitted(resolve(want, {host: own} if own else {}, have), cluster, cluster.node(host), have)

    def carry_out(self, host: str, sections: list[Section]) -> None:
        """Run a part of that, as if the rest had been cut off."""
        self.sh(host, script(sections))

    def off(self, *hosts: str) -> None:
        """Pull the plug of hosts, all at once."""
        for host in hosts:
            self.try_sh(host, "systemctl --force --force poweroff")
        done = [f"{host} " for host in hosts]
        until(lambda: all("stopped" in self.status(host) for host in done), 60, f"{', '.join(hosts)} have stopped")

    def status(self, host: str) -> str:
        """Return the line that `podnet lab status` has about a host."""
        said = run("podnet", "lab", "status", "--name", self.name).out
        return next(line for line in said.splitlines() if line.startswith(host))

    def back(self, *hosts: str, seconds: float = 30) -> None:
        """Wait until hosts that were started have made their networks by themselves."""
        unit = f"{self.cluster.marks.alias}.service"
        for host in hosts:
            self.sh(host, f"timeout {seconds} sh -c 'until systemctl -q is-active {unit}; do sleep 0.2; done'")
