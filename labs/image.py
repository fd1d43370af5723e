"""The images: one Debian in two forms, each made once, which every host of every lab has beneath its own files."""

import fcntl
import hashlib
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from podnet.labs import apt, disk, recipe
from podnet.labs.error import LabError
from podnet.labs.recipe import Form

SAY_EVERY = 5.0


def cache() -> Path:
    """Return where images are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "podnet"


def path(form: Form) -> Path:
    """Return where the image of today's recipe is, or will be."""
    recipe_and_packing = repr((form, disk.PACKING if form is recipe.VM else None))
    return cache() / f"{recipe.SUITE}-{form.name}-{hashlib.sha256(recipe_and_packing.encode()).hexdigest()[:12]}"


@contextmanager
def held(form: Form) -> Iterator[tuple[Path, int]]:
    """Make the image if it is not there; yield it, with a descriptor that keeps it for who inherits that."""
    with locked() as lock:
        sweep()
        if not path(form).exists():
            build(form, lock)
        image = os.open(path(form), os.O_RDONLY)
        fcntl.flock(image, fcntl.LOCK_SH)
    try:
        yield path(form), image
    finally:
        os.close(image)


@contextmanager
def locked() -> Iterator[int]:
    """Keep every other podnet from making or removing images; yield the descriptor that holds the lock."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another podnet that makes the image", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def tidy() -> None:
    """Sweep, if there is anything at all."""
    if cache().exists():
        with locked():
            sweep()


def sweep() -> None:
    """Remove what a killed build left, and images of older recipes that no lab stands on."""
    current = [path(form) for form in recipe.FORMS]
    for found in cache().iterdir():
        if found.is_dir() and found not in current and unused(found):
            shutil.rmtree(found)


def unused(image: Path) -> bool:
    """Whether no lab holds the image."""
    descriptor = os.open(image, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def build(form: Form, lock: int) -> None:
    """Make the image under another name; only when it is whole does it get its own."""
    start = time.monotonic()
    draft = cache() / "draft"
    (draft / "tmp").mkdir(parents=True)
    print(f"making the Debian image {path(form)}", flush=True)
    mmdebstrap(form, draft, lock)
    finish(form, draft / "root")
    made = disk.pack(draft, path(form)) if form is recipe.VM else draft / "root"
    made.rename(path(form))
    shutil.rmtree(draft)
    print(f"the image is made ({time.monotonic() - start:.0f} s)")


def mmdebstrap(form: Form, draft: Path, lock: int) -> None:
    """Unpack and configure the packages in draft/root."""
    command = [
        *("mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(form.packages)}"),
        *(f"--aptopt={setting}" for setting in apt.settings()),
        *(f'--customize-hook=chroot "$1" {command}' for command in form.commands),
        *(recipe.SUITE, str(draft / "root"), *apt.sources(recipe.SUITE)),
    ]
    # If we are killed, mmdebstrap must not go on, nor its chroot's mounts stay: we die, so unshare dies, so
    # process 1 of its pid namespace dies, and the kernel ends all the others and drops their mounts. Until the
    # last of them is gone they hold the lock, so that nobody sweeps while they still write.
    mortal = ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    environment = {**os.environ, "TMPDIR": str(draft / "tmp"), "INITRD": "No"}  # Debian's initrd would not be used
    on_terminal = sys.stderr.isatty()  # there mmdebstrap draws its own progress
    with subprocess.Popen(
        [*mortal, *command],
        env=environment,
        stderr=None if on_terminal else subprocess.PIPE,
        pass_fds=[lock],
    ) as making:
        said = follow(making.stderr) if making.stderr else []
    if making.returncode:
        tail = "\n".join(said[-15:])
        raise LabError(f"mmdebstrap could not make the image; is a Debian mirror in reach?\n{tail}".rstrip())


def follow(stream: IO[bytes]) -> list[str]:
    """Return all lines that come, and say every few seconds which was the last."""
    start = said_at = time.monotonic()
    said: list[str] = []
    with selectors.DefaultSelector() as selector:
        os.set_blocking(stream.fileno(), False)
        selector.register(stream, selectors.EVENT_READ)
        rest = b""
        while True:
            if selector.select(SAY_EVERY):
                chunk = stream.read()
                if chunk == b"":
                    return said
                *whole, rest = (rest + (chunk or b"")).split(b"\n")
                said += [line.decode(errors="replace") for line in whole]
            now = time.monotonic()
            if now - said_at >= SAY_EVERY and said:
                print(f"  {now - start:3.0f} s  {said[-1].removeprefix('I: ')}", flush=True)
                said_at = now


def finish(form: Form, root: Path) -> None:
    """Write the recipe's own files, and mask what no host of a lab needs."""
    for name, text in form.files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for name in form.masked:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to("/dev/null")
