"""Policy routing: `ip rule`."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.diff import diff
from podnet.facts.rules import Rules
from podnet.marks import FIRST
from podnet.operations.writing import unread, write
from podnet.section import Section
from podnet.spell import add, change, remove
from podnet.state import Rule


@operation()
def rules(want: Iterable[Rule]) -> Generator[PyinfraCommand]:
    """
    Make our rules, those of protocol 77, exactly `want`; everybody else's stay.

    + want: the rules, each with a priority of its own; the tables they name are filled by the operation `routes`

    Applying a mode, or taking it away, leaves rules alone.

    **Example:**

    .. code:: python

        from ipaddress import IPv4Network

        from podnet.operations.rules import rules
        from podnet.state import Rule

        rules(name="pod1 has a way of its own", want=[Rule(1000, "100", source=IPv4Network("10.244.1.2/32"))])
    """
    have = host.get_fact(Rules)
    if have is None:
        yield unread()
        return
    todo = diff(want, [rule for rule in have if rule.proto == FIRST.proto])
    added = [line for rule in todo.add for line in add(rule)]
    mended = [line for old, new in todo.change for line in change(old, new)]
    removed = [line for rule in todo.remove for line in remove(rule)]
    lines = (*added, *mended, *removed)
    counted = f"rules +{len(todo.add)} ~{len(todo.change)} -{len(todo.remove)}"
    yield from write([Section("ip -batch -", lines)] if lines else [], counted)
