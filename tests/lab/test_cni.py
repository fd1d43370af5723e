"""What an apply leaves for others, read by others: the reference CNI plugins add containers beside podnet's pods."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from podnet.batch import sections
from podnet.marks import CONFLIST, FIRST, SCRIPT, SUBNET_ENV
from podnet.plan import plan_table
from podnet.state import Reservation
from tests.lab.at import At, until
from tests.lab.plugins import STORE, called

ALL = {"node1", "node2", "node3"}
MODES = {"vxlan": (64, 62, 1450), "host_gw": (64, 62, 1500), "proxy_arp": (63, 62, 1500)}
"""The TTL of a reply on the same node and from another one, and the MTU."""
ENV = """FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.2.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest, at: At) -> Iterator[str]:
    """Put the lab into each mode in turn."""
    at.into(request.param)
    yield request.param
    at.into("teardown")
    for host in ("node1", "node2"):
        at.sh(host, f"rm -rf {STORE}; if [ -e /run/netns/box ]; then ip netns del box; fi")


def ttl(at: At, host: str, netns: str, to: str) -> str:
    """Ping, and return the TTL of the reply."""
    said = at.sh(host, f"ip netns exec {netns} ping -n -c 1 -w 5 {to}")
    return said.partition("ttl=")[2].split()[0]


def test_containers_and_pods_reach_each_other(at: At, mode: str) -> None:
    """As far away as the mode promises; podnet finds nothing wrong, and nothing to do, while they are there."""
    near, far, mtu = MODES[mode]
    held = {}
    for host in ("node1", "node2"):
        at.sh(host, "ip netns add box")
        held[host] = called(at, host, "ADD", "box")
    address = {host: result["ips"][0]["address"].partition("/")[0] for host, result in held.items()}
    assert address == {"node1": "10.244.1.4", "node2": "10.244.2.4"}  # behind the two pods
    pods = ["10.244.1.2", "10.244.1.3"]
    assert at.sh("node1", f"ls {STORE}").split() == [*pods, "10.244.1.4", "last_reserved_ip.0", "lock"]
    assert ttl(at, "node1", "box", "10.244.1.2") == ttl(at, "node1", "podnet-pod1", "10.244.1.4") == str(near)
    for netns in ("box", "podnet-pod1"):
        for to in ("10.244.2.2", "10.244.2.4"):
            assert ttl(at, "node1", netns, to) == str(far), (netns, to)
    assert f"mtu {mtu}" in at.sh("node1", "ip -n box link show eth0")
    done = at.verify(mode=mode)
    assert done.code == 0, done.said
    assert at.into(mode).unchanged == ALL
    called(at, "node1", "CHECK", "box", prevResult=held["node1"])
    for host in ("node1", "node2"):
        called(at, host, "DEL", "box")
        at.sh(host, "ip netns del box")
    assert at.sh("node1", f"ls {STORE}").split() == [*pods, "last_reserved_ip.0", "lock"]
    assert {host: at.differences(host, mode) for host in ALL} == {host: [] for host in ALL}


def test_a_container_is_not_cut_off_unless_it_may_be(at: At, mode: str) -> None:
    """A teardown is refused on its host, which says what would be cut off; where data allow it, it is done."""
    at.sh("node1", "ip netns add box")
    called(at, "node1", "ADD", "box")
    refused = at.apply("deploys/teardown.py")
    assert refused.failed == {"node1"}
    assert "would be cut off, which podnet did not make: somebody's containers or VMs" in refused.log
    assert at.differences("node1", mode) == []
    assert at.apply("deploys/teardown.py", "--data", "cut_off=true").code == 0
    at.sh("node1", "ip netns del box")
    at.into(mode)
    called(at, "node1", "DEL", "box")


def test_who_runs_in_a_pod_is_not_cut_off_unless_it_may_be(at: At) -> None:
    """Neither by a teardown nor by an apply without the pod, which name it; other hosts are done with."""
    at.into("vxlan")
    at.sh("node1", "systemd-run --quiet --unit=inside ip netns exec podnet-pod1 sleep infinity")
    inside = "cat /proc/$(ip netns pids podnet-pod1)/comm; ip netns pids podnet-pod1"
    until(lambda: at.try_sh("node1", inside).out.startswith("sleep\n"), 10, "sleep runs in the pod")
    _, pid = at.sh("node1", inside).split()
    words = f"the pod podnet-pod1 would be removed, and sleep ({pid}) would be cut off, which podnet did not start"
    assert at.into("vxlan").unchanged == ALL
    without = at.apply(inventory=asking(at, ["pod2"]))
    assert without.failed == {"node1"}
    assert words in without.log
    refused = at.apply("deploys/teardown.py")
    assert refused.failed == {"node1"}
    assert words in refused.log
    assert at.differences("node1") == []
    assert at.apply("deploys/teardown.py", "--data", "cut_off=true").code == 0
    at.sh("node1", "kill -0 $(systemctl show --property=MainPID --value inside); systemctl stop inside")
    assert at.sh("node1", "ip netns") == ""


CROWD, MORE, PARALLEL = 200, 40, 16
PODS = {"pod1": "10.244.1.2", "pod2": "10.244.1.3", **{f"late{i}": f"10.244.1.{i}" for i in range(237, 255)}}
ROOM = 253
"""Of a /24, without its own address, the gateway's and the broadcast address."""


def asking(at: At, pods: object) -> Path:
    """Write an inventory in which the first host has these pods."""
    path = at.path / "asking.py"
    path.write_text(f"{at.inventory.read_text()}\nnodes[0][0][1]['pods'] = {pods!r}\n")
    return path


CALLED = "CNI_CONTAINERID={} CNI_NETNS=/run/netns/{} CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni"
ADDING = (
    f"CNI_COMMAND=ADD {CALLED} /run/crowd/plugin </run/crowd/conf >/run/crowd/{{}} || echo {{}} $(cat /run/crowd/{{}})"
)
DELETING = f"CNI_COMMAND=DEL {CALLED} /run/crowd/plugin </run/crowd/conf"


def crowd(at: At, first: int, last: int, does: str = ADDING) -> str:
    """Make namespaces, and spell how the list's plugin adds them, many at once, and names those that it cannot add."""
    conflist = json.loads(at.sh("node1", f"cat {FIRST.place(CONFLIST)}"))
    conf = {"cniVersion": conflist["cniVersion"], "name": conflist["name"], **conflist["plugins"][0]}
    at.sh(
        "node1",
        f"mkdir -p /run/crowd; cat >/run/crowd/conf <<'CONF'\n{json.dumps(conf)}\nCONF\n"
        f"ln -sf /usr/lib/cni/{conf['type']} /run/crowd/plugin\n"
        f"for i in $(seq {first} {last}); do if [ ! -e /run/netns/crowd$i ]; then ip netns add crowd$i; fi; done",
    )
    return f"seq -f crowd%g {first} {last} | xargs -P {PARALLEL} -I '{{}}' sh -c '{does}'"


AMID = 20
"""How many containers at least have their addresses before podnet's pods get theirs, and how many after that."""
AT_ONCE = f"""
exec 9>/run/crowd/gate 8>/run/crowd/second
flock 9
flock 8
mkdir /run/crowd/ready
for i in $(seq {CROWD}); do
  {{
    : >/run/crowd/ready/$i
    export CNI_COMMAND=ADD {CALLED.replace("{}", "crowd$i")}
    said=/run/crowd/crowd$i
    gate=/run/crowd/gate
    if [ $i -le {AMID} ]; then gate=/run/crowd/second; fi
    flock -F -s $gate /run/crowd/plugin </run/crowd/conf >$said || echo crowd$i $(cat $said)
  }} 8>&- 9>&- &
done
timeout 60 sh -c 'until [ -e /run/crowd/open ]; do sleep 0.01; done'
exec 9>&-
timeout 60 sh -c 'until [ -e {STORE}/{PODS["late237"]} ]; do sleep 0.01; done'
exec 8>&-
wait
"""
"""Have all plugins of the crowd wait in front of a gate, and open it to all of them at once.

Some go on to a second one, which opens when podnet, holding the store's lock, has begun to write down its pods.
"""
OPENING = f"""cat >/usr/local/bin/flock <<'FLOCK'
#!/bin/sh
if [ "$1" = -w ] && [ ! -e /run/crowd/open ]; then
  touch /run/crowd/open
  timeout 60 sh -c 'until [ "$(ls {STORE} | grep -c "^10[.]")" -ge {2 + AMID} ]; do sleep 0.01; done'
fi
exec /usr/bin/flock "$@"
FLOCK
chmod +x /usr/local/bin/flock
"""
"""Have podnet's apply open it, when it is about to reserve its pods' addresses, and come amid the crowd."""


def addresses(at: At, netns: str) -> list[str]:
    """Ask every namespace of such a name on the first host for the addresses that it really has."""
    said = at.sh("node1", f"for path in /run/netns/{netns}*; do ip -n ${{path##*/}} -4 -o addr show scope global; done")
    return [line.split()[3].partition("/")[0] for line in said.splitlines()]


def times(at: At, files: str) -> dict[str, float]:
    """Return when files on the first host were written last."""
    said = at.sh("node1", f"stat -c '%.9Y %n' {files}")
    return {Path(path).name: float(time) for time, _, path in (line.partition(" ") for line in said.splitlines())}


@pytest.fixture
def crowded(at: At) -> Iterator[At]:
    """Return the lab in vxlan, and take all containers away afterwards."""
    at.into("vxlan")
    yield at
    at.sh("node1", "for path in /run/netns/crowd*; do ip netns del ${path##*/}; done; rm -r /run/crowd")
    at.sh("node1", "rm -f /usr/local/bin/flock")
    at.into("teardown")
    at.sh("node1", f"rm -r {STORE}")


@pytest.mark.parametrize(("within", "plugin"), [("vxlan", "bridge"), ("proxy_arp", "ptp")])
def test_no_address_is_given_twice_by_plugins_and_podnet_at_once(crowded: At, within: str, plugin: str) -> None:
    """200 containers come while 18 pods do; further ones get what is left. What is refused changes nothing."""
    at = crowded
    at.into(within)
    deploy = f"deploys/{within}.py"
    crowd(at, 1, CROWD)
    assert at.sh("node1", "readlink /run/crowd/plugin").strip() == f"/usr/lib/cni/{plugin}"
    at.sh("node1", OPENING)
    with ThreadPoolExecutor() as threads:
        plugins = threads.submit(at.sh, "node1", AT_ONCE)
        wait = f"timeout 60 sh -c 'until [ $(ls /run/crowd/ready | wc -l) = {CROWD} ]; do sleep 0.05; done'"
        until(lambda: at.try_sh("node1", wait).code == 0, 60, "all plugins wait in front of the gate")
        applied = threads.submit(at.apply, deploy, inventory=asking(at, PODS))
        assert plugins.result() == ""
        assert applied.result().code == 0, applied.result().log
    opened = times(at, "/run/crowd/open")["open"]
    added = times(at, "/run/crowd/crowd[0-9]*")
    given = times(at, f"{STORE}/10.*")
    late = [given.pop(address) for pod, address in PODS.items() if pod.startswith("late")]
    assert len(added) == CROWD
    assert opened < min(added.values())
    assert len([time for time in given.values() if opened < time < min(late)]) >= AMID
    assert len([time for time in given.values() if max(late) < time]) >= AMID
    left_out = at.sh("node1", crowd(at, CROWD + 1, CROWD + MORE)).splitlines()
    assert len(left_out) == CROWD + MORE + len(PODS) - ROOM
    assert all("no IP addresses available in range set" in line for line in left_out)
    pods, containers = addresses(at, "podnet-"), addresses(at, "crowd")
    assert sorted(pods) == sorted(PODS.values())
    assert len(pods + containers) == len({*pods, *containers}) == ROOM
    before = at.sh("node1", f"ls -l {STORE}; ip -4 -o addr; ip netns")
    refused = at.apply(deploy, inventory=asking(at, {**PODS, "web": "10.244.1.50"}))
    assert refused.failed == {"node1"}
    assert "node1: pods are to have addresses that containers have: 10.244.1.50 (podnet-web) is the" in refused.log
    assert "node1: its `pod_subnet` 10.244.1.0/24 is exhausted: of its 253 addresses" in refused.log
    assert at.sh("node1", f"ls -l {STORE}; ip -4 -o addr; ip netns") == before
    assert at.sh("node1", crowd(at, 1, CROWD + MORE, DELETING)) == ""
    assert at.sh("node1", f"ls {STORE}").split() == sorted([*PODS.values(), "last_reserved_ip.0", "lock"])
    at.into("teardown")
    assert at.sh("node1", f"ls {STORE}").split() == ["last_reserved_ip.0", "lock"]


def test_pods_that_are_only_counted_find_room_in_a_crowd(crowded: At) -> None:
    """40 pods come with 200 containers, in whose way their computed addresses are; 60 would be too many."""
    at, adding = crowded, crowd(crowded, 1, CROWD)

    def come() -> bool:
        applied = at.apply(inventory=asking(at, 40))
        assert applied.code == 0 or "was just given to container" in applied.log, applied.log
        return applied.code == 0

    with ThreadPoolExecutor() as threads:
        plugins = threads.submit(at.sh, "node1", adding)
        until(come, 60, "all pods have come")
        assert plugins.result() == ""
    pods, containers = addresses(at, "podnet-"), addresses(at, "crowd")
    assert (len(pods), len(containers), len({*pods, *containers})) == (40, CROWD, 40 + CROWD)
    assert at.apply(inventory=asking(at, 40)).unchanged == ALL
    before = at.sh("node1", f"ls -l {STORE}; ip -4 -o addr; ip netns")
    refused = at.apply(inventory=asking(at, 60))
    assert refused.failed == {"node1"}
    assert (
        "node1: its `pod_subnet` 10.244.1.0/24 is exhausted: of its 253 addresses containers have 200, and 60 are for "
        "pods; remove containers, or ask for fewer `pods`" in refused.log
    )
    assert at.sh("node1", f"ls -l {STORE}; ip -4 -o addr; ip netns") == before


def test_whoever_comes_second_does_without(crowded: At) -> None:
    """Plugins give away the very addresses that podnet is taking, each by a process of its own."""
    at, adding = crowded, crowd(crowded, 1, CROWD)
    wanted = [Reservation("podnet", IPv4Address(f"10.244.1.{i}"), f"podnet-late{i}") for i in range(4, 64)]
    scripts = {item.address: sections(plan_table("reservations", [item], []))[-1].lines for item in wanted}
    files = ["\n".join([f"cat >/run/crowd/{to} <<'LINES'", *lines, "LINES"]) for to, lines in scripts.items()]
    at.sh("node1", "\n".join(files))
    take = f"sh -eu -s {STORE} </run/crowd/{{}} 2>/dev/null && echo {{}}"
    taking = f"seq -f 10.244.1.%g 63 -1 4 | xargs -P {PARALLEL} -I '{{}}' sh -c '{take} || test $? = 1'"
    with ThreadPoolExecutor() as threads:
        plugins = threads.submit(at.sh, "node1", adding)
        pods = threads.submit(at.sh, "node1", taking).result().split()
        plugins.result()
    containers = addresses(at, "crowd")
    assert pods
    assert containers
    assert len(pods + containers) == len({*pods, *containers})
    held = at.sh("node1", f"cd {STORE}; grep -l podnet- [0-9]*").split()
    assert sorted(held) == sorted(["10.244.1.2", "10.244.1.3", *pods])


def test_a_reboot_frees_what_containers_had(at: At) -> None:
    """They are gone, and nobody else takes it back. What the unit finds later is in use, and stays."""
    at.into("vxlan")
    at.sh("node1", "ip netns add box")
    called(at, "node1", "ADD", "box")
    pods = ["10.244.1.2", "10.244.1.3"]
    at.sh("node1", "systemctl restart podnet")
    assert at.sh("node1", f"ls {STORE}").split() == [*pods, "10.244.1.4", "last_reserved_ip.0", "lock"]
    at.reboot("node1")
    at.back("node1")
    # podman's package has systemd empty the whole store, and with it goes where host-local would go on.
    assert at.sh("node1", f"ls {STORE}").split() == [*pods, "lock"]
    assert at.sh("node1", f"cat -A {STORE}/10.244.1.2") == "podnet-pod1^M$\neth0"
    assert at.differences("node1") == []
    at.sh("node1", "ip netns add box")
    held = called(at, "node1", "ADD", "box")
    assert held["ips"][0]["address"] == "10.244.1.4/24"
    at.sh("node1", f"systemctl restart podnet; rm {STORE}/10.244.1.3; sh {FIRST.place(SCRIPT)}")
    assert at.sh("node1", f"ls {STORE}").split() == [*pods, "10.244.1.4", "last_reserved_ip.0", "lock"]
    called(at, "node1", "DEL", "box")
    at.sh("node1", "ip netns del box")
    at.into("teardown")
    assert at.sh("node1", f"ls {STORE}").split() == ["last_reserved_ip.0", "lock"]
    assert at.try_sh("node3", f"ls {STORE}").code != 0  # where no plugin has ever been


def test_subnet_env_is_there_again_after_a_reboot_and_gone_after_a_teardown(at: At) -> None:
    """As flannel writes it, and readable by all; deleted or changed by hand it is put back."""
    path = FIRST.place(SUBNET_ENV)
    at.into("vxlan")
    assert at.sh("node2", f"cat {path}; stat -c %a {path}") == f"{ENV}644\n"
    at.reboot("node2")
    at.back("node2")
    assert at.sh("node2", f"cat {path}") == ENV
    for damage in (f"echo >>{path}", f"rm {path}", f"rm {FIRST.place(CONFLIST)}"):
        at.sh("node2", damage)
        assert at.into("vxlan").changed == {"node2"}
        assert at.sh("node2", f"cat {path}") == ENV
    at.into("teardown")
    assert at.sh("node2", f"ls /etc/cni/net.d {path} 2>&1 | grep -c podnet || test $? = 1").strip() == "0"
    assert at.try_sh("node2", f"cat {path}").code != 0


def test_a_host_on_which_flannel_runs_is_refused(at: At) -> None:
    """Its subnet.env stays as it is, whatever podnet is told to do."""
    path = FIRST.place(SUBNET_ENV)
    theirs = ENV.replace("10.244.2", "10.244.77")
    at.sh("node2", f"mkdir -p /run/flannel; cat >{path} <<'ENV'\n{theirs}ENV")
    refused = at.apply()
    assert refused.failed == {"node2"}
    assert f"{path} is there, and nothing else of podnet's: flannel seems to run on this host" in refused.log
    at.into("teardown")
    assert at.sh("node2", f"cat {path}") == theirs
    at.sh("node2", f"rm {path}")
