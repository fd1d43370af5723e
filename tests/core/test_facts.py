"""What hosts print, read into the types of podnet.state: on samples that samples/make.sh took from a real kernel.

host/ is a host of ours where a stranger lives as well; fresh/ has nothing but a loopback that is down. Samples are
called after the command that printed them. What this machine's kernel has no module for stands in uncaptured/, written
after the code of iproute2 6.1 that prints it (ip/link_iptnl.c, ip/tunnel.c, ip/iplink_ipvlan.c, ip/ipfou.c).
"""

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import FactBase, FactProcessError

from podnet import marks
from podnet.facts import (
    addresses,
    chains,
    fdb,
    fous,
    keys,
    kinds,
    links,
    neighbours,
    node,
    offloads,
    peers,
    pods,
    ports,
    processes,
    routes,
    rules,
    sysctls,
)
from podnet.firewall import Verdict
from podnet.marks import Marks
from podnet.state import (
    Address,
    Bridge,
    Chain,
    FdbEntry,
    FouPort,
    Ipip,
    Ipvlan,
    Jump,
    Macvlan,
    Neighbour,
    Nic,
    Offload,
    Port,
    Reservation,
    Route,
    Rule,
    State,
    Symlink,
    Sysctl,
    Veth,
    Vxlan,
)

SAMPLES = Path(__file__).parent / "samples"
FACTS: dict[type[FactBase[Any]], tuple[str, ...]] = {
    addresses.Addresses: (addresses.COMMAND,),
    fdb.Fdb: (fdb.COMMAND,),
    links.Links: links.COMMANDS,
    neighbours.Neighbours: (neighbours.COMMAND,),
    ports.Ports: (ports.COMMAND,),
    routes.Routes: (f"{routes.COMMAND} table all",),
    rules.Rules: (rules.COMMAND,),
}
IN_ONE = {fact: commands for fact, commands in FACTS.items() if fact not in {routes.Routes, rules.Rules}}
"""What podnet.facts.node asks as its own fact does; of routes it asks for the main table alone, of rules for none."""

LO = Nic("lo", 65536, "00:00:00:00:00:00")
POD = State(
    links=frozenset({LO, Nic("eth0", 1450, "0a:58:0a:f4:01:02")}),
    addresses=frozenset(
        {Address("lo", IPv4Interface("127.0.0.1/8"), "host"), Address("eth0", IPv4Interface("10.244.1.2/24"))}
    ),
    routes=frozenset(
        {
            Route(IPv4Network("0.0.0.0/0"), "eth0", IPv4Address("10.244.1.1")),
            Route(IPv4Network("10.244.0.0/16"), "eth0", IPv4Address("10.244.1.1")),
            Route(IPv4Network("10.244.1.0/24"), "eth0", proto="kernel"),
        }
    ),
    sysctls=frozenset({Sysctl("net/ipv4/ip_forward", "0")}),
)
DOWN = replace(LO, up=False)
QUIET = State(links=frozenset({DOWN}), sysctls=POD.sysctls)
PODS = {
    "podnet-pod1": POD,
    "podnet-stale": State(),
    "podnet7-mac": replace(
        QUIET,
        links=frozenset({DOWN, Macvlan("eth0", 1500, "0a:58:0a:f5:01:02", "eth0", alias="podnet7")}),
        addresses=frozenset({Address("eth0", IPv4Interface("10.245.1.2/16"))}),
        routes=frozenset({Route(IPv4Network("10.245.0.0/16"), "eth0", proto="kernel")}),
    ),
    "podnet7-one": replace(
        QUIET, links=frozenset({DOWN, Veth("eth0", 1500, "podnet7-two", "0a:58:0a:f5:01:03", alias="podnet7")})
    ),
    "podnet7-two": replace(QUIET, links=frozenset({DOWN, Nic("eth0", 1500, "0a:58:0a:f5:01:04")})),
}


OWN_KEY = "3zhfpBRBVdXSg2TSXfRBNTVosjU52ieExDohmjEPK10="


def sample(name: str, of: str = "host") -> list[str]:
    """Return the lines that a command printed there."""
    (path,) = (SAMPLES / of).glob(f"{name}.*")
    return path.read_text().splitlines()


def firewall() -> list[str]:
    """Return what podnet.facts.chains.SCRIPT would have printed there."""
    return ["# by iptables nf_tables", *sample("iptables-save")]


def answer(fact: type[FactBase[Any]], of: str = "host") -> list[str]:
    """Return what the fact's commands printed there."""
    return [line for command in FACTS[fact] for line in sample(command, of)]


HELD = Reservation("podnet", IPv4Address("10.244.1.2"), "podnet-pod1")
ENABLED, UNIT = (Marks().place(place) for place in (marks.ENABLED, marks.UNIT))


def whole(of: str = "host") -> list[str]:
    """Return what podnet.facts.node.script would have printed there."""
    tables = {
        "files": ["folder /etc/systemd", f"symlink {ENABLED} {UNIT}"],
        "links": answer(links.Links, of),
        "vfs": [],
        "addresses": answer(addresses.Addresses, of),
        "neighbours": answer(neighbours.Neighbours, of),
        "fdb": answer(fdb.Fdb, of),
        "fous": sample("ip -j fou show", "uncaptured"),
        "offloads": ["flannel.1 on"],
        "peers": sample("wg show", "wireguard"),
        "keys": ["podnet.key " + OWN_KEY, "podnet7.key"],
        "routes": sample(routes.COMMAND, of),
        "sysctls": sample("sysctls"),
        "saved": ["net/ipv4/ip_forward = 0", "net/ipv4/conf/eth0/forwarding = 0"],
        "chains": firewall(),
        "pods": sample("pods"),
        "processes": ["4026532200 podnet-pod1", "4026532200 4711 nginx"],
        "reservations": ["podnet 10.244.1.2 podnet-pod1 eth0", "podnet 10.244.1.9 0123abcd eth0"],
        "lacks": ["ipvlan"],
    }
    return [line for table, said in tables.items() for line in (f"{node.MARK} {table}", *said)] + [f"{node.MARK} end"]


def garbled() -> list[str]:
    """Return the same with an object where a table's array should be."""
    return ["{}" if line.startswith("[") else line for line in whole()]


def read(fact: type[FactBase[Any]], of: str = "host") -> Any:
    """Read what the fact's commands printed there."""
    return fact().process(answer(fact, of))


def test_devices() -> None:
    """Ours with all that we may have to mend; a stranger's as far as it says what it is."""
    assert read(links.Links) == {
        LO,
        Nic("eth0", 1500, "52:54:00:00:00:0b"),
        Bridge("br-strange", 1500, "02:aa:00:00:00:01", alias=""),
        Veth("sv0", 1500, None, "02:aa:00:00:00:02", alias=""),
        Veth("sv1", 1500, None, "02:aa:00:00:00:03", alias=""),
        Vxlan("vx-ext", 1500, "02:aa:00:00:00:06", 0, 4790, None, None, options=("external",), up=False, alias=""),
        Vxlan("vx-remote", 1450, "02:aa:00:00:00:04", 7, 4789, None, "eth0", True, "192.168.56.99", alias=""),  # noqa: FBT003  # learning
        Bridge("cni0", 1450, "0a:58:0a:f4:01:01"),
        Vxlan("flannel.1", 1450, "66:00:00:00:00:01", 1, 8472, IPv4Address("192.168.56.11"), "eth0"),
        Veth("veth12345678", 1450, "podnet-pod1", "02:58:00:00:00:01"),
    }


def test_devices_of_a_fresh_host() -> None:
    """`ip netns list` prints nothing where there never was a namespace."""
    assert read(links.Links, "fresh") == {Nic("lo", 65536, "00:00:00:00:00:00", up=False)}


def test_devices_that_need_a_module() -> None:
    """Each address of a tunnel may be any; what podnet never makes of it is told, so that it differs."""
    here, port = IPv4Address("192.168.56.11"), {"csum": False, "csum6": False, "remcsum": False}
    gue = {"type": "gue", "sport": 8285, "dport": 8285, **port}
    far, farther = IPv4Address("192.168.56.99"), IPv4Address("192.168.56.98")
    others = ("mode ipip", "link eth0", "tos 0x10")
    assert links.parse(json.loads(sample("ip -d -j link show", "uncaptured")[0]), {}) == {
        Ipip("tunl0", 1480, None, options=("mode ipip",), up=False, alias=""),
        Ipip("flannel.ipip", 1480, here),
        Ipip("flannel.udp", 1472, IPv4Address("192.168.56.21"), fou=8285),
        Ipip("tun-strange", 1480, here, far, ttl=64, pmtudisc=True, options=others, alias=""),
        Ipip("gue-strange", 1480, here, farther, pmtudisc=True, options=("mode ipip", f"encap {gue}"), alias=""),
        Ipvlan("ipvl0", 1500, "eth0", alias=""),
    }


def test_fou_ports() -> None:
    """A port that unwraps GUE names no protocol; where there is no such module there is no answer, hence no port."""
    said = sample("ip -j fou show", "uncaptured")
    assert set(fous.Fous().process(["# podnet", *said]) or ()) == {FouPort(8285), FouPort(9999, 0)}
    assert fous.Fous().process(["# podnet"]) == frozenset()
    assert fous.Fous().process(["# podnet", "[]"]) == frozenset()


def fou_show(tmp_path: Path, said: str, code: int) -> subprocess.CompletedProcess[str]:
    """Ask for the ports where ip(8) says so."""
    ip = tmp_path / "ip"
    ip.write_text(f"#!/bin/sh\necho '{said}' >&{1 + bool(code)}\nexit {code}\n")
    ip.chmod(0o755)
    words = ["sh", "-euc", fous.COMMAND]
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    return subprocess.run(words, env=path, capture_output=True, text=True, check=False)


def test_only_a_missing_module_is_taken_for_no_ports(tmp_path: Path) -> None:
    """Whatever else goes wrong is told, and ends the answer."""
    done = fou_show(tmp_path, "[{}]", 0)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[{}]\n", "")
    done = fou_show(tmp_path, "RTNETLINK answers: No such file or directory", 255)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = fou_show(tmp_path, "RTNETLINK answers: Operation not permitted", 255)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "RTNETLINK answers: Operation not permitted\n")


def kinds_here(tmp_path: Path, modules: int, said: str, *asked: str, devices: str = "[]") -> frozenset[str]:
    """Ask which kinds are lacking where modprobe finds a module or not (its exit code), and making one says so."""
    told = f"""case "$*" in "-d -j link show") echo '{devices}' ;; *) echo '{said}' >&2; exit {bool(said):d} ;; esac"""
    alone = f'echo >>{tmp_path}/namespaces; shift; exec "$@"'
    for name, text in {"modprobe": f"exit {modules}", "unshare": alone, "ip": told}.items():
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    words = ["sh", "-euc", kinds.Kinds().command(asked)]
    done = subprocess.run(words, env=path, capture_output=True, text=True, check=True)
    lacking = kinds.Kinds().process(done.stdout.splitlines())
    assert lacking is not None
    return lacking


def test_kinds_that_the_kernel_lacks(tmp_path: Path) -> None:
    """A module that could be loaded is there; what is none is tried, and only an unknown word means that it lacks."""
    unknown = "Error: Unknown device type."
    assert kinds_here(tmp_path, 0, unknown, "no-such-a", "no-such-b") == set()
    assert kinds_here(tmp_path, 1, unknown, "no-such-a", "no-such-b") == {"no-such-a", "no-such-b"}
    assert kinds_here(tmp_path, 1, "", "no-such-a") == set()
    assert kinds_here(tmp_path, 1, "RTNETLINK answers: Operation not supported by device", "no-such-a") == set()
    assert kinds_here(tmp_path, 1, "RTNETLINK answers: No such file or directory", "fou") == {"fou"}
    assert kinds_here(tmp_path, 1, unknown) == set()


def test_a_kernel_without_vxlan_is_asked(tmp_path: Path) -> None:
    """Without a VNI ip would not even try."""
    ip = tmp_path / "ip"
    unknown, missing = "Error: Unknown device type.", "vxlan: missing virtual network identifier"
    ip.write_text(f'#!/bin/sh\ncase "$*" in *" id 1 "*) echo "{unknown}" ;; *) echo "{missing}" ;; esac >&2\nexit 1\n')
    ip.chmod(0o755)
    tried = ["sh", "-euc", kinds.TRIED, "sh", "vxlan"]
    done = subprocess.run(tried, env={"PATH": f"{tmp_path}:/bin"}, capture_output=True, text=True, check=True)
    assert done.stdout == "vxlan\n"


def test_kinds_are_tried_in_one_namespace_and_only_where_nothing_else_tells(tmp_path: Path) -> None:
    """A namespace costs a host milliseconds; a device of the kind is proof enough."""
    unknown = "Error: Unknown device type."
    devices = '[{"ifname":"one","linkinfo":{"info_kind":"no-such-a","info_data":{}}}]'
    assert kinds_here(tmp_path, 1, unknown, "no-such-a", devices=devices) == set()
    assert not (tmp_path / "namespaces").exists()
    assert kinds_here(tmp_path, 1, unknown, "no-such-a", "no-such-b", "no-such-c", devices=devices) == {
        "no-such-b",
        "no-such-c",
    }
    assert len((tmp_path / "namespaces").read_text().splitlines()) == 1


def test_bridge_ports() -> None:
    """Ours reflects frames, the stranger's does not."""
    assert read(ports.Ports) == {
        Port("sv0", "br-strange", hairpin=False),
        Port("veth12345678", "cni0", hairpin=True),
    }


def test_addresses() -> None:
    """IPv4 alone; a device without an address is in no line."""
    assert read(addresses.Addresses) == {
        Address("lo", IPv4Interface("127.0.0.1/8"), "host"),
        Address("eth0", IPv4Interface("192.168.56.11/24")),
        Address("br-strange", IPv4Interface("172.30.0.1/24")),
        Address("cni0", IPv4Interface("10.244.1.1/24")),
        Address("flannel.1", IPv4Interface("10.244.1.0/32")),
    }


def test_neighbours() -> None:
    """Permanent or not, answered or not."""
    assert read(neighbours.Neighbours) == {
        Neighbour("eth0", IPv4Address("192.168.56.7"), None, permanent=False),
        Neighbour("eth0", IPv4Address("192.168.56.8"), "02:bb:00:00:00:08", permanent=False),
        Neighbour("eth0", IPv4Address("192.168.56.9"), "02:bb:00:00:00:09"),
        Neighbour("eth0", IPv4Address("192.168.56.99"), None, permanent=False),
        Neighbour("flannel.1", IPv4Address("10.244.2.0"), "66:00:00:00:00:02"),
    }


def test_fdb_entries() -> None:
    """Only those that lead to another host; own addresses, bridge ports and multicast groups do not."""
    assert read(fdb.Fdb) == {
        FdbEntry("vx-remote", "00:00:00:00:00:00", "192.168.56.99 via eth0"),
        FdbEntry("flannel.1", "66:00:00:00:00:02", "192.168.56.12"),
        FdbEntry("flannel.1", "66:00:00:00:00:03", "192.168.56.13 port 4790 vni 9 via eth0"),
    }


def test_routes() -> None:
    """Ours bear the protocol 77; a stranger's may be of any kind, and of several next hops."""
    main = {
        Route(IPv4Network("0.0.0.0/0"), "eth0", IPv4Address("192.168.56.1"), proto="boot"),
        Route(IPv4Network("10.95.0.1/32"), "eth0", proto="boot"),
        Route(IPv4Network("10.96.0.0/24"), "eth0", IPv4Address("192.168.56.4"), metric=700, proto="static"),
        Route(IPv4Network("10.97.0.0/24"), None, metric=50, kind="unreachable", proto="boot"),
        Route(IPv4Network("10.98.0.0/24"), None, kind="blackhole", proto="boot"),
        Route(IPv4Network("10.99.0.0/24"), None, proto="boot"),
        Route(IPv4Network("10.244.1.0/24"), "cni0", proto="kernel"),
        Route(IPv4Network("10.244.2.0/24"), "flannel.1", IPv4Address("10.244.2.0"), onlink=True),
        Route(IPv4Network("172.30.0.0/24"), "br-strange", proto="kernel"),
        Route(IPv4Network("192.168.56.0/24"), "eth0", proto="kernel"),
    }
    of_100 = Route(IPv4Network("0.0.0.0/0"), "eth0", IPv4Address("192.168.56.254"), table="100")
    assert read(routes.Routes) == main | {of_100}
    assert routes.parse(json.loads(*sample(routes.COMMAND))) == main


def test_rules() -> None:
    """The kernel's three and a stranger's are told as well; what we have no word for is an option."""
    of_pods = Rule(1000, "100", IPv4Network("10.244.1.2/32"), IPv4Network("10.0.0.0/8"), "cni0", "0x1/0xff")
    assert read(rules.Rules) == {
        Rule(0, "local", proto="kernel"),
        Rule(500, "", fwmark="0x1", proto="unspec", options=("action prohibit", "tos 0x10")),
        of_pods,
        Rule(32766, "main", proto="kernel"),
        Rule(32767, "default", proto="kernel"),
    }


def test_chains() -> None:
    """Ours with their rules and their places in the hook; words in a stranger's comment are no jump."""
    filtering, masquerading = sorted(chains.Chains().process(firewall()) or (), key=lambda c: c.key)
    assert filtering == Chain(
        "filter",
        "PODNET-FWD",
        (Jump("FORWARD"),),
        (
            Verdict("accept", source=IPv4Network("10.244.0.0/16")),
            Verdict("accept", destination=IPv4Network("10.244.0.0/16")),
        ),
    )
    assert (masquerading.table, masquerading.chain) == ("nat", "PODNET-POSTRTG")
    assert masquerading.jumps == (Jump("POSTROUTING"), Jump("POSTROUTING", 2))
    assert masquerading.rules[0] == Verdict("return", mark=0x4000)
    assert len(masquerading.rules) == 6


def test_a_chain_behind_strangers_rules_tells_its_place() -> None:
    """Third in the hook is as bad as not there: somebody's REJECT may stand before it."""
    said = ["*filter", ":FORWARD ACCEPT [0:0]", ":PODNET-FWD - [0:0]", "-A FORWARD -j A", "-A FORWARD -j B"]
    (chain,) = chains.parse([*said, "-A FORWARD -j PODNET-FWD", "COMMIT"])
    assert (chain.jumps, chain.rules) == ((Jump("FORWARD", 3),), ())


def test_a_container_that_publishes_a_port_does_not_make_our_chain_the_second() -> None:
    """Portmap calls its chain before everybody, for packets that it has marked; another rule there does count."""
    said = ["*nat", ":POSTROUTING ACCEPT [0:0]", ":PODNET-POSTRTG - [0:0]", ":CNI-HOSTPORT-MASQ - [0:0]"]
    theirs = '-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ'
    ours = "-A POSTROUTING -j PODNET-POSTRTG"
    for before, place in {(theirs,): 1, (theirs, "-A POSTROUTING -j MASQUERADE"): 2}.items():
        (chain,) = chains.parse([*said, *before, ours, "COMMIT"])
        assert chain.jumps == (Jump("POSTROUTING", place),)


def test_a_host_without_rules_has_no_chains() -> None:
    """iptables-save prints nothing there; the script's own line tells that it was asked."""
    assert chains.Chains().process(["# podnet", "# by iptables nf_tables"]) == frozenset()
    assert chains.Chains().command().startswith("echo '# podnet'")


def test_settings() -> None:
    """One line a file, a device's name may hold dots; what does not exist is in no line."""
    seen = sysctls.Sysctls().process(sample("sysctls"))
    assert seen is not None
    assert Sysctl("net/ipv4/conf/flannel.1/forwarding", "0") in seen
    assert len(seen) == 13
    (of_two_words,) = sysctls.parse(["net/ipv4/ip_local_port_range:32768\t60999"])
    assert of_two_words == Sysctl("net/ipv4/ip_local_port_range", "32768\t60999")


def test_an_answer_is_never_empty() -> None:
    """Pyinfra does not ask a fact about an empty answer, it takes its default: that means unread, and is refused."""
    script = sysctls.Sysctls().command(["net/no/such"])
    done = subprocess.run(["sh", "-eu"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout
    assert sysctls.Sysctls().process(done.stdout.splitlines()) == frozenset()


def test_pods() -> None:
    """Each namespace of ours with all that is inside; a name without a namespace is a pod without tables.

    Of a cable between two pods the end in the first is the cable; what stands on the host's wire says on which.
    """
    assert pods.Pods().process([*sample("ip -d -j link show"), *sample("pods")]) == PODS
    assert pods.Pods().process(["[]", "==pod=="]) == {}


def test_who_runs_in_pods_that_are_to_go(tmp_path: Path) -> None:
    """By the inodes of namespaces; one that stays is not looked into, and a process that has just ended is nobody."""
    spaces = {name: tmp_path / "netns" / name for name in ("podnet-pod1", "podnet-pod2", "podnet7-pod1", "web")}
    (tmp_path / "netns").mkdir()
    for path in spaces.values():
        path.touch()
    for pid, (space, comm) in {
        "11": ("podnet-pod1", "my server\n"),
        "12": ("podnet-pod2", "sleep\n"),
        "13": ("podnet7-pod1", "nc\n"),
        "14": ("web", "httpd\n"),
        "15": ("podnet-pod1", "a)b\n"),
    }.items():
        (tmp_path / "proc" / pid / "ns").mkdir(parents=True)
        (tmp_path / "proc" / pid / "ns" / "net").hardlink_to(spaces[space])
        (tmp_path / "proc" / pid / "comm").write_text(comm)
    (tmp_path / "proc" / "16" / "ns").mkdir(parents=True)
    (tmp_path / "proc" / "16" / "ns" / "net").symlink_to("net:[gone]")
    for stay, seen in (
        (
            (),
            {
                "podnet-pod1": ("my server (11)", "a)b (15)"),
                "podnet-pod2": ("sleep (12)",),
                "podnet7-pod1": ("nc (13)",),
            },
        ),
        (("podnet-pod1", "podnet-pod3"), {"podnet-pod2": ("sleep (12)",), "podnet7-pod1": ("nc (13)",)}),
        (("podnet-pod1", "podnet-pod2", "podnet7-pod1"), {}),
    ):
        script = processes.script(stay).replace("/run/", f"{tmp_path}/").replace("/proc/", f"{tmp_path}/proc/")
        done = subprocess.run(["sh", "-eu"], input=script, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        assert processes.parse(done.stdout.splitlines()) == seen


def test_a_whole_host_is_read_by_one_command() -> None:
    """Every table of the one answer is the table that its own fact reads."""
    have = node.Node().process(whole())
    assert have == State(
        links=read(links.Links),
        ports=read(ports.Ports),
        addresses=read(addresses.Addresses),
        neighbours=read(neighbours.Neighbours),
        fdb=read(fdb.Fdb),
        fous=frozenset({FouPort(8285), FouPort(9999, 0)}),
        offloads=frozenset({Offload("flannel.1", on=True)}),
        peers=peers.Peers().process(["# podnet", *sample("wg show", "wireguard")]) or frozenset(),
        keys={"podnet": OWN_KEY, "podnet7": ""},
        routes=routes.parse(json.loads(*sample(routes.COMMAND))),
        sysctls=sysctls.Sysctls().process(sample("sysctls")) or frozenset(),
        saved=frozenset({Sysctl("net/ipv4/ip_forward", "0"), Sysctl("net/ipv4/conf/eth0/forwarding", "0")}),
        chains=chains.Chains().process(firewall()) or frozenset(),
        pods=PODS,
        running={"podnet-pod1": ("nginx (4711)",)},
        lacks=frozenset({"ipvlan"}),
        files=frozenset({Symlink(ENABLED, UNIT)}),
        reservations=frozenset({HELD, replace(HELD, address=IPv4Address("10.244.1.9"), container="0123abcd")}),
        folders=frozenset({"/etc/systemd"}),
    )


def test_what_is_asked_is_what_is_read() -> None:
    """The script has a heading for every table that the parser wants, in the words of the samples' names."""
    script = node.script(["net/ipv4/ip_forward"])
    marks = [line.removeprefix("echo '").removesuffix("'") for line in script.splitlines() if line.startswith("echo")]
    marks = [mark for mark in marks if mark.startswith(node.MARK)]
    assert marks == [line for line in whole() if line.startswith(node.MARK)]
    for commands in [*IN_ONE.values(), (routes.COMMAND,)]:
        assert all(f"\n{command}\n" in script for command in commands)


@pytest.mark.parametrize("paths", [[], ["net/ipv4/ip_forward", "net/ipv4/conf/*/rp_filter", "no/such"]])
def test_settings_are_read_from_this_very_machine(paths: list[str]) -> None:
    """The one script that needs neither root nor devices is run for real, with what exists and what does not."""
    done = subprocess.run(["sh", "-eu"], input=sysctls.script(paths), capture_output=True, text=True, check=False)
    assert done.stderr == ""
    seen = {item.path for item in sysctls.parse(done.stdout.splitlines())}
    assert ("net/ipv4/ip_forward" in seen, "net/ipv4/conf/lo/rp_filter" in seen) == (bool(paths), bool(paths))


def test_every_script_is_good_shell() -> None:
    """`sh -n` reads it to its end; a name with dots or a star changes nothing about that."""
    scripts = [
        node.Node().command(
            ["net/ipv4/conf/flannel.1/rp_filter", "net/ipv4/conf/*/forwarding"],
            ["net/ipv4/ip_forward"],
            ["vxlan", "fou", "offload"],
            ["flannel.1"],
            ["podnet-pod1"],
        ),
        node.Node().command(),
        kinds.Kinds().command(["ipip"]),
        fous.Fous().command(),
        pods.Pods().command(["net/ipv4/ip_forward"]),
        sysctls.Sysctls().command(["net/ipv4/ip_forward"]),
        chains.Chains().command(),
        links.Links().command(),
    ]
    for script in scripts:
        assert subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=True).stderr == ""


def asked_as(uid: int, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run the script on a host that has nothing but `id`."""
    said = tmp_path / "id"
    said.write_text(f"#!/bin/sh\necho {uid}\n")
    said.chmod(0o755)
    words = {"env": {"PATH": str(tmp_path)}, "capture_output": True, "text": True}
    return subprocess.run(["/bin/sh"], input=node.script(), check=False, **words)  # type: ignore[call-overload, no-any-return]  # the words are subprocess.run's own


def test_a_tool_that_is_missing_is_named_with_its_package(tmp_path: Path) -> None:
    """On a host without iproute2 the first line of the answer says what to install, and nothing else is done."""
    done = asked_as(0, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "podnet needs ip on this host: install the package iproute2\n"


def test_a_user_who_is_not_root_is_told_so(tmp_path: Path) -> None:
    """His PATH lacks the tools as well; that they are missing would send him the wrong way."""
    done = asked_as(1000, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "podnet must be root on this host: give its inventory `_sudo`, or log in as root\n"


BROKEN: dict[str, Callable[[list[str]], list[str]]] = {
    "nothing": lambda _: [""],
    "half": lambda lines: [*lines[:-1], lines[-1][: len(lines[-1]) // 2]] if len(lines) == 1 else [lines[0][:-20]],
    "a message": lambda lines: ['Error: Option "-j" is unknown, try "ip -help".', *lines],
    "a bracket": lambda _: ["["],
    "an object": lambda _: ["{}"],
    "a number": lambda _: ["7"],
    "numbers": lambda _: ["[1, 2]"],
    "null": lambda _: ["null"],
    "words": lambda _: ['["eth0"]'],
    "too many documents": lambda lines: [*lines, "[]", "[]", "7"],
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
def test_an_answer_that_is_not_whole_is_an_error(fact: type[FactBase[Any]], how: str) -> None:
    """Never an empty table: it would be filled, or emptied, for nothing."""
    with pytest.raises(FactProcessError, match=r"^the .* is not as expected \(\w+: .+\)$"):
        fact().process(BROKEN[how](answer(fact)))


NEEDED = {
    addresses.Addresses: ("ifname", "addr_info", "local", "prefixlen"),
    fdb.Fdb: ("ifname", "mac", "state"),
    links.Links: ("ifname", "mtu", "flags"),
    neighbours.Neighbours: ("dev", "dst", "state"),
    ports.Ports: ("ifname", "master", "hairpin"),
    routes.Routes: ("dst", "flags", "type", "protocol"),
    rules.Rules: ("priority", "protocol"),
}


@pytest.mark.parametrize(("fact", "field"), [(fact, field) for fact, fields in NEEDED.items() for field in fields])
def test_a_field_that_is_missing_is_an_error(fact: type[FactBase[Any]], field: str) -> None:
    """Another iproute2 may call things otherwise: that must be heard of, not guessed around."""
    said = [line.replace(f'"{field}":', '"renamed":') for line in answer(fact)]
    assert said != answer(fact)
    with pytest.raises(FactProcessError, match=field):
        fact().process(said)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
def test_nothing_is_a_table_without_entries(fact: type[FactBase[Any]]) -> None:
    """A filter that matches nothing prints empty objects, and a fresh host an empty array: both are read."""
    assert fact().process(["[{},{}]"]) == frozenset()
    fact().process(answer(fact, "fresh"))


@pytest.mark.parametrize("line", range(0, len(whole()), 5))
def test_a_host_that_was_cut_short_is_an_error(line: int) -> None:
    """The connection may end after any line: what came before is not taken for all that there is."""
    with pytest.raises(FactProcessError, match="the answer is not as expected"):
        node.Node().process(whole()[:line])


@pytest.mark.parametrize("table", [mark.split()[1] for mark in whole() if mark.startswith(node.MARK)])
def test_a_table_that_is_missing_is_an_error(table: str) -> None:
    """Every heading is needed, the end mark as well."""
    with pytest.raises(FactProcessError, match="the answer is not as expected"):
        node.Node().process([line for line in whole() if line != f"{node.MARK} {table}"])


def test_a_greeting_before_the_answer_is_nobodys_table() -> None:
    """A login shell that prints is no reason to refuse a host: the answer begins at its first heading."""
    assert node.Node().process(["Welcome to node1!", *whole()]) == node.Node().process(whole())


@pytest.mark.parametrize("cut", range(len(sample("pods"))))
def test_pods_that_were_cut_short_are_an_error(cut: int) -> None:
    """Without the last mark a pod may be missing, and a missing pod would be made a second time."""
    with pytest.raises(FactProcessError, match="the list of pods is not as expected"):
        pods.Pods().process(["[]", *sample("pods")[:cut]])


def test_a_pod_of_which_a_table_is_missing_is_an_error() -> None:
    """Its process inside the namespace failed half-way."""
    said = sample("pods")
    for gone in (1, 2, 3, 4, 5):
        with pytest.raises(FactProcessError, match="the list of pods"):
            pods.Pods().process(["[]", *said[:gone], *said[gone + 1 :]])


def test_a_firewall_that_was_cut_short_is_an_error() -> None:
    """A table without its COMMIT lacks rules, and ours would be made a second time."""
    said = firewall()
    with pytest.raises(FactProcessError, match="the firewall is not as expected"):
        chains.Chains().process(said[: said.index(":PODNET-FWD - [0:0]") + 4])


@pytest.mark.parametrize("said", ["sysctl", "net/ipv4/ip_forward"])
def test_a_setting_without_a_value_is_an_error(said: str) -> None:
    """Whatever it is, it is no setting."""
    with pytest.raises(FactProcessError, match="the list of settings is not as expected"):
        sysctls.Sysctls().process([said])


@pytest.mark.parametrize(
    "fact",
    [
        *FACTS,
        chains.Chains,
        fous.Fous,
        keys.Keys,
        kinds.Kinds,
        node.Node,
        peers.Peers,
        pods.Pods,
        processes.Processes,
        sysctls.Sysctls,
    ],
    ids=lambda f: f.__name__,
)
def test_a_fact_that_was_not_read_is_no_table(fact: type[FactBase[Any]]) -> None:
    """Pyinfra gives the default when a command failed: it must not be mistaken for an empty table."""
    assert fact.default() is None


def test_samples_are_what_a_kernel_prints() -> None:
    """One line of JSON a command, as iproute2 prints it."""
    for path in SAMPLES.glob("*/*.json"):
        assert len(path.read_text().splitlines()) <= 1
        assert json.loads(path.read_text() or "[]") is not None


SAID_OF_LO = """Features for lo:
tx-checksumming: on
\ttx-checksum-ipv4: off [fixed]
\ttx-checksum-ip-generic: on [fixed]
\ttx-checksum-ipv6: off [fixed]
"""
"""`ethtool -k lo`, ethtool 6.1: what belongs to a feature of the same purpose stands below it, behind a tab."""


def test_checksum_offload_is_read_where_ethtool_indents_it(tmp_path: Path) -> None:
    """A device that nobody can tell about would never be brought to what is wanted of it."""
    ethtool = tmp_path / "ethtool"
    ethtool.write_text(f"#!/bin/sh\ncat <<'SAID'\n{SAID_OF_LO}SAID\n")
    ethtool.chmod(0o755)
    done = subprocess.run(
        ["sh", "-euc", offloads.script(["lo", "nobody"])],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert offloads.parse(done.stdout.splitlines()) == {Offload("lo", on=True)}
