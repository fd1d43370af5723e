"""Docker's containers as ports of podnet's bridge: two nodes with Docker, one with podman.

Docker's packages are too large for the image of all labs. They come from Debian's mirror, as the image does.
"""

import json
import subprocess
from collections.abc import Iterator

import pytest

from podnet.labs import apt, recipe
from tests.lab.at import BIN, At, until
from tests.lab.busybox import ADDRESS, IMPORT, RUN, fetched, pinged

DOCKERS = {"node1": "10.244.1.128/25", "node2": "10.244.2.128/25"}
"""Which addresses of its node's subnet each Docker may give out."""
PACKAGES = ("docker.io", "containerd", "runc", "tini")
MODES = {"vxlan": 1450, "host_gw": 1500}
NEAR, FAR = 64, 62
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

RUNTIME = """#!/bin/sh
for word; do
    shift
    set -- "$@" "$word"
    case $word in create) set -- "$@" --no-new-keyring ;; esac
done
exec crun --cgroup-manager=disabled "$@"
"""
"""What a lab's host refuses a runtime: cgroups, where they are of version 1, and keyrings. No other host needs it."""
OF_LABS = {
    "storage-driver": "vfs",
    "exec-opts": ["native.cgroupdriver=cgroupfs"],
    "default-cgroupns-mode": "host",
    "runtimes": {"lab": {"path": "/usr/local/sbin/crun-lab"}},
    "default-runtime": "lab",
}
RUN_DOCKER = RUN.replace("podman run", "docker run --restart always --security-opt seccomp=unconfined").replace(
    "--network podnet ", ""
)
ADDRESS_DOCKER = "docker inspect -f '{{.NetworkSettings.IPAddress}}' web"
URL = "http://192.168.56.11:8080/"
"""The published port of node1's container."""
SHELLS = {
    ("node1", "pod"): "ip netns exec podnet-pod1 busybox",
    ("node2", "pod"): "ip netns exec podnet-pod1 busybox",
    ("node3", "pod"): "ip netns exec podnet-pod1 busybox",
    ("node1", "container"): "docker exec web busybox",
    ("node2", "container"): "docker exec web busybox",
    ("node3", "container"): "podman exec web busybox",
}
"""What runs a command of busybox's in each pod and container."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Fetch Docker's packages, as an archive: apt here knows nothing of them, and is told nothing."""
    folder = tmp_path_factory.mktemp("docker")
    (folder / "lists/partial").mkdir(parents=True)
    (folder / "debs").mkdir()
    sources = apt.sources(recipe.SUITE)
    assert sources, f"Docker's packages come from this machine's own mirror of Debian {recipe.SUITE}, and it has none"
    text = "".join(f"{line.replace('deb ', f'deb [signed-by={KEYRING}] ', 1)}\n" for line in sources)
    (folder / "sources.list").write_text(text)
    options = [
        *("-qq", "-o", f"Dir::Etc::SourceList={folder}/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null"),
        *("-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}", "-o", "APT::Sandbox::User=root"),
    ]
    for words in (["update"], ["download", *PACKAGES]):
        subprocess.run(["apt-get", *options, *words], cwd=folder / "debs", check=True)
    return subprocess.run(["tar", "-c", "-C", folder, "debs"], check=True, stdout=subprocess.PIPE).stdout


@pytest.fixture(scope="module")
def dockers(at: At, packages: bytes) -> At:
    """Install Docker, as its packages would have it, before podnet has touched the host."""
    for host in DOCKERS:
        unpack = [str(BIN / "podnet"), "lab", "exec", "--name", at.name, host, "--", "tar", "-x", "-C", "/root"]
        subprocess.run(unpack, input=packages, check=True)
        at.sh(host, f"cat >/usr/local/sbin/crun-lab <<'END'\n{RUNTIME}END\nchmod +x /usr/local/sbin/crun-lab")
        configure(at, host)
        # Of its dependencies it lacks lsb-base, for hosts without systemd. It makes FORWARD drop, where it is the first
        # who has the host forward.
        at.sh(host, "sysctl -q -w net.ipv4.ip_forward=0; dpkg --force-depends -i /root/debs/*.deb && rm -r /root/debs")
        assert ":FORWARD DROP" in at.sh(host, "iptables-save -t filter")
    return at


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest, dockers: At) -> Iterator[str]:
    """Put the lab into each mode in turn, with a container on each host."""
    at = dockers
    at.into(request.param)
    for host, mine in DOCKERS.items():
        configure(at, host, **{"bridge": "cni0", "fixed-cidr": mine, "mtu": MODES[request.param], "ip-masq": False})
        at.sh(host, "systemctl restart docker; iptables -P FORWARD DROP")  # a reboot may have ended Docker's own
        at.sh(host, f"{IMPORT.replace('podman import -q', 'docker import')}; {RUN_DOCKER}")
    at.sh("node3", f"{IMPORT}; {RUN}")
    yield request.param
    for host in DOCKERS:
        at.sh(host, "docker rm -f web")
    at.sh("node3", "podman rm -f -t 0 web")
    at.into("teardown")


def configure(at: At, host: str, **more: object) -> None:
    """Write Docker's configuration."""
    text = json.dumps(OF_LABS | more, indent=1)
    at.sh(host, f"mkdir -p /etc/docker; cat >/etc/docker/daemon.json <<'END'\n{text}\nEND")


def addresses(at: At) -> dict[tuple[str, str], str]:
    """Say which address each pod and container has."""
    return {
        **{(host, "pod"): str(at.cluster.node(host).pods[0].address) for host in ("node1", "node2", "node3")},
        **{(host, "container"): at.sh(host, ADDRESS_DOCKER).strip() for host in DOCKERS},
        ("node3", "container"): at.sh("node3", ADDRESS).strip(),
    }


def test_all_reach_each_other_though_docker_drops_what_is_forwarded(dockers: At, mode: str) -> None:
    """The policy is asked after podnet's rules, also where all of Docker's come before them."""
    at = dockers
    rules = at.sh("node1", "iptables-save -t filter").splitlines()
    assert [rule for rule in rules if rule.startswith("-A FORWARD")][-1] == "-A FORWARD -j PODNET-FWD"
    address = addresses(at)
    for (host, kind), own in address.items():
        others = {to: whose for (whose, _), to in address.items() if to != own}
        seen = pinged(at, host, SHELLS[host, kind], others)
        assert seen == {to: NEAR if whose == host else FAR for to, whose in others.items()}, (host, kind)
    assert f"mtu {MODES[mode]} " in at.sh("node1", "docker exec web busybox ip link show eth0")


def test_one_apply_after_docker_has_started_and_then_none(dockers: At, mode: str) -> None:
    """It takes podnet's rules to the front again; then all is as computed, and as fast as promised."""
    assert dockers.into(mode).changed == DOCKERS.keys()
    assert dockers.into(mode).unchanged == {"node1", "node2", "node3"}
    done = dockers.verify(mode=mode)
    assert done.code == 0, done.said


@pytest.mark.usefixtures("mode")
def test_a_published_port_is_reached_from_everywhere(dockers: At) -> None:
    """From pods, containers and hosts of all nodes, the container itself included."""
    shells = SHELLS | {(host, "host"): "busybox" for host in ("node1", "node2", "node3")}
    seen = {(host, kind): fetched(dockers, host, shell, URL) for (host, kind), shell in shells.items()}
    assert seen == dict.fromkeys(shells, "node1")


def test_a_container_is_there_again_after_a_reboot(dockers: At, mode: str) -> None:
    """Docker starts after podnet.service has made the bridge."""
    dockers.reboot("node1")
    dockers.back("node1")
    until(lambda: fetched(dockers, "node3", "busybox", URL) == "node1", 30, "Docker has started its container")
    assert dockers.into(mode).unchanged >= {"node2", "node3"}
    assert dockers.into(mode).unchanged == {"node1", "node2", "node3"}
