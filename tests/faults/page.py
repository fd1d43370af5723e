"""docs/faults.md: the table that docs/faults.json holds, rendered."""

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
DATA, PAGE = DOCS / "faults.json", DOCS / "faults.md"
LONGEST = 160

HEAD = """\
# What the verification detects

Each line is a fault that was inflicted on node3 of a lab in that mode, by plain commands, which stand in `faults.json`;
then `pytest --hosts=... podnet/verify/test_state.py podnet/verify/test_reach.py` ran, and the whole verification only
where these two found nothing. `Red` is the first test of that run that failed, the last column what the message called
the cause. It counts as right if every pair of pods that failed named it, and nothing else before it; where no pair
failed, if the comparison of the tables named it. Healthy runs are whole verifications of a lab without any fault.

`make fault-score` does it all again and writes this page: `OPTIONS="--modes vxlan,bridge"` a part of it, and
`OPTIONS="--vms --modes ipip,udp"`, on labs of VMs, what the machine's own kernel cannot show.

"""


def rendered(data: dict[str, Any]) -> str:
    """Make the page."""
    lines = [
        "| Mode | Faults | Caught | Right cause | Healthy runs | False alarms |",
        "|---|---|---|---|---|---|",
        *(_score(f"[{mode}](#{mode})", [of]) for mode, of in sorted(data.items())),
        _score("all", [*data.values()]),
    ]
    for mode, of in sorted(data.items()):
        lines += ["", f"## {mode}", "", "| Fault | Red | Named cause |", "|---|---|---|"]
        lines += [_line(name, result) for name, result in of["faults"].items()]
        lines += [f"| {name} | | not on this lab: its hosts have nothing there to break |" for name in of["lacks"]]
    return HEAD + "\n".join(lines) + "\n"


def _score(name: str, parts: list[dict[str, Any]]) -> str:
    every = [result for of in parts for result in of["faults"].values()]
    caught, right = sum(bool(each["tests"]) for each in every), sum(each["right"] for each in every)
    runs, alarms = sum(of["runs"] for of in parts), sum(len(of["alarms"]) for of in parts)
    return f"| {name} | {len(every)} | {caught} | {right} | {runs} | {alarms} |"


def _line(name: str, result: dict[str, Any]) -> str:
    first, *others = result["tests"] or ["**none**"]
    tests = first.removeprefix("test_").replace("_", " ") + (f", and {len(others)} more" if others else "")
    cause = result["cause"].replace("|", "\\|")
    cause = cause if len(cause) <= LONGEST else f"{cause[:LONGEST]}..."
    return f"| {name} | {tests} | {'' if result['right'] else '**other:** '}{cause} |"


def main() -> None:
    """Render the page anew."""
    PAGE.write_text(rendered(json.loads(DATA.read_text())))


if __name__ == "__main__":
    main()
