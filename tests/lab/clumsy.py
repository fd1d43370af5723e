"""An operator who does something wrong: `pytest -p tests.lab.clumsy --clumsy MOMENT:HOST:SCRIPT --clumsy-lab NAME`.

MOMENT is `before1`, `after2` and so on: which apply of the run it goes with; `after*`: with each. Whoever waits is made
less patient.
"""

from collections.abc import Callable
from itertools import count

import pytest

from podnet.verify.applying import Applied
from podnet.verify.disruptive import health
from podnet.verify.disruptive.operating import Arrangement, Operator
from tests.lab.at import At

PATIENCE = 1


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what is to go wrong."""
    parser.addoption("--clumsy", required=True)
    parser.addoption("--clumsy-lab", required=True)


def pytest_configure(config: pytest.Config) -> None:
    """Put it into the operator's hands."""
    moment, host, script = config.getoption("clumsy").split(":", maxsplit=2)
    lab = At(config.getoption("clumsy_lab"))
    numbers = count(1)
    apply, until_nothing = Operator.apply, health.until_nothing

    def clumsily(self: Operator, arrangement: Arrangement) -> Applied:
        number = next(numbers)
        if moment == f"before{number}":
            lab.sh(host, script)
        applied = apply(self, arrangement)
        if moment in {f"after{number}", "after*"}:
            lab.sh(host, script)
        return applied

    def impatiently(problems: Callable[[], list[str]], patience: float) -> list[str]:
        return until_nothing(problems, min(patience, PATIENCE))

    Operator.apply = clumsily  # type: ignore[method-assign]  # in this process alone
    health.until_nothing = impatiently
