"""One remote command as a value: what `operations/writing.py` sends."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """One command, and the lines of its standard input; if `further`, they are further words of the command."""

    command: str
    lines: tuple[str, ...] = ()
    further: bool = False
