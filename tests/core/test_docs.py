"""What the pages say exists: commands, files, fields, packages. What they print is run on a lab by tests/lab."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from podnet import cli, inventory
from podnet.state import TABLES
from podnet.verify.numbers import NUMBERS
from tests.core.examples import cluster
from tests.core.goldens import MODES, mode
from tests.docs_blocks import blocks, steps
from tests.lab import equivalence

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
NUMBER = re.compile(r"\d+")
PLACEHOLDERS = {"inventories/mine.py", "inventories/second.py", "deploys/NAME.py"}
"""What the reader makes by following the page."""

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def shell(page: Path) -> list[list[str]]:
    """Return the words of each command that a page has its reader run in the clone, without `.venv/bin/`."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    inline = re.findall(r"`((?:podnet lab|pyinfra|pytest|make) [^`]*)`", page.read_text())
    commands = [part for line in [*lines, *inline] for part in line.replace("\n", " ").split(" && ")]
    return [
        [words[0].removeprefix(".venv/bin/"), *words[1:]]
        for command in commands
        if (words := shlex.split(command, comments=True))
    ]


def run_by(page: Path, program: str) -> list[list[str]]:
    """Return the arguments of each command of that program."""
    return [words[1:] for words in shell(page) if words[0] == program]


def names(text: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`\n]+)`", text)


def test_the_packages_that_the_readme_lists_are_those_that_setup_installs() -> None:
    """Nothing is installed unannounced."""
    (listed,) = re.findall(r"install the Debian packages (.*?), in `\.venv`", README.read_text(), re.DOTALL)
    installed = [
        line for raw in (ROOT / "packages.txt").read_text().splitlines() if (line := raw.split("#")[0].strip())
    ]
    assert names(listed.removesuffix(" and")) == installed


@pages
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    """Links to other sites are not followed."""
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_every_path_that_contributing_names_exists() -> None:
    """NAME stands for the mode that a reader adds."""
    paths = [
        name for name in names(CONTRIBUTING.read_text()) if re.fullmatch(r"[\w.]+(/[\w.]+)*/?", name) and "/" in name
    ]
    assert len(paths) > 20
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []


def test_contributing_maps_every_room() -> None:
    """A folder at the top that nobody explains is a folder too many."""
    (rows,) = re.findall(r"^\|---\|---\|\n(.*?)\n\n", CONTRIBUTING.read_text(), re.MULTILINE | re.DOTALL)
    mapped = {row.split("`")[1].split("/")[0] for row in rows.splitlines()}
    here = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))}
    assert here - {"build", "dist"} == mapped


@pages
def test_every_make_target_exists(page: Path) -> None:
    """`make X` is said only where the Makefile has X."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {words[0] for words in run_by(page, "make")} <= targets


@pages
def test_every_lab_command_is_one_that_podnet_takes(page: Path) -> None:
    """The command line's own parser reads it."""
    for words in run_by(page, "podnet"):
        if "|" not in words[1]:  # up|down|...: a list of the verbs
            assert cli.parse(words).verb == words[1]


@pages
def test_every_deploy_and_inventory_that_a_command_names_exists(page: Path) -> None:
    """A lab's own inventory is made by `podnet lab up`."""
    words = [word for program in ("pyinfra", "pytest") for command in run_by(page, program) for word in command]
    files = {word.removeprefix("--inventory=") for word in words if word.endswith(".py")}
    made = {file for file in files if file.startswith(".lab/")}
    assert [file for file in files - made - PLACEHOLDERS if not (ROOT / file).is_file()] == []


def test_the_readmes_table_has_exactly_the_fields_that_are_read() -> None:
    """In the order in which they are checked, each said to be of a host or of the group."""
    rows = re.findall(r"^\| `(\w+)` \| (host|group) \|", README.read_text(), re.MULTILINE)
    expected = [(name, "host") for name in inventory.HOST_FIELDS] + [(name, "group") for name in inventory.GROUP_FIELDS]
    assert rows == expected


def test_the_example_inventory_is_accepted() -> None:
    """It shows the three shapes of `pods`, and every field of the group."""
    hosts, group = runpy.run_path(str(ROOT / "inventories" / "example.py"))["nodes"]
    example = inventory.read({name: {**group, **data} for name, data in hosts})
    assert [type(data["pods"]) for _, data in hosts] == [int, list, dict]
    assert [[str(pod.address) for pod in node.pods] for node in example.nodes] == [
        ["10.244.1.2", "10.244.1.3"],
        ["10.244.2.2", "10.244.2.3"],
        ["10.244.3.10", "10.244.3.20"],
    ]
    assert {*inventory.GROUP_FIELDS} - {"net_conf"} <= group.keys()  # which would say some of them again
    assert group["ssh_strict_host_key_checking"] == "yes"


def test_every_mode_has_its_page_and_its_deploy() -> None:
    """And no page is about a mode that is not there."""
    assert sorted(path.stem for path in (ROOT / "docs" / "modes").glob("*.md")) == MODES
    assert [name for name in MODES if not (ROOT / "deploys" / f"{name}.py").is_file()] == []


def test_the_readme_lists_every_deploy() -> None:
    """A mode that nobody is told of is a mode too many."""
    listed = re.findall(r"^\| `deploys/(\w+)\.py` \|", README.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "deploys").glob("*.py"))


def test_the_learning_path_leads_through_every_mode_once() -> None:
    """Each row is a step: its number, its page, its experiment."""
    rows = re.findall(
        r"^\| (\d+) \| \[\w+\]\(modes/(\w+)\.md\) \| ", (ROOT / "docs/README.md").read_text(), re.MULTILINE
    )
    assert [int(number) for number, _ in rows] == list(range(1, len(MODES) + 1))
    assert sorted(name for _, name in rows) == MODES


@pytest.mark.parametrize("name", MODES)
def test_every_mode_page_starts_from_its_experiment(name: str) -> None:
    """The deploy that a page applies is its own, and its parts come in the same order on every page."""
    page = ROOT / "docs" / "modes" / f"{name}.md"
    assert run_by(page, "pyinfra")[0][-1] == f"deploys/{name}.py"
    headings = re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
    parts = ["By hand", "A packet's way", "TTL and MTU", "What it needs and what it costs"]
    assert [heading for heading in headings if heading in parts] == parts
    assert headings[-1].startswith("Where podnet differs from ")


def test_the_comparison_has_every_mode_and_its_numbers() -> None:
    """Overhead, MTU and TTL are those that the verification measures; state per peer is what a further node adds."""
    rows = [row.strip("| ").split(" | ") for row in (ROOT / "docs/comparison.md").read_text().splitlines()]
    table = {found[1]: row[1:] for row in rows if (found := re.match(r"\[(\w+)\]\(modes/\w+\.md\)$", row[0]))}
    assert list(table) == MODES
    assert [NUMBER.findall(row[1])[-1] for row in table.values()] == [str(NUMBERS[name].less) for name in MODES]
    assert [int(row[2]) for row in table.values()] == [1500 - NUMBERS[name].less for name in MODES]
    assert [int(row[3]) for row in table.values()] == [NUMBERS[name].same_node for name in MODES]
    assert [row[4] for row in table.values()] == [str(NUMBERS[name].across or "—") for name in MODES]
    assert [int((NUMBER.findall(row[6]) or ["0"])[0]) for row in table.values()] == [per_peer(name) for name in MODES]


def per_peer(name: str) -> int:
    """Count what a node holds for one peer more."""
    three, four = (mode(name).state(cluster(count), cluster(count).node("node1")) for count in (3, 4))
    return sum(len(getattr(four, table)) - len(getattr(three, table)) for table in TABLES)


@pages
def test_every_console_block_can_be_followed(page: Path) -> None:
    """It begins with a prompt, and all of its prompts are of nodes of the default lab."""
    for block in blocks(page, "console"):
        assert {host for host, _, _ in steps(block)} <= {"node1", "node2", "node3"}


def test_the_docs_list_what_the_reference_plugins_make_otherwise() -> None:
    """Those differences, with their reasons, which tests/lab finds on hosts: no more and no fewer."""
    assert equivalence.in_docs() == equivalence.table().strip() + "\n"
    assert all(len(each.why.split()) > 3 for rows in equivalence.DELIBERATE.values() for each in rows)
