"""The page of `--report`: whole, on its own, and harmless whatever hosts say."""

import itertools
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podnet.cluster import Cluster
from podnet.verify.fleet import Answer, Fleet
from podnet.verify.mesh import probe
from podnet.verify.mesh.probe import WAY, Reply
from podnet.verify.mesh.reach import Mesh
from podnet.verify.numbers import NUMBERS
from podnet.verify.reporting import report, topology
from podnet.verify.reporting.report import Outcome, Run
from podnet.verify.strangers.observed import told
from podnet.verify.strangers.observing import Observation
from podnet.verify.strangers.scene import Scene, Seen
from tests.core.goldens import mode as module
from tests.core.test_facts import garbled
from tests.core.test_mesh import everything, mesh, names, of, small


class Page(HTMLParser):
    """What a page holds: elements that are closed in the order in which they were opened."""

    def __init__(self, text: str) -> None:
        """Read it."""
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1][-1] += data

    def edges(self) -> dict[tuple[str | None, str | None], str]:
        """Return how each direction between two nodes is drawn."""
        return {(a["data-source"], a["data-target"]): a["class"] or "" for tag, a in self.elements if tag == "line"}

    def matrix(self) -> dict[tuple[str, str], str]:
        """Return what stands in the place of each pair."""
        start = next(number for number, row in enumerate(self.rows) if row[0] == "" and len(row) > 1)
        _, *columns = self.rows[start]
        rows = self.rows[start + 1 : start + 1 + len(columns)]
        return {(name, column): cell for name, *cells in rows for column, cell in zip(columns, cells, strict=True)}


def run(cluster: Cluster, found: Mesh | None, mode: str = "vxlan", *outcomes: Outcome) -> Run:
    """Make up a run against hosts that are none."""
    host: Any = SimpleNamespace(backend=SimpleNamespace(get_pytest_id=lambda: "ssh://<host>"))
    fleet: Any = SimpleNamespace(cluster=cluster, nodes=cluster.nodes, hosts=dict.fromkeys(names_of(cluster), host))
    made = Run(fleet, mode, NUMBERS[mode], Path(), Path(), "--hosts=a,b", mesh=found)
    made.outcomes.extend(outcomes)
    return made


def names_of(cluster: Cluster) -> list[str]:
    """Name the nodes."""
    return [node.name for node in cluster.nodes]


def page(of_run: Run, code: pytest.ExitCode = pytest.ExitCode.OK) -> Page:
    """Write and read it."""
    return Page(report.page(of_run, code))


def test_every_pair_is_there() -> None:
    """With what was measured, and with what is wrong beside it."""
    cluster = of(2, 1, 2)
    replies = everything(cluster)
    replies[2] = small("node1/pod1", "node2/pod1", None)
    seen = page(run(cluster, mesh(cluster, "vxlan", replies))).matrix()
    assert set(seen) == set(itertools.product(names(cluster), repeat=2))
    assert seen["node1/pod1", "node2/pod1"] == "LOST"
    assert seen["node2/pod1", "node1/pod1"] == "62 0.02"


def test_a_broken_direction_is_a_red_half_line() -> None:
    """From the node whose packets are lost to the middle; the way back is told from it."""
    cluster = of(1, 1, 1)
    replies = everything(cluster)
    replies[1] = small("node1/pod1", "node2/pod1", None)
    edges = page(run(cluster, mesh(cluster, "vxlan", replies))).edges()
    assert len(edges) == 6
    assert edges["node1", "node2"] == "edge broken"
    assert edges["node2", "node1"] == "edge ok back"
    assert {edges[pair] for pair in [("node1", "node3"), ("node3", "node1"), ("node2", "node3")]} == {"edge ok"}


def test_what_the_node_itself_finds_on_the_way_is_drawn_too() -> None:
    """A device behind the pods' own that lets too much pass is seen by the node alone."""
    cluster = of(1, 1)
    too_much = Reply("node1", "node2/pod1", 62, 0.1, "", WAY)
    edges = page(run(cluster, mesh(cluster, "vxlan", [*everything(cluster), too_much]))).edges()
    assert edges == {("node1", "node2"): "edge broken", ("node2", "node1"): "edge ok back"}


def test_modes_that_join_no_nodes_have_no_broken_lines() -> None:
    """What may not be reached and is not is as it should be."""
    cluster = of(1, 1)
    edges = page(run(cluster, mesh(cluster, "bridge", everything(cluster, "bridge")), "bridge")).edges()
    assert set(edges.values()) == {"edge isolated bare"}


def test_nothing_is_loaded_from_elsewhere() -> None:
    """No script, no picture, no font, no style sheet: one file that can be sent by mail."""
    cluster = of(1, 1)
    text = report.page(run(cluster, mesh(cluster, "vxlan", everything(cluster))), pytest.ExitCode.OK)
    seen = Page(text)
    assert not {tag for tag, _ in seen.elements} & {"script", "img", "link", "iframe", "object", "image", "use", "a"}
    for _, attributes in seen.elements:
        assert not attributes.keys() & {"src", "href", "xlink:href", "srcset", "action"}
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in text
    assert "@import" not in text


def test_whatever_hosts_say_is_only_text() -> None:
    """A host, a kernel or a message may hold what looks like HTML."""
    cluster = of(1, 1)
    evil = "</pre><script>alert(1)</script>"
    found = mesh(cluster, "vxlan", everything(cluster))
    answers = dict.fromkeys(names_of(cluster), Answer(f"{probe.HOST} {evil}\n"))
    found = Mesh(found.nodes, found.numbers, found.sizes, None, answers, found.replies)
    outcome = Outcome("test_reach.py::test_x[node1]", "failed", 0.1, evil)
    seen = page(run(cluster, found, "vxlan", outcome), pytest.ExitCode.TESTS_FAILED)
    assert not [tag for tag, _ in seen.elements if tag == "script"]
    assert seen.text.count(evil) == 3


def test_hosts_that_do_not_answer_are_red_and_said() -> None:
    """The page is written without a single reply."""
    cluster = of(1, 1)
    found = mesh(cluster, "vxlan", [])
    answers = dict.fromkeys(names_of(cluster), Answer("", problem="node1 cannot be reached: no route"))
    found = Mesh(found.nodes, found.numbers, found.sizes, None, answers, {})
    seen = page(run(cluster, found), pytest.ExitCode.TESTS_FAILED)
    assert "node1 cannot be reached: no route" in seen.text
    assert "No pings were sent, or no host has answered." in seen.text
    assert set(seen.edges().values()) == {"edge untried"}
    assert [a["class"] for tag, a in seen.elements if tag == "g"] == ["node broken"] * 2


def test_an_interrupted_run_says_so() -> None:
    """What had been gathered by then is shown, and what had not is not called good."""
    cluster = of(1, 1)
    seen = page(run(cluster, None), pytest.ExitCode.INTERRUPTED)
    assert "was interrupted: what is not here was not tried" in seen.text
    assert set(seen.edges().values()) == {"edge untried"}


def test_a_node_whose_own_test_failed_is_red() -> None:
    """Its way to others may still be good."""
    cluster = of(1, 1)
    outcome = Outcome("podnet/verify/test_state.py::test_kernel[node2]", "failed", 0.1, "node2: a route is missing")
    seen = page(run(cluster, mesh(cluster, "vxlan", everything(cluster)), "vxlan", outcome))
    classes = {a["data-node"]: a["class"] for tag, a in seen.elements if tag == "g"}
    assert classes == {"node1": "node", "node2": "node broken"}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 16, 30])
def test_no_node_covers_another(count: int) -> None:
    """Whatever their number, and all of them lie inside the picture."""
    cluster = of(*(2,) * count)
    boxes = [topology.box(node, cluster.marks, None, []) for node in cluster.nodes]
    drawn = topology.picture(cluster, NUMBERS["vxlan"], boxes, None)
    assert len(drawn.edges) == count * (count - 1)
    for each in drawn.boxes:
        assert each.left >= 0
        assert each.left + each.box.width <= drawn.width
        assert each.top >= 0
        assert each.top + each.box.height <= drawn.height
    for a, b in itertools.combinations(drawn.boxes, 2):
        beside = abs(a.x - b.x) >= (a.box.width + b.box.width) / 2
        below = abs(a.y - b.y) >= (a.box.height + b.box.height) / 2
        assert beside or below, (a.box.name, b.box.name)


def test_a_node_shows_its_devices() -> None:
    """The uplink and what is ours, with addresses and MTU, as the host told them; of many pods the first."""
    cluster = of(6)
    (node,) = cluster.nodes
    have = module("vxlan").state(of(6, 1), of(6, 1).nodes[0])
    lines = topology.box(node, cluster.marks, have, []).lines
    assert lines[0] == "eth0 is missing"
    assert "cni0 10.1.0.1/16 bridge MTU 1450" in lines
    assert "flannel.1 10.1.0.0/32 vxlan MTU 1450" in lines
    assert "pod4 10.1.0.5 MTU 1450" in lines
    assert lines[-1] == "and 2 more pods"


def test_how_packets_cross_is_said() -> None:
    """In the words of what captures them."""
    cluster = of(1, 1)
    said = [
        topology.crossing(cluster, NUMBERS[name], *cluster.nodes) for name in ("vxlan", "host_gw", "sriov", "bridge")
    ]
    assert said == ["udp dst port 8472, 50 bytes more", "as they are", "on a wire of the pods' own", "not joined"]


def test_of_strangers_it_is_told_what_podnet_would_have_otherwise() -> None:
    """With the sentences that the terminal has; of podnet's own hosts there is no such part."""
    cluster = of(1, 1)
    wants = {node.name: module("vxlan").state(cluster, node) for node in cluster.nodes}
    seen = {name: Seen(replace(want, routes=frozenset())) for name, want in wants.items()}
    looked = Observation(Scene(cluster, NUMBERS["vxlan"], wants, seen), {}, Fleet(cluster, {}))
    made = run(cluster, mesh(cluster, "vxlan", everything(cluster)))
    assert "would have otherwise" not in page(made).text
    made.observation = looked
    text = page(made).text
    assert "What podnet would have otherwise" in text
    assert all(sentence in text for sentence in told(looked.scene))
    assert "node1: pod: no namespace of this host holds pod1's 10.1.0.2" in text


@pytest.mark.parametrize("said", ["", "welcome", "==podnet== links\n{}\n==podnet== end", "\n".join(garbled())])
def test_an_answer_that_cannot_be_read_is_left_out_of_the_picture(said: str) -> None:
    """The tests that compare tables say what is wrong with it; the page is written all the same."""
    of_run = run(of(1, 1), None)
    node = of_run.fleet.nodes[0]
    of_run.answers = {node.name: Answer(said)}
    assert report.have(of_run, node) is None
