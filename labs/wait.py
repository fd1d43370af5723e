"""Waiting for the kernel, with an end."""

import time
from collections.abc import Callable

from podnet.labs.error import LabError

STEP = 0.01


def until(predicate: Callable[[], bool], seconds: float, why: str) -> None:
    """Return as soon as `predicate` holds; after `seconds`, fail with the sentence `why`."""
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise LabError(why)
        time.sleep(STEP)
