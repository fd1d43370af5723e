"""What is installed is the whole podnet, works anywhere, and claims no name but its own."""

import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.core import goldens
from tests.core.examples import hosts

ROOT = Path(__file__).parents[2]


def below(folder: Path) -> set[str]:
    """List the files of the package as Python would import them, through the links."""
    return {
        str(Path(parent, name).relative_to(ROOT))
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if not name.endswith(".pyc")
    }


def test_the_wheel_holds_every_file_of_the_package(dist: Path) -> None:
    """facts/, operations/, labs/ and templates/ are links in the clone: one word in pyproject.toml loses them."""
    (wheel,) = dist.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held >= {
        "podnet/facts/routes.py",
        "podnet/operations/node.py",
        "podnet/templates/batch.sh.j2",
        "podnet/labs/lab.py",
        "podnet/verify/plugin.py",
        "podnet/modes/vxlan.py",
        "podnet/py.typed",
    }
    assert held == below(ROOT / "podnet")


def test_the_sdist_holds_what_is_needed_to_check_and_build_it(dist: Path) -> None:
    """Deploys, inventories, tests with their samples, docs and the licence come along; no folder of ours twice."""
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert held >= {
        "LICENSE",
        "README.md",
        "config.py",
        "deploys/vxlan.py",
        "podnet/facts/routes.py",
        "pyproject.toml",
        "tests/core/golden/vxlan.txt",
        "tests/core/test_wheel.py",
    }
    assert not [name for name in held if name.startswith(("facts/", "operations/", "templates/", "labs/"))]


def test_it_claims_no_name_but_its_own(installed: Path) -> None:
    """A pyinfra project has folders called facts and operations itself: they must stay its own."""
    script = "import importlib.util as u; print([n for n in NAMES if u.find_spec(n)])"
    names = ["facts", "operations", "deploys", "labs", "templates", "tests", "inventories", "config"]
    assert ask(installed, Path("/"), script.replace("NAMES", repr(names))) == "[]\n"


def test_it_computes_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """Every module can be imported without the clone, and a plan is the same as in it, byte for byte."""
    script = f"""
import importlib, pathlib, pkgutil, podnet
assert pathlib.Path(podnet.__file__).is_relative_to({str(installed.parent)!r})
for package in ("facts", "operations", "modes", "labs", "verify"):
    path = importlib.import_module("podnet." + package).__path__
    for module in pkgutil.iter_modules(path):
        if not module.name.startswith("test_"):
            importlib.import_module(f"podnet.{{package}}.{{module.name}}")
from podnet.batch import sections
from podnet.inventory import read
from podnet.modes import vxlan
from podnet.operations.writing import script
from podnet.plan import plan
from podnet.state import State
cluster = read({hosts()!r})
print(script(sections(plan(vxlan.state(cluster, cluster.node("node1")), State()))))
"""
    said = ask(installed, tmp_path, script)
    golden = {line.strip() for line in (goldens.FOLDER / "vxlan.txt").read_text().splitlines()}
    entries = {line for line in said.splitlines() if line.startswith(("neigh ", "fdb ", "route replace 10.244.2"))}
    assert len(entries) == 5
    assert entries <= golden


def test_a_project_of_ones_own_has_its_inventory_checked(installed: Path, tmp_path: Path) -> None:
    """Two lines of a deploy and two of config.py, in a folder with facts of its own: podnet is the installed one."""
    (tmp_path / "facts.py").write_text("raise SystemExit('the project has its own facts')\n")
    (tmp_path / "config.py").write_text(
        "from pyinfra import state\nfrom podnet import preflight\npreflight.before_connecting(state)\n"
    )
    (tmp_path / "deploy.py").write_text(
        "from podnet.modes import vxlan\nfrom podnet.operations import node\nnode.apply(vxlan)\n"
    )
    (tmp_path / "inventory.py").write_text("nodes = [('node1', {'address': '127.0.0.1/8'})]\n")
    done = subprocess.run(
        [installed / "pyinfra", "-y", "inventory.py", "deploy.py"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "node1: `uplink` is missing; give it as data of this host" in done.stderr


@pytest.mark.parametrize("words", [("podnet", "--help"), ("pytest", "--version"), ("pytest", "--help")])
def test_its_commands_start(words: tuple[str, ...], installed: Path, tmp_path: Path) -> None:
    """The command podnet, and pytest with podnet's plugin in it."""
    command, *rest = words
    done = subprocess.run([installed / command, *rest], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def ask(installed: Path, folder: Path, script: str) -> str:
    """Run Python of that environment in that folder, on its own (-I)."""
    words = [str(installed / "python"), "-I", "-W", "error", "-c", script]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
