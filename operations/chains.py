"""Our firewall chains: `iptables-restore`, or `nft -f`."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.chains import Chains
from podnet.operations.writing import exactly
from podnet.state import Chain


@operation()
def chains(want: Iterable[Chain]) -> Generator[PyinfraCommand]:
    """
    Make our chains, those whose names begin with PODNET-, exactly `want`.

    + want: the chains, with rules as podnet.firewall.Verdict, or in iptables' own words

    **Example:**

    .. code:: python

        from ipaddress import IPv4Network

        from podnet.firewall import Verdict
        from podnet.operations.chains import chains
        from podnet.state import Chain, Jump

        rule = Verdict("accept", source=IPv4Network("10.244.0.0/16"))
        accept = Chain("filter", "PODNET-FWD", (Jump("FORWARD"),), (rule,))
        chains(name="Let pods' packets through", want=[accept])
    """
    have = host.get_fact(Chains)
    yield from exactly("chains", want, have)
