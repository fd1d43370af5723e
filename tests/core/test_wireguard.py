"""Keys: wanted by a node's name, resolved by what nodes tell, and private ones nowhere but on their hosts."""

import base64
import shutil
import subprocess
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from podnet import keys, modes
from podnet.batch import sections
from podnet.differences import differences
from podnet.facts import keys as key_facts
from podnet.facts import peers
from podnet.modes import vxlan, wireguard
from podnet.obstacles import obstacles
from podnet.operations.telling import script
from podnet.operations.writing import script as batch
from podnet.plan import plan
from podnet.section import Section
from podnet.state import KeyOf, Route, State, WgPeer, Wireguard
from tests.core.examples import cluster
from tests.core.kernel import host

OF = cluster()
WANT = replace(modes.wanted(wireguard, OF, OF.node("node1")), files=frozenset())
DEV = "flannel-wg"
FILE = "/etc/podnet/podnet.key"
SAMPLE = (Path(__file__).parent / "samples" / "wireguard" / "wg show.txt").read_text().splitlines()


def key(of: str) -> str:
    """Make up a public key."""
    return base64.b64encode(of.encode().ljust(32, b"-")).decode()


TOLD = {name: key(name) for name in ("node1", "node2", "node3")}
WHOLE = keys.resolve(WANT, TOLD, State())
SEEN = replace(WHOLE, keys={"podnet": TOLD["node1"]})
"""What a host holds that is as wanted."""


def peer(node: str, public: str = "", **other: object) -> WgPeer:
    """Return the peer that a node is to node1."""
    (found,) = (item for item in WANT.peers if item.public == KeyOf(node))
    return replace(found, public=public or TOLD[node], **other)  # type: ignore[arg-type]  # fields of a peer


def commands(want: State, have: State) -> list[Section]:
    """Say what must be done."""
    return sections(plan(want, have))


def test_a_host_has_one_route_one_device_and_a_peer_for_every_other() -> None:
    """The largest pod packet is 80 bytes less than the underlay's, as flannel has it."""
    assert [link for link in WANT.links if isinstance(link, Wireguard)] == [Wireguard(DEV, 1420, 51820, KeyOf("node1"))]
    assert WANT.routes == {Route(IPv4Network("10.244.0.0/16"), DEV)}
    assert {(item.endpoint, item.allowed) for item in WANT.peers} == {
        ("192.168.56.12:51820", ("10.244.2.0/24",)),
        ("192.168.56.13:51820", ("10.244.3.0/24",)),
    }
    assert keys.nodes(WANT) == {"node1", "node2", "node3"}


def test_a_node_that_has_the_whole_network_has_no_route_to_it_but_its_own() -> None:
    """A second one to the same place would take the bridge's away."""
    alone = cluster(1, network="10.244.1.0/24")
    assert modes.wanted(wireguard, alone, alone.node("node1")).routes == frozenset()


def test_told_keys_are_put_in() -> None:
    """Then nothing is left to be known."""
    assert keys.nodes(WHOLE) == frozenset()
    assert WHOLE.peers == {peer("node2"), peer("node3")}


def test_a_host_that_is_as_wanted_is_left_alone() -> None:
    """Nothing is to be done, and nothing is told."""
    assert commands(WHOLE, SEEN) == []
    assert differences(WHOLE, SEEN) == []


@pytest.mark.parametrize("held", [peer("node3"), peer("node3", endpoint="192.168.56.99:51820")])
def test_the_key_of_a_node_that_was_not_asked_is_the_kernels(held: WgPeer) -> None:
    """It is known by the node's pods."""
    told = {name: TOLD[name] for name in ("node1", "node2")}
    assert peer("node3") in keys.resolve(WANT, told, State(peers=frozenset({peer("node2"), held}))).peers


def test_the_key_of_a_node_whose_pods_moved_is_known_by_its_address() -> None:
    """But a peer that has another node's pods is that node, whatever its address has become."""
    moved = peer("node3", allowed=("10.244.9.0/24",))
    assert peer("node3") in keys.resolve(WANT, {}, State(peers=frozenset({moved}))).peers
    other = peer("node2", endpoint="192.168.56.13:51820")
    assert keys.nodes(keys.resolve(WANT, {}, State(peers=frozenset({other})))) == {"node1", "node3"}


def test_a_node_whose_key_nobody_knows_is_left_out() -> None:
    """Unless it will be known soon."""
    told = {name: TOLD[name] for name in ("node1", "node2")}
    settled = keys.resolve(WANT, told, State())
    assert keys.nodes(settled) == {"node3"}
    assert keys.known(settled).peers == {peer("node2")}
    assert keys.known(settled, {"node3"}) == settled


def test_a_new_key_of_a_node_is_told_before_the_old_one_goes() -> None:
    """Packets find the one or the other: one process adds, one removes, whatever the number of peers."""
    have = replace(SEEN, peers=frozenset({peer("node2", key("old")), peer("node3")}))
    assert commands(WHOLE, have) == [
        Section(
            "wg set flannel-wg",
            (f"peer {TOLD['node2']} endpoint 192.168.56.12:51820 allowed-ips 10.244.2.0/24",),
            further=True,
        ),
        Section("wg set flannel-wg", (f"peer {key('old')} remove",), further=True),
    ]


def test_a_keepalive_is_given_to_every_peer_and_taken_away() -> None:
    """In the words of wg(8); what somebody else has set is mended."""
    of = cluster(wireguard_keepalive=25)
    want = keys.resolve(replace(modes.wanted(wireguard, of, of.node("node1")), files=frozenset()), TOLD, State())
    assert {item.keepalive for item in want.peers} == {25}
    told = "endpoint 192.168.56.1{}:51820 allowed-ips 10.244.{}.0/24 persistent-keepalive {}"
    for wanted, seconds in ((want, "25"), (WHOLE, "off")):
        have = replace(WHOLE if wanted is want else want, keys=SEEN.keys)
        assert commands(wanted, have) == [
            Section(
                "wg set flannel-wg",
                tuple(sorted(f"peer {TOLD[f'node{i}']} {told.format(i, i, seconds)}" for i in (2, 3))),
                further=True,
            )
        ]
    (said, _) = differences(WHOLE, replace(want, keys=SEEN.keys))
    assert said.endswith("keepalive is 25, and should be 0")


def test_a_private_key_that_is_not_the_files_is_replaced() -> None:
    """The file is the truth: a key is changed by removing it."""
    (link,) = (link for link in WHOLE.links if isinstance(link, Wireguard))
    have = replace(SEEN, links=SEEN.links - {link} | {replace(link, public=key("other"))})
    assert commands(WHOLE, have) == [Section(f"wg set flannel-wg listen-port 51820 private-key {FILE}")]


@pytest.mark.parametrize("count", [2, 50, 500])
def test_processes_do_not_grow_with_peers(count: int) -> None:
    """A hundred peers are words of one command, and the script is no word of any."""
    many = cluster(3, pods=1)
    nodes = tuple(
        replace(many.nodes[0], name=f"n{i}", pod_subnet=IPv4Network((0x0AF40000 + (i << 8), 24)), pods=())
        for i in range(count)
    )
    told = {node.name: key(node.name) for node in nodes}
    want = State(peers=frozenset(WgPeer(DEV, told[n.name], f"{n.ip}:51820", (str(n.pod_subnet),)) for n in nodes))
    (section,) = commands(want, State())
    assert len(section.lines) == count
    assert f"wg set flannel-wg \\\n  {section.lines[0]} \\\n  " in batch([section])


def test_a_switch_and_a_teardown_remove_the_key() -> None:
    """After the device, and before the folder."""
    of_vxlan = modes.wanted(vxlan, OF, OF.node("node1"))
    for want in (of_vxlan, State()):
        said = [section.command for section in commands(want, SEEN)]
        assert said.index(f"rm {FILE}") > max(i for i, word in enumerate(said) if word.startswith("ip "))
        assert "rmdir --ignore-fail-on-non-empty /etc/podnet" in said
    assert f"extra private key: {FILE} belongs to no device" in differences(State(), State(keys={"podnet": ""}))


def test_another_clusters_key_stays() -> None:
    """As all that is another's."""
    assert commands(State(), State(keys={"podnet7": key("a")})) == []


def test_a_tool_that_is_missing_is_named_with_its_package() -> None:
    """Before anything is made, a key least of all."""
    (said,) = (x for x in obstacles(WANT, replace(host().see(State()), lacks=frozenset({"wg"})), OF, "node1"))
    assert said == "the mode needs wg on this host: install the package wireguard-tools"


def test_a_strangers_device_is_not_taken_over() -> None:
    """Flannel's own has the same name, and a key of its own."""
    have = host().see(State())
    theirs = Wireguard(DEV, 1420, 51820, key("flannel"), alias="")
    found = obstacles(WANT, replace(have, links=have.links | {theirs}), OF, "node1")
    assert any("flannel-wg exists on a host where nothing else is podnet's" in said for said in found)
    wg0 = replace(theirs, dev="wg0")
    found = obstacles(WANT, replace(have, links=have.links | {wg0}), OF, "node1")
    assert any("the device wg0 already has port 51820" in said for said in found)


def test_copied_machines_are_told() -> None:
    """Two hosts with one key are one peer to every other."""
    (said,) = keys.twins({"node1": key("a"), "node2": key("b"), "node3": key("a")}, "podnet")
    assert said.startswith(f"node1 and node3 have the same private key; remove {FILE} on one of them")


@pytest.mark.parametrize("said", ["", "none", "$(reboot)".ljust(44, "="), key("a") + " x", f"{key('a')[:-1]};"])
def test_what_is_no_key_is_none(said: str) -> None:
    """A host's answer becomes words of a shell on other hosts."""
    assert keys.public_key(said) == ""
    assert keys.public_key(key("a")) == key("a")
    assert key_facts.parse([f"podnet.key {said}"]) == {"podnet": ""}


def test_peers_are_read_as_wg_prints_them() -> None:
    """A device is named before its first peer alone, and one without peers does not end its line."""
    assert peers.tunnels(SAMPLE) == {
        DEV: (51820, "3zhfpBRBVdXSg2TSXfRBNTVosjU52ieExDohmjEPK10="),
        "wgempty": (0, ""),
        "wg7": (7777, ""),
    }
    other = WgPeer("wg7", "2vGWvetuAgIXawd3gAJLnmdXvDqbvkA4xYPLinfx7RU=", None, ())
    assert peers.parse(SAMPLE) == {
        WgPeer(DEV, "TqHbonIwOs8Gavu49OQXpiRk5ewjjJHn3ZjWYVoSG2U=", "192.168.56.13:51820", ("10.244.3.0/24",)),
        WgPeer(DEV, "gx4y1cXIO+cFiyN5QgFXC5ubt08fd350CrOd/DNTcA8=", "192.168.56.12:51820", ("10.244.2.0/24",)),
        replace(other, keepalive=25, options=("preshared-key",)),
    }


def test_a_host_without_wg_has_no_peers() -> None:
    """And is no error, as long as the mode does not need it."""
    done = subprocess.run(
        ["/bin/sh", "-euc", peers.COMMAND], env={"PATH": "/none"}, capture_output=True, text=True, check=True
    )
    assert (done.stdout, peers.parse([]), peers.tunnels([])) == ("", frozenset(), {})


def test_no_command_prints_a_private_key() -> None:
    """`dump` and `private-key` would, and so would reading the file by anything but wg."""
    for command in (peers.COMMAND, key_facts.COMMAND, script(FILE)):
        assert not {"dump", "cat", "private-key"} & set(command.replace("$", " ").split())
    assert "wg pubkey" in key_facts.COMMAND
    assert script(FILE).index("umask 077") < script(FILE).index("wg genkey")


def test_a_damaged_key_file_is_told_without_a_key(tmp_path: Path) -> None:
    """Then the key is made anew; the script is run for real, with a wg that understands nothing."""
    (tmp_path / "podnet.key").write_text("")
    sh = shutil.which("sh")
    command = key_facts.COMMAND.replace("/etc/podnet", str(tmp_path))
    done = subprocess.run([str(sh), "-euc", command], capture_output=True, text=True, check=True)
    assert key_facts.parse(done.stdout.splitlines()) == {"podnet": ""}
