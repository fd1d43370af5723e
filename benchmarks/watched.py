"""pyinfra's command line, watched: `python -m benchmarks.watched STAT STARTED OUT WORDS...` is `pyinfra WORDS...`.

At the border of each phase it notes the time, what this process has used of the processor, and what the hosts have, by
the cpu.stat of their lab's cgroup; of some pure functions also what they use. It imports nothing that pyinfra does not:
how long imports take is one of the phases.
"""

import atexit
import importlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

PARTS = {
    "answers parsed": [("podnet.facts.node", "parse")],
    "compared": [("podnet.operations.node", "plan")],
    "spelled": [("podnet.operations.node", "sections"), ("podnet.operations.writing", "script")],
}
"""What a host costs the controller beside ssh: functions, by the modules that call them."""


class Watch:
    """What is noted, until the process ends."""

    def __init__(self, stat: Path, started: float) -> None:
        """Begin with the phase in which Python starts."""
        self.stat = stat
        self.marks = [("start", started, 0.0, self.hosts())]
        self.parts: dict[str, float] = defaultdict(float)

    def hosts(self) -> float:
        """Return what the hosts have used of the processor, in seconds."""
        fields = dict(line.split() for line in self.stat.read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6

    def mark(self, phase: str) -> None:
        """Begin a phase."""
        self.marks.append((phase, time.monotonic(), time.process_time(), self.hosts()))

    def before(self, module: str, name: str, phase: str) -> None:
        """Have a phase begin when a function is called."""
        self._wrap(module, name, lambda: self.mark(phase))

    def _wrap(self, module: str, name: str, first: Callable[[], None]) -> None:
        of = importlib.import_module(module)
        function = getattr(of, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # whatever it takes and returns
            first()
            return function(*args, **kwargs)

        setattr(of, name, wrapped)

    def count(self) -> None:
        """Count from now on what the parts use; they do not wait, so nobody else runs meanwhile."""
        for part, functions in PARTS.items():
            for module, name in functions:
                self._count(part, importlib.import_module(module), name)

    def _count(self, part: str, module: Any, name: str) -> None:  # noqa: ANN401  # a module
        function = getattr(module, name)

        def counted(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as above
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.parts[part] += time.process_time() - start

        setattr(module, name, counted)

    def write(self, file: Path) -> None:
        """Write down everything, at the very end."""
        self.mark("end")
        file.write_text(json.dumps({"marks": self.marks, "parts": self.parts}))


def main(stat: str, started: str, out: str, *words: str) -> None:
    """Be pyinfra."""
    watch = Watch(Path(stat), float(started))
    atexit.register(watch.write, Path(out))
    from pyinfra_cli import cli, main  # noqa: PLC0415  # imports are in the first phase

    watch.before(cli.__name__, "make_inventory", "inventory")
    watch.before(cli.__name__, "connect_all", "connections")
    watch.before(cli.__name__, "_handle_commands", "wanted")
    run_ops = cli.run_ops

    def running(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # as above
        watch.mark("hosts")
        watch.count()
        run_ops(*args, **kwargs)
        watch.mark("end")

    cli.run_ops = running
    sys.argv = ["pyinfra", *words]
    main.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
