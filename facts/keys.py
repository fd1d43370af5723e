"""Private keys that podnet left on the host: what is told of each is the public key that belongs to it."""

from collections.abc import Mapping

from pyinfra.api import FactBase
from typing_extensions import override

from podnet.facts.reading import HEADING, strictly
from podnet.keys import public_key
from podnet.marks import FOLDER

# A file of ours that holds no key is told all the same: the key must be made anew, or the file go.
COMMAND = f"""\
for file in {FOLDER}/*.key; do
  if [ ! -e "$file" ]; then continue; fi
  public=
  if command -v wg >/dev/null; then public=$(wg pubkey <"$file" 2>&1) || public=; fi
  echo "${{file##*/}} $public"
done"""


class Keys(FactBase[Mapping[str, str] | None]):
    """The public keys of this host: by the mark of the cluster, empty where the private key is damaged.

    .. code:: python

        keys = host.get_fact(Keys)
        assert "podnet" in keys
    """

    @override
    def command(self) -> str:
        return f"echo '{HEADING}'\n{COMMAND}"

    @override
    def process(self, output: list[str]) -> Mapping[str, str] | None:
        with strictly("the list of keys"):
            return parse([line for line in output if line != HEADING])


def parse(output: list[str]) -> dict[str, str]:
    """Read what `COMMAND` printed."""
    told = [line.strip().partition(" ") for line in output if line.strip()]
    return {file.removesuffix(".key"): public_key(key) for file, _, key in told}
