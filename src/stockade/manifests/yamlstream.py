"""YAML and JSON streams to JSON values, read as kubectl reads them, with the position of every node on demand.

In: the text of one file. Out: Documents (value, duplicate keys) and YamlErrors (what and where), in order. The rules are those of
kubectl's stream decoder, and each is checked against kubectl in tests/manifests/test_kubectl_reads.py:

    begins with {    JSON values, one after the other; from the first one that is not JSON, the rest is YAML
    YAML             split at lines of ``---`` with nothing or a comment behind (anything else there is an error); of each part the
                     first document is read, and what follows it (after ``...``) is ignored: we warn about it

A syntax error ends its own part only. Bounded: nesting, and the growth by aliases (a "billion laughs" file is refused, by the
YAML library's own measure). Called by ``manifests.load``. Events come from libyaml; values follow ``manifests.scalars``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
import yaml

from stockade.manifests import jsonstream, scalars
from stockade.manifests.marks import Chunk, Loader, Mark, Marks, locate
from stockade.manifests.paths import Path, go_quoted

MAX_DEPTH = 100
_SEPARATOR = re.compile(r"^---([^\n]*)(?:\n|\Z)", re.MULTILINE)
_BLANKS = re.compile(r"[ \t\r\n]*")


class YamlError(Exception):
    """A document that cannot be read. ``mark`` is where the reader stopped, ``line`` the text there."""

    def __init__(self, problem: str, mark: Mark) -> None:
        super().__init__(problem)
        self.problem = problem
        self.mark = mark
        self.line = ""


class Document(msgspec.Struct):
    """``ignored`` is where content begins that kubectl does not read."""

    value: Any
    chunk: Chunk
    mark: Mark
    duplicates: tuple[Path, ...] = ()
    ignored: Mark | None = None
    is_json: bool = False

    def marks(self, wanted: Iterable[Path]) -> Marks:
        """Reads the chunk once more, this time noting where these paths are."""
        return locate(self.chunk, self.mark, wanted, is_json=self.is_json)


def read(text: str) -> Iterator[Document | YamlError]:
    """Every document of a stream; an empty one (comments only) is left out."""
    rest = Chunk(text)
    if text.startswith("{", _after_blanks(text, 0)):
        found = _json_values(text)
        while not isinstance(step := next(found), Chunk):
            yield step
        rest = step
    memo: dict[str, str] = {}
    for part in _parts(rest):
        yield from [part] if isinstance(part, YamlError) else _document(part, memo)


def _after_blanks(text: str, offset: int) -> int:
    found = _BLANKS.match(text, offset)
    return found.end() if found else offset


def _json_values(text: str) -> Iterator[Document | YamlError | Chunk]:
    """Values one after the other; at last the Chunk that is not JSON, which may be empty."""
    here, counted = Chunk(""), 0
    start = _after_blanks(text, 0)
    while True:
        mark = Chunk(text[counted:start], here.line, here.column).at(start - counted)
        here, counted = Chunk("", mark.line, mark.column), start
        try:
            found = jsonstream.decode(text, start) if start < len(text) else None
        except jsonstream.NumberError as error:
            yield YamlError(str(error), Chunk(text).at(text.find(error.number, start)))
            found = None
            start = len(text)
        except (ValueError, RecursionError):
            found = None
        if found is None:
            if text[start - 1 : start] == "\t":  # blanks are stepped over, a tab is the YAML reader's
                start, mark = start - 1, Mark(mark.line, mark.column - 1)
            yield Chunk(text[start:], mark.line, mark.column)
            return
        yield _json_document(found, Chunk(text[start : found.end], mark.line, mark.column), mark)
        start = _after_blanks(text, found.end)


def _json_document(found: jsonstream.Value, chunk: Chunk, mark: Mark) -> Document | YamlError:
    if jsonstream.depth_exceeds(found.value, MAX_DEPTH):
        return YamlError(f"nested more than {MAX_DEPTH} levels deep", mark)
    return Document(found.value, chunk, mark, found.duplicates, is_json=True)


def _parts(chunk: Chunk) -> Iterator[Chunk | YamlError]:
    """The texts between separators, each with a line break at its end."""
    text, start, line, column = chunk.text, 0, chunk.line, chunk.column
    for found in _SEPARATOR.finditer(text):
        yield Chunk(text[start : found.start()], line, column)
        line, column = line + text.count("\n", start, found.start()), 1
        behind = found[1].strip()
        if behind and not behind.startswith("#"):
            yield YamlError(f"invalid document separator: {_shown(behind)} stands behind ---", Mark(line, 4))
        line, start = line + 1, found.end()
    end = text[start:]
    yield Chunk(end if not end or end.endswith("\n") else f"{end}\n", line, column)


def _shown(text: str) -> str:
    cut = text if len(text) <= 40 else f"{text[:40]}…"
    return go_quoted(cut)


def _document(chunk: Chunk, memo: dict[str, str]) -> Iterator[Document | YamlError]:
    if chunk.text and not chunk.text.isspace():
        try:
            document = _quick(chunk) or _Builder(chunk, memo).document()
        except YamlError as error:
            error.line = next(islice(chunk.text.split("\n"), error.mark.line - chunk.line, None), "")
            yield error
        else:
            if document.value is not None or document.ignored:
                yield document


def _quick(chunk: Chunk) -> Document | None:
    """What is JSON through and through, and means the same as YAML."""
    text = chunk.text
    start = _after_blanks(text, 0)
    if text[start] not in "{[" or jsonstream.has_escapes(text):
        return None
    try:
        found = jsonstream.decode(text, start)
    except (ValueError, RecursionError):
        return None
    if _after_blanks(text, found.end) != len(text) or jsonstream.depth_exceeds(found.value, MAX_DEPTH):
        return None
    return Document(found.value, chunk, chunk.at(start), found.duplicates, is_json=True)


class _Anchor(msgspec.Struct):
    """A value that aliases may repeat: how many nodes it has, and how deep it goes."""

    value: Any
    nodes: int
    depth: int
    complete: bool


class _Builder:
    """Builds the value of the first document from libyaml's events. ``memo`` keeps one copy of every key."""

    def __init__(self, chunk: Chunk, memo: dict[str, str]) -> None:
        self.chunk = chunk
        self.duplicates: list[Path] = []
        self._memo = memo
        self._anchors: dict[str, _Anchor] = {}
        self._nodes = 0  # as the YAML library counts them: keys, values, aliases and what they repeat
        self._aliased = 0
        self._deepest = 0
        self._flow = 0
        self._questions = "?" in chunk.text
        self._slashes = "\\/" in chunk.text
        try:
            self._parser = Loader(chunk.text)
        except (yaml.YAMLError, UnicodeError) as error:
            raise self._error(error) from error

    def document(self) -> Document:
        """Raises YamlError."""
        value, start = None, Mark(self.chunk.line, self.chunk.column)
        try:
            self._event()
            if isinstance(self._event(), yaml.StreamEndEvent):
                return Document(None, self.chunk, start)
            first = self._event()
            start = self._mark(first)
            value = self._node(first, (), 0)
            self._event()
            return Document(value, self.chunk, start, tuple(self.duplicates), self._ignored())
        finally:
            self._parser.dispose()

    def _ignored(self) -> Mark | None:
        """Where content follows that the first document does not have; whether it is good YAML is all the same."""
        try:
            event = self._event()
            if isinstance(event, yaml.StreamEndEvent):
                return None
            return self._mark(self._event()) if not event.explicit else self._mark(event)
        except YamlError as error:
            return error.mark

    def _event(self) -> Any:
        try:
            return self._parser.get_event()
        except (yaml.YAMLError, UnicodeError) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> YamlError:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        if mark is not None:
            where = self.chunk.mark(mark.line, mark.column)
        else:  # the reader below the parser counts bytes
            position = getattr(error, "position", 0)
            before = self.chunk.text.encode("utf-8", "replace")[:position].decode("utf-8", "replace")
            where = Chunk(before, self.chunk.line, self.chunk.column).at(len(before))
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
        return YamlError(str(problem), where)

    def _mark(self, event: Any) -> Mark:
        return self.chunk.mark(event.start_mark.line, event.start_mark.column)

    def _node(self, event: Any, path: Path, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise YamlError(f"nested more than {MAX_DEPTH} levels deep", self._mark(event))
        self._nodes += 1
        self._deepest = max(self._deepest, depth)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        name = event.anchor
        if name is None:
            return self._content(event, path, depth)
        nodes, deepest = self._nodes, self._deepest
        self._deepest = depth
        anchor = self._anchors[name] = _Anchor(None, 0, 0, complete=False)
        anchor.value = self._content(event, path, depth)
        anchor.nodes, anchor.depth = self._nodes - nodes + 1, self._deepest - depth
        anchor.complete = True
        self._deepest = max(self._deepest, deepest)
        return anchor.value

    def _alias(self, event: Any, depth: int) -> Any:
        anchor = self._anchors.get(event.anchor)
        if anchor is None:
            raise YamlError(f"unknown anchor '{event.anchor}' referenced", self._mark(event))
        if not anchor.complete:
            raise YamlError(f"anchor '{event.anchor}' value contains itself", self._mark(event))
        self._aliased += anchor.nodes
        self._nodes += anchor.nodes
        self._deepest = max(self._deepest, depth + anchor.depth)
        if is_excessive(self._aliased, self._nodes):
            raise YamlError("document contains excessive aliasing", self._mark(event))
        if self._deepest > MAX_DEPTH:
            raise YamlError(f"nested more than {MAX_DEPTH} levels deep", self._mark(event))
        return copied(anchor.value)

    def _content(self, event: Any, path: Path, depth: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, as_key=False)
        self._flow += bool(event.flow_style)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(inner := self._event(), yaml.SequenceEndEvent):
                items.append(self._node(inner, (*path, len(items)), depth + 1))
            made: Any = items
        else:
            made = self._mapping(path, depth)
        self._flow -= bool(event.flow_style)
        return made

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        written: set[str] = set()
        while not isinstance(event := self._event(), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
                self._merge(found, self._node(self._event(), (*path, "<<"), depth + 1), event)
                continue
            key = self._key(event)
            at = (*path, key)
            if key in written:
                self.duplicates.append(at)
            written.add(key)
            found[key] = self._node(self._event(), at, depth + 1)
        return found

    def _key(self, event: Any) -> str:
        self._nodes += 1
        if isinstance(event, yaml.AliasEvent):
            value = self._alias(event, 0)
        elif isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, as_key=True)
            if event.anchor is not None:
                self._anchors[event.anchor] = _Anchor(value, 1, 0, complete=True)
        else:
            raise YamlError("a key must be a scalar", self._mark(event))
        try:
            key = scalars.key_text(value)
        except (ValueError, TypeError) as error:
            raise YamlError(str(error), self._mark(event)) from error
        return self._memo.setdefault(key, key)

    def _scalar(self, event: Any, *, as_key: bool) -> Any:
        if self._questions or self._slashes:
            self._check_form(event)
        try:
            value = scalars.resolve(event.value, event.tag, plain=event.implicit[0])
            return value if as_key else scalars.to_json(value)
        except ValueError as error:
            raise YamlError(str(error), self._mark(event)) from error

    def _check_form(self, event: Any) -> None:
        """Two forms that libyaml reads and kubectl's YAML library refuses."""
        if self._flow and not event.style and "?" in event.value:
            raise YamlError(
                "did not find expected ',' or '}': put text that has a ? in quotes", self._mark(event)
            )
        if self._slashes and event.style == '"':
            written = self.chunk.text[event.start_mark.index : event.end_mark.index]
            if "\\/" in written.replace("\\\\", ""):
                raise YamlError(
                    "found unknown escape character: write / without a backslash", self._mark(event)
                )

    def _merge(self, found: dict[str, Any], value: Any, event: Any) -> None:
        """``<<``: of several mappings the first wins."""
        maps = value if isinstance(value, list) else [value]
        if not all(isinstance(item, dict) for item in maps):
            raise YamlError("map merge requires map or sequence of maps as the value", self._mark(event))
        for item in reversed(maps):
            found.update(copied(item))


def copied(value: Any) -> Any:
    """A JSON value of which nothing is shared with ``value``."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


def is_excessive(aliased: int, nodes: int) -> bool:
    """The YAML library's measure: which part of all nodes may come from aliases shrinks from 99 % to 10 % with their number."""
    low, high = 400_000, 4_000_000
    share = 0.99 - 0.89 * (min(max(nodes, low), high) - low) / (high - low)
    return aliased > 100 and nodes > 1000 and aliased / nodes > share
