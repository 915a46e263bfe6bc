"""What programming a state means on this node: the node's own view, its pods for the gate, and the profiles in recent use.

Pure values, called by ``agent.node`` before and after each transaction.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from stockade.agent.gate import ProgrammedPod
from stockade.dataplane.live.shares import LocalPod
from stockade.dataplane.lower import NodeView
from stockade.model.meta import ObjectRef
from stockade.net.cidr import Block, parse_address, parse_block
from stockade.policy.compiled import Profile
from stockade.store.state import ClusterState

REMEMBERED_PROFILES = 512  # that are no longer in use


def node_view(state: ClusterState, name: str, pod_cidrs: tuple[Block, ...] = ()) -> NodeView:
    """``pod_cidrs`` from the command line win over the Node object's."""
    node = state.nodes.get(name)
    if node is None:
        return NodeView(name, pod_cidrs)
    blocks = pod_cidrs or tuple(block for cidr in node.pod_cidrs if (block := _block(cidr)))
    addresses = tuple(address for ip in node.ips if (address := _address(ip)))
    return NodeView(name, blocks, addresses)


class ProgrammedPods(Mapping[ObjectRef, ProgrammedPod]):
    """This node's pods with the addresses that are theirs, as the API wrote them. Thousands are handed over at each change and
    the gate asks for one or two, so each is made when it is asked for. ``local`` must not change afterwards."""

    def __init__(self, local: Mapping[ObjectRef, LocalPod]) -> None:
        self._local = local

    def __getitem__(self, ref: ObjectRef) -> ProgrammedPod:
        pod, addresses = self._local[ref].pod, self._local[ref].addresses
        return ProgrammedPod(pod.metadata.uid, tuple(ip for ip in pod.ips if _address(ip) in addresses))

    def __iter__(self) -> Iterator[ObjectRef]:
        return iter(self._local)

    def __len__(self) -> int:
        return len(self._local)


def _address(text: str) -> tuple[int, int] | None:
    try:
        return parse_address(text)
    except ValueError:
        return None


def _block(text: str) -> Block | None:
    try:
        return parse_block(text)
    except ValueError:
        return None


class Recent:
    """The state in force, and this node's profiles by id, also of a while ago: a packet logged just before a change names an old one."""

    def __init__(self) -> None:
        self.state: ClusterState | None = None
        self.profiles: OrderedDict[str, Profile] = OrderedDict()

    @contextlib.contextmanager
    def upcoming(self, state: ClusterState, profiles: Mapping[str, Profile] | None) -> Iterator[None]:
        """While it is being programmed, and after that; taken back when programming fails. ``profiles`` None: as before."""
        before, self.state = self.state, state
        if profiles is not None:
            self._keep(profiles)
        try:
            yield
        except BaseException:
            self.state = before
            raise

    def _keep(self, current: Mapping[str, Profile]) -> None:
        for name, profile in current.items():
            self.profiles[name] = profile
            self.profiles.move_to_end(name)
        while len(self.profiles) > len(current) + REMEMBERED_PROFILES:
            self.profiles.popitem(last=False)
