"""Signals that end a run: with `--disruptive` hosts are given back before it ends, as with Ctrl-C."""

import signal
from collections.abc import Callable
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupt once: timeout(1) sends its signal twice, and the second would end whoever gives hosts back."""
    del number, frame
    for ending in ENDING:
        signal.signal(ending, signal.SIG_IGN)
    raise KeyboardInterrupt


def catch() -> Callable[[], None]:
    """Have these signals interrupt, unless they are ignored, as under nohup(1); return what undoes that."""
    before = {ending: signal.getsignal(ending) for ending in ENDING}
    caught = {ending: handler for ending, handler in before.items() if handler != signal.SIG_IGN}
    for ending in caught:
        signal.signal(ending, interrupt)

    def restore() -> None:
        for ending, handler in before.items():
            signal.signal(ending, handler)

    return restore
