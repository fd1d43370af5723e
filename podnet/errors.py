"""What podnet refuses, as sentences that say which host, what was found, what was needed and what to do.

- PodnetError
    - ClusterError     the inventory asks for something that cannot work (also a ValueError)
    - HostError        a host is not as the inventory says, or holds something of a stranger's in our place
    - UnreadableError  what a host answered is not what its commands print: never taken for an empty table
"""


class PodnetError(Exception):
    """Anything that podnet refuses."""


class ClusterError(PodnetError, ValueError):
    """The inventory asks for something that cannot work; no host was contacted."""


class HostError(PodnetError):
    """A host's own state stands in the way; nothing was changed on it."""


class UnreadableError(PodnetError, ValueError):
    """The answer of a host's command could not be read whole."""
