"""Which namespace a reference without one is in: that of -n for FROM and for TO, else TO is where FROM is."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from stockade.cli.main import cli

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: far}\nspec: {containers: [{name: c, image: i}]}\n---\n"
SERVED = """apiVersion: v1
kind: Pod
metadata: {name: web, namespace: x, labels: {app: web}}
spec: {containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: srv, namespace: x}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


@pytest.fixture
def manifests(tmp_path):
    (tmp_path / "m.yaml").write_text(POD + SERVED)
    return tmp_path / "m.yaml"


@pytest.mark.parametrize(
    ("target", "more", "status"),
    [
        ("pod/web:80", ("-n", "x"), 0),
        ("pod/web:80", (), 2),  # far/web, which does not exist
        ("svc/srv:80", ("-n", "x"), 0),
        ("svc/srv:80", (), 2),
        ("x:svc/srv:80", ("-n", "z"), 0),
        ("http://srv/", ("-n", "x"), 1),  # the search list of the pod in far
        ("http://srv.x/", ("-n", "far"), 0),
    ],
)
def test_namespace_of_the_far_end(manifests, target, more, status):
    done = CliRunner().invoke(cli, ["check", "far:pod/a", target, "-f", str(manifests), *more])
    assert done.exit_code == status, done.output


@pytest.mark.parametrize(
    ("head", "more", "status"),
    [
        ("namespace: x\n", (), 0),
        ("namespace: far\n", ("-n", "x"), 0),
        ("namespace: x\n", ("-n", "far"), 2),
        ("", (), 2),
        ("", ("-n", "x"), 0),
    ],
)
def test_an_assertions_file_follows_the_same_rule(manifests, head, more, status):
    file = manifests.with_name("t.yaml")
    file.write_text(f"{head}tests:\n- {{from: 'far:pod/a', to: 'pod/web:80', expect: allowed}}\n")
    done = CliRunner().invoke(cli, ["test", str(file), "-f", str(manifests), *more])
    assert done.exit_code == status, done.output


@pytest.mark.parametrize("verb", ["check", "explain"])
def test_help_says_which_namespace_and_that_a_service_is_looked_up(verb):
    shown = " ".join(CliRunner().invoke(cli, [verb, "--help"]).output.split())
    assert "svc/NAME includes the DNS lookup of the Service's name" in shown
    assert "without -n, TO is where FROM is" in shown
