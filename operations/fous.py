"""UDP ports behind whose header stands IPv4: `ip fou`."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.fous import Fous
from podnet.operations.writing import exactly
from podnet.state import FouPort


@operation()
def fous(want: Iterable[FouPort]) -> Generator[PyinfraCommand]:
    """
    Make the host's FOU ports exactly `want`; all others are closed, since none can bear a mark.

    + want: the ports

    **Example:**

    .. code:: python

        from podnet.operations.fous import fous
        from podnet.state import FouPort

        fous(name="IPv4 in UDP", want=[FouPort(8285)])
    """
    have = host.get_fact(Fous)
    yield from exactly("fous", want, have)
