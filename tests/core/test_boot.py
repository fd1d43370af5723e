"""What an apply leaves for the next boot: run on the small kernel, it makes the whole mode, as often as it is run."""

import re
import subprocess
from dataclasses import replace

import pytest

from podnet import boot, marks, modes
from podnet.boot import Step
from podnet.cluster import Cluster
from podnet.differences import differences
from podnet.firewall import NFT, Base, Firewall
from podnet.keys import resolve
from podnet.marks import LINE, PLACES, SCRIPT, Marks
from podnet.modes import vxlan, wireguard
from podnet.nics import placed
from podnet.section import Section
from podnet.state import File, State, Symlink
from tests.core import goldens
from tests.core.examples import cluster
from tests.core.kernel import Kernel, host, machine

CLUSTER = cluster(pods=["a", "b"])
MODES = goldens.MODES


def wanted(mode: str, of: Cluster = CLUSTER) -> State:
    """Say what node1 should hold in that mode, its files left out: after a reboot they are there anyway."""
    want = replace(modes.wanted(goldens.mode(mode), of, of.node("node1")), files=frozenset())
    return placed(want, machine().see(want), of.marks)


def fresh(mode: str) -> Kernel:
    """Start a host with what the mode takes for granted."""
    return machine() if mode == "sriov" else host()


def text(place: str, mode: str = "vxlan", of: Cluster = CLUSTER) -> str:
    """Return what is left in that place in that mode."""
    want = modes.wanted(goldens.mode(mode), of, of.node("node1"))
    left = boot.fitted(want, of, of.node("node1"), fresh(mode).see(want)).files
    (file,) = (file for file in left if isinstance(file, File) and marks.of_place(file.path) == place)
    return file.text


def there(kernel: Kernel, step: Step) -> bool:
    """Answer as the shell functions of templates/boot.sh.j2 do."""
    if " || " in step.unless:
        return any(there(kernel, replace(step, unless=unless)) for unless in step.unless.split(" || "))
    match step.unless.split(" ", 2):
        case [""]:
            return False
        case ["device", dev]:
            return kernel.holds("links", (dev,))
        case ["inside", netns, dev]:
            return kernel.pods[netns].holds("links", (dev,))
        case ["bears", netns, rest]:
            dev, mac = rest.split()
            link = kernel.pods[netns].link(dev)
            return bool(link.up and link.mac == mac)
        case ["namespace", netns]:
            return netns in kernel.pods
        case ["fou", port]:
            return kernel.holds("fous", (int(port),))
        case ["rule", "iptables", rest]:
            table, _, rule = rest.partition(" ")
            return rule.strip("'") in [f"-A {c} {r}" for c, rs in kernel.rules[table].items() for r in rs]
        case ["[", "-d", "/proc/sys/net/bridge/ ]"]:
            return any(path.startswith("net/bridge/") for path in kernel.sysctls)
        case ["[", "-d", "/sys/module/fou ]"]:
            return kernel.fou
        case _:
            raise AssertionError(step.unless)


def called(kernel: Kernel, nic: str) -> str:
    """Answer as the function `nic` does."""
    return next(str(link.dev) for link in kernel.tables["links"] if nic in {getattr(link, "pci", ""), link.dev})


def run(kernel: Kernel, steps: list[Step]) -> None:
    """Do what is not done yet."""
    for step in steps:
        if not there(kernel, step):
            command = re.sub(r"\$\(nic (\S+)\)", lambda found: called(kernel, found[1]), step.command)
            alone = re.fullmatch(r"(ip(?: -n \S+)?) ((?:link|netns add|fou) .*)", command)
            section = Section(command, step.lines, further=step.further)
            kernel.run(Section(f"{alone[1]} -batch -", (alone[2],)) if alone else section)


@pytest.mark.parametrize("mode", MODES)
def test_a_bare_host_comes_to_hold_all(mode: str) -> None:
    """Nothing is missing, nothing is too much."""
    kernel, want = fresh(mode), wanted(mode)
    run(kernel, [*boot.steps(want, CLUSTER.marks)])
    assert differences(want, kernel.see(want)) == []


@pytest.mark.parametrize("mode", MODES)
def test_run_again_it_changes_nothing(mode: str) -> None:
    """No line is refused, and the host is what it was."""
    kernel, want = fresh(mode), wanted(mode)
    steps = [*boot.steps(want, CLUSTER.marks)]
    run(kernel, steps)
    before = kernel.see(want)
    run(kernel, steps)
    assert kernel.see(want) == before


@pytest.mark.parametrize("mode", MODES)
def test_cut_anywhere_it_is_completed_when_run_again(mode: str) -> None:
    """Between any two steps, and at any line within one."""
    want = wanted(mode)
    steps = [*boot.steps(want, CLUSTER.marks)]
    for end, step in enumerate(steps):
        whole = "iptables" in step.command or step.further  # one transaction, one process
        for lines in range(0 if whole else len(step.lines) or 1):
            kernel = fresh(mode)
            run(kernel, [*steps[:end], replace(step, lines=step.lines[:lines])] if step.lines else steps[:end])
            run(kernel, steps)
            assert differences(want, kernel.see(want)) == []


def test_a_host_without_ipv6_comes_back_too() -> None:
    """Settings that are not there are passed over, where an apply passes them over as well."""
    kernel, want = host(), wanted("vxlan")
    steps = [*boot.steps(want, CLUSTER.marks)]
    ours = {
        f"{item.path} = {item.value}" for step in steps if step.command == boot.ONLY_IF_THERE for item in want.sysctls
    }
    passed = {line for step in steps if step.command == boot.ONLY_IF_THERE for line in step.lines}
    assert passed == {line for line in ours if line.startswith("net/ipv6/")} != set()
    run(kernel, [step for step in steps if step.command != boot.ONLY_IF_THERE])
    assert {words.partition(": ")[2].split(":")[0] for words in differences(want, kernel.see(want))} == {
        "net/ipv6/conf/cni0/accept_ra",
        "net/ipv6/conf/flannel.1/accept_ra",
    }


def test_bridge_netfilter_that_is_off_needs_no_module() -> None:
    """Where nobody has loaded br_netfilter it is off."""
    of = replace(CLUSTER, bridge_netfilter=False)
    said = text(SCRIPT, of=of)
    assert "modprobe br_netfilter" not in said
    assert "br_netfilter" not in text(marks.MODULES, of=of)
    assert re.search(r"run sysctl -e -q -p - <<'LINES'\nnet/bridge/bridge-nf-call-iptables = 0\n", said)


def test_what_settings_were_before_us_is_not_noted_again() -> None:
    """At boot they are the distribution's; what the first apply found is what a teardown gives back."""
    assert "/etc/podnet/sysctls" not in text(SCRIPT)


@pytest.mark.parametrize("mode", MODES)
def test_the_script_is_good_shell(mode: str) -> None:
    """`sh -n` reads it to its end, and the apply's own words for the end of a text are not in it."""
    said = text(SCRIPT, mode)
    assert subprocess.run(["sh", "-n"], input=said, capture_output=True, text=True, check=True).stderr == ""
    assert said.count("<<'LINES'") == said.splitlines().count("LINES")
    assert "PODNET" not in said.splitlines()


def test_every_guard_is_a_function_of_the_script() -> None:
    """A word that the shell does not know would let everything be made twice."""
    said = text(SCRIPT) + text(SCRIPT, "sriov")
    used = {step.unless.split()[0] for mode in MODES for step in boot.steps(wanted(mode), CLUSTER.marks) if step.unless}
    assert used - {"["} == {"bears", "device", "inside", "namespace", "fou", "rule"}
    for function in used - {"["}:
        assert re.search(rf"^{function}\(\) ", said, re.MULTILINE), function


def test_the_script_is_as_reviewed() -> None:
    """`make golden` writes it anew."""
    assert goldens.boot_script(cluster()) == goldens.BOOT.read_text()


def test_the_script_waits_for_this_nodes_address() -> None:
    """On its uplink, with an end and a sentence."""
    said = text(SCRIPT)
    assert "addressed eth0 192.168.56.11" in said
    assert "await 'eth0 that is up and has 192.168.56.11'" in said
    assert f"after {boot.PATIENCE} s; $instead" in said


def test_the_unit_outlasts_its_own_patience() -> None:
    """Six attempts must fit into the time in which systemd counts them, or it would go on for ever, unseen."""
    unit = dict(line.split("=", 1) for line in text(marks.UNIT).splitlines() if "=" in line)
    seconds = int(unit["StartLimitIntervalSec"].removesuffix("min")) * 60
    assert int(unit["StartLimitBurst"]) * (boot.PATIENCE + int(unit["RestartSec"].removesuffix("s"))) < seconds
    assert unit["ExecStart"] == "/bin/sh /etc/podnet/podnet.sh"


def test_udev_and_the_network_managers_are_told_of_our_devices_alone() -> None:
    """By their whole names: a pattern like veth* would catch a stranger's."""
    devices = {link.dev for link in wanted("vxlan").links}
    (names,) = re.findall(r"^OriginalName=(.*)$", text(marks.LINK), re.MULTILINE)
    assert set(names.split()) == devices
    (names,) = re.findall(r"^Name=(.*)$", text(marks.NETWORK), re.MULTILINE)
    assert set(names.split()) == devices
    (names,) = re.findall(r"^match-device=(.*)$", text(marks.NETWORK_MANAGER), re.MULTILINE)
    assert {name.removeprefix("interface-name:") for name in names.split(";")} == devices
    assert not re.search(r"[*?\[]", names)


def test_every_file_says_first_whose_it_is() -> None:
    """That line is its mark; only what others read in their own formats has none."""
    for mode in MODES:
        for file in modes.wanted(goldens.mode(mode), CLUSTER, CLUSTER.node("node1")).files:
            assert marks.of_file(file.path) == Marks()
            if isinstance(file, File):
                assert (file.text.splitlines()[0] == LINE) != (marks.of_place(file.path) in marks.FOR_OTHERS)
                assert file.text.endswith("\n")
                assert file == File.of(file.path, file.text)


def test_two_clusters_on_a_host_have_files_of_their_own() -> None:
    """Each is known by its number."""
    other = cluster(vni=7)
    names = {file.path for file in modes.wanted(vxlan, CLUSTER, CLUSTER.node("node1")).files}
    others = {file.path for file in modes.wanted(vxlan, other, other.node("node1")).files}
    assert not names & others
    assert names == {Marks().place(place) for place in PLACES}
    assert others == {Marks(7).place(place) for place in PLACES}
    assert {marks.of_file(path) for path in others} == {Marks(7)}
    assert "/etc/podnet/podnet7.sh" in text(marks.UNIT, of=other)


def test_a_mode_leaves_only_files_that_it_needs() -> None:
    """No settings, no file of settings; no device on the host, nobody to keep off it; nothing at all, no unit."""
    left = {
        marks.of_place(file.path) for file in modes.wanted(goldens.mode("macvlan"), CLUSTER, CLUSTER.nodes[0]).files
    }
    assert left == {marks.SCRIPT, marks.UNIT, marks.ENABLED, marks.MODULES}
    bare = cluster(pods=0)
    assert modes.wanted(goldens.mode("macvlan"), bare, bare.nodes[0]) == State()


def test_the_unit_is_enabled_by_a_link() -> None:
    """As `systemctl enable` would make it."""
    link = Symlink("/etc/systemd/system/multi-user.target.wants/podnet.service", "/etc/systemd/system/podnet.service")
    assert link in modes.wanted(vxlan, CLUSTER, CLUSTER.node("node1")).files


def test_a_host_is_spoken_to_in_the_words_of_its_own_firewall() -> None:
    """Nft's tables are replaced whole; strangers' chains are opened where they are there, and not open yet."""
    want = modes.wanted(vxlan, CLUSTER, CLUSTER.node("node1"))
    seen = Firewall(tool=NFT, dropping=frozenset({Base("inet", "filter", "forward"), Base("ip", "own", "fwd")}))
    told = [*boot.steps(replace(want, files=frozenset()), CLUSTER.marks, seen)]
    assert not any("iptables" in step.command for step in told)
    tables = {line for step in told for line in step.lines if line.startswith("table") and "{" not in line}
    assert tables == {"table ip podnet-filter", "table ip podnet-nat"}
    opened = [step for step in told if step.unless.startswith("opened")]
    assert [step.unless for step in opened] == ["opened inet filter forward podnet", "opened ip own fwd podnet"]
    assert all(line.split()[2:5] == step.unless.split()[1:4] for step in opened for line in step.lines)
    assert boot.fitted(want, CLUSTER, CLUSTER.node("node1"), State(firewall=seen)).files != want.files
    assert boot.fitted(want, CLUSTER, CLUSTER.node("node1"), State()) == want


def test_keys_are_those_that_were_told_when_the_script_is_left() -> None:
    """Peers by their keys, which do not change over a reboot, and the private key by its file."""
    want = modes.wanted(wireguard, CLUSTER, CLUSTER.node("node1"))
    told = {node.name: f"{node.name:A<43}=" for node in CLUSTER.nodes}
    whole = boot.fitted(resolve(want, told, State()), CLUSTER, CLUSTER.node("node1"), State())
    (script,) = (file.text for file in whole.files if isinstance(file, File) and file.path == Marks().place(SCRIPT))
    assert "key-of" not in script
    nobody = boot.fitted(
        replace(resolve(want, told, State()), peers=frozenset()), CLUSTER, CLUSTER.node("node1"), State()
    )
    assert not any("key-of" in file.text for file in nobody.files if isinstance(file, File))
    assert f"peer {told['node2']} endpoint 192.168.56.12:51820 allowed-ips 10.244.2.0/24" in script
    assert "private-key /etc/podnet/podnet.key" in script
