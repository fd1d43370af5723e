"""Addresses in the store of the CNI plugin host-local, which gives no container one that somebody has."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.reservations import Reservations
from podnet.obstacles import taken
from podnet.operations.writing import Refusal, exactly
from podnet.state import Reservation


@operation()
def reservations(want: Iterable[Reservation]) -> Generator[PyinfraCommand]:
    """
    Reserve addresses, so that no plugin gives them to a container; other reservations stay.

    + want: who is to have which address of which network; named like pods of ours, or a container's file stays for ever

    An address that somebody else has is refused.

    **Example:**

    .. code:: python

        from ipaddress import IPv4Address

        from podnet.operations.reservations import reservations
        from podnet.state import Reservation

        router = Reservation("podnet", IPv4Address("10.244.1.254"), "podnet-router")
        reservations(name="The router's address is nobody's", want=[router])
    """
    wanted = {item.key: item for item in want}
    have = host.get_fact(Reservations)
    if have is not None and (reasons := [*taken(wanted.values(), have, host.name)]):
        yield Refusal("nothing was changed: " + "; ".join(reasons))
        return
    mine = have if have is None else [item for item in have if item.key in wanted]
    yield from exactly("reservations", wanted.values(), mine)
