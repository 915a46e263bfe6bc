"""However it got there, the kernel holds what is wanted: random sequences of worlds, applied as differences, read back."""

from __future__ import annotations

import asyncio
import os
import shutil

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.nft import Nft
from stockade.dataplane.plane import Dataplane
from stockade.net.cidr import parse_block
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.strategies import worlds

NODE = NodeView("node-1", (parse_block("10.244.0.0/24"), parse_block("fd00:244::/64")))


@pytest.fixture(scope="module")
def namespace():
    """In a namespace without a name: it goes with the last process in it."""
    if os.geteuid() != 0 or shutil.which("nft") is None:
        pytest.skip("needs root and nft")
    import ctypes  # noqa: PLC0415

    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert libc.unshare(0x40000000) == 0
    yield
    assert libc.setns(home, 0x40000000) == 0
    os.close(home)


@pytest.mark.kernel
# No shrinking: each example costs a dozen processes.
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.reuse, Phase.generate),
)
@given(states=st.lists(worlds(), min_size=2, max_size=4))
def test_differences_end_in_the_wanted_table(namespace, states: list[ClusterState]) -> None:
    async def run() -> None:
        plane = Dataplane(Nft())
        await plane.cleanup()
        for number, state in enumerate(states):
            wanted = lower(compile_state(state), NODE)
            done = await plane.apply(wanted)
            assert done.full == (number == 0), "a transaction was refused"
            assert await Nft().holds(wanted, plane.generation)
            held = await Nft().read()
            assert held is not None
            assert held.generation == plane.generation
            if number == 1:  # a new agent finds what the old one left
                plane = Dataplane(Nft())

    asyncio.run(run())
