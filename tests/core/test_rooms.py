"""Which part of the project may do what: read from its own source."""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pyinfra.api import FactBase
from pyinfra.api.arguments import AllArguments

from podnet import facts, modes, operations
from podnet import state as types
from podnet.batch import SAVED
from podnet.cluster import Cluster, Node
from podnet.state import TABLES, State
from tests.core import goldens
from tests.core.examples import cluster

ROOT = Path(__file__).parents[2]
HANDS = {"cli.py", "preflight.py", "ssh.py"}  # the files of podnet/ that act
RENDERS = "rendering.py"  # fills the templates of this package, by jinja2: the only one of the core that reads files
CORE = sorted(
    [
        *(ROOT / "podnet" / "modes").glob("*.py"),
        *(path for path in (ROOT / "podnet").glob("*.py") if path.name not in HANDS),
    ]
)
PURE = {
    "base64",
    "json",
    "__future__",
    "collections",
    "dataclasses",
    "functools",
    "hashlib",
    "ipaddress",
    "itertools",
    "re",
    "typing",
}
WITH_HANDS = {"facts", "labs", "operations", "preflight", "verify", "cli", "ssh"}
NUMBERS = "numbers.py"  # what each mode promises to whoever looks from outside, by its name
MODELESS = sorted(
    path
    for folder in ("facts", "operations", "labs", "podnet", "podnet/verify", "podnet/verify/*")
    for path in ROOT.glob(f"{folder}/*.py")
    # The plugin names the mode that is meant if none is named, and flannel's file calls modes by flannel's names.
    if path.name not in {NUMBERS, "plugin.py", "net_conf.py"}
)
PUBLIC = [
    importlib.import_module(f"{package.__name__}.{module.name}")
    for package in (facts, operations, modes)
    for module in pkgutil.iter_modules(package.__path__)
] + [importlib.import_module(f"podnet.{path.stem}") for path in CORE if path.parent.name == "podnet"]
FACTS_READ = sorted(path.stem for path in (ROOT / "facts").glob("*.py") if path.stem not in {"__init__", "reading"})
SHARED = {"writing", "telling", "ending"}  # what operations have in common
CAPABILITIES = {"kinds", "processes"}  # what a kernel can do, and who runs on it, which nobody writes
BESIDE_MODES = {"rules", "cni"}  # what deploys may say, and no mode does
APPLIES_OWN = {"reservations"}  # what only a whole host's apply can keep: the next one releases any other, or a boot
TABLES_READ = sorted(set(FACTS_READ) - CAPABILITIES - APPLIES_OWN)
KINDS = {kind.KIND for kind in vars(types).values() if isinstance(kind, type) and issubclass(kind, types.Device)}


def tree(path: Path) -> ast.Module:
    """Read a source file."""
    return ast.parse(path.read_text())


def imported(path: Path) -> Iterator[str]:
    """Name all that a source file imports, wherever in it."""
    for statement in ast.walk(tree(path)):
        match statement:
            case ast.Import(names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module, names, 0):
                yield from (f"{module}.{name.name}" for name in names)
            case ast.ImportFrom():
                yield "a relative import"


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_the_core_has_no_hands(path: Path) -> None:
    """A mode can be understood, and tested, without a machine: the core imports nothing that could act."""
    roots = {name.split(".")[0] for name in imported(path)}
    assert roots <= PURE | {"podnet"} | ({"jinja2", "pathlib"} if path.name == RENDERS else set())
    assert not {name.split(".")[1] for name in imported(path) if name.startswith("podnet.")} & WITH_HANDS


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_the_core_calls_nothing_that_acts(path: Path) -> None:
    """Nor does it reach for what needs no import."""
    called = {
        call.func.id for call in ast.walk(tree(path)) if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }
    assert not called & {"open", "exec", "eval", "compile", "__import__", "print", "input"}


@pytest.mark.parametrize("path", MODELESS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_mode_is_named_outside_of_itself(path: Path) -> None:
    """Who tests for a mode's name must be opened for the next mode. A kernel's word in a text or an answer is none."""
    names = set(goldens.MODES) - (KINDS if path.parent.name == "facts" else set())
    assert not {f"podnet.modes.{name}" for name in goldens.MODES} & set(imported(path))
    for statement in ast.walk(tree(path)):
        if isinstance(statement, ast.Compare):
            said = {part.value for part in ast.walk(statement) if isinstance(part, ast.Constant)}
            assert not said & names, ast.unparse(statement)


@pytest.mark.parametrize("name", goldens.MODES)
def test_each_mode_has_a_page_a_golden_and_a_deploy(name: str) -> None:
    """A mode is one file of code, and these three."""
    assert (goldens.FOLDER / f"{name}.txt").is_file()
    deploy = tree(ROOT / "deploys" / f"{name}.py")
    assert [ast.unparse(line) for line in deploy.body[1:]] == [
        f"from podnet.modes import {name}",
        "from podnet.operations import node",
        f"node.apply({name})",
    ]
    page = ROOT / "docs" / "modes" / f"{name}.md"
    assert page.is_file(), f"write {page.relative_to(ROOT)}"


@pytest.mark.parametrize("name", goldens.MODES)
def test_each_mode_is_a_docstring_and_short_functions(name: str) -> None:
    """`state` of a cluster and a node, helpers if need be, nothing that is kept between calls: a page."""
    module = importlib.import_module(f"podnet.modes.{name}")
    of = cluster()
    assert isinstance(module.state(of, of.nodes[0]), State)
    assert [each.annotation for each in inspect.signature(module.state).parameters.values()] == [Cluster, Node]
    assert re.match(rf"{name.replace('_', '[-_ ]')}: ", module.__doc__ or "")
    source = inspect.getsource(module)
    assert len(source.splitlines()) <= 70
    for function in (line for line in ast.parse(source).body if isinstance(line, ast.FunctionDef)):
        assert len(ast.unparse(function).splitlines()) <= 25, function.name
    assert "global " not in source


@pytest.mark.parametrize("name", TABLES_READ)
def test_what_is_read_is_written_under_the_same_name(name: str) -> None:
    """facts/NAME.py and operations/NAME.py speak of the same table of the kernel."""
    assert (ROOT / "operations" / f"{name}.py").is_file()


def test_what_is_written_is_read_under_the_same_name() -> None:
    """No operation works without looking first."""
    written = {path.stem for path in (ROOT / "operations").glob("*.py")} - {"__init__", *SHARED}
    assert written == set(TABLES_READ)


def test_every_table_of_a_state_is_read_by_a_file_of_its_name() -> None:
    """podnet.state, facts/ and operations/ share their words."""
    assert {*TABLES_READ, *APPLIES_OWN} == {*TABLES, *BESIDE_MODES, "pods", "keys", "node"}


def operations_of(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Yield what a deploy may call: operations, and the functions that call them."""
    for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
            yield name, value


OPERATIONS = [
    (f"{module.__name__.rpartition('.')[2]}.{name}", value)
    for module in PUBLIC
    if module.__name__.startswith("podnet.operations.") and module.__name__.rpartition(".")[2] not in SHARED
    for name, value in operations_of(module)
]
FACTS = [
    value
    for module in PUBLIC
    if module.__name__.startswith("podnet.facts.")
    for value in vars(module).values()
    if inspect.isclass(value) and issubclass(value, FactBase) and value.__module__ == module.__name__
]


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_no_parameter_is_called_like_one_of_pyinfras(name: str, operation: object) -> None:
    """`name` and `_sudo` are taken before an operation sees them."""
    parameters = set(inspect.signature(inspect.unwrap(operation)).parameters)  # type: ignore[arg-type]  # a function
    taken = {"name", "state", "host", *AllArguments.__annotations__}
    assert len(taken) > 20
    assert not parameters & (taken | {argument.lstrip("_") for argument in taken} - {"state"}), name


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_every_operation_shows_how_it_is_called(name: str, operation: object) -> None:
    """In pyinfra's form: parameters with a plus sign, and an example that is good Python and calls it."""
    text = inspect.getdoc(operation) or ""
    for parameter in inspect.signature(inspect.unwrap(operation)).parameters:  # type: ignore[arg-type]  # a function
        assert re.search(rf"^\+ {parameter}: \w", text, re.MULTILINE), f"{name}: {parameter}"
    assert "**Example:**" in text
    called = {ast.unparse(call.func) for call in ast.walk(example(text)) if isinstance(call, ast.Call)}
    assert {name, name.partition(".")[2]} & called


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
def test_every_fact_shows_how_it_is_asked(fact: type) -> None:
    """An example that is good Python and asks for it."""
    calls = [call for call in ast.walk(example(inspect.getdoc(fact) or "")) if isinstance(call, ast.Call)]
    asked = [ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) == "host.get_fact"]
    assert asked == [fact.__name__]


def test_all_facts_and_operations_were_looked_at() -> None:
    """The two tests above have found something to look at."""
    assert len(FACTS) == len(FACTS_READ)
    assert {name.partition(".")[0] for name, _ in OPERATIONS} == set(TABLES_READ)


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__.removeprefix("podnet."))
def test_whatever_is_public_says_what_it_is_for(module: ModuleType) -> None:
    """Every module, class and function has a docstring that begins with a sentence."""
    assert module.__doc__
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__
        if own and not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)):
            text = inspect.getdoc(value) or ""
            assert re.match(r"\S.*[.:;,\w]$", text.partition("\n")[0]), f"{module.__name__}.{name}"
            assert not text.startswith(f"{name}("), f"{module.__name__}.{name} has only a generated docstring"


@pytest.mark.parametrize("path", sorted((ROOT / "deploys").glob("*.py")), ids=lambda path: path.stem)
def test_a_deploy_is_a_docstring_and_a_call(path: Path) -> None:
    """Deploys decide nothing: imports and one call."""
    said = tree(path)
    assert ast.get_docstring(said)
    assert isinstance(said.body[-1], ast.Expr)
    assert all(isinstance(line, ast.ImportFrom) for line in said.body[1:-1])


def test_the_host_keeps_its_notes_where_the_docs_say() -> None:
    """Whoever looks at a host must be able to know what the file is."""
    assert SAVED in (ROOT / "docs" / "modes" / "vxlan.md").read_text()


def example(text: str) -> ast.Module:
    """Read the code block of a docstring."""
    _, found, block = text.partition(".. code:: python\n")
    assert found
    lines = [line for line in block.splitlines() if line.strip()]
    indented = [line for line in lines if line.startswith("    ")]
    return ast.parse("\n".join(line.removeprefix("    ") for line in indented))
