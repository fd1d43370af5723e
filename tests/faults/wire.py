"""Packets that are lost on the wire, where no table of a host shows it."""

import subprocess

from podnet.labs.home import named, parse
from podnet.labs.underlay import UNDERLAY
from tests.lab.at import At


def lose(at: At, host: str, match: str, *, vms: bool) -> None:
    """Lose what a u32 filter matches of the packets to a host."""
    if vms:  # whose wires are processes: it is lost right behind the NIC, before any table
        said = f"protocol ip u32 {match} action drop"
        at.sh(host, f"tc qdisc add dev eth0 clsact; tc filter add dev eth0 ingress {said}")
        return
    port = _port(at, host)
    # A queue without any room for them, where the segment hands packets on to the host.
    _tc(at, f"qdisc add dev {port} root handle 1: htb")
    _tc(at, f"class add dev {port} parent 1: classid 1:1 htb rate 1gbit")
    _tc(at, f"qdisc add dev {port} parent 1:1 pfifo limit 0")
    _tc(at, f"filter add dev {port} parent 1: protocol ip u32 {match} flowid 1:1")


def keep(at: At, host: str, *, vms: bool) -> None:
    """Lose nothing any more."""
    if vms:
        at.sh(host, "tc qdisc del dev eth0 clsact")
    else:
        _tc(at, f"qdisc del dev {_port(at, host)} root")


def _port(at: At, host: str) -> str:
    lab, _ = parse(at.name, (at.path / "lab.json").read_bytes())
    return next(nic.port for machine in lab.nodes if machine.name == host for nic in machine.nics)


def _tc(at: At, words: str) -> None:
    """Run tc in the namespace of the lab's segments."""
    enter = ["nsenter", "--target", str(named(at.name).keeper), "--mount", "ip", "netns", "exec", UNDERLAY, "tc"]
    subprocess.run([*enter, *words.split()], check=True, capture_output=True, text=True)
