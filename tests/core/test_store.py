"""The store of the CNI plugin host-local: how it is read, and how pods' addresses come into it and out of it."""

import fcntl
import itertools
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from podnet import inventory, modes
from podnet.batch import sections
from podnet.differences import differences
from podnet.facts import reservations
from podnet.facts.reservations import Reservations
from podnet.marks import STORE
from podnet.modes import macvlan, vxlan
from podnet.obstacles import obstacles, taken
from podnet.plan import plan, plan_table
from podnet.section import Section
from podnet.state import Reservation, State
from tests.core.examples import GROUP, cluster
from tests.core.kernel import Kernel, Refused, host

CLUSTER = cluster()
WANT = modes.wanted(vxlan, CLUSTER, CLUSTER.node("node1"))
POD1, POD2 = sorted(WANT.reservations, key=lambda item: item.key)
BOX = Reservation("podnet", IPv4Address("10.244.1.3"), "0123abcd")


def run(folder: Path, todo: list[Section]) -> subprocess.CompletedProcess[str]:
    """Carry out the sections on a store below that folder, up to the first that fails."""
    for section in todo:
        done = subprocess.run(
            section.command.replace(STORE, str(folder)).split(),
            input="\n".join(section.lines),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            break
    return done


def put(folder: Path, *items: Reservation) -> None:
    """Write as host-local does."""
    (folder / "podnet").mkdir(exist_ok=True)
    (folder / "podnet" / "lock").touch()
    for item in items:
        (folder / item.network / str(item.address)).write_bytes(f"{item.container}\r\n{item.dev}".encode())


def told(folder: Path) -> list[str]:
    """Ask what is in the store as the fact does."""
    command = Reservations().command().replace(STORE, str(folder))
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout.splitlines()


def seen(folder: Path) -> frozenset[Reservation]:
    """Read who has which address."""
    return Reservations().process(told(folder)) or frozenset()


def last(folder: Path) -> dict[str, IPv4Address]:
    """Read which address was given last."""
    return reservations.parse_last(told(folder)[1:])


def todo(want: set[Reservation], have: set[Reservation]) -> list[Section]:
    """Say what is done about reservations alone."""
    return sections(plan_table("reservations", want, have))


def test_addresses_are_reserved_to_the_byte_as_host_local_does(tmp_path: Path) -> None:
    """Container, CR LF, device (plugins/ipam/host-local/backend/disk/backend.go), for nobody else to read."""
    assert run(tmp_path, todo({POD1, POD2}, set())).stderr == ""
    store = tmp_path / "podnet"
    assert sorted(path.name for path in store.iterdir()) == ["10.244.1.2", "10.244.1.3", "lock"]
    assert (store / "10.244.1.2").read_bytes() == b"podnet-pod1\r\neth0"
    assert (store / "10.244.1.2").stat().st_mode & 0o777 == 0o600
    assert store.stat().st_mode & 0o777 == 0o755
    assert seen(tmp_path) == {POD1, POD2}


def test_the_store_is_read_as_it_is(tmp_path: Path) -> None:
    """Also what an old plugin wrote, what a cut has left, and IPv6, which is not ours to look at."""
    assert seen(tmp_path) == frozenset()
    put(tmp_path, POD1, BOX)
    store = tmp_path / "podnet"
    (store / "10.244.1.8").write_text("old")
    (store / "10.244.1.9").touch()
    for name in ("2001:db8::1", "last_reserved_ip.0", "10.244.1.9.old.x", "10.244.1.7.swp", "10.244.1.300"):
        (store / name).write_text("10.244.1.3")
    (store / "10.244.1.10").mkdir()
    others = tmp_path / "podnet-of-mine"
    others.mkdir()
    (others / "lock").touch()
    (others / "10.244.1.2").write_text("his\r\neth0")
    old = Reservation("podnet", IPv4Address("10.244.1.8"), "old", "")
    nobody = Reservation("podnet", IPv4Address("10.244.1.9"), "", "")
    assert seen(tmp_path) == {POD1, BOX, old, nobody}
    assert last(tmp_path) == {"podnet": IPv4Address("10.244.1.3")}
    for cut in ("", "10.244.1.", "10.244.1.999", "there are none"):
        (store / "last_reserved_ip.0").write_text(cut)
        assert last(tmp_path) == {}


def test_a_container_that_came_first_keeps_its_address(tmp_path: Path) -> None:
    """What was free when the host was read may be given away since: nothing is taken then, not even what is free."""
    put(tmp_path, BOX)
    done = run(tmp_path, todo({POD1, POD2}, set()))
    assert done.returncode == 1
    assert done.stderr == (
        "nothing was changed: 10.244.1.3, which podnet-pod2 needs, was just given to container 0123abcd\n"
    )
    assert seen(tmp_path) == {BOX}


def test_pods_exchange_addresses_and_a_cut_is_mended(tmp_path: Path) -> None:
    """Ours may be written over, and so may a file that names nobody."""
    put(tmp_path, replace(POD1, address=POD2.address))
    (tmp_path / "podnet" / "10.244.1.2").touch()
    have = set(seen(tmp_path))
    assert run(tmp_path, todo({POD1, POD2}, have)).returncode == 0
    assert seen(tmp_path) == {POD1, POD2}


def test_host_local_goes_on_from_what_podnet_has_taken(tmp_path: Path) -> None:
    """As from what it has given itself, if it ever has; what was there before is not taken anew."""
    assert run(tmp_path, todo({POD1}, set())).returncode == 0
    noted = tmp_path / "podnet" / "last_reserved_ip.0"
    assert not noted.exists()
    noted.write_text("10.244.1.77")
    assert run(tmp_path, todo({POD1}, set())).returncode == 0
    assert noted.read_text() == "10.244.1.77"
    assert run(tmp_path, todo({POD1, POD2}, {POD1})).returncode == 0
    assert noted.read_bytes() == b"10.244.1.3"


def test_only_ours_is_given_back(tmp_path: Path) -> None:
    """A container that has got the address meanwhile keeps it; the folder goes unless a plugin has used it."""
    put(tmp_path, POD1, BOX)
    assert run(tmp_path, todo(set(), {POD1, POD2})).returncode == 0
    assert seen(tmp_path) == {BOX}
    assert run(tmp_path, todo({POD1}, set())).returncode == 0
    (tmp_path / "podnet" / "10.244.1.3").unlink()
    assert run(tmp_path, todo(set(), {POD1})).returncode == 0
    assert [*tmp_path.iterdir()] == []
    put(tmp_path, POD1)
    (tmp_path / "podnet" / "last_reserved_ip.0").write_text("10.244.1.4")
    assert run(tmp_path, todo(set(), {POD1})).returncode == 0
    assert sorted(path.name for path in (tmp_path / "podnet").iterdir()) == ["last_reserved_ip.0", "lock"]


def test_who_holds_the_lock_is_waited_for(tmp_path: Path) -> None:
    """host-local holds it while it looks for an address (go-filemutex: flock(2)); readers wait as well."""
    put(tmp_path)
    taking = todo({POD1}, set())[-1]
    readers = [["sh", "-c", Reservations().command().replace(STORE, str(tmp_path))]]
    with (tmp_path / "podnet" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = [
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
            for words in (taking.command.replace(STORE, str(tmp_path)).split(), *readers)
        ]
        for process in waiting:
            with pytest.raises(subprocess.TimeoutExpired):
                process.communicate("\n".join(taking.lines), timeout=0.3)
        assert not (tmp_path / "podnet" / "10.244.1.2").exists()
    assert [process.wait(10) for process in waiting] == [0, 0]
    assert (tmp_path / "podnet" / "10.244.1.2").exists()


def test_an_answer_that_is_none_is_refused() -> None:
    """A line with too few words."""
    with pytest.raises(ValueError, match="not enough values"):
        reservations.parse(["podnet 10.244.1.2"])


def applied(want: State) -> Kernel:
    """Return a host that holds this."""
    kernel = host()
    apply(kernel, want)
    return kernel


def apply(kernel: Kernel, want: State) -> list[Section]:
    """Do what is to be done, and expect nothing to be left."""
    done = sections(plan(want, kernel.see(want)))
    for section in done:
        kernel.run(section)
    assert differences(want, kernel.see(want)) == []
    return done


def test_addresses_are_reserved_before_all_else_and_released_after_all_else() -> None:
    """While nobody has them yet, and once nobody has them any more."""
    kernel = host()
    assert [section.command for section in apply(kernel, WANT)][:2] == [
        "mkdir -p /var/lib/cni/networks/podnet",
        "sh -eu -s /var/lib/cni/networks/podnet",
    ]
    gone = [section.command for section in apply(kernel, State())]
    drop = max(i for i, command in enumerate(gone) if command == "ip -batch -")
    assert gone.index("sh -eu -s /var/lib/cni/networks/podnet") > drop
    assert kernel.tables["reservations"] == []


def test_a_mode_without_plugins_reserves_nothing() -> None:
    """And gives back what the last one did; what a container has it leaves."""
    kernel = applied(WANT)
    box = replace(BOX, address=IPv4Address("10.244.1.7"))
    kernel.put("reservations", box)
    apply(kernel, modes.wanted(macvlan, CLUSTER, CLUSTER.node("node1")))
    assert kernel.tables["reservations"] == [box]


def test_a_reservation_that_is_gone_or_wrong_is_told_and_mended() -> None:
    """As every other item of the exact set is."""
    kernel = applied(WANT)
    kernel.tables["reservations"].remove(POD1)
    kernel.put("reservations", replace(POD2, dev="eth1"))
    kernel.put("reservations", Reservation("podnet", IPv4Address("10.244.1.9"), "podnet-gone"))
    assert differences(WANT, kernel.see(WANT)) == [
        "missing reserved address: 10.244.1.2 of the CNI network podnet for podnet-pod1",
        "wrong reserved address: 10.244.1.3 of the CNI network podnet: dev is eth1, and should be eth0",
        "extra reserved address: 10.244.1.9 of the CNI network podnet for podnet-gone",
    ]
    apply(kernel, WANT)


def test_an_address_that_a_container_has_is_refused_before_anything_is_changed() -> None:
    """With who has it, where that stands, and what to do. Should it come later, the batch is refused as a whole."""
    kernel = host()
    early = sections(plan(WANT, kernel.see(WANT)))
    kernel.put("reservations", BOX)
    (reason,) = obstacles(WANT, kernel.see(WANT), CLUSTER, "node1")
    assert reason == (
        "node1: pods are to have addresses that containers have: 10.244.1.3 (podnet-pod2) is the container 0123abcd's; "
        "remove these containers, or give the pods other addresses in `pods`; should a container be no more, remove "
        "the file of that address in /var/lib/cni/networks/podnet"
    )
    for section in early[:1]:
        kernel.run(section)
    with pytest.raises(Refused, match=r"10\.244\.1\.3 was given to the container 0123abcd just now"):
        kernel.run(early[1])
    assert kernel.pods == {}


def test_others_of_our_own_are_no_containers() -> None:
    """A pod whose address another one is to have, and what a cut has left."""
    assert [*taken([POD1], [replace(POD1, container="podnet-old"), replace(POD2, container="")], "node1")] == []
    assert len([*taken([POD1], [replace(POD1, container="podnet7-pod1")], "node1")]) == 1


@pytest.mark.parametrize(("pods", "boxes", "full"), [(2, 3, False), (2, 4, True), (0, 5, False), (5, 1, True)])
def test_an_exhausted_subnet_is_told_by_node_and_subnet(pods: int, boxes: int, *, full: bool) -> None:
    """A /29 has room for five: the gateway and the subnet's two ends are nobody's."""
    data = {**GROUP, "address": "192.168.56.11/24", "uplink": "eth0", "pod_subnet": "10.244.1.0/29", "pods": pods}
    of = inventory.read({"node1": data})
    want = modes.wanted(vxlan, of, of.node("node1"))
    kernel = host()
    for i, address in enumerate(itertools.islice(of.nodes[0].pod_subnet.hosts(), 6 - boxes, None)):
        kernel.put("reservations", Reservation("podnet", address, f"box{i}"))
    reason = (
        f"node1: its `pod_subnet` 10.244.1.0/29 is exhausted: of its 5 addresses containers have {boxes}, and {pods} "
        "are for pods; remove containers, or ask for fewer `pods`"
    )
    told = [line for line in obstacles(want, kernel.see(want), of, "node1") if "exhausted" in line]
    assert told == ([reason] if full else [])


def test_what_a_failing_power_has_left_goes_with_the_last_of_ours(tmp_path: Path) -> None:
    """A file without a word names nobody: as long as pods have addresses it is left alone, it may be a user's."""
    kernel = applied(WANT)
    nobody = Reservation("podnet", IPv4Address("10.244.1.9"), "", "")
    kernel.put("reservations", nobody)
    assert apply(kernel, WANT) == []
    assert nobody in kernel.tables["reservations"]
    apply(kernel, State())
    assert kernel.tables["reservations"] == []
    put(tmp_path)
    (tmp_path / "podnet" / "10.244.1.9").touch()
    assert run(tmp_path, todo(set(), set(seen(tmp_path)))).returncode == 0
    assert [*tmp_path.iterdir()] == []
