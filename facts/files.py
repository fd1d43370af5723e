"""Files of ours: what an apply leaves so that all is there again after a reboot."""

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.attachments import KEPT
from podnet.facts.reading import HEADING, Table, strictly
from podnet.marks import BESIDE, CONFLIST, LINE, NAME, PLACES, SCRIPT, of_file, of_place
from podnet.state import File, Symlink
from podnet.support import NETWORKD, SOFTWARE, SYSTEMD

DIGITS = 64  # of a SHA-256
PATIENCE = 60


class Files(FactBase[Table[File | Symlink] | None]):
    """What is in the places of our files, of any cluster, whoever put it there; a digest instead of the text.

    .. code:: python

        files = host.get_fact(Files)
        assert any(file.path == "/etc/systemd/system/podnet.service" for file in files)
    """

    @override
    def command(self) -> str:
        return f"echo '{HEADING}'; {script()}"

    @override
    def process(self, output: list[str]) -> Table[File | Symlink] | None:
        with strictly("the list of files"):
            return Table(parse([line for line in output if line != HEADING]))


def script() -> str:
    """Print which programs' folders there are, and every file's mode, size, digest and mark: a process for each.

    So are the folders of attachments told. A file that is no regular one is told as it is. While a script of ours is
    running, which a host that has just booted does, its tables are half; its end is waited for.
    """
    patterns = {place: place.format(alias=f"{NAME}*", number="*") for place in PLACES}
    places = " ".join(f"{pattern}{ending}" for pattern in patterns.values() for ending in ("", BESIDE))
    folders = " ".join([*SOFTWARE, SYSTEMD, NETWORKD, f"{KEPT}/{NAME}*"])
    running = f"podnet: ${{path}} has been running for {PATIENCE} s; see what it does (ps), and end it"
    return f"""(
for path in {patterns[SCRIPT]}; do
  if [ -f "$path" ]; then flock -s -w {PATIENCE} "$path" true || {{ echo "{running}" >&2; exit 1; }}; fi
done
for path in {folders}; do if [ -d "$path" ]; then echo "folder $path"; fi; done
set --
for path in {places}; do
  if [ -L "$path" ]; then echo "symlink $path $(readlink "$path")"
  elif [ -f "$path" ]; then set -- "$@" "$path"
  elif [ -e "$path" ]; then echo "other $path"
  fi
done
if [ $# -gt 0 ]; then
  stat -c 'file %a %s %n' "$@"
  sha256sum "$@"
  grep -lxF "{LINE}" "$@" || test $? = 1
fi
)"""


def parse(output: list[str]) -> frozenset[File | Symlink]:
    """Read the files of what `script` printed."""
    modes: dict[str, tuple[str, int]] = {}
    digests: dict[str, str] = {}
    marked: set[str] = set()
    found: set[File | Symlink] = set()
    for line in output:
        match line.split():
            case ["folder", *_]:
                pass
            case ["symlink", path, to]:
                found.add(Symlink(path, to))
            case ["other", path]:
                found.add(File(path, digest="", mode="", marked=False))
            case ["file", mode, size, path]:
                modes[path] = (mode, int(size))
            case [digest, path] if len(digest) == DIGITS:
                digests[path] = digest
            case [path]:
                marked.add(path)
            case _:
                raise ValueError(f"{line!r} tells of no file")
    if modes.keys() != digests.keys():
        raise ValueError("it was cut short")
    # Its name is all the mark that a CNI configuration can have. subnet.env is flannel's, and cannot have any.
    marked |= {path for path, (_, size) in modes.items() if not size or (of_file(path) and of_place(path) == CONFLIST)}
    found |= {File(path, digests[path], mode, path in marked) for path, (mode, _) in modes.items()}
    return frozenset(item for item in found if of_file(item.path))


def parse_folders(output: list[str]) -> frozenset[str]:
    """Read the folders of what `script` printed."""
    return frozenset(line.removeprefix("folder ") for line in output if line.startswith("folder "))
