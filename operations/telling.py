"""What hosts tell each other in one run of pyinfra: public keys, and with which subnets they run."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

from pyinfra import host
from pyinfra.api import Host, StringCommand
from pyinfra.api import State as Run
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.command import PyinfraCommand
from typing_extensions import override

from podnet.cluster import Cluster
from podnet.keys import known, nodes, public_key, resolve, twins
from podnet.marks import FOLDER, Marks, private_key
from podnet.operations.ending import refuse
from podnet.operations.writing import mention
from podnet.renumbering import moves, stale
from podnet.state import State


@dataclass
class Told:
    """What was heard in a run: every host's tables, until they are used, and public keys by mark and host.

    `moving` says of each host that was asked why it is not what it would be allotted, `stale` by hosts which of their
    peers they know to be another (podnet.renumbering).
    """

    tables: dict[str, State] = field(default_factory=dict)
    publics: dict[str, dict[str, str]] = field(default_factory=dict)
    moving: dict[str, list[str]] = field(default_factory=dict)
    stale: dict[str, dict[str, str]] = field(default_factory=dict)

    def hear(self, name: str, have: State) -> None:
        """Take down what a host said last."""
        self.tables[name] = have
        for alias, public in have.keys.items():
            if public:
                self.publics.setdefault(alias, {})[name] = public

    def renumbered(self, name: str, soon: Collection[str] = ()) -> list[str]:
        """Say why this host must not be changed, though it keeps its own subnet; who is asked `soon` knows better."""
        moving = [f"{other} would be renumbered: {said}" for other, why in sorted(self.moving.items()) for said in why]
        asked = {*self.moving, *soon}
        known = {
            peer: said for _, told in sorted(self.stale.items()) for peer, said in told.items() if peer not in asked
        }
        said = [*([] if self.moving.get(name) else moving), *known.values()]
        return [*said[:1], *([f"so would {len(said) - 1} more"] if said[1:] else [])]


_told: WeakKeyDictionary[Run, Told] = WeakKeyDictionary()


class KeyPair(PyinfraCommand):
    """The making of a private key; what is printed is the public one."""

    def __init__(self, alias: str, have: State) -> None:
        """Take the mark of the cluster, and what the host holds."""
        super().__init__()
        self.alias = alias
        self.have = have

    @override
    def __repr__(self) -> str:
        return f"KeyPair({private_key(self.alias)})"

    @override
    def execute(self, state: Run, host: Host, connector_arguments: ConnectorArguments) -> bool:
        ok, output = host.run_shell_command(
            StringCommand(script(private_key(self.alias))),
            print_output=state.print_output,
            print_input=state.print_input,
            **connector_arguments,
        )
        public = public_key(output.stdout_lines[-1].strip()) if ok and output.stdout_lines else ""
        if not public:
            words = "; ".join(output.stderr_lines) or "it said nothing"
            refuse(host, f"the private key could not be made: {words}")
            return False
        told(state).hear(host.name, replace(self.have, keys={**self.have.keys, self.alias: public}))
        return True


def script(file: str) -> str:
    """Make a private key and print the public one. A file that is there holds no key, and may be open to others."""
    return f"set -eu; mkdir -p {FOLDER}; rm -f {file}; umask 077; wg genkey >{file}; sync {file}; wg pubkey <{file}"


def told(run: Run) -> Told:
    """Return what was heard in this run."""
    return _told.setdefault(run, Told())


def tables() -> State | None:
    """Return what this host has just told, once: the next one to ask must ask the host."""
    return told(host.state).tables.pop(host.name, None)


def settle(want: State, have: State, mine: Marks) -> tuple[State, list[str]]:
    """Put the keys of this run's hosts into what is wanted, and say why that cannot be.

    A peer whose key nobody knows is left out. Where pyinfra only looks, a host of this run has yet to make its key.
    """
    if not nodes(want):
        return want, []
    publics = told(host.state).publics.get(mine.alias, {})
    settled = resolve(want, publics, have)
    soon = _soon()
    if unknown := sorted(nodes(settled) - soon - {host.name}):
        mention(
            f"{', '.join(unknown)} could not be asked for a key, so pods there are not reached from here; "
            "run it again for all hosts"
        )
    return known(settled, soon), list(twins(publics, mine.alias))


def look(cluster: Cluster, have: State) -> list[str]:
    """Take down what this host tells of subnets, its own and its peers', and say why it cannot get its own."""
    heard = told(host.state)
    heard.hear(host.name, have)
    me = cluster.node(host.name)
    heard.moving[host.name] = [*moves(me, have, cluster.marks)]
    heard.stale[host.name] = dict(stale(cluster, me, have))
    return heard.moving[host.name]


def renumbered() -> list[str]:
    """Say why no host of this run must be changed: one of them, or a peer of theirs, would be renumbered."""
    return told(host.state).renumbered(host.name, _soon())


def _soon() -> set[str]:
    """Name the hosts that have yet to tell: where pyinfra only looks, it goes through one host after the other."""
    return set() if host.state.is_executing else {other.name for other in host.state.active_hosts}
