"""Rules of ours in nft chains of others: `nft -f`."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.openings import Openings
from podnet.operations.writing import exactly
from podnet.state import Opening


@operation()
def openings(want: Iterable[Opening]) -> Generator[PyinfraCommand]:
    """
    Make our rules in chains of others, those with a comment of ours, exactly `want`.

    + want: the chains, and the rules that are to be asked first in them

    **Example:**

    .. code:: python

        from ipaddress import IPv4Network

        from podnet.firewall import Verdict
        from podnet.operations.openings import openings
        from podnet.state import Opening

        accept = Verdict("accept", source=IPv4Network("10.244.0.0/16"))
        openings(name="Let pods' packets through", want=[Opening("inet", "filter", "forward", (accept,))])
    """
    have = host.get_fact(Openings)
    yield from exactly("openings", want, have)
