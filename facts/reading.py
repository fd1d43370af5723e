"""How a host's answer is taken: whole, or not at all.

pyinfra gives an operation a fact's default when the fact could not be read. The default of every fact here is
None, never an empty table: taken for empty, an unreadable table would be filled, or emptied, for nothing.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pyinfra.api import FactProcessError

from podnet.state import Item, plain

T = TypeVar("T", bound=Item)

HEADING = "# podnet"
"""The first line of an answer that may be empty: pyinfra takes the default for no output at all."""


class Table(frozenset[T]):
    """The items of one table: a set, which pyinfra can also print."""

    def to_json(self) -> list[dict[str, object]]:
        """Tell the items in JSON's types."""
        return [plain(item) for item in sorted(self, key=repr)]


@contextmanager
def strictly(what: str) -> Iterator[None]:
    """Turn every surprise in an answer into the error that pyinfra fails this one host for."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        raise FactProcessError(f"{what} is not as expected ({type(e).__name__}: {e})") from e


def documents(output: list[str]) -> list[list[dict[str, Any]]]:
    """Read the arrays that `ip -j` and `bridge -j` print, one a command.

    A filter that matches nothing prints empty objects: they are nobody.
    """
    arrays = [json.loads(line) for line in output if line.strip()]
    if not all(isinstance(array, list) and all(isinstance(entry, dict) for entry in array) for array in arrays):
        raise TypeError("it is no array of objects")
    return [[entry for entry in array if entry] for array in arrays]


def document(output: list[str]) -> list[dict[str, Any]]:
    """Read the one array of one command."""
    (array,) = documents(output)
    return array
