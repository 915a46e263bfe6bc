"""``stockade validate``: text and JSON, exit statuses, everything that people pipe into it."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from stockade.cli.validate import command

GOOD = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: a}
spec: {podSelector: {}}
"""
BAD = GOOD.replace("podSelector: {}", "podSelecter: {}")
# A block with host bits is what the server takes, with a warning.
DOUBTFUL = GOOD.replace(
    "podSelector: {}", "podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.1/8}}]}]"
)


def run(*arguments: str, stdin: str = ""):
    return CliRunner().invoke(command, arguments, input=stdin)


def test_clean_manifests_say_so_and_exit_0(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    done = run(str(tmp_path))
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "1 valid, 0 errors, 0 warnings\n")


def test_an_error_has_file_line_and_column_and_exits_2(tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text(f"{GOOD}---\n{BAD}")
    done = run(str(file))
    assert done.exit_code == 2
    assert done.stdout.startswith(f"{file}:9:8: error: NetworkPolicy a: ")
    assert "podSelecter" in done.stdout
    assert "podSelector" in done.stdout


def test_json_carries_the_same(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    done = run("-o", "json", str(file))
    assert done.exit_code == 2
    data = json.loads(done.stdout)
    assert (data["valid"], data["errors"]) == (0, 1)
    assert data["diagnostics"][0]["code"] == "unknown-field"
    assert data["diagnostics"][0]["position"] == {"file": str(file), "line": 4, "column": 8}


@pytest.mark.parametrize(("arguments", "status"), [((), 0), (("--strict",), 2)])
def test_warnings_fail_only_when_strict(arguments, status):
    done = run(*arguments, "-", stdin=DOUBTFUL)
    assert ": warning: " in done.stdout
    assert done.exit_code == status


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "List",
                "items": [
                    {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "metadata": {"name": "a"},
                        "spec": {"containers": [{"name": "c", "image": "i"}]},
                    }
                ],
            }
        ),
        "apiVersion: v1\nkind: NamespaceList\nitems:\n- metadata: {name: a}\n",
        f"---\n# nothing\n---\n{GOOD}",
    ],
)
def test_lists_dumps_and_empty_documents(text):
    done = run("-", stdin=text)
    assert (done.exit_code, done.stderr) == (0, "1 valid, 0 errors, 0 warnings\n")


@pytest.mark.parametrize("text", ["a: [", "kind: Pod", "- 1", "\x00", "a: &a [*a]"])
def test_what_is_no_manifest_exits_2_without_a_traceback(text):
    done = run("-", stdin=text)
    assert done.exit_code == 2
    assert re.match(r"<stdin>:\d+:\d+: error: \S", done.stdout)


def test_a_missing_file_is_an_error(tmp_path):
    done = run(str(tmp_path / "nosuch.yaml"))
    assert done.exit_code == 2
    assert "No such file" in done.stdout


@pytest.mark.parametrize(
    ("mode", "status", "severities"),
    [("strict", 2, ["error", "warning"]), ("warn", 0, ["warning", "warning"]), ("ignore", 0, [])],
)
def test_validate_has_the_words_of_kubectl(mode, status, severities):
    """One unknown field and one key that stands twice, which kubectl itself accepts."""
    text = BAD.replace("name: a", "name: a, name: b")
    done = run("--validate", mode, "-o", "json", "-", stdin=text)
    data = json.loads(done.stdout)
    found = {each["code"]: each.get("severity", "error") for each in data["diagnostics"]}
    assert (done.exit_code, [found[code] for code in sorted(found, reverse=True)]) == (status, severities)
    assert data["valid"] == (mode != "strict")


@pytest.mark.parametrize("mode", ["warn", "ignore"])
def test_what_follows_from_a_dropped_field_is_an_error_still(mode):
    done = run("--validate", mode, "-", stdin=DOUBTFUL.replace("cidr", "cird"))
    assert done.exit_code == 2
    assert "ipBlock.cidr" in done.stdout


def test_a_mistyped_value_is_an_error_in_every_mode():
    done = run("--validate", "ignore", "-", stdin=GOOD.replace("podSelector: {}", "podSelector: []"))
    assert "error: NetworkPolicy a: spec.podSelector: " in done.stdout
    assert done.exit_code == 2


def test_strict_fails_on_what_warn_drops():
    assert run("--strict", "--validate", "warn", "-", stdin=BAD).exit_code == 2
    assert run("--strict", "--validate", "ignore", "-", stdin=BAD).exit_code == 0


@pytest.mark.parametrize(
    "text", ["", "\n", "# nothing\n", "null\n---\n---\n", "kind: List\napiVersion: v1\nitems: []"]
)
def test_no_objects_at_all_is_an_error(text):
    done = run("-", stdin=text)
    assert done.exit_code == 2
    assert done.stdout == "<stdin>:1:1: warning: no objects\n"
    assert done.stderr.splitlines()[-1] == "stockade: no objects in the manifests that were given"


def test_one_empty_file_of_two_is_a_warning(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").touch()
    done = run(str(tmp_path))
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path}/b.yaml:1:1: warning: no objects\n")
    assert run("--strict", str(tmp_path)).exit_code == 2
