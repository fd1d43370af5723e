"""The folder templates/: what is sent to a host, and what is left there, are whole texts with gaps.

Of all that the core rests on this alone reads files: those of this package.
"""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape

FOLDER = Path(__file__).parent / "templates"


def render(name: str, **values: object) -> str:
    """Fill the gaps of a template. A gap that is not named is an error."""
    return _template(name).render(**values)


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # The rest are shell words and settings.
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
    )
    return environment.get_template(name)
