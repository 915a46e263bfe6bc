"""What the plugin costs a run that does not use it, and what it says where it cannot work. No lab is started."""

from __future__ import annotations

import subprocess
import sys

import pytest

import stockade.pytest as package
from stockade.pytest.cluster import StockadeError, current, running

HEAVY = (
    "stockade.kube",
    "stockade.cli",
    "stockade.analysis",
    "stockade.model",
    "aiohttp",
    "msgspec",
    "asyncio.base_events",
)


def test_a_run_without_its_fixtures_imports_nothing_of_it(plugin):
    result = plugin.run(
        f"""
        import sys

        def test_nothing():
            assert "stockade.pytest.plugin" in sys.modules
            assert not [name for name in {HEAVY!r} if name in sys.modules]
        """
    )
    result.assert_outcomes(passed=1)


def test_its_own_import_is_small():
    code = "import sys, pytest; before = set(sys.modules); import stockade.pytest.plugin; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["stockade", "stockade.pytest", "stockade.pytest.plugin"]


def test_no_cluster(plugin):
    """An error, never a skip: a policy that nobody tested must not look tested."""
    result = plugin.run("def test_one(stockade): pass", "--stockade-lab=nobody")
    result.assert_outcomes(errors=1)
    assert "no lab named 'nobody' is running; start it with: stockade up --name nobody" in result.stdout.str()


def test_no_cluster_of_a_kubeconfig(monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/nonexistent/kubeconfig")
    with pytest.raises(StockadeError, match="no kubeconfig at /nonexistent"):
        current()
    with pytest.raises(StockadeError, match=r"--stockade-lab: lab name 'No!' .*; or fresh, or kubeconfig"):
        running("No!")


def test_names_for_annotations():
    names = {getattr(package, name).__name__ for name in package.__all__}
    assert names == {"Pod", "Result", "Stockade"}
    with pytest.raises(AttributeError):
        _ = package.Nothing
