"""Whatever a host filters with, and whatever it refuses already: pods' packets pass, and what others ruled stays."""

from pathlib import Path

import pytest

from tests.lab.at import At

ALL = {"node1", "node2", "node3"}
ON_NODES = {"node1": "iptables", "node2": "nft", "node3": "iptables-legacy"}

AWAY = 'mkdir -p /root/away; for tool in /usr/sbin/iptables* /usr/sbin/xtables*; do mv "$tool" /root/away; done'
BACK = "mv /root/away/* /usr/sbin/"
LISTED = "if command -v iptables-save >/dev/null; then iptables-save; fi; nft -s list ruleset"
"""All that a host filters with; -s: without counters."""

DOCKER = {
    "iptables": """
iptables -P FORWARD DROP
iptables -N DOCKER-USER
iptables -N DOCKER-FORWARD
iptables -A FORWARD -j DOCKER-USER
iptables -A FORWARD -j DOCKER-FORWARD
iptables -A DOCKER-USER -j RETURN
iptables -A DOCKER-FORWARD -i docker0 -j ACCEPT
iptables -A DOCKER-FORWARD -j DROP
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
""",
    "nft": """
nft -f - <<'END'
table ip filter {
    chain DOCKER-USER { return; }
    chain DOCKER-FORWARD { iifname "docker0" counter accept; drop; }
    chain FORWARD { type filter hook forward priority filter; policy drop; jump DOCKER-USER; jump DOCKER-FORWARD; }
}
table ip nat {
    chain POSTROUTING {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
    }
}
END
""",
}
DOCKER["iptables-legacy"] = DOCKER["iptables"]

OWN = """
nft -f - <<'END'
table inet filter {
    chain input { type filter hook input priority filter; policy accept; tcp dport 9 drop; }
    chain forward { type filter hook forward priority filter; policy drop; ct state established accept; }
    chain counted { type filter hook forward priority 5; policy accept; iifname "lo" accept; }
}
END
"""

FIREWALLD = """
nft -f - <<'END'
table inet firewalld {
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        jump filter_FORWARD_POLICIES
    }
    chain filter_FORWARD_POLICIES {
        jump filter_FWD_public
        reject with icmpx admin-prohibited
    }
    chain filter_FWD_public { return; }
}
END
"""

FIRST_HANDLE = """
handle=$(nft -a list chain inet filter forward | sed -n 's/.*"podnet".*handle //p' | head -n 1)
"""


@pytest.fixture(scope="module")
def mixed(at: At) -> At:
    """Return a lab of one host with iptables that writes nft, one without iptables, one with iptables-legacy."""
    at.sh(
        "node2",
        "dpkg --purge podman golang-github-containers-common containernetworking-plugins iptables; "
        "! command -v iptables iptables-save iptables-restore",
    )
    at.sh("node3", "update-alternatives --set iptables /usr/sbin/iptables-legacy; iptables -V | grep legacy")
    return at


@pytest.fixture
def applied(mixed: At) -> At:
    """Return the same lab in the mode vxlan."""
    done = mixed.apply()
    assert done.code == 0, done.log
    return mixed


def strangers(listing: str) -> list[str]:
    """Leave out what bears a mark of ours, empty tables, and numbers of packets."""
    lines = [line for line in listing.splitlines() if not line.startswith("#")]
    lines = [line.partition(" [")[0] if line.startswith(":") else line for line in lines]
    return [line for line in lines if "podnet" not in line and "PODNET" not in line]


def ruled(at: At) -> dict[str, list[str]]:
    """List what strangers have, on each node."""
    return {node: strangers(at.sh(node, LISTED)) for node in sorted(ALL)}


def reached(at: At, mode: str = "vxlan") -> None:
    """Fail unless every pod reaches every other."""
    done = at.verify(f"--mode={mode}", "podnet/verify/test_state.py", "podnet/verify/test_reach.py")
    assert done.code == 0, done.said


@pytest.mark.parametrize("mode", ["vxlan", "host_gw"])
def test_hosts_of_all_kinds_make_one_network(mixed: At, mode: str) -> None:
    """Each is told its rules by what it has, the whole verification passes, and a second apply runs one command."""
    done = mixed.apply(f"deploys/{mode}.py")
    assert done.changed == ALL, done.log
    assert "nft" not in mixed.sh("node1", "nft list tables | grep podnet || echo none")
    assert "table ip podnet-filter\ntable ip podnet-nat\n" in mixed.sh("node2", "nft list tables")
    assert "-A FORWARD -j PODNET-FWD" in mixed.sh("node3", "iptables-legacy-save")
    assert "PODNET" not in mixed.sh("node3", "iptables-nft-save")
    before = mixed.commands("node2")
    assert mixed.apply(f"deploys/{mode}.py").unchanged == ALL
    assert mixed.commands("node2") - before == 1
    done_ = mixed.verify(f"--mode={mode}")
    assert done_.code == 0, done_.said


def test_dockers_drops_are_there_first(mixed: At) -> None:
    """FORWARD drops by policy and by rule, in each host's own firewall; all of it is there to the letter afterwards."""
    mixed.apply("deploys/teardown.py")
    for node, kind in ON_NODES.items():
        mixed.sh(node, DOCKER[kind])
    whole = {node: mixed.sh(node, LISTED) for node in ALL}
    before = ruled(mixed)
    assert mixed.apply().changed == ALL
    reached(mixed)
    assert mixed.apply().unchanged == ALL
    assert set(before["node2"]) <= set(ruled(mixed)["node2"])
    assert mixed.apply("deploys/teardown.py").changed == ALL
    assert ruled(mixed) == before
    assert "podnet" not in mixed.sh("node2", LISTED).lower()
    assert mixed.sh("node2", LISTED) == whole["node2"]
    for node, kind in ON_NODES.items():
        mixed.sh(node, "nft flush ruleset" if kind == "nft" else "iptables -P FORWARD ACCEPT; iptables -F; iptables -X")


@pytest.mark.parametrize("ruleset", [OWN, FIREWALLD], ids=["own", "firewalld"])
def test_drops_in_nft_chains_of_others_are_opened(mixed: At, ruleset: str) -> None:
    """On hosts of every kind, also when the ruleset is loaded anew; and no rule of it is changed, then or after."""
    mixed.apply("deploys/teardown.py")
    for node in ALL:
        mixed.sh(node, ruleset)
    name = "filter" if ruleset is OWN else "firewalld"
    before = {node: mixed.sh(node, f"nft -s list table inet {name}") for node in ALL}
    assert mixed.apply().changed == ALL
    reached(mixed)
    assert mixed.apply().unchanged == ALL
    during = {node: mixed.sh(node, f"nft -s list table inet {name}") for node in ALL}
    assert {
        node: "\n".join(line for line in text.split("\n") if "podnet" not in line) for node, text in during.items()
    } == before
    mixed.sh("node2", f"nft delete table inet {name}\n{ruleset}")
    assert mixed.differences("node2") != []
    assert mixed.apply().changed == {"node2"}
    reached(mixed)
    mixed.sh("node1", f"nft delete table inet {name}")
    assert mixed.apply().changed == {"node1"}  # what it does at boot no longer names the table
    assert mixed.apply().unchanged == ALL
    mixed.sh("node1", ruleset)
    assert mixed.apply("deploys/teardown.py").changed == ALL
    assert {node: mixed.sh(node, f"nft -s list table inet {name}") for node in ALL} == before
    for node in ALL:
        mixed.sh(node, f"nft delete table inet {name}")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("nft delete table ip podnet-filter", "missing firewall chain: nft filter PODNET-FWD"),
        ("nft flush chain ip podnet-nat PODNET-POSTRTG", "wrong firewall chain: nft nat PODNET-POSTRTG: rules is none"),
        ("nft insert rule ip podnet-filter PODNET-FWD counter drop", '\'[{"counter"'),
        ("nft add rule ip podnet-filter PODNET-FWD tcp dport 1 accept", "dport"),
        (
            "nft add chain ip podnet-filter PODNET-FWD '{ policy drop; }'",
            "FORWARD 1 type filter priority -1 policy drop",
        ),
        ("nft add chain ip podnet-nat other", "'chain other'"),
        ("nft flush chain inet filter forward", "missing rules in another's firewall chain"),
        ("nft insert rule inet filter forward drop", "first is off"),
        (
            FIRST_HANDLE + "nft delete rule inet filter forward handle $handle",
            "wrong rules in another's firewall chain: nft inet filter forward: rules is",
        ),
        ("nft add rule inet filter counted ip saddr 10.0.0.0/8 accept comment podnet", "extra rules in another's"),
    ],
)
def test_damage_on_a_host_with_nft_alone_is_named_and_healed(applied: At, damage: str, words: str) -> None:
    """Deleted, emptied, added to, switched off: said in a sentence, and mended by one apply."""
    applied.sh("node2", f"if ! nft list table inet filter >/dev/null 2>&1; then {OWN}\nfi")
    assert applied.apply().code == 0
    assert applied.differences("node2") == []
    applied.sh("node2", damage)
    found = applied.differences("node2")
    assert any(words in sentence for sentence in found), found
    assert applied.apply().changed == {"node2"}
    assert applied.differences("node2") == []
    assert "podnet" in applied.sh("node2", "nft list chain inet filter forward") or "flush" in damage
    applied.sh("node2", "nft delete table inet filter")
    assert applied.apply().changed == {"node2"}  # what it does at boot no longer names the table


def test_host_that_gets_another_firewall_keeps_no_rule_of_the_old(applied: At) -> None:
    """The package iptables goes, comes, and becomes the other kind: after each apply rules are in one place only."""
    applied.sh("node1", AWAY)
    assert applied.apply().changed == {"node1"}
    assert applied.differences("node1") == []
    assert applied.apply().unchanged == ALL
    ruleset = applied.sh("node1", "nft list ruleset")
    assert ruleset.count("PODNET-FWD") == ruleset.count("PODNET-POSTRTG") == 1
    applied.sh("node1", BACK)
    for kind in ("nft", "legacy", "nft"):
        applied.sh("node1", f"update-alternatives --set iptables /usr/sbin/iptables-{kind}")
        assert applied.apply().changed == {"node1"}
        assert applied.apply().unchanged == ALL
        saved = {other: applied.sh("node1", f"iptables-{other}-save") for other in ("nft", "legacy")}
        assert [other for other, text in saved.items() if "PODNET" in text] == [kind]
        assert "podnet" not in applied.sh("node1", "nft list tables")
    reached(applied)


def test_both_kinds_of_iptables_are_opened_where_both_drop(mixed: At) -> None:
    """Packets meet the rules of both kinds; where the one that is not the host's own drops, it is told to accept."""
    mixed.apply("deploys/teardown.py")
    mixed.sh("node1", "iptables-legacy -P FORWARD DROP")
    mixed.sh("node3", "iptables-nft -A FORWARD -j DROP")
    before = ruled(mixed) | {"legacy": strangers(mixed.sh("node1", "iptables-legacy-save"))}
    assert mixed.apply().changed == ALL
    reached(mixed)
    assert mixed.apply().unchanged == ALL
    mixed.apply("deploys/teardown.py")
    assert ruled(mixed) | {"legacy": strangers(mixed.sh("node1", "iptables-legacy-save"))} == before
    mixed.sh("node1", "iptables-legacy -P FORWARD ACCEPT")
    mixed.sh("node3", "iptables-nft -F FORWARD")


def test_host_without_any_firewall_is_refused(applied: At) -> None:
    """The sentence names both packages; nothing is changed, and the other hosts are served."""
    applied.sh("node2", "mv /usr/sbin/nft /root/nft; ip link del flannel.1")
    done = applied.apply()
    applied.sh("node2", "mv /root/nft /usr/sbin/nft")
    assert done.failed == {"node2"}
    assert (
        "podnet needs iptables-save or nft on this host: install the package iptables, or the package nftables"
        in done.log
    )
    assert applied.apply().changed == {"node2"}


def test_two_clusters_do_not_meet_on_a_host_with_nft_alone(applied: At, tmp_path: Path) -> None:
    """Each has tables and openings of its own, drops what would go to the other, and leaves without disturbing it."""
    applied.sh("node2", OWN)
    applied.apply()
    second = tmp_path / "second.py"
    second.write_text(
        f"import runpy\nhosts, data = runpy.run_path({str(applied.inventory)!r})['nodes']\n"
        "for name, host in hosts:\n    host['pod_subnet'] = host['pod_subnet'].replace('.244.', '.245.')\n"
        "nodes = (hosts, data | {'vni': 7, 'network': '10.245.0.0/16'})\n"
    )
    done = applied.apply(inventory=second)
    assert done.changed == ALL, done.log
    verified = applied.verify("podnet/verify/test_state.py", "podnet/verify/test_reach.py", inventory=second)
    assert verified.code == 0, verified.said
    assert applied.apply().unchanged == ALL
    assert applied.apply(inventory=second).unchanged == ALL
    reached(applied)
    assert applied.try_sh("node2", "ip netns exec podnet-pod1 ping -n -c 1 -w 1 10.245.2.2").code == 1
    assert applied.try_sh("node2", "ip netns exec podnet7-pod1 ping -n -c 1 -w 1 10.244.2.2").code == 1
    assert applied.apply("deploys/teardown.py", inventory=second).changed == ALL
    assert "podnet7" not in applied.sh("node2", "nft list ruleset")
    assert applied.apply().unchanged == ALL
    reached(applied)
    applied.sh("node2", "nft delete table inet filter")


def test_no_packet_is_lost_while_rules_are_mended(applied: At) -> None:
    """With drops all around, a pod's pings, a hundred a second, all come back while the tables are replaced."""
    applied.sh("node2", OWN)
    applied.apply()
    ping = "ip netns exec podnet-pod1 ping -n -q -i 0.01 -w 5 10.244.1.2"
    applied.sh("node2", f"({ping} >/run/ping) & true")
    for _ in range(2):
        applied.sh("node2", "nft add rule ip podnet-filter PODNET-FWD tcp dport 1 accept")
        applied.sh("node2", "nft add rule inet filter forward ip saddr 10.0.0.0/8 accept comment podnet")
        assert applied.apply().changed == {"node2"}
    said = applied.sh("node2", "while pgrep -x ping >/dev/null; do sleep 0.1; done; cat /run/ping")
    assert " 0% packet loss" in said
    applied.sh("node2", "nft delete table inet filter")
