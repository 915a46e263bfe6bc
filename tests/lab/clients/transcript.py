"""Transcripts: what is typed at a shell's prompt and what must come back, for kubectl of several minors. No test, no I/O but ``play``.

    # why this step is here
    [1.24-1.30] $ kubectl get pods          the step for some minors alone: [1.24-], [-1.23], [1.24]
    > | sort                                more of the same script
    NAME READY STATUS RESTARTS AGE          what must be printed, line by line; blanks of any width are one blank
    [1.26-] web 1/1 Running 0 {age}         a line for some minors alone
    ...                                     any lines, or none
    ! Warning: something                    what must be printed on stderr
    ? 1                                     the exit status, when it is not 0

Lines of a script that ``<<END`` opens are written with ``> `` too. ``{ns}`` is the namespace of the player, ``{minor}`` the client's; the
other places in braces are patterns (``PLACES``). What is not listed must not come, on stderr neither.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 60
PLACES = {
    "{ip}": r"[0-9a-f]+(?:[.:]+[0-9a-f]+)+",
    "{age}": r"(?:\d+[dhms])+",
    "{number}": r"\d+",
    "{hash}": r"[a-z0-9]+",
    "{time}": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    "{word}": r"\S+",
    "{text}": r".*",
    "{from}": r"(?: from [a-z0-9-]+ namespace)?",
}
CONDITION = re.compile(r"\[(?:1\.(\d+))?(-)?(?:1\.(\d+))?\] ?")
OTHERS = "..."


@dataclass(frozen=True)
class Line:
    """``first`` and ``last`` are the minors it is for."""

    text: str
    first: int = 0
    last: int = 999

    def is_for(self, minor: int) -> bool:
        return self.first <= minor <= self.last


@dataclass
class Step:
    """One script with what must come of it."""

    at: int
    script: Line
    out: list[Line] = field(default_factory=list)
    err: list[Line] = field(default_factory=list)
    code: list[Line] = field(default_factory=list)


def parse(text: str) -> list[Step]:
    """Raises ValueError at a line before the first step."""
    steps: list[Step] = []
    for at, raw in enumerate(text.splitlines(), 1):
        if raw.startswith("#") or not raw.strip():
            continue
        line = _line(raw)
        if line.text.startswith("$ "):
            steps.append(Step(at, Line(line.text[2:], line.first, line.last)))
        elif not steps:
            raise ValueError(f"line {at}: output before a command")
        else:
            _add(steps[-1], line)
    return steps


def _line(raw: str) -> Line:
    found = CONDITION.match(raw)
    if not found or not (found[1] or found[3]):
        return Line(raw)
    first, last = int(found[1] or 0), int(found[3] or (999 if found[2] else found[1]))
    return Line(raw[found.end() :], first, last)


def _add(step: Step, line: Line) -> None:
    if line.text == ">" or line.text.startswith("> "):
        step.script = Line(f"{step.script.text}\n{line.text[2:]}", step.script.first, step.script.last)
    elif line.text.startswith("! "):
        step.err.append(Line(line.text[2:], line.first, line.last))
    elif line.text.startswith("? "):
        step.code.append(Line(line.text[2:], line.first, line.last))
    else:
        step.out.append(line)


def difference(wanted: Sequence[str], text: str, known: Mapping[str, str]) -> str:
    """What is not as wanted, in one sentence; nothing when all is."""
    got = [_blanks(line) for line in text.splitlines() if line.strip()]
    pattern = "".join(_pattern(line, known) for line in wanted)
    if re.fullmatch(pattern, "".join(line + "\n" for line in got)):
        return ""
    patterns = [re.compile(_pattern(line, known)) for line in wanted if line != OTHERS]
    missing = [
        line
        for line, one in zip([line for line in wanted if line != OTHERS], patterns, strict=True)
        if not any(one.fullmatch(found + "\n") for found in got)
    ]
    extra = [line for line in got if not any(one.fullmatch(line + "\n") for one in patterns)]
    parts = [f"did not come: {missing}"] if missing else []
    parts += [f"came unexpected: {extra}"] if extra and (OTHERS not in wanted or not missing) else []
    return f"{'; '.join(parts) or 'another order or number of lines'}; all of it:\n{text[:3000]}"


def _blanks(line: str) -> str:
    return " ".join(line.split())


def _pattern(line: str, known: Mapping[str, str]) -> str:
    if line == OTHERS:
        return r"(?:[^\n]*\n)*?"
    parts = re.split(r"(\{[a-z]+\})", _blanks(line))
    return "".join(PLACES.get(part) or re.escape(known.get(part, part)) for part in parts) + "\n"


@dataclass(frozen=True)
class Player:
    """Plays for one client; ``env`` has a ``kubectl`` of ``minor`` first on its PATH, ``folder`` is where the scripts run."""

    minor: int
    namespace: str
    env: Mapping[str, str]
    folder: Path
    prelude: str = ""

    def play(self, steps: Sequence[Step]) -> list[str]:
        """What went wrong; it ends at the first, since what follows rests on it."""
        for step in steps:
            if step.script.is_for(self.minor) and (wrong := self._step(step)):
                return [
                    f"kubectl 1.{self.minor}, line {step.at}: $ {step.script.text}\n{one}" for one in wrong
                ]
        return []

    def _step(self, step: Step) -> list[str]:
        try:
            done = subprocess.run(
                ["bash", "-c", f"{self.prelude}\n{step.script.text}"],
                env=dict(self.env),
                cwd=self.folder,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            return [f"no end within {SECONDS} s: {error.output!r} {error.stderr!r}"]
        known = {"{ns}": self.namespace, "{minor}": str(self.minor)}
        wrong = []
        code = int(next(iter(self._lines(step.code)), "0"))
        if done.returncode != code:
            wrong.append(f"exit status {done.returncode}, not {code}; {done.stdout}{done.stderr}")
        for name, lines, text in (("stdout", step.out, done.stdout), ("stderr", step.err, done.stderr)):
            if said := difference(self._lines(lines), text, known):
                wrong.append(f"{name}: {said}")
        return wrong

    def _lines(self, lines: Sequence[Line]) -> list[str]:
        return [line.text for line in lines if line.is_for(self.minor)]
