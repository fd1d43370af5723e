"""A lab that this machine's kernel has no room for is refused before it is made; one that comes near is warned of."""

from pathlib import Path

import pytest

from podnet.labs import containers, lab, limits
from podnet.labs.error import LabError
from podnet.labs.home import Home
from podnet.labs.plan import Lab


@pytest.fixture
def proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stand in for a machine with the kernel's default limits and one process of root's."""
    write(tmp_path / "sys/fs/inotify/max_user_instances", 128)
    write(tmp_path / "sys/net/ipv4/neigh/default/gc_thresh3", 1024)
    descriptors = tmp_path / "1" / "fd"
    descriptors.mkdir(parents=True)
    for number, target in enumerate(["/dev/null", "anon_inode:[eventpoll]", *["anon_inode:inotify"] * 8]):
        (descriptors / str(number)).symlink_to(target)
    monkeypatch.setattr(limits, "PROC", tmp_path)
    monkeypatch.setattr(limits, "owner", lambda _: 0)
    return tmp_path


def write(path: Path, number: int) -> None:
    """Write a sysctl."""
    path.parent.mkdir(parents=True)
    path.write_text(f"{number}\n")


def test_hosts_without_room_are_refused_with_the_number_that_has_room(proc: Path) -> None:
    """128 instances, 8 in use, 8 left free: 28 hosts of 4 each; 40 need 176, and 256 is the next power of two."""
    with pytest.raises(LabError) as refusal:
        limits.check_instances(40)
    assert str(refusal.value) == (
        "40 hosts would have to start, and this machine has room for 28: each takes 4 of root's inotify instances, "
        "fs.inotify.max_user_instances is 128, and 8 are in use: "
        "`sysctl -w fs.inotify.max_user_instances=256` as root makes room"
    )
    (proc / "sys/fs/inotify/max_user_instances").write_text("256\n")
    limits.check_instances(40)


@pytest.mark.usefixtures("proc")
def test_up_refuses_before_anything_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not even the lab's directory."""
    monkeypatch.setattr(containers, "TOOLS", ())
    monkeypatch.setattr(Home, "locked", None)  # from there on something is made
    home = Home(tmp_path / ".lab" / "large")
    with pytest.raises(LabError, match=r"41 hosts .* room for 28:"):  # 40 nodes and their router
        lab.up(home, {"hosts": 40, "segments": 2})
    assert not home.path.parent.exists()


@pytest.mark.usefixtures("proc")
def test_room_ends_where_the_refusal_says() -> None:
    """The last host that there is room for may start, the next one may not."""
    limits.check_instances(28)
    with pytest.raises(LabError, match=r"29 hosts .* room for 28:"):
        limits.check_instances(29)


@pytest.mark.usefixtures("proc")
def test_instances_of_others_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is each user's own, and the hosts are root's."""
    assert limits.instances() == 8
    monkeypatch.setattr(limits, "owner", lambda _: 1000)
    assert limits.instances() == 0


def test_process_that_goes_meanwhile_is_not_counted(proc: Path) -> None:
    """A process may end between two looks."""
    (proc / "2").mkdir()
    assert limits.instances() == 8


@pytest.mark.parametrize(
    ("hosts", "segments", "warned"), [(3, 1, False), (28, 1, False), (29, 1, True), (50, 4, False), (60, 4, True)]
)
@pytest.mark.usefixtures("proc")
def test_lab_near_to_the_neighbour_limit_is_warned_of(
    capsys: pytest.CaptureFixture[str],
    hosts: int,
    segments: int,
    warned: bool,  # noqa: FBT001  # a column of the table above
) -> None:
    """One line, from three quarters of gc_thresh3 on."""
    limits.warn_of_neighbours(Lab("lab", hosts, segments))
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {hosts} hosts that all talk to each other make ") == warned
    assert said.count("\n") == warned


def test_limits_that_cannot_be_seen_stop_nobody(proc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a container the kernel shows the neighbour limits of its first network namespace alone."""
    (proc / "sys/net/ipv4/neigh/default/gc_thresh3").unlink()
    (proc / "sys/fs/inotify/max_user_instances").unlink()
    limits.check_instances(200)
    limits.warn_of_neighbours(Lab("lab", 200))
    assert capsys.readouterr().err == ""
