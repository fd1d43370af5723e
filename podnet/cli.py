"""The command `podnet`: labs to try podnet on. What podnet does to hosts is done by pyinfra and pytest."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from podnet.labs import home, lab
from podnet.labs.error import LabError
from podnet.labs.plan import VMS
from podnet.labs.process import PYTHON, become

ROOT_ONLY = ("up", "down", "exec", "reboot")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    words = list(sys.argv[1:] if words is None else words)
    asked = parse(words)
    try:
        if asked.verb in ROOT_ONLY and os.geteuid() != 0:
            become_root(words)
        return run(asked)
    except LabError as error:
        print(f"podnet: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("podnet: interrupted; `podnet lab up` completes the lab, `podnet lab down` removes it", file=sys.stderr)
        return 130


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line; whatever follows the first -- is a command for a host."""
    cut = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(prog="podnet", description="Container networking on Linux hosts.")
    nouns = parser.add_subparsers(required=True, metavar="lab")
    verbs = nouns.add_parser("lab", help="a lab of hosts on this machine").add_subparsers(
        dest="verb", required=True, metavar="up|down|status|exec|ssh|reboot"
    )
    up = verbs.add_parser("up", help="make a lab, complete it, or change its number of hosts")
    up.add_argument("--hosts", type=int, metavar="N", help="how many (3)")
    up.add_argument("--segments", type=int, metavar="S", help="how many L2 segments, joined by a router (1)")
    up.add_argument("--mtu", type=int, metavar="M", help="MTU of the underlay (1500)")
    up.add_argument("--vms", action="store_const", const=VMS, dest="kind", help="VMs for hosts, not containers")
    down = verbs.add_parser("down", help="remove a lab and every trace of it")
    status = verbs.add_parser("status", help="how the hosts fare; exit code 1 if one is not up")
    execute = verbs.add_parser("exec", usage="podnet lab exec [--name NAME] HOST -- CMD ...", help="run CMD in a host")
    ssh = verbs.add_parser("ssh", usage="podnet lab ssh [--name NAME] HOST [-- CMD ...]", help="log in to a host")
    reboot = verbs.add_parser("reboot", help="start hosts anew, all at once, with the files they have")
    reboot.add_argument("--hard", action="store_true", help="cut their power first")
    reboot.add_argument("hosts", metavar="HOST", nargs="+")
    for verb in (up, down, status, execute, ssh, reboot):
        verb.add_argument("--name", default=home.DEFAULT, help=f"which lab ({home.DEFAULT})")
    for verb in (execute, ssh):
        verb.add_argument("host", metavar="HOST")
        verb.add_argument("bare", nargs="*", help=argparse.SUPPRESS)
    asked, unknown = parser.parse_known_args(words[:cut], argparse.Namespace(bare=[]))
    if unknown:
        hint = "; put -- before the command for the host" if asked.verb in {"exec", "ssh"} else ""
        parser.error(f"{' '.join(unknown)} is no option of {asked.verb}{hint}")
    asked.command = asked.bare + words[cut + 1 :]
    if asked.verb == "exec" and not asked.command:
        execute.error("say what to run, after --")
    return asked


def run(asked: argparse.Namespace) -> int:
    """Do what is asked."""
    place = home.named(asked.name)
    match asked.verb:
        case "up":
            lab.up(place, {option: getattr(asked, option) for option in ("hosts", "segments", "mtu", "kind")})
        case "down":
            lab.down(place)
        case "status":
            return 0 if lab.status(place) else 1
        case "exec":
            lab.execute(place, asked.host, asked.command)
        case "ssh":
            lab.ssh(place, asked.host, asked.command)
        case "reboot":
            lab.reboot(place, asked.hosts, hard=asked.hard)
    return 0


def become_root(words: list[str]) -> None:
    """Run the same again under sudo; does not return."""
    if not shutil.which("sudo"):
        raise LabError("labs are made by root, and there is no sudo: run this as root")
    become(["sudo", "--", *PYTHON, "podnet.cli", *words])


if __name__ == "__main__":
    sys.exit(main())
