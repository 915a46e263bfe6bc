"""A node and its pods as network namespaces (``stockade.testing.network``), gone after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stockade.dataplane.nfnetlink.backend import Netlink
from stockade.testing.namespaces import inside, missing, remove_leftovers
from stockade.testing.network import Network


@pytest.fixture(scope="session")
def kernel() -> None:
    lacking = missing()
    if lacking:
        pytest.skip(f"needs {lacking}")
    remove_leftovers()


@pytest.fixture
def network(kernel: None) -> Iterator[Network]:
    """The test itself runs in the node's namespace."""
    made = Network()
    try:
        made.start()
        with inside(made.node):
            yield made
    finally:
        made.stop()


@pytest.fixture
def netlink(network: Network) -> Iterator[Netlink]:
    made = Netlink()
    yield made
    made.close()
