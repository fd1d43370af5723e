"""Kernel settings: files below /proc/sys."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.sysctls import Sysctls
from podnet.operations.writing import exactly
from podnet.state import Sysctl


@operation()
def sysctls(want: Iterable[Sysctl]) -> Generator[PyinfraCommand]:
    """
    Give settings their wanted values, all by one process. What they were before is not noted down.

    + want: the settings, their paths with slashes (`net/ipv4/conf/flannel.1/rp_filter`)

    **Example:**

    .. code:: python

        from podnet.operations.sysctls import sysctls
        from podnet.state import Sysctl

        sysctls(name="Route packets", want=[Sysctl("net/ipv4/ip_forward", "1")])
    """
    wanted = {item.path: item for item in want}
    have = host.get_fact(Sysctls, paths=sorted(wanted))
    yield from exactly("sysctls", wanted.values(), have)
