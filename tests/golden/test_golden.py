"""Whole rulesets and whole transactions, as people read them and as they are loaded.

A directory with ``input.yaml`` is a feature: a world and, in ``expected.nft``, the rules of its node-1 with annotations. Its
``options.yaml`` may hold ``arguments`` (of the command), the same as ``options`` (of the library), ``pod_cidrs``, ``generation``, and
``command: refuses`` for a world that no manifest can hold. A directory below ``changes`` is a change: two worlds, and the
transaction that leads from one to the other.

After a change that is meant: ``STOCKADE_GOLDEN=write pytest tests/golden``, then read the difference before committing it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from stockade.agent.programmed import node_view
from stockade.dataplane.commands import batch_text
from stockade.dataplane.diff import diff
from stockade.dataplane.heading import heading
from stockade.dataplane.ir import Ruleset
from stockade.dataplane.lower import Options, lower
from stockade.dataplane.names import GENERATIONS
from stockade.dataplane.operations import Transaction
from stockade.dataplane.render import render
from stockade.dataplane.settings import NodeView
from stockade.net.cidr import parse_block
from stockade.policy.compile import compile_state
from stockade.policy.compiled import CompiledPolicies
from stockade.store.state import ClusterState
from stockade.testing.cluster import objects

HERE = Path(__file__).parent
NODE = "node-1"
FEATURES = sorted(path.parent.name for path in HERE.glob("*/input.yaml"))
CHANGES = sorted(path.parent.name for path in HERE.glob("changes/*/before.yaml"))
BEFORE = 7  # the generation in force before a change
PROFILE_CHAINS = ("\tchain e_", "\tchain i_", "\tchain re_", "\tchain ri_")


def settings(feature: str) -> dict[str, Any]:
    path = HERE / feature / "options.yaml"
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def world(path: Path, pod_cidrs: tuple[str, ...] = ()) -> tuple[CompiledPolicies, NodeView]:
    state = ClusterState.of(objects(path.read_text()))
    return compile_state(state), node_view(state, NODE, tuple(map(parse_block, pod_cidrs)))


@cache
def rules(feature: str) -> tuple[Ruleset, str]:
    """As a value and as text."""
    chosen = settings(feature)
    compiled, node = world(HERE / feature / "input.yaml", tuple(chosen.get("pod_cidrs", ())))
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in chosen.get("options", {}).items()}
    ruleset = lower(compiled, node, Options(**values))
    generation = chosen.get("generation", 1)
    above = heading(compiled, node, ruleset, generation)
    return ruleset, render(ruleset, generation, annotate=True, above=above)


@cache
def change(name: str) -> tuple[Ruleset, Ruleset, Transaction]:
    before, after = (lower(*world(HERE / "changes" / name / f"{at}.yaml")) for at in ("before", "after"))
    return before, after, diff(before, after, BEFORE)


def transaction_text(transaction: Transaction) -> str:
    how = f"{BEFORE} -> {transaction.generation}" if transaction.bump else f"stays {BEFORE}"
    lines = [f"# generation {how}\n"]
    for number, batch in enumerate(transaction.batches, start=1):
        lines += [f"# batch {number} of {len(transaction.batches)}\n", batch_text(batch)]
    return "".join(lines)


def agree(path: Path, text: str) -> None:
    if os.environ.get("STOCKADE_GOLDEN") == "write":
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("feature", FEATURES)
def test_feature(feature: str) -> None:
    agree(HERE / feature / "expected.nft", rules(feature)[1])


@pytest.mark.parametrize("name", CHANGES)
def test_change(name: str) -> None:
    agree(HERE / "changes" / name / "expected.nft", transaction_text(change(name)[2]))


@pytest.mark.parametrize("feature", FEATURES)
def test_the_command_prints_the_same(feature: str) -> None:
    chosen = settings(feature)
    words = ["-f", f"{feature}/input.yaml", "--node", NODE, *chosen.get("arguments", ())]
    program = [sys.executable, "-m", "stockade.cli.main", "render"]
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=False, cwd=HERE)
    if chosen.get("command") == "refuses":
        assert done.returncode == 2
        assert done.stdout == ""
        assert "the manifests have errors" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == (HERE / feature / "expected.nft").read_text()


def test_there_is_a_world_for_everything_expected() -> None:
    assert len(FEATURES) >= 25
    assert len(CHANGES) >= 4
    worlds = {*(HERE / feature for feature in FEATURES), *(HERE / "changes" / name for name in CHANGES)}
    assert {path.parent for path in HERE.rglob("expected.nft")} == worlds


@pytest.mark.parametrize("feature", FEATURES)
def test_every_rule_of_a_profile_says_where_it_is_from(feature: str) -> None:
    lines = iter((HERE / feature / "expected.nft").read_text().splitlines())
    for line in lines:
        if line.startswith(PROFILE_CHAINS):
            chain = list(iter(lines.__next__, "\t}"))
            assert chain[-1].endswith("  # default deny")
            for rule in chain[:-1]:
                assert "gress[" in rule.partition("  # ")[2], rule


@pytest.fixture
def kernel() -> None:
    if os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("unshare"):
        pytest.skip("needs root, nft and unshare")


@pytest.mark.kernel
@pytest.mark.parametrize("feature", FEATURES)
def test_feature_loads(feature: str, kernel: None, tmp_path: Path) -> None:
    held = loaded(tmp_path, (HERE / feature / "expected.nft").read_text())
    ruleset = rules(feature)[0]
    assert Counter(each["rule"]["chain"] for each in held if "rule" in each) == Counter(
        {name: len(chain.rules) for name, chain in ruleset.chains.items()}
    )
    found = {
        each[kind]["name"]: len(each[kind].get("elem", ()))
        for each in held
        for kind in ("set", "map")
        if kind in each
    }
    wanted = (*ruleset.sets.values(), *ruleset.identities.values(), *ruleset.maps.values())
    assert found == {GENERATIONS: 1, **{each.name: len(each.elements) for each in wanted}}
    assert {each["counter"]["name"] for each in held if "counter" in each} == set(ruleset.counters)


@pytest.mark.kernel
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_ends_where_a_fresh_start_would(name: str, kernel: None, tmp_path: Path) -> None:
    before, after, transaction = change(name)
    batches = [batch_text(batch) for batch in transaction.batches]
    changed = loaded(tmp_path, render(before, BEFORE), *batches)
    assert content(changed) == content(loaded(tmp_path, render(after, transaction.generation)))


def loaded(folder: Path, *texts: str) -> list[dict[str, Any]]:
    """nft's own listing of a fresh namespace after these transactions."""
    for number, text in enumerate(texts):
        (folder / f"{number}.nft").write_text(text)
    files = [str(folder / f"{number}.nft") for number in range(len(texts))]
    script = 'for file; do nft -f "$file" || exit 1; done; nft -j list table inet stockade'
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", script, "sh", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    listing: list[dict[str, Any]] = json.loads(done.stdout)["nftables"]
    return listing


def content(listing: list[dict[str, Any]]) -> dict[str, Any]:
    """Objects by name, rules by chain in their order; without handles, and elements in any order."""
    found: dict[str, Any] = {}
    for entry in listing:
        ((kind, values),) = entry.items()
        kept = {key: value for key, value in values.items() if key != "handle"}
        if "elem" in kept:
            kept["elem"] = sorted(map(json.dumps, kept["elem"]))
        if kind == "rule":
            found.setdefault(f"rules of {kept['chain']}", []).append(kept)
        elif kind != "metainfo":
            found[f"{kind} {kept['name']}"] = kept
    return found
