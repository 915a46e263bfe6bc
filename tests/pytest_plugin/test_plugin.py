"""The plugin against a lab that it starts itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stockade.lab.paths import running_labs
from stockade.lab.preflight import missing_requirement
from stockade.pytest.cluster import current
from stockade.pytest.space import fresh_namespace

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(missing_requirement()), reason=str(missing_requirement())),
]

SUITE = '''
import asyncio

import pytest

from stockade.model.meta import ObjectMeta
from stockade.model.netpol import LabelSelector, NetworkPolicy, NetworkPolicySpec
from stockade.pytest import Stockade
from stockade.pytest.cluster import StockadeError

DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web-deny-all}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: []
"""


@pytest.fixture
def shop(stockade: Stockade):
    stockade.run("web", "nginx", port=80, expose=True)
    stockade.run("client")
    return stockade


def test_the_story(shop, tmp_path):
    found = shop.assert_allowed("pod/client", "http://web")
    assert (found.allowed, found.denied, found.verdict, found.observed) == (True, False, "allowed", "allowed")
    (tmp_path / "deny.yaml").write_text(DENY)
    shop.apply(tmp_path / "deny.yaml")
    found = shop.assert_denied("pod/client", "svc/web", 80, via="web-deny-all")
    assert found.policies == (f"{shop.namespace}/web-deny-all",)
    assert "timed out" in found.symptom
    assert "web-deny-all" in shop.explain("pod/client", "svc/web")
    assert shop.kubectl("get", "netpol", "-o", "name") == "networkpolicy.networking.k8s.io/web-deny-all\\n"
    shop.delete(DENY)
    assert shop.probe("pod/client", "svc/web").allowed


def test_an_expectation_that_fails_names_the_policy(shop):
    shop.apply(DENY)
    shop.assert_allowed("pod/client", "svc/web")


def test_denied_must_be_by_a_policy(shop):
    shop.assert_denied("pod/client", "svc/web", 81, settle=0.1)


def test_other_forms_of_objects(stockade):
    pod = stockade.pod({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "busybox", "command": ["httpd", "-f", "-p", "8080"]}]}})
    client = stockade.run("client", "busybox", env={"WHO": "me"})
    assert client.exec("sh", "-c", "echo $WHO") == "me\\n"
    with pytest.raises(StockadeError, match="status 3: oh"):
        client.exec("sh", "-c", "echo oh; exit 3")
    stockade.assert_allowed(client, pod, 8080)
    deny = NetworkPolicy(metadata=ObjectMeta(name="none"), spec=NetworkPolicySpec(policy_types=["Ingress"]))
    stockade.apply(deny)
    stockade.assert_denied(client, pod, 8080)
    stockade.delete(deny, client)
    with pytest.raises(StockadeError, match="pod .*/client does not exist"):
        stockade.probe(client, pod, 8080)


def test_from_a_coroutine(stockade):
    stockade.run("client")

    async def probe():
        return stockade.probe("pod/client", "http://www.example.com")

    assert asyncio.run(probe()).allowed


def test_mistakes_are_told(stockade, tmp_path):
    for given, text in [
        ({"kind": "ConfigMap"}, "needs apiVersion, kind and metadata.name"),
        ({"apiVersion": "v1", "kind": "Nothing", "metadata": {"name": "x"}}, "does not serve Nothing in v1"),
        ("a: [\\n", "<text>:"),
        ("missing.yaml", "missing.yaml"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dta": {}}, "dta"),
    ]:
        with pytest.raises(StockadeError, match=text):
            stockade.apply(given)
    with pytest.raises(StockadeError, match="ErrImagePull|ImagePullBackOff"):
        stockade.run("p", "registry.invalid/nothing", timeout=1)
    with pytest.raises(StockadeError, match="port"):
        stockade.probe("pod/p", "svc/web", 99999)
    with pytest.raises(StockadeError, match="no NetworkPolicy other"):
        stockade.run("a")
        stockade.assert_denied("pod/a", "pod/a", 80, via="other")
    with pytest.raises(StockadeError, match="NotFound"):
        stockade.kubectl("get", "pod", "nobody")
'''


POLICIES = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db-from-shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: shop}}}]
    ports: [{port: 6379}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shop-egress}
spec:
  podSelector: {matchLabels: {app: shop}}
  policyTypes: [Egress]
  egress:
  - to: [{podSelector: {matchLabels: {app: db}}}]
  - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
"""


def test_a_run(plugin):
    """The manual's example in the same run: it must pass as it is printed."""
    manual = (Path(__file__).parents[2] / "docs" / "pytest.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", manual, re.DOTALL)
    plugin.write("test_manual.py", example)
    plugin.write("deploy/policies/shop.yaml", POLICIES)
    result = plugin.run(SUITE)
    result.assert_outcomes(passed=7, failed=2)
    text = result.stdout.str()
    assert "pod/client → svc/web: expected allowed, is denied" in text
    assert "isolated by an-expectation" in text
    assert "/web-deny-all, which has no ingress rules" in text
    assert "Smallest change that allows it" in text
    assert "pod/client → svc/web TCP 81: fails, but no policy denies it" in text
    assert "trial.py" not in text, "the test's own line is what a failure shows"
    assert not running_labs(), "the lab went with the run"


LABS = """
import pytest


def test_shared(stockade):
    assert stockade.kubectl("get", "nodes", "-o", "name").count("node/") == 1


@pytest.mark.stockade_lab("--nodes", 2, "--ip-family", "ipv4")
def test_own_lab(stockade_fresh):
    nodes = stockade_fresh.kubectl("get", "nodes", "-o", "name").replace("node/", "").split()
    pods = [stockade_fresh.run(f"p{n}", nodeName=nodes[n]) for n in range(2)]
    assert len({pod.node for pod in pods}) == 2
    assert [len(pod.ips) for pod in pods] == [1, 1]
    raise SystemError("the lab must go all the same")
"""


def test_labs_that_are_there_and_labs_of_one_test(plugin, monkeypatch):
    """By its name, and by the kubeconfig; neither is touched at the end."""
    up = plugin.stockade("up", "--name", "mine", "--ip-family", "ipv4")
    assert up.returncode == 0, up.stderr
    try:
        result = plugin.run(LABS, "--stockade-lab=mine")
        result.assert_outcomes(passed=1, failed=1)
        assert "SystemError" in result.stdout.str()
        assert running_labs() == ["mine"]
        monkeypatch.setenv("KUBECONFIG", up.stdout.strip().removeprefix("export KUBECONFIG="))
        with fresh_namespace(current(), "test_x[a b/C]") as space:
            assert re.fullmatch("x-a-b-c-[0-9a-f]{6}", space.namespace)
            assert space.kubectl("get", "pods") == ""
    finally:
        plugin.stockade("down", "--name", "mine")
