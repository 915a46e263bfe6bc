"""Where things stand in a text: line and column of chosen nodes, found by reading the document once more.

In: a text, and the paths that are asked for. Out: Marks. Called by ``yamlstream.Document`` only when something has to be
said about a document, so that a correct one of any size costs nothing; what is not on the way to a wanted path is skipped,
so that memory goes with the number of questions and not with the size of the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec
import yaml

from stockade.manifests import scalars
from stockade.manifests.paths import Path

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml; only its events are used

_BLANKS = re.compile(r"[ \t\r\n]*")
_SKIP = json.JSONDecoder(strict=False)  # steps over a value at the speed of C


class Mark(msgspec.Struct, frozen=True):
    """Line and column, from 1."""

    line: int
    column: int


class Chunk(msgspec.Struct, frozen=True):
    """A part of a file: its text, and the line and column at which it begins, from 1."""

    text: str
    line: int = 1
    column: int = 1

    def mark(self, line: int, column: int) -> Mark:
        """From a place within the chunk, counted from 0."""
        return Mark(self.line + line, column + (self.column if line == 0 else 1))

    def at(self, offset: int) -> Mark:
        start = self.text.rfind("\n", 0, offset) + 1
        return self.mark(self.text.count("\n", 0, offset), offset - start)


class Marks(msgspec.Struct):
    """Positions of nodes by path."""

    start: Mark
    keys: dict[Path, Mark] = msgspec.field(default_factory=dict)
    values: dict[Path, Mark] = msgspec.field(default_factory=dict)

    def of(self, path: Path, *, key: bool = False) -> Mark:
        """The node at ``path``, or the nearest one above it that exists."""
        table = self.keys if key else self.values
        found = table.get(path) or self.values.get(path)
        while found is None and path:
            path = path[:-1]
            found = self.keys.get(path) or self.values.get(path)
        return found or self.start


def locate(chunk: Chunk, start: Mark, wanted: Iterable[Path], *, is_json: bool) -> Marks:
    """The marks of ``wanted`` and of the nodes above them, in the first document of ``chunk``."""
    on_the_way = {path[:length] for path in wanted for length in range(len(path) + 1)}
    marks = Marks(start)
    if is_json:
        _JsonLocator(chunk, on_the_way, marks).document()
    else:
        _YamlLocator(chunk, on_the_way, marks).document()
    return marks


class _YamlLocator:
    def __init__(self, chunk: Chunk, wanted: set[Path], marks: Marks) -> None:
        self.wanted = wanted
        self.marks = marks
        self.chunk = chunk
        self.parser = Loader(chunk.text)

    def document(self) -> None:
        try:
            while not isinstance(self._next(), yaml.DocumentStartEvent):
                pass
            self._node(self._next(), ())
        except yaml.YAMLError:  # the document did not end well; what was found so far has to do
            pass
        finally:
            self.parser.dispose()

    def _next(self) -> Any:
        return self.parser.get_event()

    def _mark(self, event: Any) -> Mark:
        return self.chunk.mark(event.start_mark.line, event.start_mark.column)

    def _node(self, event: Any, path: Path) -> None:
        if path not in self.wanted:
            self._skip(event)
            return
        self.marks.values[path] = self._mark(event)
        if isinstance(event, yaml.SequenceStartEvent):
            index = 0
            while not isinstance(inner := self._next(), yaml.SequenceEndEvent):
                self._node(inner, (*path, index))
                index += 1
        elif isinstance(event, yaml.MappingStartEvent):
            while not isinstance(inner := self._next(), yaml.MappingEndEvent):
                at = (*path, self._key(inner))
                if at in self.wanted:
                    self.marks.keys[at] = self._mark(inner)
                self._node(self._next(), at)

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):  # an alias: its name is not looked up again
            return ""
        try:
            return scalars.key_text(scalars.resolve(event.value, event.tag, plain=event.implicit[0]))
        except ValueError:
            return ""

    def _skip(self, event: Any) -> None:
        depth = 0
        while True:
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth == 0:
                return
            event = self._next()


class _JsonLocator:
    """The text is known to be JSON. Offsets only grow, so lines are counted once."""

    def __init__(self, chunk: Chunk, wanted: set[Path], marks: Marks) -> None:
        self.text = chunk.text
        self.chunk = chunk
        self.wanted = wanted
        self.marks = marks
        self._offset = self._line = 0

    def document(self) -> None:
        self._value(self._blank(0), ())

    def _blank(self, offset: int) -> int:
        found = _BLANKS.match(self.text, offset)
        return found.end() if found else offset

    def _mark(self, offset: int) -> Mark:
        self._line += self.text.count("\n", self._offset, offset)
        self._offset = offset
        return self.chunk.mark(self._line, offset - self.text.rfind("\n", 0, offset) - 1)

    def _value(self, offset: int, path: Path) -> int:
        """Where it ends."""
        if path not in self.wanted:
            return _SKIP.raw_decode(self.text, offset)[1]
        self.marks.values[path] = self._mark(offset)
        if self.text[offset] == "{":
            return self._members(offset, path)
        if self.text[offset] == "[":
            return self._items(offset, path)
        return _SKIP.raw_decode(self.text, offset)[1]

    def _members(self, offset: int, path: Path) -> int:
        offset = self._blank(offset + 1)
        while self.text[offset] != "}":
            key, end = _SKIP.raw_decode(self.text, offset)
            at = (*path, key)
            if at in self.wanted:
                self.marks.keys[at] = self._mark(offset)
            offset = self._value(self._blank(self._blank(end) + 1), at)
            offset = self._after(offset)
        return offset + 1

    def _items(self, offset: int, path: Path) -> int:
        index, offset = 0, self._blank(offset + 1)
        while self.text[offset] != "]":
            offset = self._after(self._value(offset, (*path, index)))
            index += 1
        return offset + 1

    def _after(self, offset: int) -> int:
        """At the next member, or at the closing bracket."""
        offset = self._blank(offset)
        return self._blank(offset + 1) if self.text[offset] == "," else offset
