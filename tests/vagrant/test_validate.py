"""`vagrant validate`, for both providers: part of `make test`, since it takes seconds and starts nothing.

There need be no VirtualBox for it: a stub tells Vagrant its version.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[2]
STUB = Path(__file__).parent / "stub"

providers = pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])


def validate(folder: Path, provider: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run it in a folder, with a Vagrant that has no other place."""
    own = {"VAGRANT_HOME": tmp_path / "home", "VAGRANT_DOTFILE_PATH": tmp_path / "dot", "VAGRANT_CWD": folder}
    environment = {**os.environ, **{name: str(path) for name, path in own.items()}}
    environment |= {"VAGRANT_DEFAULT_PROVIDER": provider, "VAGRANT_CHECKPOINT_DISABLE": "1"}
    environment["PATH"] = f"{STUB}:{environment['PATH']}"
    return subprocess.run(["vagrant", "validate"], env=environment, capture_output=True, text=True, check=False)


@providers
def test_the_vagrantfile_is_valid(provider: str, tmp_path: Path) -> None:
    """Vagrant and the provider's plugin know every setting."""
    done = validate(CLONE, provider, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@providers
def test_a_setting_that_does_not_exist_is_found(provider: str, tmp_path: Path) -> None:
    """So the test before has looked into the provider's own part."""
    wrong = (CLONE / "Vagrantfile").read_text().replace(f"{provider}.memory =", f"{provider}.memories =")
    project = tmp_path / "project"
    shutil.copytree(CLONE / "inventories", project / "inventories")
    (project / "Vagrantfile").write_text(wrong)
    done = validate(project, provider, tmp_path)
    assert done.returncode != 0
    assert "shouldn't exist: memories" in done.stdout + done.stderr
