"""Files of ours: what an apply leaves so that all is there again after a reboot."""

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from podnet.facts.files import Files
from podnet.marks import FIRST, of_file
from podnet.obstacles import strange_files
from podnet.operations.writing import Refusal, exactly
from podnet.state import File, Symlink


@operation()
def files(want: Iterable[File | Symlink]) -> Generator[PyinfraCommand]:
    r"""
    Make our files, those in podnet's places that say so in their first line, exactly `want`; all others stay.

    + want: files and symbolic links, in the places of podnet.marks.PLACES

    A file in the place of a wanted one that does not say so is refused. No program is told of it: after a unit has
    changed it is for you to run `systemctl daemon-reload`.

    **Example:**

    .. code:: python

        from podnet import marks
        from podnet.operations.files import files
        from podnet.state import File

        path = marks.FIRST.place(marks.MODULES)
        files(name="A module, ready from the start", want=[File.of(path, f"{marks.LINE}\nvxlan\n")])
    """
    wanted = {item.key: item for item in want}
    have = host.get_fact(Files)
    if have is not None and (reasons := [*strange_files(wanted.values(), have, known=True)]):
        yield Refusal("nothing was changed: " + "; ".join(reasons))
        return
    mine = have if have is None else [item for item in have if item.key in wanted or _ours(item)]
    yield from exactly("files", wanted.values(), mine)


def _ours(item: File | Symlink) -> bool:
    return of_file(item.path) == FIRST and (isinstance(item, Symlink) or item.marked)
