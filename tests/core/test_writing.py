"""How a plan becomes one script, and a failure a sentence: run by a real shell, with commands that any machine has."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyinfra.connectors.util import CommandOutput, OutputLine
from pyinfra.context import ctx_host

from podnet.batch import sections
from podnet.modes import vxlan
from podnet.operations.writing import MARK, explain, mention, script
from podnet.plan import plan
from podnet.section import Section
from tests.core.examples import cluster
from tests.core.kernel import host

NASTY = ("$(echo no) `echo no` $HOME", "a \\ b", 'it\'s "so"', "  indented", "{{ braces }}", "<&>", "PODNET ")


def run(*of: Section, folder: Path) -> subprocess.CompletedProcess[str]:
    """Feed the script to sh on standard input, as podnet.operations.writing.Batch does."""
    return subprocess.run(["sh"], input=script(of), cwd=folder, capture_output=True, text=True, check=False)


def output(done: subprocess.CompletedProcess[str]) -> CommandOutput:
    """Hand over what it said as pyinfra would."""
    said = [OutputLine("stdout", line) for line in done.stdout.splitlines()]
    return CommandOutput(said + [OutputLine("stderr", line) for line in done.stderr.splitlines()])


def test_every_command_is_fed_its_lines_and_no_shell_reads_them(tmp_path: Path) -> None:
    """What looks like shell in a line stays as it is."""
    done = run(Section("cat >lines", NASTY), Section("touch after"), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "lines").read_text().splitlines() == list(NASTY)
    assert (tmp_path / "after").exists()
    assert done.stdout.splitlines() == [f"{MARK} 0", f"{MARK} 1", f"{MARK} done"]


def test_the_first_failure_ends_all(tmp_path: Path) -> None:
    """Nothing is built on what is not there, and the end mark tells that it came to that."""
    done = run(Section("touch before"), Section("false"), Section("touch after"), folder=tmp_path)
    assert done.returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == ["before"]
    assert f"{MARK} done" not in done.stdout


def test_a_real_batch_is_good_shell() -> None:
    """`sh -n` reads all of node1's to its end."""
    of = cluster()
    want = vxlan.state(of, of.node("node1"))
    todo = script(sections(plan(want, host().see(want))))
    assert subprocess.run(["sh", "-n"], input=todo, capture_output=True, text=True, check=True).stderr == ""
    assert todo.count("<<'PODNET'") == todo.splitlines().count("PODNET")


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        ("RTNETLINK answers: File exists\nCommand failed -:2", "link add b"),
        ("iptables-restore v1.8.9 (nf_tables): unknown option\nError occurred at line: 1", "link add a"),
        ("iptables-restore: line 2 failed", "link add b"),
    ],
)
def test_a_failure_names_the_line_and_the_kernels_words(stderr: str, line: str, tmp_path: Path) -> None:
    """ip, bridge and iptables-restore tell a number; an administrator wants the line."""
    (tmp_path / "words").write_text(stderr + "\n")
    failing = Section("sh -c 'cat words >&2; exit 1' --", ("link add a", "link add b"))
    of = [Section("true"), failing]
    told = explain(of, output(run(*of, folder=tmp_path)))
    assert told.startswith(f"`{failing.command}` failed at `{line}`: {stderr.splitlines()[0]}")
    assert told.endswith("run it again once that is mended")


def test_a_failure_without_a_number_names_the_command(tmp_path: Path) -> None:
    """A command like modprobe knows no lines."""
    of = [Section("sh -c 'echo not found >&2; exit 1'")]
    told = explain(of, output(run(*of, folder=tmp_path)))
    assert told == f"`{of[0].command}` failed: not found; run it again once that is mended"


def test_a_batch_that_never_began_says_so() -> None:
    """Without any mark it was not our script that failed: sudo, or the shell itself."""
    told = explain([Section("true")], CommandOutput([OutputLine("stderr", "sudo: a password is required")]))
    assert told == "the batch could not be started: sudo: a password is required"


def test_a_script_whose_end_is_missing_runs_nothing(tmp_path: Path) -> None:
    """Should the connection end half-way, the shell has not run a line, least of all half of one."""
    sections = [Section(f"touch {tmp_path}/begun"), Section(f"tee {tmp_path}/said", ("one", "two"))]
    whole = script(sections)
    for end in range(len(whole.rstrip()) - 1):
        subprocess.run(["sh"], input=whole[:end], capture_output=True, text=True, check=False)
        assert list(tmp_path.iterdir()) == [], whole[:end]
    subprocess.run(["sh"], input=whole, capture_output=True, text=True, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["begun", "said"]


class Run:
    """A run of pyinfra, by which what was mentioned is remembered."""


def test_what_was_mentioned_while_looking_is_not_repeated() -> None:
    """Without `-y` an operation is begun twice, before the prompt and after; other hosts and runs say it."""
    said: list[str] = []
    first, second = Run(), Run()
    for name, run in (("node1", first), ("node1", first), ("node2", first), ("node1", second)):
        with ctx_host.use(SimpleNamespace(name=name, state=run, log=said.append)):
            mention(f"pod1 of {name} has another address")
    assert said == [f"pod1 of {name} has another address" for name in ("node1", "node2", "node1")]
