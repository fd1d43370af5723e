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
