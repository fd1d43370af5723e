"""Containers that are attached to a network through CNI, by the reference plugins on the host."""

from collections.abc import Collection, Generator, Iterable
from dataclasses import dataclass

from pyinfra import host, inventory
from pyinfra.api import Host, State, StringCommand, operation
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.operation import OperationMeta
from typing_extensions import override

from podnet import preflight
from podnet.attachments import (
    MADE,
    Attachment,
    Seen,
    Todo,
    foreign,
    malformed,
    misnamed,
    misspelled,
    obstacles,
    own,
    refused,
    script,
    todo,
)
from podnet.facts.cni import Attachments
from podnet.marks import NAME
from podnet.operations.ending import refuse
from podnet.operations.writing import Refusal, mention, unread


@dataclass
class Plugins(PyinfraCommand):
    """All calls of plugins on a host, sent as one script on standard input."""

    todo: Todo
    seen: Seen

    def __post_init__(self) -> None:
        """Let pyinfra set up what it needs of a command."""
        super().__init__()

    @override
    def __repr__(self) -> str:
        return f"Plugins({self.todo.summary})"

    @override
    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> bool:
        connector_arguments["_stdin"] = script(self.todo, self.seen)
        ok, output = host.run_shell_command(
            StringCommand("sh"), print_output=state.print_output, print_input=state.print_input, **connector_arguments
        )
        if not ok:
            words = "; ".join(line.strip() for line in output.stderr_lines if line.strip())
            ended = f"the run of the CNI plugins ended: {words or 'the connection was lost'}; run it again"
            refuse(host, refused(output.stdout_lines, self.seen, output.stderr_lines) or ended)
        return ok


def apply() -> OperationMeta:
    """
    Make the inventory's `cni_pods` of this host: namespaces of these names, attached by the plugins.

    The whole inventory is checked first; `PyinfraError` if it asks for something that cannot work. Costs one remote
    command where nothing is to be done, and one more where something is.

    **Example:**

    .. code:: python

        from podnet.operations import cni

        cni.apply()
    """
    cluster = preflight.cluster(inventory)
    names = cluster.node(host.name).cni_pods
    return pods(name="podnet: cni_pods", names=names, network=cluster.marks.alias)


@operation()
def pods(names: Collection[str], network: str = NAME) -> Generator[PyinfraCommand]:
    """
    Make exactly these namespaces and attach them by the plugins; those of an earlier run are detached and removed.

    + names: of the namespaces, for `ip netns exec`
    + network: whose configuration list is taken, /etc/cni/net.d/10-podnet.conflist for podnet

    A namespace that podnet did not make is refused.

    **Example:**

    .. code:: python

        from podnet.operations import cni

        cni.pods(name="A web server beside podnet's own pods", names=["web"])
    """
    if reasons := [*misspelled(network=network), *misnamed(names)]:
        yield Refusal("nothing was changed: " + "; ".join(reasons))
        return
    want = [own(each) for each in dict.fromkeys(names)]
    seen = host.get_fact(Attachments, network=network, netns=[item.netns for item in want])
    found = seen.attached if seen else ()
    gone = [item.attachment for item in found if item.attachment.container.startswith(MADE)]
    yield from _converge(seen, want, [item for item in gone if item not in want])


@operation()
def attach(container: str, netns: str, ifname: str = "eth0", network: str = NAME) -> Generator[PyinfraCommand]:
    """
    Attach a container to the pods' network: ADD by each plugin of the configuration list on the host.

    + container: its id
    + netns: the path of its network namespace: /run/netns/NAME, or /proc/PID/ns/net of one that runs
    + ifname: the interface that it gets
    + network: whose configuration list is taken, /etc/cni/net.d/10-podnet.conflist for podnet

    Where CHECK finds all in place nothing is done; where it does not, where an earlier run was cut off, and where the
    container has another namespace now, DEL comes first.

    **Example:**

    .. code:: python

        from podnet.operations import cni

        cni.attach(name="The container web", container="web", netns="/proc/4711/ns/net")
    """
    if reasons := [*malformed(network=network, container=container, ifname=ifname, netns=netns)]:
        yield Refusal("nothing was changed: " + "; ".join(reasons))
        return
    seen = host.get_fact(Attachments, network=network, netns=[netns])
    yield from _converge(seen, [Attachment(container, netns, ifname)], [])


@operation()
def detach(container: str, ifname: str = "eth0", network: str = NAME) -> Generator[PyinfraCommand]:
    """
    Detach a container that `attach` has attached, whether or not it still runs: DEL by each plugin.

    + container: its id
    + ifname: the interface that it loses
    + network: the name of the network

    **Example:**

    .. code:: python

        from podnet.operations import cni

        cni.detach(name="The container web", container="web")
    """
    if reasons := [*malformed(network=network, container=container, ifname=ifname)]:
        yield Refusal("nothing was changed: " + "; ".join(reasons))
        return
    seen = host.get_fact(Attachments, network=network)
    yield from _converge(seen, [], [Attachment(container, "", ifname)])


def _converge(seen: Seen | None, want: Iterable[Attachment], gone: Iterable[Attachment]) -> Generator[PyinfraCommand]:
    if seen is None:
        yield unread()
        return
    what = todo(want, seen, gone)
    if reasons := [*foreign(gone, seen), *obstacles(what, seen)]:
        yield Refusal("nothing was changed: " + "; ".join(reasons))
        return
    if not what.summary:
        host.noop("the containers are attached as wanted")
        return
    mention(what.summary)
    yield Plugins(what, seen)
