"""pytest's side: options, the marker and the fixtures.

Loaded at the start of every pytest run in an environment that has Stockade (entry point group ``pytest11``), so it imports
pytest alone; everything else is imported when a fixture is first used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stockade.pytest.cluster import Cluster
    from stockade.pytest.space import Stockade

FRESH, KUBECONFIG = "fresh", "kubeconfig"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("stockade", "NetworkPolicies with real pods")
    group.addoption(
        "--stockade-lab",
        default=FRESH,
        metavar="fresh|kubeconfig|NAME",
        help="where the fixture stockade works: in a lab that it starts (default), in the current cluster of KUBECONFIG, "
        "or in the running lab of that name.",
    )
    group.addoption(
        "--stockade-nodes", type=int, default=1, metavar="N", help="nodes of the lab that it starts."
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "stockade_lab(*options): options of stockade up for the lab of the fixture stockade_fresh."
    )


@pytest.fixture(scope="session")
def stockade_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The cluster that all tests of this run share; started at its first use, and ended with the run if we started it."""
    from stockade.pytest import cluster  # noqa: PLC0415

    chosen: str = request.config.getoption("--stockade-lab")
    if chosen == KUBECONFIG:
        yield cluster.current()
    elif chosen == FRESH:
        with cluster.fresh("--nodes", str(request.config.getoption("--stockade-nodes"))) as found:
            yield found
    else:
        yield cluster.running(chosen)


@pytest.fixture
def stockade(stockade_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Stockade]:
    """A fresh namespace in the shared cluster; deleted, with all that is in it, after the test."""
    from stockade.pytest.space import fresh_namespace  # noqa: PLC0415

    with fresh_namespace(stockade_cluster, request.node.name) as space:
        yield space


@pytest.fixture
def stockade_fresh(request: pytest.FixtureRequest) -> Iterator[Stockade]:
    """A namespace in a lab of this one test: for tests that change nodes, other namespaces or the cluster itself."""
    from stockade.pytest import cluster  # noqa: PLC0415
    from stockade.pytest.space import fresh_namespace  # noqa: PLC0415

    marker = request.node.get_closest_marker("stockade_lab")
    options: tuple[Any, ...] = marker.args if marker else ()
    with cluster.fresh(*map(str, options)) as found, fresh_namespace(found, request.node.name) as space:
        yield space
