"""Hosts that reboot have their pods' networks again, by themselves."""

import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from podnet.cluster import Node
from podnet.verify.disruptive.health import until_nothing
from podnet.verify.disruptive.operating import Operator, fail_if
from podnet.verify.fleet import Fleet

BOOTS_WITHIN = 600
"""Seconds; real machines look at their memory first."""
STARTS_WITHIN = 120
"""Seconds from a host's first answer until its unit is done: it waits for the uplink's address."""
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
STATUS = re.compile(r"a command failed with exit status (\d+)")
SIGNAL = 128
"""What sh adds to a signal's number."""


@pytest.fixture(scope="module")
def rebooted(operator: Operator, pytestconfig: pytest.Config) -> list[str]:
    """Reboot all hosts at once; return what is not as it should be when they are back."""
    before = {name: answer.read() for name, answer in operator.hosts.run_all(lambda _: BOOT_ID).items()}
    with operator.borrowed(f"{operator.names} were rebooted"):
        operator.now = None
        refused = reboot(operator.hosts, pytestconfig.getoption("reboot_command"))
        operator.disconnect()
        going = operator.hosts.only(before.keys() - refused.keys())
        late = until_nothing(lambda: _same_boot(going, before), BOOTS_WITHIN)
        fail_if(refused.values(), "expected every host to reboot when it is told to, saw")
        fail_if(late, f"{BOOTS_WITHIN} s after a reboot was asked for not all hosts are back")
        unit = f"{operator.given.cluster.marks.alias}.service"
        problems = until_nothing(lambda: _inactive(operator.hosts, unit), STARTS_WITHIN)
        problems += operator.wrong(operator.given)
        operator.now = None if problems else operator.given
    return problems


def reboot(hosts: Fleet, command: str | None) -> dict[str, str]:
    """Ask all hosts at once, each by itself, or run the command that was given for each; return who refused and why."""
    if command is None:
        # A host may go down before ssh has heard of it: its connection is lost, or a signal ends what it runs.
        answers = {name: answer.problem for name, answer in hosts.run_all(lambda _: "systemctl reboot").items()}
        return {name: said for name, said in answers.items() if (end := STATUS.search(said)) and int(end[1]) < SIGNAL}

    def run(node: Node) -> str:
        words = [word.replace("{host}", node.name) for word in shlex.split(command)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return f"{shlex.join(words)}: {(done.stdout + done.stderr).strip()}" if done.returncode else ""

    with ThreadPoolExecutor(len(hosts.nodes)) as pool:
        said = dict(zip((node.name for node in hosts.nodes), pool.map(run, hosts.nodes), strict=True))
    return {name: problem for name, problem in said.items() if problem}


def _same_boot(hosts: Fleet, before: dict[str, str]) -> list[str]:
    """Name the hosts that do not answer, or have not rebooted yet."""
    answers = hosts.run_all(lambda _: BOOT_ID)
    same = [name for name, answer in answers.items() if answer.printed == before[name]]
    return [a.problem for a in answers.values() if a.problem] + [f"{name} has not rebooted" for name in same]


def _inactive(hosts: Fleet, unit: str) -> list[str]:
    """Name the hosts whose unit is not done, with its last words."""
    # 3 is what systemctl says of a unit that is not active
    script = f"systemctl is-active {unit} || test $? = 3; journalctl --unit {unit} --boot --output cat --lines 3"
    answers = hosts.run_all(lambda _: script)
    problems = [answer.problem for answer in answers.values() if answer.problem]
    for name, answer in answers.items():
        state, _, said = answer.printed.partition("\n")
        if not answer.problem and state != "active":
            problems.append(f"{name}: {unit} is {state}, and said: {'; '.join(said.splitlines())}")
    return problems


@pytest.mark.scenario(11)
def test_all_is_there_again_after_a_reboot(rebooted: list[str]) -> None:
    """Tables are exact and all pairs reach each other, by the hosts themselves."""
    fail_if(rebooted, "after a reboot of all hosts not all was as it should be")
