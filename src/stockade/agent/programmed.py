"""What programming a state means on this node: the node's own view, its pods for the gate, and the profiles in recent use.

Pure values, called by ``agent.node`` before and after each transaction.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator

from stockade.agent.gate import ProgrammedPod
from stockade.dataplane.lower import NodeView
from stockade.model.meta import ObjectRef
from stockade.net.cidr import Block, parse_address, parse_block
from stockade.policy.compiled import CompiledPolicies, PodEntry, Profile
from stockade.store.state import ClusterState

REMEMBERED_PROFILES = 512


def node_view(state: ClusterState, name: str, pod_cidrs: tuple[Block, ...] = ()) -> NodeView:
    """``pod_cidrs`` from the command line win over the Node object's."""
    node = state.nodes.get(name)
    if node is None:
        return NodeView(name, pod_cidrs)
    blocks = pod_cidrs or tuple(block for cidr in node.pod_cidrs if (block := _block(cidr)))
    addresses = tuple(address for ip in node.ips if (address := _address(ip)))
    return NodeView(name, blocks, addresses)


def programmed_pods(compiled: CompiledPolicies, node: str) -> dict[ObjectRef, ProgrammedPod]:
    """Pods of this node with the addresses that are theirs, as the API wrote them."""
    return {
        entry.ref: ProgrammedPod(entry.pod.metadata.uid, _own_texts(entry))
        for entry in compiled.pods
        if entry.pod.spec.node_name == node and entry.addresses
    }


def _own_texts(entry: PodEntry) -> tuple[str, ...]:
    return tuple(ip for ip in entry.pod.ips if _address(ip) in entry.addresses)


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
    """The state in force, and profiles by id, also of a while ago: a packet logged just before a change names an old one."""

    def __init__(self) -> None:
        self.state: ClusterState | None = None
        self.profiles: OrderedDict[str, Profile] = OrderedDict()

    @contextlib.contextmanager
    def upcoming(self, state: ClusterState, compiled: CompiledPolicies) -> Iterator[None]:
        """While it is being programmed, and after that; taken back when programming fails."""
        before, self.state = self.state, state
        self._keep(compiled)
        try:
            yield
        except BaseException:
            self.state = before
            raise

    def _keep(self, compiled: CompiledPolicies) -> None:
        for entry in compiled.pods:
            for profile in (entry.egress, entry.ingress):
                if profile is not None:
                    self.profiles[profile.id] = profile
                    self.profiles.move_to_end(profile.id)
        while len(self.profiles) > REMEMBERED_PROFILES:
            self.profiles.popitem(last=False)
