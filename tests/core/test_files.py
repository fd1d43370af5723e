"""The table of files: how it is read, planned, spelled and told."""

import fcntl
import hashlib
import subprocess
from pathlib import Path

import pytest

from podnet import marks, modes
from podnet.attachments import KEPT
from podnet.batch import sections
from podnet.differences import differences
from podnet.facts import files
from podnet.marks import BESIDE, ENABLED, LINE, NETWORK_MANAGER, PLACES, SCRIPT, SYSCTLS, UNIT, Marks
from podnet.modes import bridge, vxlan
from podnet.obstacles import obstacles
from podnet.operations import writing
from podnet.plan import plan
from podnet.section import Section
from podnet.state import File, State, Symlink
from podnet.support import NETWORKD, SOFTWARE, SYSTEMD
from tests.core.examples import cluster
from tests.core.kernel import Kernel, host

CLUSTER = cluster()
WANT = modes.wanted(vxlan, CLUSTER, CLUSTER.node("node1"))
FOR_OTHERS = [Marks().place(place) for place in (marks.CONFLIST, marks.SUBNET_ENV)]
SCRIPT_PATH, UNIT_PATH, ENABLED_PATH, SYSCTL_PATH = (Marks().place(place) for place in (SCRIPT, UNIT, ENABLED, SYSCTLS))


def seen(folder: Path) -> frozenset[File | Symlink]:
    """Read what is below a folder as the fact reads what is below /."""
    script = files.script().replace(" /etc/", f" {folder}/etc/")
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    return files.parse([line.replace(str(folder), "") for line in done.stdout.splitlines()])


def put(folder: Path, path: str, text: str, mode: int = 0o644) -> None:
    """Write a file below that folder."""
    file = folder / path.removeprefix("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def test_files_are_read_by_digest_mode_and_mark(tmp_path: Path) -> None:
    """One of ours, a stranger's, an empty one, a link, and what is no file at all."""
    put(tmp_path, SCRIPT_PATH, f"{LINE}\nset -eu\n", 0o755)
    put(tmp_path, SYSCTL_PATH, "mine\n")
    put(tmp_path, UNIT_PATH, "")
    link = tmp_path / ENABLED_PATH.removeprefix("/")
    link.parent.mkdir()
    link.symlink_to(UNIT_PATH)
    manager = Marks(7).place(NETWORK_MANAGER)
    (tmp_path / manager.removeprefix("/")).mkdir(parents=True)
    assert seen(tmp_path) == {
        File(SCRIPT_PATH, hashlib.sha256(f"{LINE}\nset -eu\n".encode()).hexdigest(), "755"),
        File(SYSCTL_PATH, hashlib.sha256(b"mine\n").hexdigest(), marked=False),
        File(UNIT_PATH, hashlib.sha256(b"").hexdigest()),
        Symlink(ENABLED_PATH, UNIT_PATH),
        File(manager, "", "", marked=False),
    }


def test_names_that_only_begin_like_ours_are_not_looked_at(tmp_path: Path) -> None:
    """podnet-exporter.service is somebody's; podnet.conf.new is ours, half written."""
    put(tmp_path, "/etc/systemd/system/podnet-exporter.service", "his\n")
    put(tmp_path, "/etc/podnet/note", "his\n")
    put(tmp_path, SYSCTL_PATH + BESIDE, f"{LINE}\n")
    assert {file.path for file in seen(tmp_path)} == {SYSCTL_PATH + BESIDE}


def test_nothing_there_is_read_as_nothing(tmp_path: Path) -> None:
    """Without a process that would wait for standard input."""
    assert seen(tmp_path) == frozenset()


def test_a_reader_waits_for_the_script_to_end(tmp_path: Path) -> None:
    """While the host is still making its network its tables are half."""
    put(tmp_path, SCRIPT_PATH, f"{LINE}\n")
    path = tmp_path / SCRIPT_PATH.removeprefix("/")
    script = files.script().replace(" /etc/", f" {tmp_path}/etc/")
    with path.open() as running:
        fcntl.flock(running, fcntl.LOCK_EX)  # as the script itself does
        reader = subprocess.Popen(["sh", "-euc", script], stdout=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            reader.wait(0.3)
    assert reader.wait(10) == 0


def test_an_answer_that_is_cut_short_is_refused() -> None:
    """A file whose digest is missing is not taken for one that is not there."""
    with pytest.raises(ValueError, match="cut short"):
        files.parse([f"file 644 3 {SCRIPT_PATH}"])
    with pytest.raises(ValueError, match="tells of no file"):
        files.parse(["sha256sum: what else it says"])


def todo(kernel: Kernel, want: State = WANT) -> list[Section]:
    """Say what must be done."""
    return sections(plan(want, kernel.see(want)))


def apply(kernel: Kernel, want: State = WANT) -> list[Section]:
    """Do it, and expect nothing to be left to do."""
    done = todo(kernel, want)
    for section in done:
        kernel.run(section)
    assert differences(want, kernel.see(want)) == []
    assert todo(kernel, want) == []
    return done


def test_files_are_left_and_taken_away() -> None:
    """All that a host has a program for, and no trace of them afterwards."""
    kernel = host()
    apply(kernel)
    assert {path for path in kernel.files if marks.of_file(path)} == {
        Marks().place(place) for place in PLACES if place != NETWORK_MANAGER
    }
    apply(kernel, State())
    assert kernel.files == {}


def test_network_manager_is_told_where_it_is() -> None:
    """Its folder is not made for it."""
    kernel = host()
    kernel.folders |= {"/etc/NetworkManager"}
    apply(kernel)
    assert Marks().place(NETWORK_MANAGER) in kernel.files


def test_a_host_without_systemd_gets_the_script_alone() -> None:
    """Whoever boots it may call that."""
    kernel = host()
    kernel.folders.clear()
    done = apply(kernel)
    assert {path for path in kernel.files if marks.of_file(path)} == {SCRIPT_PATH, *FOR_OTHERS}
    assert not [section for section in done if "systemctl" in section.command]
    assert apply(kernel, State())[0].command == f"rm -f {' '.join(FOR_OTHERS)} {SCRIPT_PATH}"


def position(of: list[Section], words: str) -> int:
    """Find the one command that begins so."""
    (found,) = (i for i, section in enumerate(of) if section.command.startswith(words))
    return found


def test_traps_are_closed_before_there_is_a_device_and_the_unit_comes_after_all() -> None:
    """Networkd must not see a device first that it should leave alone; nor a boot bring back what never was whole."""
    kernel = host()
    kernel.folders |= {NETWORKD}
    done = todo(kernel)
    device = next(i for i, section in enumerate(done) if section.command == "ip -batch -")
    last = max(i for i, section in enumerate(done) if section.command == "ip -batch -")
    network, sysctl = Marks().place(marks.NETWORK), SYSCTL_PATH
    assert (
        position(done, f"mv {sysctl}.new") < position(done, "systemctl try-reload-or-restart systemd-networkd") < device
    )
    assert position(done, f"mv {network}.new") < position(done, "systemctl try-reload-or-restart systemd-networkd")
    assert last < position(done, f"mv {SCRIPT_PATH}.new") < position(done, "systemctl daemon-reload")
    assert position(done, f"mv {ENABLED_PATH}.new") < position(done, "systemctl daemon-reload")


def test_at_teardown_the_unit_goes_first() -> None:
    """Cut anywhere after that, a reboot brings nothing back."""
    kernel = host()
    apply(kernel)
    done = [section.command for section in todo(kernel, State())]
    assert done[:4] == [
        "systemctl stop podnet.service",
        f"rm -f {' '.join(Marks().place(place) for place in PLACES if place != NETWORK_MANAGER)}",
        "systemctl daemon-reload",
        "systemctl reset-failed 'podnet.service*'",
    ]
    *_, folder, last = done
    assert folder == "rmdir --ignore-fail-on-non-empty /etc/podnet"
    assert last.startswith("sync /etc ")  # else a power cut would bring them back


def test_a_switch_leaves_the_unit_and_changes_the_script() -> None:
    """Systemd has nothing to load again."""
    kernel = host()
    apply(kernel)
    done = apply(kernel, modes.wanted(bridge, CLUSTER, CLUSTER.node("node1")))
    assert [section.command for section in done if section.command.startswith(("mv", "systemctl"))].count(
        f"mv {SCRIPT_PATH}.new {SCRIPT_PATH}"
    )
    assert not [section for section in done if section.command.startswith("systemctl daemon-reload")]


def test_files_of_another_cluster_stay() -> None:
    """Its number is in their names."""
    kernel = host()
    apply(kernel)
    before = dict(kernel.files)
    assert sections(plan(State(), kernel.see(State()), Marks(7))) == []
    assert sections(plan(WANT, kernel.see(WANT))) == []
    kernel.files[Marks(7).place(SCRIPT)] = (LINE, "set -eu")
    apply(kernel, State())
    assert kernel.files == {Marks(7).place(SCRIPT): (LINE, "set -eu")} != before


@pytest.mark.parametrize("path", [SCRIPT_PATH, UNIT_PATH, SYSCTL_PATH])
def test_a_damaged_file_is_written_anew(path: str) -> None:
    """Changed behind its first line, emptied, or gone."""
    for harm in ((LINE, "exit"), (), None):
        kernel = host()
        apply(kernel)
        if harm is None:
            del kernel.files[path]
        else:
            kernel.files[path] = harm
        assert [section.command for section in apply(kernel)][:3] == [
            f"install -D -m 644 /dev/stdin {path}.new",
            f"sync {path}.new",
            f"mv {path}.new {path}",
        ]


def test_what_a_cut_left_beside_is_removed() -> None:
    """It is nobody's but ours."""
    kernel = host()
    apply(kernel)
    kernel.files[f"{SCRIPT_PATH}.new"] = (LINE,)
    assert differences(WANT, kernel.see(WANT)) == [f"extra file: {SCRIPT_PATH}.new"]
    assert [section.command for section in apply(kernel)] == [
        f"rm -f {SCRIPT_PATH}.new",
        "rmdir --ignore-fail-on-non-empty /etc/podnet",
        "sync /etc /etc/podnet",
    ]


def test_a_strangers_file_in_our_place_is_an_obstacle() -> None:
    """What it holds would be lost, even on a host that bears our marks."""
    kernel = host()
    apply(kernel)
    for theirs in (("mine",), "/dev/null"):
        kernel.files[SYSCTL_PATH] = theirs
        (said,) = obstacles(WANT, kernel.see(WANT), CLUSTER, "node1")
        assert said.startswith(f"{SYSCTL_PATH} is somebody else's, and podnet needs its place; move it away")


def test_a_strangers_file_survives_a_teardown() -> None:
    """It is not marked."""
    kernel = host()
    kernel.files[SYSCTL_PATH] = ("mine",)
    apply(kernel, State())
    assert kernel.files == {SYSCTL_PATH: ("mine",)}


def test_a_link_that_leads_elsewhere_is_led_back() -> None:
    """A link holds nothing that could be lost."""
    kernel = host()
    apply(kernel)
    kernel.files[ENABLED_PATH] = "/lib/systemd/system/other.service"
    assert differences(WANT, kernel.see(WANT)) == [
        f"wrong file: {ENABLED_PATH}: to is /lib/systemd/system/other.service, and should be {UNIT_PATH}"
    ]
    apply(kernel)
    assert kernel.files[ENABLED_PATH] == UNIT_PATH


def test_a_files_text_arrives_byte_by_byte(tmp_path: Path) -> None:
    """Through the batch's script and a real shell, whatever is in it, with its mode and its folders."""
    text = f"{LINE}\n$(echo no) `no` \\ 'a' \"b\"\n\n  {{{{ x }}}}\nLINES\n"
    path = tmp_path / "etc" / "podnet" / "podnet.sh"
    want = File.of(str(path), text)
    batch = [
        Section(f"install -D -m {want.mode} /dev/stdin {path}.new", tuple(text.splitlines())),
        Section(f"sync {path}.new"),
        Section(f"mv {path}.new {path}"),
    ]
    subprocess.run(["sh"], input=writing.script(batch), text=True, check=True, capture_output=True, umask=0o077)
    assert path.read_text() == text
    assert path.stat().st_mode & 0o777 == 0o644
    assert hashlib.sha256(path.read_bytes()).hexdigest() == want.digest


def test_folders_of_programs_are_told() -> None:
    """By the same answer that tells of the files."""
    assert files.parse_folders(["folder /etc/systemd", f"folder {SYSTEMD}"]) == {"/etc/systemd", SYSTEMD}
    assert all(any(place.startswith(f"{root}/") for place in PLACES) for root in SOFTWARE)


def test_folders_of_attachments_are_told(tmp_path: Path) -> None:
    """Whatever a hand has made beside them."""
    for name in ("podnet-c1-eth0", "podnet7-c1-eth0", "podnet-not ours", "other"):
        (tmp_path / name).mkdir()
    script = files.script().replace(KEPT, str(tmp_path))
    told = subprocess.run(["sh", "-eu", "-c", script], text=True, check=True, capture_output=True).stdout.splitlines()
    assert {f"{tmp_path}/{name}" for name in ("podnet-c1-eth0", "podnet7-c1-eth0")} <= files.parse_folders(told)
    assert not {item.path for item in files.parse(told) if item.path.startswith(str(tmp_path))}
