"""What is asked of the hosts of somebody else's cluster: one remote command each, which changes nothing there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from pyinfra.api import FactProcessError

from podnet import modes
from podnet.cluster import Node
from podnet.facts import addresses, links, neighbours, routes, rules
from podnet.facts import node as tables
from podnet.facts.chains import SCRIPT as FIREWALL
from podnet.facts.reading import documents, strictly
from podnet.modes import Mode
from podnet.state import State
from podnet.verify.entering import by_path
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.numbers import Numbers
from podnet.verify.strangers import filtering
from podnet.verify.strangers.scene import Inside, Scene, Seen

SETTINGS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/*/rp_filter",
    "net/ipv4/conf/*/proxy_arp",
    "net/bridge/bridge-nf-call-iptables",
)
POLICY, RULES, SPACE, END = "==policy==", "==firewall==", "==space==", "==end=="


@dataclass(frozen=True)
class Observation:
    """What came of looking: the scene, the answers, and the fleet with those pods that can be entered."""

    scene: Scene
    answers: Mapping[str, Answer]
    fleet: Fleet


def script(node: Node) -> str:
    """Spell it: the host's tables, policy routing, its firewall's rules, and the namespaces that hold its pods."""
    return f"""{tables.script(SETTINGS)}
echo '{POLICY}'
{rules.COMMAND}
{routes.COMMAND} table all
echo '{RULES}'
{FIREWALL}
{_spaces(pod.address for pod in node.pods)}
echo '{END}'"""


def _spaces(pods: Iterable[IPv4Address]) -> str:
    """Spell: look for the namespaces that hold these addresses, and print the tables of each.

    Somebody may have named them (`ip netns`), or they have no name and belong to processes, among which lsns(8) knows
    one for each. One that ends meanwhile is nobody's.
    """
    wanted = "|".join(f'*\'"local":"{address}"\'*' for address in pods)
    if not wanted:
        return ":"
    return f"""known=" $(stat -L -c %i /proc/self/ns/net) "
look() {{
  if [ ! -e "$1" ] || [ "$(stat -L -f -c %T "$1")" != nsfs ]; then return 0; fi
  space=$(stat -L -c %i "$1")
  case $known in *" $space "*) return 0 ;; esac
  known="$known$space "
  said=$(nsenter --net="$1" ip -4 -j addr show)
  case $said in {wanted}) ;; *) return 0 ;; esac
  echo "{SPACE} $1"
  nsenter --net="$1" ip -d -j -batch - <<'PODNET'
link show
addr show
route show
neigh show
PODNET
}}
try() {{ look "$1" || [ ! -e "$1" ]; }}
for path in /run/netns/*; do try "$path"; done
processes=$(lsns --type net --noheadings --output PID)
for process in $processes; do try "/proc/$process/ns/net"; done"""


def parse(node: Node, output: str) -> Seen:
    """Read what `script` printed on `node`; ValueError unless it is whole."""
    lines = output.splitlines()
    if END not in lines:
        raise ValueError("it was cut short")
    starts = [i for i, line in enumerate(lines) if line.startswith((POLICY, RULES, SPACE, END))]
    parts = [lines[start:end] for start, end in zip([0, *starts], [*starts, None], strict=True)]
    printed, policy, firewall, *spaces = parts[:-1]
    ruled, routed = documents(policy[1:])
    elsewhere = routes.parse([entry for entry in routed if ":" not in entry["dst"]])
    return Seen(
        tables.parse(printed), filtering.read(firewall[1:]), _inside(node, spaces), rules.parse(ruled), elsewhere
    )


def _inside(node: Node, spaces: Sequence[Sequence[str]]) -> dict[IPv4Address, Inside]:
    found: dict[IPv4Address, Inside] = {}
    for heading, *lines in spaces:
        path = heading.removeprefix(SPACE).strip()
        listed, addressed, routed, known = documents(lines)
        holds = State(
            links=links.parse(listed, {}, in_pod=True),
            addresses=addresses.parse(addressed),
            routes=routes.parse(routed),
            neighbours=neighbours.parse([entry for entry in known if ":" not in entry["dst"]]),
        )
        held = {item.address.ip for item in holds.addresses}
        found |= {pod.address: Inside(path, holds) for pod in node.pods if pod.address in held}
    return found


def observe(fleet: Fleet, mode: Mode, numbers: Numbers) -> Observation:
    """Look at all hosts at once. One whose tables cannot be read fails its own tests and nobody else's."""
    wants = {node.name: modes.wanted(mode, fleet.cluster, node) for node in fleet.nodes}
    answers = fleet.run_all(script)
    seen = {}
    for node in fleet.nodes:
        if answers[node.name].problem:
            continue
        try:
            with strictly(f"what {node.name} told of itself"):
                seen[node.name] = parse(node, answers[node.name].printed)
        except FactProcessError as e:
            answers[node.name] = Answer("", problem=str(e))
    return Observation(Scene(fleet.cluster, numbers, wants, seen), answers, _enterable(fleet, seen))


def _enterable(fleet: Fleet, seen: Mapping[str, Seen]) -> Fleet:
    """Keep of the pods those that can be entered. A node that did not answer keeps all: they should be reached."""
    nodes, entrances = [], {}
    for node in fleet.nodes:
        if there := seen.get(node.name):
            paths = {pod.name: there.pods[pod.address].path for pod in node.pods if pod.address in there.pods}
            nodes.append(replace(node, pods=tuple(pod for pod in node.pods if pod.name in paths)))
            entrances[node.name] = by_path(paths)
        else:
            nodes.append(node)
    return replace(fleet, nodes=tuple(nodes), entrances=entrances)


def script_of_pings(targets: Sequence[IPv4Address]) -> str:
    """Spell pings from the host itself, side by side; for each, the address and ping's exit status are printed."""
    return f"""for to in {" ".join(map(str, targets))}; do
  {{ ping -n -c 1 -w 3 "$to" >/dev/null && rc=0 || rc=$?; echo "$to $rc"; }} &
done
wait"""
