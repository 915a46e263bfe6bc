"""``--ipblock-pods``: the second reading of a block, on both commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from stockade.cli.main import cli

WORLD = """\
{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: c, image: nginx}]}, status: {podIP: 10.244.0.9}}
---
{apiVersion: v1, kind: Pod, metadata: {name: test, labels: {app: foo}}, spec: {containers: [{name: c, image: alpine}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: inside}
spec: {podSelector: {matchLabels: {app: foo}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}
"""


@pytest.mark.parametrize("verb", ["check", "explain"])
def test_a_block_may_mean_pods_or_not(tmp_path: Path, verb: str) -> None:
    manifests = tmp_path / "world.yaml"
    manifests.write_text(WORLD)

    def asked(target: str, *options: str) -> int:
        return CliRunner().invoke(cli, [verb, "pod/test", target, "-f", str(manifests), *options]).exit_code

    assert asked("pod/web:80") == 0
    assert asked("pod/web:80", "--ipblock-pods", "match") == 0
    assert asked("pod/web:80", "--ipblock-pods", "ignore") == 1
    assert asked("10.9.9.9:80", "--ipblock-pods", "ignore") == 0
    assert asked("pod/web:80", "--ipblock-pods", "perhaps") == 2
