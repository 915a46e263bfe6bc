"""YAML and JSON streams to JSON values, read as kubectl reads them, with the position of every node on demand.

In: the text of one file. Out: Documents (value, duplicate keys) and YamlErrors (what and where), in order; a syntax error ends its own
document only, because kubectl, too, splits the stream at ``---`` lines first. Bounded: nesting, and the growth by aliases (a
"billion laughs" file is refused). Called by ``manifests.load``. Events come from libyaml; values follow ``manifests.scalars``.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from stockade.manifests import scalars
from stockade.manifests.paths import Path

MAX_DEPTH = 100
MAX_ALIAS_NODES = 100_000

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml; only its events are used


class Mark(msgspec.Struct, frozen=True):
    """Line and column, from 1."""

    line: int
    column: int


class YamlError(Exception):
    """A document that cannot be read. ``mark`` is where the reader stopped."""

    def __init__(self, problem: str, mark: Mark) -> None:
        super().__init__(problem)
        self.problem = problem
        self.mark = mark


class Chunk(msgspec.Struct, frozen=True):
    """The text between two ``---`` lines; ``line`` is its first line, from 1."""

    text: str
    line: int


class Document(msgspec.Struct):
    """One document of a chunk (``index`` counts within it)."""

    value: Any
    chunk: Chunk
    index: int
    mark: Mark
    duplicates: tuple[Path, ...] = ()
    _marks: Marks | None = None

    def marks(self) -> Marks:
        """The first call reads the chunk once more, this time noting where everything is."""
        if self._marks is None:
            self._marks = self._read_marks()
        return self._marks

    def _read_marks(self) -> Marks:
        builder = _Builder(self.chunk, record=True)
        try:
            for at, _ in enumerate(builder.documents()):
                if at == self.index:
                    break
        except YamlError:  # JSON that YAML cannot read (surrogate escapes): what was found so far has to do
            pass
        return Marks(keys=builder.keys, values=builder.values, start=self.mark)


class Marks(msgspec.Struct, frozen=True):
    """Positions of one document's nodes by path."""

    keys: dict[Path, Mark]
    values: dict[Path, Mark]
    start: Mark

    def of(self, path: Path, *, key: bool = False) -> Mark:
        """The node at ``path``, or the nearest one above it that exists."""
        table = self.keys if key else self.values
        found = table.get(path) or self.values.get(path)
        while found is None and path:
            path = path[:-1]
            found = self.keys.get(path) or self.values.get(path)
        return found or self.start


def read(text: str) -> Iterator[Document | YamlError]:
    """Every document of a stream; an empty one (comments only) is left out."""
    for chunk in _chunks(text):
        yield from _json(chunk) or _yaml(chunk)


def _chunks(text: str) -> Iterator[Chunk]:
    """At lines of ``---`` with nothing or a comment behind."""
    lines: list[str] = []
    start = 1
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("---") and line[3:].strip()[:1] in {"", "#"}:
            yield Chunk("\n".join(lines), start)
            lines, start = [], number + 1
        else:
            lines.append(line)
    yield Chunk("\n".join(lines), start)


def _yaml(chunk: Chunk) -> Iterator[Document | YamlError]:
    builder = _Builder(chunk, record=False)
    try:
        for index, (value, mark) in enumerate(builder.documents()):
            if value is not None:
                yield Document(value, chunk, index, mark, tuple(builder.duplicates))
            builder.duplicates = []
    except YamlError as error:
        yield error


def _json(chunk: Chunk) -> list[Document | YamlError] | None:
    """The fast way for what is JSON through and through; None sends it to the YAML reader, whose errors have positions."""
    if chunk.text.lstrip()[:1] not in {"{", "["}:
        return None
    try:
        value = json.loads(chunk.text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if _depth_exceeds(value, MAX_DEPTH) or "\\ud" in chunk.text.lower():  # half a surrogate pair is no text
        return None
    before = chunk.text[: len(chunk.text) - len(chunk.text.lstrip())]
    mark = Mark(chunk.line + before.count("\n"), len(before) - before.rfind("\n"))
    return [Document(value, chunk, 0, mark)]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _refuse(text: str) -> Any:
    message = f"json: unsupported value: {text}"
    raise ValueError(message)


def _depth_exceeds(value: Any, limit: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return limit == 0 or any(_depth_exceeds(item, limit - 1) for item in inner)


class _Anchor(msgspec.Struct):
    """A value that aliases may repeat: how many nodes it has, and how deep it goes."""

    value: Any
    nodes: int
    depth: int
    complete: bool


class _Builder:
    """Builds values from libyaml's events; with ``record`` it notes positions by path."""

    def __init__(self, chunk: Chunk, *, record: bool) -> None:
        self.chunk = chunk
        self.record = record
        self.keys: dict[Path, Mark] = {}
        self.values: dict[Path, Mark] = {}
        self.duplicates: list[Path] = []
        self._anchors: dict[str, _Anchor] = {}
        self._nodes = 0
        self._deepest = 0
        self._aliased = 0

    def documents(self) -> Iterator[tuple[Any, Mark]]:
        """Each document's value and where its content begins. Raises YamlError."""
        try:
            parser = Loader(self.chunk.text)
        except (yaml.YAMLError, UnicodeError) as error:
            raise self._error(error) from error
        try:
            while not isinstance(event := self._event(parser), yaml.StreamEndEvent):
                if isinstance(event, yaml.DocumentStartEvent):
                    self._anchors = {}
                    self.keys, self.values = {}, {}
                    first = self._event(parser)
                    yield self._node(parser, first, (), 0), self._mark(first)
        finally:
            parser.dispose()

    def _event(self, parser: Any) -> Any:
        try:
            return parser.get_event()
        except (yaml.YAMLError, UnicodeError) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> YamlError:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        if mark is not None:
            where = Mark(self.chunk.line + mark.line, mark.column + 1)
        else:  # the reader below the parser counts bytes
            position = getattr(error, "position", 0)
            before = self.chunk.text.encode("utf-8", "replace")[:position].decode("utf-8", "replace")
            where = Mark(self.chunk.line + before.count("\n"), len(before) - before.rfind("\n"))
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
        return YamlError(str(problem), where)

    def _mark(self, event: Any) -> Mark:
        return Mark(self.chunk.line + event.start_mark.line, event.start_mark.column + 1)

    def _node(self, parser: Any, event: Any, path: Path, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise YamlError(f"nested more than {MAX_DEPTH} levels deep", self._mark(event))
        self._nodes += 1
        self._deepest = max(self._deepest, depth)
        if self.record:
            self.values[path] = self._mark(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        name = event.anchor
        if name is None:
            return self._content(parser, event, path, depth)
        nodes, deepest = self._nodes, self._deepest
        self._deepest = depth
        anchor = self._anchors[name] = _Anchor(None, 0, 0, complete=False)
        anchor.value = self._content(parser, event, path, depth)
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
        if self._aliased > MAX_ALIAS_NODES:
            raise YamlError("document contains excessive aliasing", self._mark(event))
        if self._deepest > MAX_DEPTH:
            raise YamlError(f"nested more than {MAX_DEPTH} levels deep", self._mark(event))
        return copy.deepcopy(anchor.value)

    def _content(self, parser: Any, event: Any, path: Path, depth: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, as_key=False)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(inner := self._event(parser), yaml.SequenceEndEvent):
                items.append(self._node(parser, inner, (*path, len(items)), depth + 1))
            return items
        return self._mapping(parser, path, depth)

    def _mapping(self, parser: Any, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        written: set[str] = set()
        while not isinstance(event := self._event(parser), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
                self._merge(found, self._node(parser, self._event(parser), (*path, "<<"), depth + 1), event)
                continue
            key = self._key(event)
            at = (*path, key)
            if key in written:
                self.duplicates.append(at)
            written.add(key)
            if self.record:
                self.keys[at] = self._mark(event)
            found[key] = self._node(parser, self._event(parser), at, depth + 1)
        return found

    def _key(self, event: Any) -> str:
        if isinstance(event, yaml.AliasEvent):
            value = self._alias(event, 0)
        elif isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, as_key=True)
            if event.anchor is not None:
                self._anchors[event.anchor] = _Anchor(value, 1, 0, complete=True)
        else:
            raise YamlError("a key must be a scalar", self._mark(event))
        try:
            return scalars.key_text(value)
        except (ValueError, TypeError) as error:
            raise YamlError(str(error), self._mark(event)) from error

    def _scalar(self, event: Any, *, as_key: bool) -> Any:
        try:
            value = scalars.resolve(event.value, event.tag, plain=event.implicit[0])
            return value if as_key else scalars.to_json(value)
        except ValueError as error:
            raise YamlError(str(error), self._mark(event)) from error

    def _merge(self, found: dict[str, Any], value: Any, event: Any) -> None:
        """``<<``: of several mappings the first wins."""
        maps = value if isinstance(value, list) else [value]
        if not all(isinstance(item, dict) for item in maps):
            raise YamlError("map merge requires map or sequence of maps as the value", self._mark(event))
        for item in reversed(maps):
            found.update(copy.deepcopy(item))
