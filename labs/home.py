"""The directory of a lab, .lab/NAME: what lies there under which name."""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from podnet.labs.cgroup import Cgroup
from podnet.labs.error import LabError
from podnet.labs.plan import Lab, check_name

DEFAULT = "lab"


def clone() -> Path:
    """Return the directory that .lab lies in: the clone that this file is part of, else where we stand."""
    above = Path(__file__).resolve().parent.parent
    return above if (above / "pyproject.toml").exists() else Path.cwd()


def named(name: str) -> "Home":
    """Return the place of the lab of that name, whether there is one or not."""
    check_name(name)
    return Home(clone() / ".lab" / name)


def running() -> list["Home"]:
    """Return the places of the labs of this clone that run."""
    return [home for path in sorted((clone() / ".lab").glob("*/lab.json")) if (home := Home(path.parent)).runs]


@dataclass(frozen=True)
class Home:
    """One lab's directory."""

    path: Path

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.path.name

    @property
    def tag(self) -> str:
        """A name for what the lab has outside of its directory: no other clone's lab has the same."""
        return f"podnet-{self.name}-{hashlib.sha256(bytes(self.path)).hexdigest()[:8]}"

    @property
    def cgroup(self) -> Cgroup:
        """The group that all processes of the lab are in."""
        return Cgroup(self.tag)

    @property
    def keeper(self) -> int | None:
        """The process that keeps the lab, if it runs."""
        return (self.cgroup / "keeper").init()

    @property
    def runs(self) -> bool:
        """Whether any process of the lab does."""
        return bool(self.cgroup.pids())

    @property
    def ssh_config(self) -> Path:
        """What `ssh -F` and its like are given."""
        return self.path / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        """The hosts' public keys, by port."""
        return self.path / "known_hosts"

    @property
    def key(self) -> Path:
        """The private key that opens every host of the lab."""
        return self.path / "key"

    @property
    def inventory(self) -> Path:
        """An inventory of this lab alone."""
        return self.path / "inventory.py"

    @property
    def log(self) -> Path:
        """What the keeper complained about."""
        return self.path / "keeper.log"

    def console(self, host: str) -> Path:
        """Return where is written what the host and its nspawn said."""
        return self.path / host / "console.log"

    def host_key(self, host: str) -> Path:
        """Return where the private key is by which the host proves who it is."""
        return self.path / host / "ssh_host_ed25519_key"

    def saved(self) -> bool:
        """Whether a lab was begun here."""
        return (self.path / "lab.json").exists()

    def load(self) -> tuple[Lab, dict[str, int]]:
        """Return the lab's shape, and its hosts' ports."""
        if not self.saved():
            raise LabError(f"there is no lab {self.name}: `podnet lab up{self.option}` makes one")
        file = self.path / "lab.json"
        try:
            return parse(self.name, file.read_bytes())
        except ValueError as error:
            raise LabError(f"{file} is broken: `podnet lab down{self.option}` removes the lab") from error

    def save(self, lab: Lab, ports: dict[str, int]) -> None:
        """Write down the shape and the ports, whole or not at all."""
        saved = {"kind": lab.kind, **lab.numbers, "ports": ports}
        draft = self.path / "lab.json.new"
        draft.write_text(json.dumps(saved, indent=1) + "\n")
        draft.replace(self.path / "lab.json")

    @property
    def option(self) -> str:
        """What names this lab on podnet's command line."""
        return "" if self.name == DEFAULT else f" --name {self.name}"

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Keep every other podnet off this lab; yield the descriptor that holds the lock."""
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._wait_for(lock)
                # Whoever had the lock before us may have removed the directory: then ours locks nothing.
                if self.path.exists() and self.path.stat().st_ino == os.fstat(lock).st_ino:
                    yield lock
                    return
            finally:
                os.close(lock)

    def _wait_for(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another podnet that works on lab {self.name}", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)


def parse(name: str, saved: bytes) -> tuple[Lab, dict[str, int]]:
    """Read what `save` wrote; ValueError if it is anything else."""
    match json.loads(saved):
        case {
            "kind": "containers" | "VMs" as kind,
            "hosts": int(hosts),
            "segments": int(segments),
            "mtu": int(mtu),
            "ports": dict(ports),
        } if all(isinstance(port, int) for port in ports.values()):
            try:
                return Lab(name, hosts, segments, mtu, kind), ports
            except LabError as error:
                raise ValueError(str(error)) from error
    raise ValueError("no lab")
