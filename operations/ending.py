"""What a run ends with: a line for each host that did not do what was asked, and why, however many hosts there are."""

import atexit
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import click
from pyinfra import logger
from pyinfra.api import Host
from pyinfra.api import State as Run
from pyinfra.api.state import BaseStateCallback


@dataclass
class Reasons:
    """Why hosts failed, by their names, as it was said first."""

    said: dict[str, str] = field(default_factory=dict)

    def give(self, name: str, reason: str) -> None:
        """Take a reason down, in one line."""
        self.said.setdefault(name, " ".join(reason.split()))


_reasons: WeakKeyDictionary[Run, Reasons] = WeakKeyDictionary()


def reasons(run: Run) -> Reasons:
    """Return what was said in this run."""
    return _reasons.setdefault(run, Reasons())


def refuse(host: Host, reason: str) -> None:
    """Say why this host fails, now and at the end."""
    host.log_styled(reason, fg="red", log_func=logger.error)
    reasons(host.state).give(host.name, reason)


class Connecting(BaseStateCallback):
    """What pyinfra itself finds out: who cannot be reached."""

    @staticmethod
    def host_connect_error(state: Run, host: Host, error: Exception) -> None:
        """Take the reason down."""
        reasons(state).give(host.name, f"it could not be reached: {error}")


def tell_of(run: Run) -> None:
    """Have a run end with these lines, after all that pyinfra says."""
    run.add_callback_handler(Connecting())  # type: ignore[no-untyped-call]  # pyinfra's own
    atexit.register(_tell, run)


def _tell(run: Run) -> None:
    for line in lines(run):
        click.echo(line, err=True)


def lines(run: Run) -> list[str]:
    """Name the hosts that failed in the inventory's order; nothing if none did."""
    failed = {host.name for host in run.failed_hosts}
    if not failed:
        return []
    asked = [host.name for host in run.inventory if run.is_host_in_limit(host)]
    said = reasons(run).said
    width = max(map(len, failed)) + 2
    return [
        f"\n--> {len(failed)} of {len(asked)} hosts did not do what was asked:",
        *(f"    {f'[{name}]':{width}} {said.get(name, 'its own words are above')}" for name in asked if name in failed),
    ]
