"""Process 1 of the run's own namespaces: mounts, libvirtd, and the burial of orphans.

It is started in new namespaces of networks, mounts and processes. When it ends, the kernel ends every process in them,
and drops their mounts with all files on them, their devices and their rules.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path("/run/podnet-vagrant")  # on a /run of our own, in memory: nothing of it outlives us
LOG = FOLDER / "libvirtd.log"
SOCKET = Path("/run/libvirt/libvirt-sock")
STARTS_WITHIN = 60.0
LOOK_EVERY = 0.1
WRITTEN = ("/etc", "/var/lib", "/var/log", "/var/cache")  # libvirt has a folder `libvirt` in each of them
QEMU_CONF = """\
stdio_handler = "file"
security_driver = "none"
user = "root"
group = "root"
"""


def main() -> None:
    """Prepare, say so, and stay."""
    privately()
    run("useradd", "--system", "--no-create-home", "--user-group", "libvirt-qemu")  # it must exist, although unused
    Path("/etc/libvirt/qemu.conf").write_text(QEMU_CONF)
    with LOG.open("wb") as log:
        libvirtd = subprocess.Popen(["libvirtd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    deadline = time.monotonic() + STARTS_WITHIN
    while not SOCKET.exists():
        if libvirtd.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"libvirtd does not listen, within {STARTS_WITHIN:.0f} s; it said:\n{LOG.read_text()}")
        time.sleep(LOOK_EVERY)
    print("ready", flush=True)
    # libvirt leaves a QEMU that it has only asked something to process 1, and waits until that QEMU is gone.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        reap()
        signal.sigwait({signal.SIGCHLD})


def privately() -> None:
    """Have all that libvirt writes be written in memory, and out of everybody's sight."""
    run("ip", "link", "set", "lo", "up")
    # libvirt would make groups in the machine's cgroups, if it found any mounted.
    run("umount", "--recursive", "/sys/fs/cgroup")
    run("mount", "-t", "sysfs", "sysfs", "/sys")  # the one before shows the devices of the machine's own namespace
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for number, path in enumerate(WRITTEN):
        upper, work, own = (FOLDER / f"{name}{number}" for name in ("upper", "work", "own"))
        for made in (upper, work, own):
            made.mkdir(parents=True)
        run("mount", "-t", "overlay", "-o", f"lowerdir={path},upperdir={upper},workdir={work}", "overlay", path)
        Path(path, "libvirt").mkdir(exist_ok=True)
        run("mount", "--bind", str(own), f"{path}/libvirt")  # what this machine's libvirt may have there is not ours


def run(*words: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(words, check=True)


def reap() -> None:
    """Bury every dead child."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


if __name__ == "__main__":
    main()
