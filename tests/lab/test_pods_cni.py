"""Containers that podnet attaches through the reference CNI plugins, beside its own pods: reached, mended, detached."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.at import Applied, At, run, until
from tests.lab.busybox import IMPORT

ALL = {"node1", "node2", "node3"}
MODES = {"vxlan": (64, 1450), "host_gw": (64, 1500), "proxy_arp": (63, 1500)}
"""The TTL of a reply on the same node, and the MTU; from another node it is 62 everywhere."""
FAR = 62
STORE = "/var/lib/cni/networks/podnet"
KEPT, RESULTS = "/var/lib/cni/podnet", "/var/lib/cni/results"
PODS = ("web", "db")
IFLINK = "ip netns exec web cat /sys/class/net/eth0/iflink"
"""The number of the host's end of a pod's cable."""
DEPLOY = "deploys/pods_cni.py"


def inventory(at: At, folder: Path, *names: str) -> Path:
    """Write the lab's inventory with such pods on each host."""
    path = folder / f"inventory-{'-'.join(names)}.py"
    path.write_text(
        f"import runpy\n_hosts, _data = runpy.run_path({str(at.inventory)!r})['nodes']\n"
        f"nodes = ([(name, {{**data, 'cni_pods': {list(names)!r}}}) for name, data in _hosts], _data)\n"
    )
    return path


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest, at: At) -> Iterator[str]:
    """Put the lab into each mode in turn."""
    at.into(request.param)
    yield request.param
    clean(at)


@pytest.fixture
def vxlan_alone(at: At) -> Iterator[At]:
    """Return the lab in vxlan, and take all away afterwards."""
    at.into("vxlan")
    yield at
    clean(at)


def clean(at: At) -> None:
    """Detach all pods, take podnet away, and forget which addresses were given."""
    done = at.apply(DEPLOY)
    assert done.code == 0, done.log
    at.into("teardown")
    for host in ALL:
        at.sh(host, f"ls {RESULTS} {KEPT} 2>&1 | grep -c podnet- || test $? = 1; rm -rf {STORE}")


def addresses(at: At, host: str) -> dict[str, str]:
    """Return the addresses of all pods of a host, by their namespaces: podnet's own, and the plugins'."""
    names = [*PODS, "podnet-pod1", "podnet-pod2"]
    said = at.sh(host, "".join(f"ip -n {name} -j -4 addr show dev eth0;" for name in names))
    found = [json.loads(line)[0]["addr_info"][0]["local"] for line in said.splitlines()]
    return dict(zip(names, found, strict=True))


def ttls(at: At, host: str, netns: str, to: list[str]) -> list[str]:
    """Ping many from one namespace, and return the TTLs of their replies."""
    said = at.sh(host, "".join(f"ip netns exec {netns} ping -n -c 1 -w 5 {each};" for each in to))
    return [line.partition("ttl=")[2].split()[0] for line in said.splitlines() if "ttl=" in line]


def reserved(at: At, host: str) -> set[str]:
    """Return the addresses that host-local has given to containers that podnet attached."""
    said = at.sh(host, f"cd {STORE}; grep -rl -e '^pods_cni' -e '^c1' . || test $? = 1")
    return {path.removeprefix("./") for path in said.split()}


def op(at: At, folder: Path, call: str) -> Applied:
    """Run one operation of podnet.operations.cni on the first host."""
    deploy = folder / "deploy.py"
    deploy.write_text(f"from podnet.operations import cni\n\ncni.{call}\n")
    return at.apply(str(deploy), "--limit", "node1")


def test_pods_of_both_kinds_reach_one_another(at: At, mode: str, tmp_path: Path) -> None:
    """On each host and across, with the mode's TTLs; a second deploy changes nothing, and costs one remote command."""
    near, mtu = MODES[mode]
    own = inventory(at, tmp_path, *PODS)
    assert at.apply(DEPLOY, inventory=own).changed == ALL
    before = {host: at.commands(host) for host in ALL}
    again = at.apply(DEPLOY, inventory=own)
    assert again.unchanged == ALL, again.log
    assert {host: at.commands(host) - before[host] for host in ALL} == dict.fromkeys(ALL, 1)
    held = {host: addresses(at, host) for host in sorted(ALL)}
    everybody = [address for pods in held.values() for address in pods.values()]
    assert len({*everybody}) == len(everybody) == 12
    assert {host: reserved(at, host) for host in ALL} == {host: {held[host][pod] for pod in PODS} for host in ALL}
    for host in ALL:
        for netns, source in held[host].items():
            others = [address for address in everybody if address != source]
            expected = [str(near if address in held[host].values() else FAR) for address in others]
            assert ttls(at, host, netns, others) == expected, (host, netns)
    assert f"mtu {mtu} " in at.sh("node1", "ip -n web link show dev eth0")
    done = at.verify(mode=mode, inventory=own)
    assert done.code == 0, done.said
    assert at.into(mode, inventory=own).unchanged == ALL


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(
    "damage",
    [
        {
            "node1": "ip -n web route del default",
            "node2": "ip -n web link del eth0",
            "node3": "ip netns del web",
        },
        {"node2": f"rm $(grep -rl '^pods_cni.web' {STORE})", "node3": f"rm {RESULTS}/podnet-pods_cni.web-eth0"},
    ],
    ids=["of the kernel", "of files"],
)
def test_what_is_damaged_is_mended_by_one_run(at: At, tmp_path: Path, damage: dict[str, str]) -> None:
    """CHECK finds a route, an interface and a reservation missing; a namespace and a cached result are missed, too."""
    own = inventory(at, tmp_path, *PODS)
    assert at.apply(DEPLOY, inventory=own).code == 0
    for host, does in damage.items():
        at.sh(host, does)
    assert at.apply(DEPLOY, inventory=own).changed == {*damage}
    assert at.apply(DEPLOY, inventory=own).unchanged == ALL
    for host in damage:
        held = addresses(at, host)
        assert reserved(at, host) == {held[pod] for pod in PODS}
        assert ttls(at, "node1" if host != "node1" else "node2", "podnet-pod1", [held["web"]]) == [str(FAR)]


def test_what_the_list_no_longer_names_is_detached_and_removed(at: At, mode: str, tmp_path: Path) -> None:
    """Its address, its cable, its namespace; the others stay, and podnet's own pods."""
    assert at.apply(DEPLOY, inventory=inventory(at, tmp_path, *PODS)).code == 0
    stays = addresses(at, "node1")["web"]
    fewer = inventory(at, tmp_path, "web")
    assert at.apply(DEPLOY, inventory=fewer).changed == ALL
    assert at.apply(DEPLOY, inventory=fewer).unchanged == ALL
    assert reserved(at, "node1") == {stays}
    assert "db" not in at.sh("node1", f"ip netns; ls {KEPT} {RESULTS}")
    assert at.apply(DEPLOY).changed == ALL
    assert reserved(at, "node1") == set()
    assert at.sh("node1", f"ls {RESULTS}; if [ -e {KEPT} ]; then echo there; fi") == ""
    assert {host: at.differences(host, mode) for host in ALL} == {host: [] for host in ALL}


@pytest.mark.parametrize(("plugin", "moment"), [("bridge", "after"), ("portmap", "before")])
def test_a_run_that_was_killed_half_way_is_completed_by_the_next(
    vxlan_alone: At, tmp_path: Path, plugin: str, moment: str
) -> None:
    """Killed with the shell that called them: the first plugin when it has done all, the second before it begins."""
    at = vxlan_alone
    path = f"/usr/lib/cni/{plugin}"
    does = "kill -9 0" if moment == "before" else f"{path}.real; kill -9 0"
    fake = f"#!/bin/sh\ncase $CNI_COMMAND in ADD) {does};; *) exec {path}.real;; esac"
    at.sh("node1", f"mv {path} {path}.real; cat >{path} <<'FAKE'\n{fake}\nFAKE\nchmod +x {path}")
    own = inventory(at, tmp_path, *PODS)
    cut = at.apply(DEPLOY, inventory=own)
    at.sh("node1", f"mv {path}.real {path}")
    assert cut.failed == {"node1"}, cut.log
    assert cut.changed == ALL - {"node1"}
    assert "web" in at.sh("node1", f"ls {KEPT}")
    assert at.apply(DEPLOY, inventory=own).changed == {"node1"}
    assert at.apply(DEPLOY, inventory=own).unchanged == ALL
    held = addresses(at, "node1")
    assert reserved(at, "node1") == {held[pod] for pod in PODS}
    assert len(at.sh("node1", "ip -br link show master cni0").splitlines()) == len(held)


def test_after_a_reboot_the_next_run_makes_them_anew(vxlan_alone: At, tmp_path: Path) -> None:
    """Namespaces do not outlive it; their addresses are given back first."""
    at = vxlan_alone
    own = inventory(at, tmp_path, *PODS)
    assert at.apply(DEPLOY, inventory=own).changed == ALL
    at.reboot("node2")
    at.back("node2")
    assert at.apply(DEPLOY, inventory=own).changed == {"node2"}
    assert at.apply(DEPLOY, inventory=own).unchanged == ALL
    held = addresses(at, "node2")
    assert reserved(at, "node2") == {held[pod] for pod in PODS}
    assert ttls(at, "node1", "web", [held["web"]]) == [str(FAR)]


def test_a_teardown_is_refused_while_anything_is_kept(vxlan_alone: At, tmp_path: Path) -> None:
    """After a reboot nothing hangs on the bridge any more, and what is kept would stay; nor may it be cut off."""
    at = vxlan_alone
    own = inventory(at, tmp_path, "web")
    assert at.apply(DEPLOY, inventory=own).changed == ALL
    at.reboot("node2")
    at.back("node2")
    refused = at.apply("deploys/teardown.py", "--limit", "node2", "--data", "cut_off=true", inventory=own)
    assert refused.code != 0
    assert f"podnet has attached what is kept in {KEPT}: podnet-pods_cni.web-eth0; detach that first" in refused.log
    assert at.apply(DEPLOY).changed == ALL
    assert at.apply("deploys/teardown.py", "--limit", "node2").changed == {"node2"}
    assert at.sh("node2", f"ls {RESULTS} {KEPT} {STORE} 2>&1 | grep -e podnet- -e '^10[.]' || test $? = 1") == ""
    at.into("vxlan")


def test_another_modes_list_attaches_them_anew(vxlan_alone: At, tmp_path: Path) -> None:
    """Else they would keep the MTU of the mode that is gone."""
    at = vxlan_alone
    own = inventory(at, tmp_path, *PODS)
    assert at.apply(DEPLOY, inventory=own).changed == ALL
    at.into("host_gw", inventory=own)
    assert "mtu 1450 " in at.sh("node1", "ip -n web link show dev eth0")
    assert at.apply(DEPLOY, inventory=own).changed == ALL
    assert at.apply(DEPLOY, inventory=own).unchanged == ALL
    assert "mtu 1500 " in at.sh("node1", "ip -n web link show dev eth0")
    assert ttls(at, "node1", "web", [addresses(at, "node2")["web"]]) == [str(FAR)]


def test_a_container_that_runs_is_attached_by_its_process(vxlan_alone: At, tmp_path: Path) -> None:
    """Once; anew when it has been started anew, whoever has the old process's number now; and detached."""
    at = vxlan_alone
    container = "systemd-run --quiet --unit=c1 --property=PrivateNetwork=yes sleep infinity"
    pid = "systemctl show --property=MainPID --value c1"
    at.sh("node1", container)
    first = at.sh("node1", pid).strip()
    call = "attach(container='c1', netns='/proc/{}/ns/net')"
    assert op(at, tmp_path, call.format(first)).changed == {"node1"}
    assert op(at, tmp_path, call.format(first)).unchanged == {"node1"}
    (address,) = reserved(at, "node1")
    assert ttls(at, "node2", "podnet-pod1", [address]) == [str(FAR)]
    at.sh("node1", f"systemctl stop c1; {container}")
    second = at.sh("node1", pid).strip()
    assert op(at, tmp_path, call.format(second)).changed == {"node1"}
    assert op(at, tmp_path, call.format(second)).unchanged == {"node1"}
    (address,) = reserved(at, "node1")
    assert ttls(at, "node2", "podnet-pod1", [address]) == [str(FAR)]
    fact = run("pyinfra", "--json", "--limit", "node1", at.inventory, "fact", "podnet.facts.cni.Attachments")
    (seen,) = json.loads(fact.out)["podnet.facts.cni.Attachments"]["node1"]
    assert (seen["container"], seen["netns"], seen["wrong"]) == ("c1", f"/proc/{second}/ns/net", "")
    assert seen["addresses"] == [f"{address}/24"]
    assert op(at, tmp_path, "detach(container='c1')").changed == {"node1"}
    assert op(at, tmp_path, "detach(container='c1')").unchanged == {"node1"}
    assert reserved(at, "node1") == set()
    at.sh("node1", "systemctl stop c1")


def test_a_container_of_podmans_is_attached_while_it_runs(vxlan_alone: At, tmp_path: Path) -> None:
    """One that podman has given no network: by its process, and by its whole id."""
    at = vxlan_alone
    run = "podman run -d --name c2 --network none busybox busybox httpd -f -h /"
    container = at.sh("node1", f"{IMPORT} >/dev/null; {run}").strip()
    pid = at.sh("node1", "podman inspect -f '{{.State.Pid}}' c2").strip()
    call = f"attach(container={container!r}, netns='/proc/{pid}/ns/net')"
    assert op(at, tmp_path, call).changed == {"node1"}
    assert op(at, tmp_path, call).unchanged == {"node1"}
    address = at.sh("node1", f"cd {STORE}; grep -l {container} 10.*").strip()
    assert ttls(at, "node2", "podnet-pod1", [address]) == [str(FAR)]
    assert at.sh("node1", "podman exec c2 busybox ip -o -4 addr show eth0").split()[3] == f"{address}/24"
    refused = at.apply("deploys/teardown.py", "--limit", "node1")
    assert refused.code != 0
    assert "would be cut off: what podnet has attached, or somebody's containers or VMs; detach the f" in refused.log
    at.sh("node1", "podman rm -f -t 0 c2")
    assert op(at, tmp_path, f"detach(container={container!r})").changed == {"node1"}
    assert at.sh("node1", f"cd {STORE}; grep -l {container} 10.* || test $? = 1") == ""


DAMAGES = (
    f"ip link del $(grep -lx $({IFLINK}) /sys/class/net/*/ifindex | cut -d / -f 5)",
    "ip -n web addr del $(ip -n web -o -4 addr show eth0 | awk '{print $4}') dev eth0",
    "ip netns del web",
    f": >{KEPT}/podnet-pods_cni.web-eth0/of",
    f"rm {KEPT}/podnet-pods_cni.web-eth0/of",
    f": >{KEPT}/podnet-pods_cni.web-eth0/01-bridge",
    f": >{RESULTS}/podnet-pods_cni.web-eth0",
    f"for i in {KEPT}/podnet-pods_cni.web-eth0/* {RESULTS}/podnet-pods_cni.web-eth0; do : >$i; done",
)
"""The last as a failure of the power leaves files that were written just before."""


def test_what_hands_and_failures_of_the_power_damage_is_mended(vxlan_alone: At, tmp_path: Path) -> None:
    """By one run; a second one changes nothing, and nothing of the damaged one is left."""
    at = vxlan_alone
    own = inventory(at, tmp_path, "web")
    assert at.apply(DEPLOY, inventory=own).changed == ALL
    for damage in DAMAGES:
        at.sh("node1", damage)
        mended = at.apply(DEPLOY, inventory=own)
        assert mended.changed == {"node1"}, (damage, mended.log)
        assert at.apply(DEPLOY, inventory=own).unchanged == ALL, damage
        (address,) = reserved(at, "node1")
        assert ttls(at, "node2", "podnet-pod1", [address]) == [str(FAR)], damage
        assert len(at.sh("node1", "ip -br link show master cni0").splitlines()) == 3, damage


def test_files_of_others_that_are_damaged_stop_nobody_else(vxlan_alone: At, tmp_path: Path) -> None:
    """Whether they say nothing, or nothing that is text; the list itself is told where it is needed, and mended."""
    at = vxlan_alone
    own = inventory(at, tmp_path, "web")
    strange = f"mkdir -p {RESULTS}; : >{RESULTS}/podnet-c1-eth0; printf '\\200\\0{{' >{RESULTS}/podnet-c3-eth0"
    at.sh("node1", f"{strange}; echo '{{\"a\":' >'{RESULTS}/podnet-x y-eth0'")
    assert at.apply(DEPLOY, inventory=own).changed == ALL
    assert at.apply(DEPLOY, inventory=own).unchanged == ALL
    at.sh("node1", "ip netns add c1")
    refused = op(at, tmp_path, "attach(container='c1', netns='/run/netns/c1')")
    assert f"c1: {RESULTS}/podnet-c1-eth0 cannot be read (it is empty), so that nobody knows" in refused.log
    at.sh(
        "node1",
        f"rm {RESULTS}/podnet-c?-eth0 '{RESULTS}/podnet-x y-eth0'; echo '{{' >/etc/cni/net.d/10-podnet.conflist",
    )
    assert at.apply(DEPLOY, inventory=own).unchanged == ALL
    refused = op(at, tmp_path, "attach(container='c1', netns='/run/netns/c1')")
    assert "/etc/cni/net.d/10-podnet.conflist is no list of plugins as podnet writes it: " in refused.log
    at.into("vxlan", inventory=own)
    assert op(at, tmp_path, "attach(container='c1', netns='/run/netns/c1')").changed == {"node1"}
    assert op(at, tmp_path, "detach(container='c1')").changed == {"node1"}
    at.sh("node1", "ip netns del c1")


def test_what_plugins_say_is_told(vxlan_alone: At, tmp_path: Path) -> None:
    """The words of one that fails; what the shell says of one that is no program, and of one that is gone."""
    at = vxlan_alone
    own = inventory(at, tmp_path, "web")
    path = "/usr/lib/cni/portmap"
    error = '{"cniVersion":"1.0.0","code":7,"msg":"there is no iptables","details":"see PATH"}'
    cases = (
        (
            f"case $CNI_COMMAND in ADD) echo '{error}'; exit 1;; *) exec {path}.real;; esac",
            f"the plugin {path} could not ADD pods_cni.web: there is no iptables (see PATH) (code 7)",
        ),
        (
            "echo broken >&2; exit 3",
            f"{path} does not tell which versions of CNI it supports: broken; install containernetworking-plugins anew",
        ),
    )
    at.sh("node1", f"mv {path} {path}.real")
    for does, sentence in cases:
        at.sh("node1", f"cat >{path} <<'FAKE'\n#!/bin/sh\n{does}\nFAKE\nchmod +x {path}")
        failed = at.apply(DEPLOY, inventory=own)
        assert failed.failed == {"node1"}
        assert sentence in failed.log
    at.sh("node1", f"mv {path}.real {path}")
    assert at.apply(DEPLOY, inventory=own).changed == {"node1"}
    at.sh("node1", f"mv {path} {path}.real")
    gone = at.apply(DEPLOY)
    at.sh("node1", f"mv {path}.real {path}")
    assert gone.failed == {"node1"}
    assert f"the plugin {path} could not DEL pods_cni.web: it cannot be run on this host: install the p" in gone.log


def test_what_is_in_the_way_is_refused_before_anything_is_changed(vxlan_alone: At, tmp_path: Path) -> None:
    """On that host; each with what to do."""
    at = vxlan_alone
    own = inventory(at, tmp_path, "web")
    cases = (
        ("ip netns add web", "ip netns del web", "/run/netns/web is there, and podnet did not make it"),
        (
            "mv /usr/lib/cni/host-local /usr/lib/cni/away",
            "mv /usr/lib/cni/away /usr/lib/cni/host-local",
            "/usr/lib/cni/host-local cannot be run on this host: install the package containernetworking-plugins",
        ),
        (
            "mv /etc/cni/net.d /etc/cni/away",
            "mv /etc/cni/away /etc/cni/net.d",
            "10-podnet.conflist is not there, or is empty: apply",
        ),
    )
    for does, undoes, sentence in cases:
        at.sh("node1", does)
        refused = at.apply(DEPLOY, inventory=own)
        at.sh("node1", f"ls /run/netns {KEPT} 2>&1 | grep -c pods_cni || test $? = 1; {undoes}")
        assert refused.failed == {"node1"}, refused.log
        assert sentence in refused.log
        assert at.try_sh("node1", f"ls {KEPT}").code != 0
    refused = at.apply("deploys/macvlan.py", inventory=own)
    assert refused.code != 0
    assert "`cni_pods` names web, but macvlan leaves no configuration list" in refused.log
    refused = op(at, tmp_path, "attach(container='c1', netns='/proc/1/ns/net')")
    assert refused.code != 0
    assert "c1: /proc/1/ns/net is the host's own network namespace" in refused.log


def test_a_full_subnet_is_told_with_its_node(vxlan_alone: At, tmp_path: Path) -> None:
    """The rest of the attachment is taken back; once there is room the next run completes it."""
    at = vxlan_alone
    at.sh("node1", f"mkdir -p {STORE}; cd {STORE}; for i in $(seq 4 254); do echo other >10.244.1.$i; done")
    own = inventory(at, tmp_path, "web")
    full = at.apply(DEPLOY, inventory=own)
    assert full.failed == {"node1"}
    sentence = "[node1] the plugin /usr/lib/cni/bridge could not ADD pods_cni.web: "
    assert sentence in full.log
    assert "the node's subnet 10.244.1.0/24 is full: take some of its `pods` or `cni_pods` away" in full.log
    assert "eth0" not in at.sh("node1", "ip -n web -br link")
    at.sh("node1", f"rm {STORE}/10.244.1.77")
    assert at.apply(DEPLOY, inventory=own).changed == {"node1"}
    assert reserved(at, "node1") == {"10.244.1.77"}
    until(lambda: at.try_sh("node1", "ip netns exec web ping -c 1 -w 1 10.244.1.1").code == 0, 5, "web is reached")
