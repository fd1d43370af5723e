"""How a host is written to: one remote command, whose failure names the line and the kernel's words."""

import re
from collections.abc import Generator, Iterable, Sequence
from weakref import WeakKeyDictionary

from pyinfra import host, logger
from pyinfra.api import Host, State, StringCommand
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.command import PyinfraCommand
from pyinfra.connectors.util import CommandOutput
from typing_extensions import override

from podnet.batch import sections as sections_of
from podnet.operations.ending import refuse
from podnet.plan import plan_table, summary
from podnet.rendering import render
from podnet.section import Section
from podnet.state import Item

MARK = "==podnet=="
FAILED_LINE = re.compile(r"(?:Command failed -:|/dev/stdin:|line:? )(\d+)")
"""How ip(8) and bridge(8), nft(8), and iptables-restore(8), tell which line of their standard input failed."""


class Batch(PyinfraCommand):
    """All sections of a plan, sent as one script on standard input.

    On the command line it would meet the kernel's limit of 128 KiB a word (MAX_ARG_STRLEN) at a few hundred peers.
    """

    def __init__(self, sections: Sequence[Section]) -> None:
        """Take the sections in the order in which they are to run."""
        super().__init__()
        self.sections = sections

    @override
    def __repr__(self) -> str:
        return f"Batch({', '.join(section.command for section in self.sections)})"

    @override
    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> bool:
        connector_arguments["_stdin"] = script(self.sections)
        ok, output = host.run_shell_command(
            StringCommand("sh"), print_output=state.print_output, print_input=state.print_input, **connector_arguments
        )
        if not ok:
            refuse(host, explain(self.sections, output))
        return ok


class Refusal(PyinfraCommand):
    """A reason why this one host must not be written to; the others go on."""

    def __init__(self, reason: str) -> None:
        """Take the reason, a sentence."""
        super().__init__()
        self.reason = reason

    @override
    def __repr__(self) -> str:
        return f"Refusal({self.reason})"

    @override
    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> bool:
        refuse(host, self.reason)
        return False


def refused(reasons: Iterable[str]) -> Generator[PyinfraCommand]:
    """Refuse to write to the current host; while pyinfra only looks, nobody else would say so."""
    said = "; ".join(reasons)
    if not host.state.is_executing:
        host.log_styled(f"it would be refused: {said}", fg="red", log_func=logger.error)
    yield Refusal(f"nothing was changed: {said}")


def write(sections: Sequence[Section], summary: str) -> Generator[PyinfraCommand]:
    """Run the sections on the current host, or say that there is nothing to do.

    While pyinfra only looks (`--dry`, or before its prompt), the exact lines are shown.
    """
    if not sections:
        host.noop("the host is as wanted")
        return
    if host.state.is_executing:
        host.log(summary)
    if not host.state.is_executing or host.state.print_input:
        for section in sections:
            host.log(f"  {section.command}")
            for line in section.lines:
                host.log(f"    {line}")
    yield Batch(sections)


_mentioned: WeakKeyDictionary[State, set[tuple[str, str]]] = WeakKeyDictionary()


def mention(text: str) -> None:
    """Log it for the current host once a run: pyinfra looks before it asks whether to go on, and then looks again."""
    said = _mentioned.setdefault(host.state, set())
    if (host.name, text) not in said:
        said.add((host.name, text))
        host.log(text)


def exactly(table: str, want: Iterable[Item], have: Iterable[Item] | None) -> Generator[PyinfraCommand]:
    """Turn the seen items of one table into the wanted ones; None, a table that could not be read, is refused."""
    if have is None:
        yield unread()
        return
    todo = plan_table(table, want, have)
    yield from write(sections_of(todo), summary(todo))


def unread() -> Refusal:
    """Refuse to write where nothing could be read: everything would look missing."""
    return Refusal("its tables could not be read, so nothing was changed; see the message above")


def script(sections: Sequence[Section]) -> str:
    """Render the sections into the shell script that runs them."""
    return render("batch.sh.j2", sections=sections, mark=MARK)


def explain(sections: Sequence[Section], output: CommandOutput) -> str:
    """Tell which line of which command failed, in its own words and the kernel's."""
    begun = [line.removeprefix(MARK).strip() for line in output.stdout_lines if line.startswith(MARK)]
    words = "; ".join(line.strip() for line in output.stderr_lines if line.strip()) or "it said nothing"
    if not begun:
        return f"the batch could not be started: {words}"
    if begun[-1] == "done":
        return "the connection ended before its result was known: run it again"
    section = sections[int(begun[-1])]
    failed = FAILED_LINE.search(words)
    number = int(failed[1]) if failed else 0
    line = section.lines[number - 1] if 0 < number <= len(section.lines) else ""
    return f"`{section.command}` failed{f' at `{line}`' if line else ''}: {words}; run it again once that is mended"
