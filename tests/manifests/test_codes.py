"""The table of diagnostic codes in docs/manifests.md is complete, and every code in it can be had."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import stockade.manifests
from stockade.manifests import load as loading
from stockade.manifests.load import load, load_text

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| ([a-z, ]+) \|", re.MULTILINE)
TABLE = dict(ROW.findall((ROOT / "docs" / "manifests.md").read_text()))

POLICY = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n"
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i}]}\n"
TEXTS = {
    "syntax-error": "a: [",
    "no-objects": "# nothing\n---\nnull\n",
    "ignored-content": POLICY + "...\na: 1\n",
    "duplicate-key": POLICY + "kind: NetworkPolicy\n",
    "not-an-object": "a: 1",
    "unknown-kind": "apiVersion: v1\nkind: Pot\n",
    "tool-file": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n",
    "foreign-kind": "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: x}\n",
    "not-evaluated": "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: x}\n",
    "unknown-field": POLICY + "spec: {x: 1}\n",
    "wrong-type": POLICY + "spec: 1\n",
    "invalid-value": POLICY + "spec: {egress: [{ports: [{port: 0}]}]}\n",
    "unsupported-value": POLICY + "spec: {policyTypes: [x]}\n",
    "required-value": POLICY + "spec: {egress: [{to: [{}]}]}\n",
    "forbidden-value": POLICY + "spec: {egress: [{to: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}\n",
    "duplicate-value": POD.replace("[{name: c, image: i}]", "[{name: c, image: i}, {name: c, image: i}]"),
    "value-too-long": POD.replace("{name: p}", "{name: p, annotations: {a: " + "x" * 270_000 + "}}"),
    "not-found": POD.replace("image: i}", "image: i, volumeMounts: [{name: v, mountPath: /v}]}"),
    "ambiguous-value": POLICY + "spec: {egress: [{to: [{ipBlock: {cidr: 10.1.0.0/8}}]}]}\n",
    "inert-rules": POLICY + "spec: {policyTypes: [Ingress], egress: [{}]}\n",
    "duplicate-object": f"{POLICY}---\n{POLICY}",
    "implied-namespace": POLICY.replace("{name: p}", "{name: p, namespace: shop}"),
}  # fmt: skip


def _codes(tree: ast.AST):
    """``code=...`` of a call, what is assigned to ``code``, and the first argument of ``_problem``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "code":
            yield from _texts(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_problem":
            yield from _texts(node.args[0])
        elif isinstance(node, ast.Assign):
            names = {
                name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)
            }
            if names & {"code", "_CODES"}:
                first = node.value.elts[0] if isinstance(node.value, ast.Tuple) else node.value
                yield from _texts(first)


def _texts(node: ast.AST):
    for inner in ast.walk(node):
        if (
            isinstance(inner, ast.Constant)
            and isinstance(inner.value, str)
            and re.fullmatch(r"[a-z0-9-]+", inner.value)
        ):
            yield inner.value


def test_every_code_is_documented() -> None:
    folder = Path(stockade.manifests.__file__).parent
    names = ("diagnose", "notes", "sources", "load", "findings")
    found = {code for name in names for code in _codes(ast.parse((folder / f"{name}.py").read_text()))}
    assert found == set(TABLE)


@pytest.mark.parametrize("code", sorted(TEXTS))
def test_every_code_can_be_had(code) -> None:
    found = {diagnostic.code: diagnostic.severity.value for diagnostic in load_text(TEXTS[code]).diagnostics}
    assert code in found
    assert found[code] == TABLE[code]


def test_the_codes_of_files(tmp_path, monkeypatch) -> None:
    (tmp_path / "latin.yaml").write_bytes(f"# caf\u00e9\n{POLICY}".encode("latin-1"))
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(loading, "MAX_FINDINGS", 3)
    names = ["latin.yaml", "empty", "missing", "gone"]
    loaded = load([str(tmp_path / name) for name in names])
    assert [diagnostic.code for diagnostic in loaded.diagnostics] == [
        "not-utf8",
        "no-manifests",
        "unreadable-file",
        "too-many",
    ]
    assert loaded.has_errors
    assert set(TABLE) == {*TEXTS, *(diagnostic.code for diagnostic in loaded.diagnostics)}
