"""Where a fault strikes: one host, what it should hold, and names of what is there to break, whatever the mode."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from podnet import pods
from podnet.cluster import Cluster, Node
from podnet.state import (
    Bridge,
    Chain,
    Device,
    FdbEntry,
    Ipip,
    Link,
    Loan,
    Neighbour,
    Nic,
    Port,
    Route,
    State,
    Veth,
    Vxlan,
    WgPeer,
    Wireguard,
)


@dataclass(frozen=True)
class Place:
    """The host that is damaged; `want` is what it should hold."""

    cluster: Cluster
    node: Node
    want: State

    @property
    def uplink(self) -> str:
        return self.node.uplink

    @cached_property
    def tunnel(self) -> Vxlan | Ipip | Wireguard | None:
        return next((link for link in self.want.links if isinstance(link, Vxlan | Ipip | Wireguard)), None)

    @cached_property
    def vxlan(self) -> Vxlan | None:
        return self.tunnel if isinstance(self.tunnel, Vxlan) else None

    @cached_property
    def bridge(self) -> Bridge | None:
        return next((link for link in self.want.links if isinstance(link, Bridge)), None)

    @cached_property
    def netns(self) -> str:
        """The first pod's namespace."""
        return pods.netns(self.node.pods[0], self.cluster.marks)

    @cached_property
    def second(self) -> str:
        """The second pod's."""
        return pods.netns(self.node.pods[1], self.cluster.marks)

    @cached_property
    def pod(self) -> State:
        return self.want.pods[self.netns]

    @cached_property
    def eth0(self) -> Link:
        return next(link for link in self.pod.links if link.dev == "eth0")

    @cached_property
    def cable(self) -> Veth | None:
        """The host's end of the first pod's cable."""
        return next((link for link in self.want.links if isinstance(link, Veth) and link.netns == self.netns), None)

    @cached_property
    def port(self) -> Port | None:
        return next((port for port in self.want.ports if self.cable and port.dev == self.cable.dev), None)

    @cached_property
    def through(self) -> Route | None:
        """The first route to a peer's pods through the tunnel."""
        return next((route for route in self._peers_routes() if self.tunnel and route.dev == self.tunnel.dev), None)

    @cached_property
    def bare(self) -> Route | None:
        """The first route to a peer's pods over the uplink."""
        return next((route for route in self._peers_routes() if route.dev == self.uplink), None)

    @cached_property
    def route(self) -> Route | None:
        """The first route to a peer's pods, either way."""
        return next(self._peers_routes(), None)

    def _peers_routes(self) -> Iterator[Route]:
        subnets = {peer.pod_subnet: peer for peer in self.cluster.peers(self.node)}
        routes = sorted(self.want.routes, key=lambda route: route.key)
        return (route for route in routes if route.to in subnets or (route.dev and route.to == self.cluster.network))

    @cached_property
    def nowhere(self) -> Route | None:
        """A route that leads nowhere, on purpose."""
        return next((route for route in self.want.routes if route.dev is None), None)

    @cached_property
    def to_pod(self) -> Route | None:
        """The route to the first pod alone."""
        return next((route for route in self.want.routes if self.cable and route.dev == self.cable.dev), None)

    @cached_property
    def peer(self) -> Node:
        """The peer that `route` leads to, or else the first one."""
        peers = self.cluster.peers(self.node)
        return next((peer for peer in peers if self.route and peer.pod_subnet.subnet_of(self.route.to)), peers[0])

    @cached_property
    def far(self) -> Node:
        """The peer that `through` leads to."""
        peers = self.cluster.peers(self.node)
        return next(peer for peer in peers if self.through and peer.pod_subnet.subnet_of(self.through.to))

    @cached_property
    def neighbour(self) -> Neighbour | None:
        """The next hop of `through`."""
        return next((item for item in self.want.neighbours if self.through and item.to == self.through.via), None)

    @cached_property
    def pods_neighbour(self) -> Neighbour | None:
        """The entry of the first pod."""
        return next((item for item in self.want.neighbours if self.cable and item.dev == self.cable.dev), None)

    @cached_property
    def fdb(self) -> FdbEntry | None:
        """The entry of that next hop's MAC."""
        return next((item for item in self.want.fdb if self.neighbour and item.mac == self.neighbour.mac), None)

    @cached_property
    def wg_peer(self) -> WgPeer | None:
        return next(iter(sorted(self.want.peers, key=lambda peer: peer.key)), None)

    @cached_property
    def chain(self) -> Chain | None:
        return next((chain for chain in self.want.chains if chain.table == "filter"), None)

    @cached_property
    def nat(self) -> Chain | None:
        return next((chain for chain in self.want.chains if chain.table == "nat"), None)

    @cached_property
    def carried(self) -> str:
        """What iptables and tcpdump know the outer packets by; empty if there are none."""
        match self.tunnel:
            case Vxlan(port=port) | Wireguard(port=port) | Ipip(fou=int() as port):
                return f"udp {port}"
            case Ipip():
                return "4"
            case _:
                return ""

    @cached_property
    def has_own_wire(self) -> bool:
        """Whether pods stand on the underlay's wire themselves."""
        return not isinstance(self.eth0, Nic | Veth | Loan)

    @cached_property
    def lent(self) -> Loan | None:
        """The NIC that the first pod has on loan."""
        return self.eth0 if isinstance(self.eth0, Loan) else None

    @cached_property
    def way_out(self) -> Route | None:
        """The pod's route to other nodes' pods by a gateway."""
        routes = [route for route in self.pod.routes if route.via]
        return max(routes, key=lambda route: route.to.prefixlen, default=None)

    def sysctl(self, ending: str, dev: str | None = None) -> str | None:
        """Return the first wanted setting whose path ends so, of a device if one is named."""
        paths = sorted(item.path for item in self.want.sysctls)
        return next((path for path in paths if path.endswith(ending) and (dev is None or f"/{dev}/" in path)), None)

    @cached_property
    def devices(self) -> list[str]:
        """The host's own devices of podnet's, in order."""
        return sorted(link.dev for link in self.want.links if isinstance(link, Device))

    @cached_property
    def free(self) -> str:
        """An address of the underlay that nobody has."""
        taken = {node.ip for node in self.cluster.nodes}
        return str(next(ip for ip in itertools.islice(self.node.address.network.hosts(), 200, None) if ip not in taken))
