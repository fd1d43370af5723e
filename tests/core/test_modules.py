"""The lab loads br_netfilter only where it is missing, out of the machine's way, and unloads what it loaded."""

import subprocess
from pathlib import Path

import pytest

from podnet.labs import modules
from podnet.labs.error import LabError


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Stand in for modprobe: it makes the module's switches appear, and is noted."""
    commands: list[list[str]] = []
    switches = tmp_path / "bridge"

    def modprobe(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        switches.mkdir(exist_ok=True)
        (switches / "bridge-nf-call-iptables").write_text("1\n")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(modules, "SWITCHES", switches)
    monkeypatch.setattr(subprocess, "run", modprobe)
    return commands


def test_module_is_loaded_turned_off_and_unloaded_with_the_last_lab(ran: list[list[str]], tmp_path: Path) -> None:
    """A second lab loads nothing; while one is left nothing is unloaded."""
    labs = tmp_path / "labs"
    modules.load(labs)
    modules.load(labs)
    assert ran == [["modprobe", "br_netfilter"]]
    assert (tmp_path / "bridge" / "bridge-nf-call-iptables").read_text() == "0\n"
    (labs / "other").mkdir()
    modules.unload(labs)
    assert len(ran) == 1
    (labs / "other").rmdir()
    modules.unload(labs)
    assert ran[1] == ["modprobe", "--remove", "br_netfilter"]
    assert list(labs.iterdir()) == []


def test_module_that_was_there_stays(ran: list[list[str]], tmp_path: Path) -> None:
    """Where the kernel has it already, neither up nor down runs modprobe."""
    (tmp_path / "bridge").mkdir()
    (tmp_path / "labs").mkdir()
    modules.load(tmp_path / "labs")
    modules.unload(tmp_path / "labs")
    assert ran == []


def test_kernel_without_the_module_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The refusal says what is missing and what to do."""
    failed = subprocess.CompletedProcess(["modprobe"], 1, "", "modprobe: FATAL: Module br_netfilter not found")
    monkeypatch.setattr(modules, "SWITCHES", tmp_path / "bridge")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(LabError, match=r"this kernel lacks br_netfilter.*not found.*install its modules"):
        modules.load(tmp_path)
