"""The text of an assertions file to an AssertionFile, with file:line:column for what is wrong.

In: text and the file's name. Out: a ReadFile. Called by ``stockade test``. YAML (or JSON) is read as manifests are. All
mistakes are reported at once, in the order of the file. Never raises for bad input.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from stockade.analysis.assertions import ALLOWED, DENIED, PROTOCOLS, Assertion, AssertionFile
from stockade.manifests import yamlstream
from stockade.manifests.marks import Mark, Marks
from stockade.model.diagnostic import Diagnostic, Position
from stockade.net.cidr import parse_address

Path = tuple[str | int, ...]
_ENUMS: dict[str | int, tuple[str, ...]] = {"expect": (ALLOWED, DENIED), "protocol": PROTOCOLS}
# In the words of YAML rather than in those of JSON.
_WORDS = (
    ("`str | array`", "text or a list"),
    ("`int | str | null`", "a port or a range"),
    ("`int | str`", "a port or a range"),
    ("`object`", "a mapping"),
    ("`array`", "a list"),
    ("`str`", "text"),
    ("`int`", "a whole number"),
)


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
        value = _normal(whole[0].value)
        mistakes = [Wrong("the key is given twice", path, key=True) for path in whole[0].duplicates]
        mistakes += _check_file(value)
    if mistakes:
        return msgspec.structs.replace(source, diagnostics=_in_order(source.placed(mistakes)))
    return msgspec.structs.replace(source, file=msgspec.convert(value, AssertionFile))


def _normal(value: Any) -> Any:
    """Protocols in capitals, as on the command line, where case is all the same."""
    tests = value.get("tests") if isinstance(value, dict) else None
    for test in tests if isinstance(tests, list) else ():
        protocol = test.get("protocol") if isinstance(test, dict) else None
        if isinstance(protocol, str) and protocol.upper() in PROTOCOLS:
            test["protocol"] = protocol.upper()
    return value


def _in_order(found: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    def place(diagnostic: Diagnostic) -> tuple[int, int]:
        where = diagnostic.position
        return (where.line, where.column) if where else (0, 0)

    return tuple(sorted(found, key=place))


def _check_file(value: Any) -> list[Wrong]:
    """Every mistake of the file, in no order."""
    found = _check_struct(value, AssertionFile, (), apart=("tests",))
    if not isinstance(value, dict):
        return found
    tests, hosts = value.get("tests"), value.get("hosts")
    for at, test in enumerate(tests if isinstance(tests, list) else ()):
        found += _check_test(test, ("tests", at))
    if isinstance(hosts, dict):
        found += [
            Wrong(f"{address!r} is not an IP address", ("hosts", host))
            for host, address in hosts.items()
            if isinstance(address, str) and address and not _is_address(address)
        ]
    return found


def _check_test(test: Any, path: Path) -> list[Wrong]:
    found = _check_struct(test, Assertion, path)
    if isinstance(test, dict):
        if test.get("port") is not None and test.get("ports"):
            found.append(Wrong("give port or ports, not both", (*path, "ports"), key=True))
        if test.get("protocol") == "ICMP" and (test.get("port") or test.get("ports")):
            found.append(Wrong("ICMP has no ports", (*path, "protocol")))
    return found


def _check_struct(
    value: Any, wanted: type[msgspec.Struct], path: Path, apart: tuple[str, ...] = ()
) -> list[Wrong]:
    """Each field by itself, so that one mistake does not hide the next. The items of ``apart`` are checked elsewhere."""
    if not isinstance(value, dict):
        wrong = _convert(value, wanted, path)
        return [wrong] if wrong else []
    known = {field.encode_name: field for field in msgspec.structs.fields(wanted)}
    found = [_unknown(key, tuple(known), path) for key in value if key not in known]
    for name, field in known.items():
        if name in value:
            given = value[name]
            if not (name in apart and isinstance(given, list) and given):
                found += _check_value(given, field.type, (*path, name))
        elif field.required and f"did you mean {name}?" not in {
            wrong.hint for wrong in found
        }:  # misspelt is not missing
            found.append(Wrong(f"Object missing required field `{name}`", path))
    return found


def _check_value(value: Any, wanted: Any, path: Path) -> list[Wrong]:
    """Each item of a list, and each entry of a mapping, by itself."""
    steps: list[tuple[Any, Path]] = [(value, path)]
    if isinstance(value, list) and value:
        steps = [([item], (*path, at)) for at, item in enumerate(value)]
    elif isinstance(value, dict) and value and _convert({}, wanted, path) is None:
        steps = [({key: item}, (*path, key)) for key, item in value.items()]
    found = (_convert(part, wanted, at) for part, at in steps)
    return list(dict.fromkeys(wrong for wrong in found if wrong))


def _unknown(name: str, known: tuple[str, ...], path: Path) -> Wrong:
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"fields are {', '.join(known)}"
    return Wrong("unknown field", (*path, name), key=True, hint=hint)


def _convert(value: Any, wanted: Any, path: Path) -> Wrong | None:
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        message = str(error).partition(" - at `$")[0]
        if "matching regex" in message:
            return Wrong("must be a port from 1 to 65535 or a range such as 8000-8100", path)
        if allowed := _ENUMS.get(path[-1] if path else ""):
            shown = repr(value) if isinstance(value, str) else str(msgspec.json.encode(value), "utf-8")
            return Wrong(f"must be {', '.join(allowed[:-1])} or {allowed[-1]}, not {shown}", path)
        for word, plain in _WORDS:
            message = message.replace(word, plain)
        return Wrong(message, path)
    return None


def _dotted(path: Path) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _is_address(text: str) -> bool:
    try:
        parse_address(text)
    except ValueError:
        return False
    return True
