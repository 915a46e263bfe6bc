"""A sample of the upstream cases with real pods, real probes and the real API; all of them: ``python -m stockade.testing.conformance``.

Chosen to cover: both directions, named ports, a block with an exception, an update without resourceVersion, labels of namespaces (whose own
comes back by itself) and of pods, Services by address and by name (with DNS under an egress policy).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stockade.testing.conformance import api, cyclonus, e2e
from stockade.testing.conformance.case import Case, Step
from stockade.testing.conformance.cluster import Cluster
from stockade.testing.conformance.run import How, Result, run

pytestmark = pytest.mark.lab
On = Callable[[Callable[[Cluster], Any]], Any]
ONE_PORT = ("SCTP", "UDP")  # half the probes; UDP and SCTP have a case of their own


def play(on_cluster: On, suite: Any, wanted: str, how: How) -> Result:
    async def one(cluster: Cluster) -> Result:
        found = [case for case in suite.cases(cluster.addresses) if wanted in case.name]
        assert len(found) == 1, [case.name for case in found]
        return await run(found[0], cluster, how)

    return on_cluster(one)


@pytest.mark.parametrize(
    "wanted",
    [
        "e2e 2: ",  # deny all, both directions
        "e2e 18: ",  # a namespace on a named port
        "e2e 22: ",  # an updated pod
        "e2e 36: ",  # what a block excepts
    ],
)
def test_e2e(on_cluster: On, wanted: str) -> None:
    result = play(on_cluster, e2e, wanted, How("service-ip", ONE_PORT))
    assert result.outcome == "ok", result.complaint


@pytest.mark.parametrize(
    ("wanted", "skipped"),
    [
        ("set namespace labels", ONE_PORT),
        ("egress TCP + UDP-80", ("SCTP",)),
    ],
)
def test_cyclonus(on_cluster: On, wanted: str, skipped: tuple[str, ...]) -> None:
    result = play(on_cluster, cyclonus, wanted, How("service-name", skipped))
    assert result.outcome == "ok", result.complaint


@pytest.mark.parametrize("case", api.CASES, ids=[case.name for case in api.CASES])
def test_api(on_cluster: On, case: Case) -> None:
    result = on_cluster(lambda cluster: api.run(case, cluster.client))
    assert result.outcome == "ok", result.complaint


def test_a_network_that_does_otherwise_is_told(on_cluster: On) -> None:
    """A Service called by an address that no pod has: what must connect does not, and the table shows it."""
    case = Case("e2e", 0, "", "nobody is there", [Step([], {"TCP 80": e2e.never})])

    async def one(cluster: Cluster) -> Result:
        await cluster.reset(labelled=False)
        right, cluster.services["x", "b"] = cluster.services["x", "b"], "10.244.0.250"
        try:
            return await run(case, cluster, How("service-ip", ONE_PORT))
        finally:
            cluster.services["x", "b"] = right

    result = on_cluster(one)
    assert result.outcome == "FAIL"
    assert "x/a -> x/b TCP 80: expected connected, engine connected, network TIMEOUT" in result.complaint
    rows = result.complaint.partition("TCP 80  ")[2].splitlines()
    assert rows[1].split() == ["x/a", *".!......."], result.complaint
