"""``check``, ``explain`` and ``test`` on files: what they print and how they exit."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from stockade.cli.main import LazyGroup, cli

MANIFESTS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: report, namespace: shop}
spec:
  schedule: "0 0 * * *"
  jobTemplate:
    spec:
      template:
        metadata: {labels: {app: report}}
        spec: {restartPolicy: Never, containers: [{name: c, image: busybox}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: report}}}]
    ports: [{port: 80}, {port: 8000, endPort: 8010}]
"""
ASSERTIONS = """
namespace: shop
manifests: [m.yaml]
tests:
- {from: cronjob/report, to: deploy/web, port: 8000-8010, expect: allowed, via: web}
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "m.yaml").write_text(MANIFESTS)
    (tmp_path / "t.yaml").write_text(ASSERTIONS)
    return tmp_path


def run(*arguments: str, stdin: str = ""):
    return CliRunner().invoke(cli, arguments, input=stdin)


def check(files, source: str, target: str, *more: str, verb: str = "check"):
    return run(verb, source, target, "-n", "shop", "-f", str(files / "m.yaml"), *more)


@pytest.mark.parametrize(
    ("source", "target", "more", "status", "first"),
    [
        ("cronjob/report", "deploy/web", (), 0, "allowed\n"),
        ("cj/report", "deploy/web:81", (), 1, "denied: connection to web TCP 81"),
        ("shop:deploy/web", "cronjob/report:1", (), 0, "allowed\n"),
        ("cj/report", "deploy/web", ("-p", "8000-8010"), 0, "allowed\n"),
        ("cj/report", "deploy/web:79-80", (), 1, "denied in part: some ports are allowed, others are not\n"),
        ("203.0.113.7", "deploy/web:80", (), 1, "denied: connection to web TCP 80: 203.0.113.7 -> "),
        ("cj/report", "deploy/web", ("--protocol", "udp", "-p", "80"), 1, "denied: "),
    ],
)
def test_check(files, source, target, more, status, first):
    done = check(files, source, target, *more)
    assert done.exit_code == status
    assert done.stdout.startswith(first)


def test_what_differs_is_listed(files):
    lines = check(files, "cj/report", "deploy/web:7999-8011").stdout.splitlines()
    assert lines[1] == "  denied   pod shop/report-cronjob TCP 7999, 8011"
    assert lines[3] == "  allowed  pod shop/report-cronjob TCP 8000-8010"


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("deploy/nosuch", "deploy/web", "Deployment shop/nosuch does not exist here, or none of its pods"),
        ("cj/report", "sts/web:80", "StatefulSet shop/web does not exist here"),
        ("svc/web", "deploy/web", "'svc/web' is not something that connects"),
        ("node/a", "deploy/web", "node a is not known here"),
        ("cj/report", "deploy/web:0", "the port must be a number from 1 to 65535"),
        ("203.0.113.7", "http://web/", "names mean nothing to a host outside"),
    ],
)
@pytest.mark.parametrize("verb", ["check", "explain"])
def test_bad_references_end_with_one_line(files, verb, source, target, message):
    done = check(files, source, target, verb=verb)
    assert done.exit_code == 2
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("stockade: ")]
    assert message in line


def test_every_port(files):
    done = check(files, "cj/report", "deploy/web", "--all-ports")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "pod shop/report-cronjob → pod shop/web-deploy",
        "  TCP   80, 8000-8010",
        "  UDP   none",
        "  SCTP  none",
        "  ICMP  denied",
    ]
    found = json.loads(check(files, "cj/report", "deploy/web", "--all-ports", "-o", "json").stdout)
    assert found[0]["ports"]["TCP"] == [[80, 80], [8000, 8010]]
    assert check(files, "203.0.113.7", "deploy/web", "--all-ports").exit_code == 1
    assert check(files, "cj/report", "deploy/web:80", "--all-ports").exit_code == 2


def test_json_has_the_deciding_path_and_every_case(files):
    found = json.loads(check(files, "cj/report", "deploy/web:79-80", "-o", "json").stdout)
    assert (found["allowed"], found["agree"], found["source"]) == (False, False, "cj/report")
    assert [(case["ports"], case["allowed"]) for case in found["cases"]] == [
        ([79, 79], False),
        ([80, 80], True),
    ]
    assert found["steps"][0]["ok"] is False


def test_explain_tells_each_outcome_once(files):
    done = check(files, "cj/report", "deploy/web:79-81", verb="explain")
    assert done.exit_code == 1
    assert done.stdout.count(": DENIED") == 1
    assert done.stdout.count(": ALLOWED") == 1
    assert "pod shop/report-cronjob TCP 79, 81, judged by pod shop/report-cronjob port 79:" in done.stdout


def test_assertions_read_the_manifests_they_name(files):
    done = run("test", str(files / "t.yaml"))
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "1 checked, 0 failed")


def test_a_failed_assertion_exits_1_in_every_form(files):
    (files / "t.yaml").write_text(ASSERTIONS.replace("expect: allowed", "expect: denied"))
    for form, start in (("text", "FAIL"), ("json", "{"), ("tap", "TAP version 14"), ("junit", "<testsuites")):
        done = run("test", str(files / "t.yaml"), "-o", form)
        assert done.exit_code == 1
        assert done.stdout.startswith(start)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (("via", "vai"), ":5:76: error: tests[0].vai: unknown field (did you mean via?)"),
        (
            ("cronjob/report", "cronjob/nosuch"),
            ":5:10: error: tests[0].from: CronJob shop/nosuch does not exist",
        ),
        (("8000-8010", "http"), ":5:48: error: tests[0].port: must be a port"),
    ],
)
def test_bad_assertions_exit_2_with_their_place(files, change, place):
    (files / "t.yaml").write_text(ASSERTIONS.replace(*change))
    done = run("test", str(files / "t.yaml"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{files / 't.yaml'}{place}" in done.stderr


def test_what_cannot_be_read_exits_2(files):
    assert "No such file" in run("test", str(files / "nosuch.yaml")).stderr
    assert "is a directory" in run("test", str(files)).stderr
    assert "can be read once" in run("test", "-", "-f", "-").stderr
    done = run("test", str(files / "t.yaml"), "--live")
    assert done.exit_code == 2
    assert "--live tries connections in a running cluster" in done.stderr


def test_assertions_from_standard_input(files):
    done = run("test", "-", "-f", str(files / "m.yaml"), stdin=ASSERTIONS)
    assert done.exit_code == 0


def test_the_schema_is_printed():
    done = run("test", "--schema")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["$defs"]["Assertion"]["required"] == ["from", "to", "expect"]


def test_every_command_of_the_table_exists_and_has_an_example():
    for name in ("check", "explain", "test", "validate"):
        assert name in LazyGroup.commands_and_help
        done = run(name, "--help")
        assert done.exit_code == 0
        assert "Examples:" in done.stdout


@pytest.mark.parametrize(("mode", "status"), [(None, 2), ("strict", 2), ("warn", 0), ("ignore", 0)])
@pytest.mark.parametrize("verb", ["check", "explain", "test"])
def test_unknown_fields_are_dropped_when_asked(files, verb, mode, status):
    file = files / "m.yaml"
    file.write_text(MANIFESTS.replace("  podSelector: {matchLabels: {app: web}}\n", "  podSelecter: {}\n"))
    asked = [str(files / "t.yaml")] if verb == "test" else ["cj/report", "deploy/web:80", "-n", "shop"]
    done = run(verb, *asked, "-f", str(file), *(["--validate", mode] if mode else []))
    assert done.exit_code == status, done.output
    assert ("podSelecter" in done.stderr) == (mode != "ignore")


@pytest.mark.parametrize("verb", ["check", "explain"])
@pytest.mark.parametrize(
    ("target", "more"), [("deploy/web", ("-p", "80")), ("deploy/web:80", ()), ("deploy/web:8-9/udp", ())]
)
def test_icmp_has_no_ports(files, verb, target, more):
    done = check(files, "cj/report", target, "--protocol", "icmp", *more, verb=verb)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith("stockade: ICMP has no ports: leave out port 8")
    assert check(files, "cj/report", "deploy/web", "--protocol", "icmp", verb=verb).exit_code == 1


def test_via_a_policy_that_does_not_exist_is_an_error(files):
    (files / "t.yaml").write_text(ASSERTIONS.replace("via: web", "via: shop/wbe"))
    done = run("test", str(files / "t.yaml"))
    assert done.exit_code == 2
    assert "t.yaml:5:81: error: tests[0].via: no NetworkPolicy shop/wbe\n" in done.stderr


@pytest.mark.parametrize("verb", ["check", "explain"])
def test_nothing_is_decided_on_nothing(verb):
    done = run(verb, "192.0.2.1", "192.0.2.2:80", "-f", "-")
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [
        "<stdin>:1:1: warning: no objects",
        "stockade: no objects in the manifests that were given",
    ]
