"""Plays a recipe in a running lab and shows it: each command, its output, one line on what happened, a closing table.

In: a recipe, where kubectl is, the lab's paths, a console. Out: what the console shows; ``failures``, where something else was printed or
reached than the recipe says. Called by ``stockade demo`` and by the tests.
"""

from __future__ import annotations

import io
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from string import Template

import msgspec
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stockade.lab.demo import expected
from stockade.lab.demo.steps import Check, Leave, Lines, Recipe, Run, Save, Shell, Step, Type
from stockade.lab.demo.terminal import PROMPT, Terminal, TerminalTimeoutError
from stockade.lab.paths import LabPaths

SECONDS = 30.0
PICTURE_WIDTH = 138
FONT = re.compile(r"\s*@font-face \{\{.*?\}\}", re.DOTALL)
DENIED_TEXTS = (
    "bad address",
    "timed out",
    "100% packet loss",
    "no servers could be reached",
    "no answer within",
)
KEEP_SECONDS = 10.0


class Outcome(msgspec.Struct, frozen=True):
    """One attempt to connect, as it was expected and as it went. ``shown`` is the application's last line."""

    check: Check
    allowed: bool
    shown: str


class Player:
    """Walks through the steps with one shell open at a time."""

    def __init__(self, recipe: Recipe, console: Console, *, kubectl: str, lab: LabPaths) -> None:
        self._recipe = recipe
        self._console = console
        self._picture = Console(record=True, file=io.StringIO(), width=PICTURE_WIDTH, highlight=False)
        self._pictured = True
        self._kubectl = kubectl
        self._directory = tempfile.TemporaryDirectory(prefix="stockade-demo-")
        commands = Path(sys.executable).parent
        path = f"{Path(kubectl).parent}:{commands}:{os.environ.get('PATH', '')}"
        self._env = {
            **os.environ,
            "XDG_STATE_HOME": str(lab.root.parent),
            "KUBECONFIG": str(lab.kubeconfig),
            "STOCKADE_LAB": lab.name,
            "PATH": path,
            "TERM": "xterm",
            "COLUMNS": "110",
        }
        self._shell: Terminal | None = None
        self._kept: dict[str, str] = {}
        self.outcomes: list[Outcome] = []
        self.failures: list[str] = []

    def play(self, opening: str) -> None:
        self._host("stockade up")
        self._print(f"[dim]# {opening}[/dim]\n")
        try:
            for step in self._recipe.steps:
                self._play(step)
        except TerminalTimeoutError as error:
            self.failures.append(str(error))
        finally:
            if self._shell is not None:
                self._shell.__exit__()
            self._directory.cleanup()

    def _print(self, text: str | Table) -> None:
        self._console.print(text, highlight=False, soft_wrap=isinstance(text, str))
        if self._pictured:
            self._picture.print(text, highlight=False)

    def finish(self, closing: str, svg: Path | None) -> None:
        """The closing table; the picture, when one is wanted."""
        self._pictured = True
        self._print(self._table())
        self._print(closing)
        if svg is not None:
            code = FONT.sub("", CONSOLE_SVG_FORMAT)  # no fonts from elsewhere: the picture loads nothing
            svg.write_text(self._picture.export_svg(title=self._recipe.title, code_format=code))

    def _play(self, step: Step) -> None:
        self._pictured = step.pictured
        if isinstance(step, Run):
            self._run(step)
        elif isinstance(step, Save):
            self._save(step)
        elif isinstance(step, Shell):
            self._open(step)
        elif isinstance(step, Type):
            self._type(step)
        else:
            self._leave(step)
        self._print(f"[dim]# {escape(step.why)}[/dim]\n")

    def _host(self, line: str) -> None:
        self._print(f"[bold green]$[/] [bold]{escape(line)}[/]")

    def _output(self, text: str, lines: int = 0, pictured_lines: int = 0) -> None:
        pictured = self._pictured
        shown = text.rstrip("\n").split("\n")
        for number, line in enumerate(shown[: lines or None]):
            self._pictured = pictured and not 0 < pictured_lines <= number
            self._print(escape(line))
        self._pictured = pictured
        if lines and len(shown) > lines:
            self._print("[dim](...)[/dim]")

    def _run(self, step: Run) -> None:
        self._host(f"{step.keep}=$({step.line})" if step.keep else step.line)
        words = shlex.split(self._with_kept(step.line))
        program = self._kubectl if words[0] == "kubectl" else shutil.which(words[0], path=self._env["PATH"])
        status, text = self._execute([program or words[0], *words[1:]])
        deadline = time.monotonic() + KEEP_SECONDS
        while step.keep and not text and time.monotonic() < deadline:
            time.sleep(0.1)
            status, text = self._execute([program or words[0], *words[1:]])
        if step.keep:
            self._kept[step.keep] = text.strip()
        else:
            self._output(text, step.head, pictured_lines=step.pictured_lines)
        if status not in (0, 1) or (words[0] == "kubectl" and status):
            self.failures.append(f"{step.line}: exit status {status}: {text}")
        self._judge(step.line, text, step.prints, step.check)

    def _with_kept(self, line: str) -> str:
        return Template(line).safe_substitute(self._kept, RANDOM=str(random.randrange(32768)))  # noqa: S311 - a shell's

    def _execute(self, command: list[str]) -> tuple[int, str]:
        done = subprocess.run(
            command,
            env=self._env,
            cwd=self._directory.name,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def _judge(self, line: str, text: str, prints: Lines | None, check: Check | None) -> None:
        """Compare with what the recipe says; note what was allowed or denied."""
        if prints is not None and (difference := expected.difference(prints, text)):
            self.failures.append(f"{line}: {difference}")
        if check is None:
            return
        allowed = not any(denied in text for denied in DENIED_TEXTS)
        self.outcomes.append(Outcome(check, allowed, _telling(text, line)))
        if allowed != check.allowed:
            self.failures.append(f"{line}: expected {'an answer' if check.allowed else 'no answer'}")

    def _save(self, step: Save) -> None:
        self._host(f"cat {step.name}")
        (Path(self._directory.name) / step.name).write_text(step.text)
        self._output(step.text)

    def _open(self, step: Shell) -> None:
        self._host(step.line)
        command = [self._kubectl, *shlex.split(self._with_kept(step.line))[1:]]
        self._shell = Terminal(command, self._env, self._directory.name)
        self._shell.settle(seconds=SECONDS)

    def _type(self, step: Type) -> None:
        assert self._shell is not None
        line = self._with_kept(step.line)
        self._print(f"[bold cyan]/ #[/] [bold]{escape(line)}[/]")
        if step.interrupt_after:
            self._shell.type(line)
            time.sleep(step.interrupt_after)
            self._shell.interrupt()
            text = self._shell.wait_for(PROMPT, SECONDS).removesuffix(PROMPT).partition("\n")[2]
        else:
            text = self._shell.ask(line, seconds=SECONDS)
        self._output(text, step.head)
        self._judge(line, text, step.prints, step.check)

    def _leave(self, step: Leave) -> None:  # noqa: ARG002 - one signature for all steps
        assert self._shell is not None
        self._print("[bold cyan]/ #[/] [bold]exit[/]")
        self._shell.type("exit")
        text, _ = self._shell.finish(SECONDS)  # the status is that of the last command in the pod
        self._output(text.partition("\n")[2])
        self._shell = None
        if not re.search(r'pod "[a-z0-9-]+" deleted', text):
            self.failures.append(f"the shell did not end well: {text}")

    def _table(self) -> Table:
        """What was allowed and denied, and by which policy."""
        table = Table(title=self._recipe.table)
        for column in ("stage", "tried", "", "what the application printed", "decided by"):
            table.add_column(column)
        for outcome in self.outcomes:
            mark = "[green]allowed[/]" if outcome.allowed else "[red]denied[/]"
            check = outcome.check
            table.add_row(check.stage, check.tried, mark, escape(outcome.shown), check.by)
        return table


def _telling(text: str, command: str) -> str:
    """The line that says it: wget's last, ping's statistics, a page's title."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    for line in lines:
        if "packet loss" in line or "<title>" in line or line.endswith(") open"):
            return line
    if command.startswith("nslookup"):
        return next((line for line in lines if "93.184" in line), lines[-1] if lines else "")
    return lines[-1] if lines else ""
