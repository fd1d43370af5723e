"""docs/faults.md: the table that docs/faults.json holds, rendered."""

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
DATA, PAGE = DOCS / "faults.json", DOCS / "faults.md"
LONGEST = 160

HEAD = """\
# What the verification detects

Each line is a fault that was inflicted on one host of a lab in that mode, by plain commands; then `pytest --hosts=...`
ran. It went red each time that a test is named here, and the last column is what its message called the cause. `make
fault-score` does it all again and writes this page; on a lab of VMs, for the modes that the machine's own kernel cannot
show, `make fault-score OPTIONS="--vms --modes ipip,udp"`.

"""


def rendered(data: dict[str, Any]) -> str:
    """Make the page."""
    lines = [
        "| Mode | Faults | Caught | Right cause | Healthy runs | False alarms |",
        "|---|---|---|---|---|---|",
        *(_score(mode, of) for mode, of in sorted(data.items())),
    ]
    for mode, of in sorted(data.items()):
        lines += ["", f"## {mode}", "", "| Fault | Red | Named cause |", "|---|---|---|"]
        lines += [_line(name, result) for name, result in of["faults"].items()]
    return HEAD + "\n".join(lines) + "\n"


def _score(mode: str, of: dict[str, Any]) -> str:
    every = of["faults"].values()
    caught, right = sum(bool(each["tests"]) for each in every), sum(each["right"] for each in every)
    return f"| [{mode}](#{mode}) | {len(every)} | {caught} | {right} | {of['runs']} | {len(of['alarms'])} |"


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
