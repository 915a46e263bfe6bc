"""The text of an assertions file to an AssertionFile, with file:line:column for what is wrong.

In: text and the file's name. Out: a ReadFile. Called by ``stockade test``. YAML (or JSON) is read as manifests are. One mistake
is reported for each test, so that several are seen at once. Never raises for bad input.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from stockade.analysis.assertions import Assertion, AssertionFile
from stockade.manifests import yamlstream
from stockade.manifests.marks import Mark, Marks
from stockade.model.diagnostic import Diagnostic, Position
from stockade.net.cidr import parse_address

Path = tuple[str | int, ...]
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_STEPS = re.compile(r"\.(\w+)|\[(\d+)\]")
# In the words of YAML rather than in those of JSON.
_WORDS = (("`object`", "a mapping"), ("`array`", "a list"), ("`str`", "text"), ("`int`", "a whole number"))


class Wrong(msgspec.Struct, frozen=True):
    """A mistake at ``path``, or at the key there; ``ReadFile.placed`` looks up where that is."""

    message: str
    path: Path = ()
    key: bool = False
    hint: str = ""


class ReadFile(msgspec.Struct, frozen=True):
    """``file`` is None when there are diagnostics."""

    name: str
    file: AssertionFile | None
    diagnostics: tuple[Diagnostic, ...]
    document: yamlstream.Document | None

    def placed(self, mistakes: Sequence[Wrong]) -> tuple[Diagnostic, ...]:
        """The document is read once more for all of them."""
        marks = self._marks([each.path for each in mistakes])
        return tuple(
            Diagnostic(
                code="bad-assertion",
                message=each.message,
                path=_dotted(each.path),
                position=self._position(marks.of(each.path, key=each.key)),
                hint=each.hint,
            )
            for each in mistakes
        )

    def test_positions(self) -> list[Position]:
        """Where each test begins."""
        paths: list[Path] = [("tests", at) for at in range(len(self.file.tests) if self.file else 0)]
        marks = self._marks(paths)
        return [self._position(marks.of(path)) for path in paths]

    def _marks(self, paths: Sequence[Path]) -> Marks:
        if self.document is None or not paths:
            return Marks(Mark(1, 1))
        return self.document.marks(paths)

    def _position(self, mark: Mark) -> Position:
        return Position(self.name, mark.line, mark.column)


def read(text: str, name: str) -> ReadFile:
    documents = list(yamlstream.read(text))
    errors = [each for each in documents if isinstance(each, yamlstream.YamlError)]
    if errors:
        found = [
            Diagnostic(
                code="syntax-error",
                message=f"YAML: {each.problem}",
                position=Position(name, each.mark.line, each.mark.column),
            )
            for each in errors
        ]
        return ReadFile(name, None, tuple(found), None)
    whole = [each for each in documents if isinstance(each, yamlstream.Document)]
    source = ReadFile(name, None, (), whole[0] if whole else None)
    if len(whole) != 1:
        mistakes = [
            Wrong(
                f"an assertions file is one document, and this one has {len(whole)}",
                hint="it begins with tests:",
            )
        ]
    else:
        value = whole[0].value
        mistakes = [Wrong("the key is given twice", path, key=True) for path in whole[0].duplicates]
        mistakes += _check_whole(value) or _check_tests(value)
    if mistakes:
        return msgspec.structs.replace(source, diagnostics=source.placed(mistakes))
    return msgspec.structs.replace(source, file=msgspec.convert(value, AssertionFile))


def _check_whole(value: Any) -> list[Wrong]:
    """Everything but the tests, of which one that is surely good stands for all."""
    tests = value.get("tests") if isinstance(value, dict) else None
    stand_in = [{"from": "a", "to": "b", "expect": "allowed"}] if isinstance(tests, list) and tests else tests
    checked = {**value, "tests": stand_in} if isinstance(value, dict) and "tests" in value else value
    found = _convert(checked, AssertionFile, ())
    if found is not None:
        return [found]
    return [
        Wrong(f"{address!r} is not an IP address", ("hosts", host))
        for host, address in value.get("hosts", {}).items()
        if not _is_address(address)
    ]


def _check_tests(value: Any) -> list[Wrong]:
    found = []
    for at, test in enumerate(value["tests"]):
        path = "tests", at
        problem = _convert(test, Assertion, path)
        if problem is None and test.get("port") is not None and test.get("ports"):
            problem = Wrong("give port or ports, not both", (*path, "ports"), key=True)
        if problem is None and test.get("protocol") == "ICMP" and (test.get("port") or test.get("ports")):
            problem = Wrong("ICMP has no ports", (*path, "protocol"))
        if problem is not None:
            found.append(problem)
    return found


def _convert(value: Any, wanted: type[msgspec.Struct], path: Path) -> Wrong | None:
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        path = (*path, *_path(where.rstrip("`")))
        unknown = _UNKNOWN.match(message)
        if "matching regex" in message:
            return Wrong("must be a port from 1 to 65535 or a range such as 8000-8100", path)
        if unknown is None:
            for word, plain in _WORDS:
                message = message.replace(word, plain)
            return Wrong(message, path)
        fields = Assertion if path[:1] == ("tests",) else AssertionFile
        known = fields.__struct_encode_fields__
        near = get_close_matches(unknown["name"], known, 1)
        hint = f"did you mean {near[0]}?" if near else f"fields are {', '.join(known)}"
        return Wrong("unknown field", (*path, unknown["name"]), key=True, hint=hint)
    return None


def _path(text: str) -> Path:
    return tuple(name or int(index) for name, index in _STEPS.findall(text))


def _dotted(path: Path) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True
