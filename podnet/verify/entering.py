"""How a command enters a pod's network namespace: a function of the shell, `enter POD COMMAND...`."""

from collections.abc import Mapping

from podnet.marks import Marks


def by_name(marks: Marks) -> str:
    """Spell it for pods that podnet has made: their namespaces bear its mark in their names."""
    return f'enter() {{ space={marks.netns}$1; shift; ip netns exec "$space" "$@"; }}'


def by_path(paths: Mapping[str, str]) -> str:
    """Spell it for pods whose namespaces were found, each by a path that nsenter(1) takes."""
    cases = " ".join(f"{pod}) space={path} ;;" for pod, path in sorted(paths.items()))
    return f'enter() {{ case $1 in {cases} esac; shift; nsenter --net="$space" "$@"; }}'
