"""The Common Expression Language: values, errors, what is refused, and the bound on work."""

from __future__ import annotations

import pytest

from stockade.lab.apiserver.cel import CelError, compile_rule

PEERS = {"to": [{"networks": ["10.0.0.0/8"]}, {"pods": {}}], "ports": [{"name": "http"}]}


@pytest.mark.parametrize(
    ("source", "self", "expected"),
    [
        ("self.start < self.end", {"start": 1, "end": 2}, True),
        ("self.start < self.end", {"start": 2, "end": 2}, False),
        ("has(self.a) && self.a == 1", {}, False),
        ("has(self.a.b)", {"a": {"b": ""}}, True),
        ("self.to.exists(p, has(p.networks))", PEERS, True),
        ("self.to.all(p, has(p.networks))", PEERS, False),
        ("self.to.exists_one(p, has(p.pods))", PEERS, True),
        ("self.to.filter(p, has(p.pods)).size() == 1", PEERS, True),
        ("self.ports.map(p, p.name) == ['http']", PEERS, True),
        ("self.ports.map(p, p.name == 'http', p.name)[0].startsWith('ht')", PEERS, True),
        ("self.all(key, size(key) < 3)", {"a": 1, "bc": 2}, True),
        ("'a' in self && !('z' in self)", {"a": 1}, True),
        ("3 in self", [1, 2, 3], True),
        ("self == 1 ? 'one' : self == 2 ? 'two' : 'more'", 2, "two"),
        ("1 + 2 * 3 - 4 / 2", None, 5),
        ("-7 / 2", None, -3),
        ("-7 % 2", None, -1),
        ("'a' + \"b\" + r'\\n'", None, "ab\\n"),
        ("'\\x41\\u0042\\n'", None, "AB\n"),
        ("0x10 + 1u", None, 17),
        ("1.5e1 > 2", None, True),
        ("self.matches('^[a-z]+$')", "abc", True),
        ("self.split(',').join('-')", "a,b", "a-b"),
        ("self.lowerAscii().contains('b')", "ABC", True),
        ("int(self) == 42 && string(42) == self", "42", True),
        ("type(self) == string", "x", True),
        ("type(self) == int", "x", False),
        ("isCIDR(self)", "10.0.0.0/8", True),
        ("isCIDR(self)", "2001:db8::/32", True),
        ("isCIDR(self)", "::ffff:1.2.3.4/96", False),
        ("isCIDR(self)", "10.0.0.0/33", False),
        ("isCIDR(self)", "10.0.0.0/08", False),
        ("isCIDR(self)", "10.0.0.0", False),
        ("isIP(self) && ip(self).family() == 6", "fe80::1", True),
        ("isIP(self)", "fe80::1%eth0", False),
        ("cidr(self).containsIP('10.1.2.3') && !cidr(self).containsIP('11.0.0.1')", "10.0.0.0/8", True),
        ("cidr(self).containsCIDR('10.1.0.0/16')", "10.0.0.0/8", True),
        ("cidr(self).prefixLength() == 8", "10.0.0.0/8", True),
        ("self.missing == 1 || true", {}, True),
        ("false && self.missing == 1", {}, False),
        ("self.missing == 1 && false", {}, False),
        ("self.exists(x, x / 0 == 1 || x == 2)", [1, 2], True),
        ("self.__namespace__ == 'a'", {"namespace": "a"}, True),
        ("self == true", 1, False),
        ("duration(self) <= duration('1h30m')", "90m", True),
        ("duration(self) > duration('-1.5s') && duration(self) == duration('0')", "0s", True),
        ("duration(self).getMinutes()", "1h1m30s", 61),
        ("timestamp(self) < timestamp('2026-01-02T00:00:00Z')", "2026-01-01T00:00:00Z", True),
        ("dyn(self) == null", None, True),
        ("{'a': 1}.a == 1 // a comment", None, True),
    ],
)
def test_values(source, self, expected):
    found = compile_rule(source).value({"self": self})
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("source", "self", "text"),
    [
        ("self.b", {"a": 1}, "no such key: b"),
        ("self[3]", [1], "index out of bounds: 3"),
        ("self / 0", 1, "division by zero"),
        ("self + 'a'", 1, "no such overload"),
        ("self && true", 1, "a int where a bool is wanted"),
        ("self.size()", 1, "no such overload: size"),
        ("self.startsWith(1)", "a", "no such overload"),
        ("ip(self)", "x", 'IP Address "x" is not valid'),
        ("oldSelf == self", 1, "no such attribute: oldSelf"),
        ("int(self)", "x", "type conversion error"),
        ("duration(self)", "1 hour", "to 'duration'"),
        ("duration(self) > 3", "1s", "no such overload"),
        ("timestamp(self)", "yesterday", "to 'timestamp'"),
        ("self.all(a, self.all(b, self.all(c, a + b + c >= 0)))", list(range(100)), "exceeds its budget"),
    ],
)
def test_expressions_without_a_value(source, self, text):
    program = compile_rule(source)
    with pytest.raises(CelError, match=text.replace("(", "\\(")):
        program.value({"self": self})


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("self ==", "unexpected end of the expression"),
        ("self = 1", "unexpected '='"),
        ("self)", r"unexpected \)"),
        ("foo(self)", r"the function foo\(\) is not supported by this API server"),
        ("self.foo()", r"the function .foo\(\) is not supported by this API server"),
        ("other == 1", "undeclared reference to 'other'"),
        ("self.all(x, y)", "undeclared reference to 'y'"),
        ("self.all(1, true)", "must be a variable"),
        ("has(self)", "has"),
        ("(" * 100 + "1" + ")" * 100, "nested more than"),
        ("'a", "unexpected"),
    ],
)
def test_texts_that_are_refused(source, text):
    with pytest.raises(CelError, match=text):
        compile_rule(source)


def test_a_transition_rule_is_known_by_its_names():
    assert "oldSelf" in compile_rule("self == oldSelf").names
    assert "oldSelf" not in compile_rule("self.all(x, x == 1)").names
