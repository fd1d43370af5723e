"""The Vagrantfile's machines, from `vagrant up` to `vagrant destroy`, by libvirt, in emulation.

Each test goes on from where the one before has ended.
"""

import json
import subprocess
import sys
from pathlib import Path

from podnet.labs import vagrant
from tests.lab.at import until
from tests.vagrant import machine
from tests.vagrant.world import CLONE, DOT, World

NAMES = list(json.loads(vagrant.plan_file().read_text())["machines"])
INVENTORY = "inventories/vagrant.py"
DEPLOY = ("pyinfra", "-y", INVENTORY, "deploys/vxlan.py")
VERIFY = ("pytest", "-q", f"--hosts={','.join(NAMES)}", f"--inventory={INVENTORY}")
STATE = "podnet/verify/test_state.py"
DIES_WITHIN = 10.0
BOOTS_WITHIN = 300
MADE = "systemctl is-active --quiet podnet"


def test_nothing_outlives_a_run_that_is_killed() -> None:
    """When process 1 of the namespaces is gone, so is all that was in them."""
    script = (
        "from tests.vagrant.world import world\nwith world() as there: print('init', there.init, flush=True), input()"
    )
    words = [sys.executable, "-c", script]
    with subprocess.Popen(words, cwd=CLONE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        init = Path("/proc", next(line for line in run.stdout if line.startswith("init ")).split()[1])
        assert init.exists()
        run.kill()
    until(lambda: not init.exists(), DIES_WITHIN, "process 1 of the namespaces is dead")


def test_an_inventory_of_machines_that_are_not_up_says_what_to_do(there: World) -> None:
    """And nobody is contacted."""
    done = there.run(*DEPLOY)
    assert done.code != 0
    assert "run `vagrant up`" in done.said
    assert "Traceback" not in done.said


def test_all_machines_come_up_without_a_trace_in_this_machines_own_network(there: World, before: list[str]) -> None:
    """Bridges, taps, DHCP servers and rules are all in the run's own namespace."""
    there.did("vagrant", "up", "--no-tty")
    assert there.did("ip", "-brief", "link").count("vnet") == 2 * len(NAMES)
    assert machine.state() == before


def test_a_deploy_connects_their_pods(there: World) -> None:
    """The whole verification passes, which applies a second time and has nothing to change."""
    there.did(*DEPLOY)
    assert " passed" in there.did(*VERIFY)


def test_the_verification_takes_what_vagrant_says_of_ssh(there: World) -> None:
    """That file says to check no host key, and the inventory, which says to check them, has the first word."""
    file = DOT / "ssh-config"
    there.did("sh", "-c", f"vagrant ssh-config >{file}")
    there.did(*VERIFY, f"--ssh-config={file}", STATE)
    with_the_key_of_another(there, NAMES[0], NAMES[1])
    refused = there.run(*VERIFY, f"--ssh-config={file}", STATE)
    assert refused.code != 0
    assert f"{NAMES[0]} cannot be reached" in refused.said
    assert "Host key verification failed" in refused.said


def test_a_deploy_refuses_a_machine_with_another_host_key(there: World) -> None:
    """Keys are those of the first contact; when the note is gone, the next contact is the first."""
    refused = there.run(*DEPLOY)
    assert refused.code != 0
    assert "host key" in refused.said.lower()
    there.did("rm", note(NAMES[0]))
    there.did(*DEPLOY)


def test_a_machine_that_was_reloaded_has_its_pods_again_by_itself(there: World) -> None:
    """It has its underlay from Vagrant, and the rest from what the deploy has left there; its key is the same."""
    there.did("vagrant", "reload", "--no-tty", NAMES[1])
    there.did("vagrant", "ssh", NAMES[1], "-c", f"timeout {BOOTS_WITHIN} sh -c 'until {MADE}; do sleep 1; done'")
    assert " passed" in there.did(*VERIFY)


def test_what_a_machine_has_lost_is_seen_and_put_back(there: World) -> None:
    """The verification names the machine, and the next deploy completes it."""
    there.did("vagrant", "ssh", NAMES[1], "-c", "sudo ip link del flannel.1")
    lost = there.run(*VERIFY, STATE)
    assert lost.code != 0
    assert f"[{NAMES[1]}]" in lost.said
    there.did(*DEPLOY)
    there.did(*VERIFY, STATE)


def test_they_are_destroyed_and_this_machine_is_as_before(there: World, before: list[str]) -> None:
    """No device of theirs is left, not even in the namespace."""
    there.did("vagrant", "destroy", "--force")
    assert "vnet" not in there.did("ip", "-brief", "link")
    assert machine.state() == before


def note(name: str) -> Path:
    """Return where the inventory notes what a machine said at the first contact."""
    return DOT / "podnet" / f"{name}.json"


def with_the_key_of_another(there: World, name: str, other: str) -> None:
    """Note the keys of another machine for this one, as if it had been replaced behind our back."""
    noted, others = (json.loads(there.did("cat", note(one))) for one in (name, other))
    there.did("sh", "-c", f"echo '{json.dumps(noted | {'keys': others['keys']})}' >{note(name)}")
