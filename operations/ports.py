"""Bridge ports: who is plugged into which bridge."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.ports import Ports
from podnet.operations.writing import exactly
from podnet.state import Port


@operation()
def ports(want: Iterable[Port]) -> Generator[PyinfraCommand]:
    """
    Plug devices into bridges as `want` says; other ports stay.

    + want: the ports

    **Example:**

    .. code:: python

        from podnet.operations.ports import ports
        from podnet.state import Port

        ports(name="The spare NIC joins the pods", want=[Port("eth1", "cni0", hairpin=False)])
    """
    wanted = {item.key: item for item in want}
    have = host.get_fact(Ports)
    mine = have if have is None else [port for port in have if port.key in wanted]
    yield from exactly("ports", wanted.values(), mine)
