"""A recipe as a page to read: what to type, what is printed, what can be reached. Pure, but for the door at the end.

In: the recipes. Out: Markdown. ``python -m stockade.lab.demo.page docs/recipes`` writes the pages; a test compares them, so that a page
shows what is played. ``deny-egress`` has a page written by hand, and so
has the Chinese index.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from stockade.lab.demo.recipes import RECIPES
from stockade.lab.demo.steps import Check, Leave, Lines, Recipe, Run, Save, Shell, Step, Type

BY_HAND: Final = "deny-egress"
_HOST, _POD = "$ ", "/ # "
_SHOWN: Final = {"{from}": "", "{ip}": "10.96.0.7", "{number}": "3", "...": "(…)"}


def pages() -> dict[str, str]:
    """File name to content."""
    found = {f"{recipe.name}.md": markdown(recipe) for recipe in RECIPES if recipe.name != BY_HAND}
    return {"README.md": _index(), **found}


def markdown(recipe: Recipe) -> str:
    blocks = [
        f"# Recipe {recipe.number}: {recipe.title}",
        recipe.about.strip(),
        "## Play it",
        f"    stockade demo {recipe.name}",
        'plays all of it in a lab of its own. By hand, after `eval "$(stockade up)"`:',
        *_steps(recipe.steps),
        "## What can be reached",
        _table(recipe),
        "· [All recipes](README.md) · *Made from `lab/demo/recipes`, which the tests play with kubectl 1.20 and 1.37.*",
    ]
    return "\n\n".join(blocks) + "\n"


def _steps(steps: Iterable[Step]) -> Iterator[str]:
    number, transcript = 0, list[str]()
    for step in steps:
        if isinstance(step, Save):
            yield from _flush(transcript)
            number += 1
            yield f"**{number}.** Save as `{step.name}` ({step.why}):"
            yield f"```yaml\n{step.text}```"
        else:
            transcript += _typed(step)
    yield from _flush(transcript)


def _flush(transcript: list[str]) -> Iterator[str]:
    if transcript:
        yield "\n".join(f"    {line}" for line in transcript)
        transcript.clear()


def _typed(step: Run | Shell | Type | Leave) -> list[str]:
    if isinstance(step, Leave):
        return [f"{_POD}exit"]
    if isinstance(step, Shell):
        return [f"{_HOST}{step.line}"]
    line = f"{step.keep}=$({step.line})" if isinstance(step, Run) and step.keep else step.line
    prompt = _POD if isinstance(step, Type) else _HOST
    key = "   (Ctrl-C)" if isinstance(step, Type) and step.interrupt_after else ""
    return [f"{prompt}{line}{key}", *_printed(step.prints or ())]


def _printed(prints: Lines) -> list[str]:
    lines = []
    for line in prints:
        shown = line
        for place, text in _SHOWN.items():
            shown = shown.replace(place, text)
        lines.append(shown)
    return lines


def _table(recipe: Recipe) -> str:
    rows = ["| with | who or where | result | decided by |", "|---|---|---|---|"]
    for check in _checks(recipe):
        result = "answers" if check.allowed else "denied"
        by = "-" if check.by == "-" else f"`{check.by}`"
        rows.append(f"| {check.stage} | {check.tried} | {result} | {by} |")
    return "\n".join(rows)


def _checks(recipe: Recipe) -> Iterator[Check]:
    for step in recipe.steps:
        if isinstance(step, Run | Type) and step.check is not None:
            yield step.check


def _index() -> str:
    rows = "\n".join(f"| {r.number} | [{r.title}]({r.name}.md) | `stockade demo {r.name}` |" for r in RECIPES)
    return f"""# Recipes

· [中文](README.zh-CN.md)

The well-known collection of NetworkPolicy recipes, played in a lab with real kubectl and real packets. Numbers and titles are the
collection's (it has no 13); manifests and words are ours. Number 11 is split in two. In number 14 the collection's page is wrong, and ours says why.

| | recipe | play it |
|---|---|---|
{rows}
"""


def main(directory: Path) -> None:
    for name, text in pages().items():
        (directory / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
