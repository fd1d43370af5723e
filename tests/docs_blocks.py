"""The code blocks of Markdown pages, for whoever runs or checks them."""

import re
from pathlib import Path


def blocks(path: Path, language: str) -> list[str]:
    """Return the blocks that are fenced as ```language, in the page's order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


def steps(block: str) -> list[tuple[str, str, str]]:
    """Read a console block: host, command, and what the page prints of its output, `...` for what is left out."""
    parts = re.split(r"^(\w+)# (.*)\n", block, flags=re.MULTILINE)
    if parts[0]:
        raise ValueError(f"a console block begins with a prompt like `node1# `, not with {parts[0]!r}")
    return list(zip(parts[1::3], parts[2::3], parts[3::3], strict=True))


def lab_options(path: Path) -> list[str]:
    """Return the options of the `podnet lab up` that the page has its reader type; the default lab has none."""
    found = re.search(r"^podnet lab up(.*)$", "\n".join(blocks(path, "sh")), re.MULTILINE)
    return found[1].split() if found else []


def shape(lines: list[str]) -> list[str]:
    """Write every key as KEY, and every number as #: times, counters and ids differ from run to run."""
    plain = (re.sub(r"[A-Za-z0-9+/]{43}=", "KEY", line) for line in lines if line.strip())
    return [re.sub(r"\d+(\.\d+)?", "#", line).strip() for line in plain]


def matches(expected: list[str], seen: list[str]) -> bool:
    """Compare line by line; `...` stands for any number of lines."""
    if not expected:
        return not seen
    if expected[0] == "...":
        return any(matches(expected[1:], seen[i:]) for i in range(len(seen) + 1))
    return bool(seen) and expected[0] == seen[0] and matches(expected[1:], seen[1:])
