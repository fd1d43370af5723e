"""Which scenario was shown for which mode on which kind of lab: collected in a run, and a table of the docs.

`python -m tests.shown` writes the table of the last run that had both kinds of labs into the docs.
"""

import json
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from podnet.labs.plan import CONTAINERS, VMS
from podnet.verify.numbers import NUMBERS
from podnet.verify.scenarios import SCENARIOS

MODES = sorted(NUMBERS)
LETTERS = {CONTAINERS: "C", VMS: "V"}

Shown: TypeAlias = tuple[int, str, str]
"""A scenario's number, a mode, a kind of lab."""

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "verification.md"
LAST = ROOT / ".lab" / "shown.json"
BEGIN, END = "<!-- scenarios: make test-all, then python -m tests.shown -->\n", "<!-- end of scenarios -->\n"
ON_VMS_TOO = "tests/vms/test_modes.py::test_it_is_there_again"
"""What VMs show once more of modes that containers have: only `make test-all` has the time for it."""
NEW: list[Shown] = []
"""What this process has seen and not yet reported."""


def note(scenario: int, mode: str, lab: str) -> None:
    """Say that a scenario was shown."""
    NEW.append((scenario, mode, lab))


def read(junit: Path, mode: str, lab: str) -> None:
    """Note the scenarios all of whose tests have passed in a run of the verification."""
    passed: dict[int, bool] = {}
    for case in ET.parse(junit).getroot().iter("testcase"):  # noqa: S314  # our own pytest wrote it
        good = not any(case.find(outcome) is not None for outcome in ("failure", "error", "skipped"))
        for found in case.iter("property"):
            if found.get("name") == "scenario":
                number = int(found.get("value", ""))
                passed[number] = passed.get(number, True) and good
    NEW.extend((number, mode, lab) for number, good in passed.items() if good)


def told() -> Iterator[tuple[str, str]]:
    """Hand over what is new as properties of a test, which xdist carries to whoever counts."""
    while NEW:
        yield "shown", json.dumps(NEW.pop())


def once(shown: Collection[Shown]) -> set[Shown]:
    """Leave out what VMs have shown of modes that containers have."""
    with_containers = {mode for _, mode, lab in shown if lab == CONTAINERS}
    return {(number, mode, lab) for number, mode, lab in shown if lab == CONTAINERS or mode not in with_containers}


def table(shown: Iterable[Shown]) -> str:
    """Write the table: C for containers, V for VMs."""
    labs = {(number, mode): set[str]() for number in SCENARIOS for mode in MODES}
    for number, mode, lab in shown:
        labs[number, mode].add(lab)
    lines = [
        f"| | Scenario | {' | '.join(MODES)} |",
        f"|---|---|{'---|' * len(MODES)}",
        *(
            f"| {number} | {words} | {' | '.join(_cell(labs[number, mode]) for mode in MODES)} |"
            for number, words in SCENARIOS.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _cell(labs: set[str]) -> str:
    return " ".join(sorted(LETTERS[lab] for lab in labs)) or "—"


def save(shown: Iterable[Shown]) -> None:
    """Leave what a whole run has shown for `python -m tests.shown`."""
    LAST.parent.mkdir(exist_ok=True)
    LAST.write_text(json.dumps(sorted(shown)))


def in_docs() -> str:
    """Return the table that the docs have."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip() + "\n"


def once_in_docs() -> str:
    """Return it without what `once` leaves out."""
    return in_docs().replace(f"{LETTERS[CONTAINERS]} {LETTERS[VMS]}", LETTERS[CONTAINERS])


def main() -> None:
    """Write the table into the docs."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    shown = [(number, mode, lab) for number, mode, lab in json.loads(LAST.read_text())]
    PAGE.write_text(f"{before}{BEGIN}\n{table(shown)}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
