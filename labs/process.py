"""What this process becomes."""

import os
import sys
from typing import NoReturn

PYTHON = (sys.executable, "-P", "-m")  # -P: what lies where the user stands is not run as root


def become(command: list[str]) -> NoReturn:
    """Replace this process."""
    sys.stdout.flush()
    os.execvp(command[0], command)  # noqa: S606  # no shell is wanted
