"""Ways to bring hosts from nothing to the mode vxlan: podnet's, and those of what people would use instead.

All do the same to the hosts: the lines that podnet would send, the file for the next boot included. What is given to
the others has been computed beforehand: they neither plan nor compare.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.running import Command
from podnet.operations.writing import MARK, script
from podnet.rendering import FOLDER
from podnet.section import Section
from tests.lab.at import BIN, CLONE, At

ANSIBLE = CLONE / ".bench" / "bin" / "ansible-playbook"
PYTHON = "/usr/bin/python3.11"
"""What Ansible needs on hosts, and podnet does not."""

ENTRY_BY_ENTRY = """\
import json
from pathlib import Path

from pyinfra import host
from pyinfra.operations import server

for command in json.loads(Path({folder!r}, f"{{host.name}}.json").read_text())["commands"]:
    server.shell(commands=[command])
"""
PLAY = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: podnet
      {task}
"""
WHOLE = """ansible.builtin.shell:
        cmd: sh
        stdin: "{{{{ lookup('ansible.builtin.template', '{template}') }}}}"
"""
LOOP = """ansible.builtin.shell: "{{ item }}"
      loop: "{{ commands }}"
      loop_control: {label: ""}
"""


@dataclass(frozen=True)
class Place:
    """A lab, and a folder for what the ways are given."""

    at: At
    hosts: tuple[str, ...]
    folder: Path

    def fill(self) -> None:
        """Write down what each host, which holds nothing now, is to be sent, in each way's form."""
        for host in self.hosts:
            sections = self.at.todo(host, "vxlan")
            (self.folder / f"{host}.sh").write_text(script(sections))
            said = {
                "mark": MARK,
                "sections": [section.__dict__ for section in sections],
                "commands": [*_commands(sections)],
            }
            (self.folder / f"{host}.json").write_text(json.dumps(said))
        variables = self.folder / "host_vars"
        variables.mkdir()
        for host in self.hosts:
            (variables / f"{host}.json").symlink_to(self.folder / f"{host}.json")
        (self.folder / "hosts").write_text("".join(f"{host}\n" for host in self.hosts))
        (self.folder / "entries.py").write_text(ENTRY_BY_ENTRY.format(folder=str(self.folder)))
        whole = WHOLE.format(template=FOLDER / "batch.sh.j2")
        (self.folder / "ansible.cfg").touch()
        (self.folder / "whole.yml").write_text(PLAY.format(task=whole))
        (self.folder / "loop.yml").write_text(PLAY.format(task=LOOP))

    @property
    def ssh_config(self) -> Path:
        return self.at.path / "ssh_config"


def _commands(sections: list[Section]) -> Iterator[str]:
    """Say each line of a batch as a command of its own, and what is no batch as it is."""
    for section in sections:
        tool, batch, _ = section.command.partition(" -batch -")
        if batch:
            yield from (f"{tool} {line}" for line in section.lines)
        else:
            yield script([section])


def podnet(place: Place) -> list[Command]:
    """Read, compare, write: `pyinfra -y INVENTORY deploys/vxlan.py`."""
    return [Command([BIN / "pyinfra", "-y", place.at.inventory, CLONE / "deploys" / "vxlan.py"])]


def openssh(place: Place) -> list[Command]:
    """Send each host its finished batch, all at once: who does less has not done it."""
    return [
        Command(
            ["ssh", "-F", place.ssh_config, "-o", "ControlPath=none", host, "sh"], given=place.folder / f"{host}.sh"
        )
        for host in place.hosts
    ]


def pyinfra(place: Place) -> list[Command]:
    """Run an operation for every entry."""
    return [Command([BIN / "pyinfra", "-y", place.at.inventory, place.folder / "entries.py"])]


def ansible(place: Place) -> list[Command]:
    """Have Ansible render the batch, and send it as it does best: pipelined, to all at once, without facts."""
    return [_playbook(place, "whole.yml")]


def ansible_loop(place: Place) -> list[Command]:
    """Have Ansible run a command for every entry."""
    return [_playbook(place, "loop.yml")]


def mitogen(place: Place) -> list[Command]:
    """Have Ansible render and send the batch by mitogen."""
    # It keeps connections itself; a master of ssh's would live on for a minute after it.
    alone = f"-F {place.ssh_config} -o ControlPath=none"
    (plugins,) = (ANSIBLE.parent.parent / "lib").glob("python3*/site-packages/ansible_mitogen/plugins/strategy")
    return [
        _playbook(
            place,
            "whole.yml",
            ANSIBLE_STRATEGY_PLUGINS=str(plugins),
            ANSIBLE_STRATEGY="mitogen_linear",
            ANSIBLE_SSH_ARGS=alone,
        )
    ]


def mitogen_loop(place: Place) -> list[Command]:
    """Have Ansible run a command for every entry by mitogen."""
    (command,) = mitogen(place)
    return [_playbook(place, "loop.yml", **command.environment)]


def _playbook(place: Place, play: str, **environment: str) -> Command:
    settings = {
        "ANSIBLE_CONFIG": str(place.folder / "ansible.cfg"),
        "ANSIBLE_HOME": str(place.folder),
        "ANSIBLE_FORKS": str(len(place.hosts)),
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_PYTHON_INTERPRETER": PYTHON,
        "ANSIBLE_SSH_ARGS": f"-F {place.ssh_config} -o ControlMaster=auto -o ControlPersist=60s",
        "ANSIBLE_SSH_CONTROL_PATH": _control(place),
        **environment,
    }
    return Command([ANSIBLE, "-i", place.folder / "hosts", place.folder / play], environment=settings)


def _control(place: Place) -> str:
    """Name the sockets of ssh's masters: new ones for each run, since those of podnet's connections are new as well."""
    return f"{place.folder}/%%n"  # Ansible takes away one of them


def masters(place: Place) -> list[Command]:
    """End the connections that Ansible keeps open."""
    return [
        Command(["ssh", "-F", place.ssh_config, "-o", f"ControlPath={place.folder}/{host}", "-O", "exit", host])
        for host in place.hosts
        if (place.folder / host).exists()
    ]


@dataclass(frozen=True)
class Way:
    """A way, by the name that it has in tables; `slow` ones are measured once, and not on the largest lab."""

    name: str
    commands: Callable[[Place], list[Command]]
    slow: bool = False


FLOOR = Way("OpenSSH, finished batch", openssh)
PODNET = Way("podnet, first apply", podnet)
WAYS = (
    PODNET,
    FLOOR,
    Way("pyinfra, an operation per entry", pyinfra),
    Way("Ansible, templated script", ansible),
    Way("Ansible with mitogen, templated script", mitogen),
    Way("Ansible, a command per entry", ansible_loop, slow=True),
    Way("Ansible with mitogen, a command per entry", mitogen_loop, slow=True),
)
