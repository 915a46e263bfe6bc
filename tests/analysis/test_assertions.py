"""Assertions: read with their places, judged strictly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stockade.analysis.assertion_file import read
from stockade.analysis.assertions import BadAssertion, Outcome, judge, schema
from stockade.analysis.path import prepare
from stockade.store.state import ClusterState
from stockade.testing.build import namespace, node, pod, policy, service

PUBLISHED = Path(__file__).parents[2] / "docs/schemas/test.schema.json"
WORLD = [
    namespace("default"),
    node(),
    pod("cli", {"app": "cli"}, "10.244.0.1"),
    pod("spy", {"app": "spy"}, "10.244.0.2"),
    pod("web-a", {"app": "web"}, "10.244.0.3", ports=[{"containerPort": 80}]),
    pod("web-b", {"app": "web", "shut": "yes"}, "10.244.0.4", ports=[{"containerPort": 80}]),
    service("web", {"app": "web"}, "10.96.0.7", {"port": 80, "targetPort": 80}),
    service("empty", {"app": "nobody"}, "10.96.0.8", {"port": 80}),
    policy(
        "web-from-cli",
        {
            "podSelector": {"matchLabels": {"app": "web"}},
            "ingress": [
                {"from": [{"podSelector": {"matchLabels": {"app": "cli"}}}], "ports": [{"port": 80}]}
            ],
        },
    ),
]
IDLE = policy("idle", {"podSelector": {"matchLabels": {"app": "nobody"}}})
WORLD.append(IDLE)
SHUT = policy("shut", {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": []})


def outcomes(text: str, *more) -> list[Outcome | BadAssertion]:
    source = read(text, "t.yaml")
    assert source.file is not None, [str(each) for each in source.diagnostics]
    return list(judge(prepare(ClusterState.of([*WORLD, *more])), source.file, "default"))


def one(fields: str, *more) -> Outcome | BadAssertion:
    (found,) = outcomes(f"tests: [{{{fields}}}]", *more)
    return found


@pytest.mark.parametrize(
    ("fields", "decided", "passed"),
    [
        ("from: cli, to: svc/web, expect: allowed", "allowed", True),
        ("from: cli, to: svc/web, expect: denied", "allowed", False),
        ("from: spy, to: svc/web, expect: denied", "denied", True),
        ("from: spy, to: svc/web, expect: allowed", "denied", False),
        ("from: cli, to: svc/web, expect: allowed, via: web-from-cli", "allowed", True),
        ("from: cli, to: svc/web, expect: allowed, via: default/web-from-cli", "allowed", True),
        ("from: cli, to: svc/web, expect: allowed, via: idle", "allowed", False),
        ("from: spy, to: svc/web, expect: denied, via: web-from-cli", "denied", True),
        ("from: spy, to: svc/web, expect: denied, via: default/idle", "denied", False),
        ("from: cli, to: pod/web-a, port: 80-81, expect: allowed", "mixed", False),
        ("from: cli, to: pod/web-a, port: 80-81, expect: denied", "mixed", False),
        ("from: cli, to: pod/web-a, port: 81-99, expect: denied", "denied", True),
        ("from: cli, to: pod/web-a, protocol: ICMP, expect: denied", "denied", True),
        # Unreachable, but no policy is to blame: proves nothing.
        ("from: cli, to: svc/empty, expect: denied", "denied", False),
        ("from: cli, to: 'svc/web:99', expect: denied", "denied", False),
        ("from: 203.0.113.7, to: pod/web-a, expect: denied", "denied", True),
    ],
)
def test_verdicts(fields, decided, passed):
    found = one(fields)
    assert isinstance(found, Outcome)
    assert (found.decided, found.passed) == (decided, passed), found.why


def test_why_it_fails_is_said():
    found = one("from: spy, to: pod/web-a, expect: allowed")
    assert found.why.startswith("expected allowed, is denied; pod default/spy: connection to web-a TCP 80")
    assert "fails, but no policy denies it" in one("from: cli, to: svc/empty, expect: denied").why
    assert one("from: cli, to: svc/web, expect: allowed, via: idle").why == (
        "allowed, but not via idle; pod default/cli: by default/web-from-cli"
    )


def test_one_denied_backend_of_two_is_neither_allowed_nor_denied():
    narrow = policy("shut", {"podSelector": {"matchLabels": {"shut": "yes"}}, "ingress": []})
    # Policies add up: web-b stays open to cli, so shut it by taking it out of the other.
    open_a = policy("web-from-cli", {"podSelector": {"matchLabels": {"app": "none"}}})
    for expect in ("allowed", "denied"):
        found = one(f"from: cli, to: svc/web, expect: {expect}", narrow, open_a)
        assert (found.decided, found.passed) == ("mixed", False)


def test_each_from_to_and_port_is_judged():
    found = outcomes(
        "tests: [{from: [cli, spy], to: [pod/web-a, pod/web-b], ports: [80, 81-90], expect: denied}]"
    )
    assert len(found) == 8
    assert [each.passed for each in found] == [False, True, False, True, True, True, True, True]


def test_a_reference_to_nothing_is_no_verdict():
    assert one("from: nosuch, to: svc/web, expect: denied").path == ("tests", 0, "from")
    bad = one("from: cli, to: svc/nosuch, expect: denied")
    assert isinstance(bad, BadAssertion)
    assert (bad.path, bad.message) == (("tests", 0, "to"), "service default/nosuch does not exist")


@pytest.mark.parametrize(
    ("via", "message"),
    [
        ("nosuch", "no NetworkPolicy nosuch in any namespace"),
        ("other/idle", "no NetworkPolicy other/idle"),
    ],
)
def test_a_policy_that_does_not_exist_is_no_verdict(via, message):
    bad, _ = outcomes(f"tests: [{{from: cli, to: svc/web, expect: allowed, via: {via}}}]")
    assert isinstance(bad, BadAssertion)
    assert (bad.path, bad.message) == (("tests", 0, "via"), message)


@pytest.mark.parametrize("written", ["tcp", "Tcp", "TCP"])
def test_protocols_in_any_case(written):
    found = one(f"from: cli, to: pod/web-a, port: 80, protocol: {written}, expect: allowed")
    assert isinstance(found, Outcome)
    assert (found.passed, found.connection) == (True, "cli → pod/web-a TCP 80")


def test_icmp_with_a_port_in_to():
    bad = one("from: cli, to: 'pod/web-a:80', protocol: icmp, expect: allowed")
    assert isinstance(bad, BadAssertion)
    assert bad.path == ("tests", 0, "to")
    assert bad.message.startswith("ICMP has no ports: leave out port 80")


MANY = """namespce: x
hosts: {a: b, c: d}
tests:
- {from: a, expect: maybe, protocol: tpc, ports: [http, 0]}
- {from: a, to: b, expect: allowed, prot: tcp, port: http, protocol: icmp}
- {from: {a: b}, to: [], expect: denied}
"""
GOOD = "{from: a, to: b, expect: allowed"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "",
            [
                "t.yaml:1:1: error: an assertions file is one document, and this one has 0 (it begins with tests:)"
            ],
        ),
        ("a: 1\n---\nb: 2", ["t.yaml:1:1: error: an assertions file is one document, and this one has 2"]),
        ("tests", ["t.yaml:1:1: error: Expected a mapping, got text"]),
        ("tests: []", ["t.yaml:1:8: error: tests: Expected a list of length >= 1"]),
        ("namespace: a", ["t.yaml:1:1: error: Object missing required field `tests`"]),
        (f"test: [{GOOD}}}]", ["t.yaml:1:1: error: test: unknown field (did you mean tests?)"]),
        (
            f"tests:\n- {GOOD}, porst: 8}}",
            ["t.yaml:2:37: error: tests[0].porst: unknown field (did you mean port"],
        ),
        (
            f"tests:\n- {GOOD}, port: http}}",
            ["t.yaml:2:43: error: tests[0].port: must be a port from 1 to 65535"],
        ),
        (f"tests:\n- {GOOD}, port: 0}}", ["t.yaml:2:43: error: tests[0].port: Expected a whole number >= 1"]),
        (
            f"tests:\n- {GOOD}, port: 1, ports: [2]}}",
            ["t.yaml:2:46: error: tests[0].ports: give port or ports"],
        ),
        (
            f"tests:\n- {GOOD}, port: 1, protocol: ICMP}}",
            ["t.yaml:2:56: error: tests[0].protocol: ICMP has no ports"],
        ),
        (f"tests: [{GOOD}}}]\nhosts: {{a: b}}", ["t.yaml:2:12: error: hosts.a: 'b' is not an IP address"]),
        (f"tests: [{GOOD}}}]\ntests: [{GOOD}}}]", ["t.yaml:2:1: error: tests: the key is given twice"]),
        (  # all of them at once, in the order of the file
            MANY,
            [
                "t.yaml:1:1: error: namespce: unknown field (did you mean namespace?)",
                "t.yaml:2:12: error: hosts.a: 'b' is not an IP address",
                "t.yaml:2:18: error: hosts.c: 'd' is not an IP address",
                "t.yaml:4:3: error: tests[0]: Object missing required field `to`",
                "t.yaml:4:21: error: tests[0].expect: must be allowed or denied, not 'maybe'",
                "t.yaml:4:38: error: tests[0].protocol: must be TCP, UDP, SCTP or ICMP, not 'tpc'",
                "t.yaml:4:51: error: tests[0].ports[0]: must be a port from 1 to 65535",
                "t.yaml:4:57: error: tests[0].ports[1]: Expected a whole number >= 1",
                "t.yaml:5:37: error: tests[1].prot: unknown field (did you mean port?)",
                "t.yaml:5:54: error: tests[1].port: must be a port from 1 to 65535",
                "t.yaml:5:70: error: tests[1].protocol: ICMP has no ports",
                "t.yaml:6:10: error: tests[2].from: Expected text or a list, got a mapping",
                "t.yaml:6:22: error: tests[2].to: Expected a list of length >= 1",
            ],
        ),
        ("tests: [", ["t.yaml:2:1: error: YAML: "]),
        (
            "tests:\n- {from: a, to: b, expect: yes}\n- 3\n- {from: [], to: b, expect: denied}",
            [
                "t.yaml:2:28: error: tests[0].expect",
                "t.yaml:3:3: error: tests[1]",
                "t.yaml:4:10: error: tests[2].from",
            ],
        ),
    ],
)
def test_bad_files_have_a_place_for_each_mistake(text, expected):
    source = read(text, "t.yaml")
    assert source.file is None
    found = [str(each) for each in source.diagnostics]
    assert len(found) == len(expected), found
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_the_published_schema_is_that_of_the_structs():
    """After a change that is meant: ``stockade test --schema > docs/schemas/test.schema.json``."""
    assert json.loads(PUBLISHED.read_text()) == schema()


def test_the_documented_example_is_valid():
    text = (PUBLISHED.parents[1] / "testing.md").read_text()
    blocks = [part.partition("```")[0] for part in text.split("```yaml\n")[1:]]
    assert blocks
    for block in blocks:
        assert read(block, "docs").diagnostics == ()
