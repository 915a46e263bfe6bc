"""Plays the recipe in a running lab and shows it: each command, its output, one line on what happened, a closing table.

In: where kubectl is, the lab's kubeconfig, a console. Out: what the console shows; whether every step did what it says.
Called by ``stockade demo``.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stockade.lab.demo.recipe import MANIFEST, STEPS, Leave, Run, Save, Shell, Step, Type
from stockade.lab.demo.terminal import PROMPT, Terminal

SECONDS = 30.0
PICTURE_WIDTH = 138
TITLE = "DENY egress traffic from an application"
FONT = re.compile(r"\s*@font-face \{\{.*?\}\}", re.DOTALL)
DENIED_TEXTS = ("bad address", "timed out", "100% packet loss", "no servers could be reached")


class Outcome(msgspec.Struct, frozen=True):
    """One attempt to connect. ``shown`` is the application's last line."""

    stage: str
    tried: str
    expected: bool
    allowed: bool
    shown: str


class Player:
    """Walks through the steps with one shell open at a time."""

    def __init__(self, console: Console, *, kubectl: str, kubeconfig: Path) -> None:
        self._console = console
        self._picture = Console(record=True, file=io.StringIO(), width=PICTURE_WIDTH, highlight=False)
        self._pictured = True
        self._kubectl = kubectl
        self._directory = tempfile.TemporaryDirectory(prefix="stockade-demo-")
        commands = Path(sys.executable).parent
        path = f"{Path(kubectl).parent}:{commands}:{os.environ.get('PATH', '')}"
        self._env = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "PATH": path,
            "TERM": "xterm",
            "COLUMNS": "110",
        }
        self._shell: Terminal | None = None
        self.outcomes: list[Outcome] = []
        self.failures: list[str] = []

    def play(self, opening: str) -> None:
        self._host("stockade up")
        self._print(f"[dim]# {opening}[/dim]\n")
        try:
            for step in STEPS:
                self._play(step)
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
            svg.write_text(self._picture.export_svg(title=TITLE, code_format=code))

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
        self._host(step.line)
        words = shlex.split(step.line)
        program = self._kubectl if words[0] == "kubectl" else shutil.which(words[0], path=self._env["PATH"])
        done = subprocess.run(
            [program or words[0], *words[1:]],
            env=self._env,
            cwd=self._directory.name,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        self._output(done.stdout + done.stderr, pictured_lines=step.pictured_lines)
        if done.returncode not in (0, 1) or (words[0] == "kubectl" and done.returncode):
            self.failures.append(f"{step.line}: exit status {done.returncode}")

    def _save(self, step: Save) -> None:
        self._host(f"cat {MANIFEST}")
        (Path(self._directory.name) / MANIFEST).write_text(step.text)
        self._output(step.text)

    def _open(self, step: Shell) -> None:
        self._host(step.line)
        command = [self._kubectl, *shlex.split(step.line)[1:]]
        self._shell = Terminal(command, self._env, self._directory.name)
        self._shell.settle(seconds=SECONDS)

    def _type(self, step: Type) -> None:
        assert self._shell is not None
        self._print(f"[bold cyan]/ #[/] [bold]{escape(step.line)}[/]")
        if step.interrupt_after:
            self._shell.type(step.line)
            time.sleep(step.interrupt_after)
            self._shell.interrupt()
            text = self._shell.wait_for(PROMPT, SECONDS).removesuffix(PROMPT).partition("\n")[2]
        else:
            text = self._shell.ask(step.line, seconds=SECONDS)
        self._output(text, step.head)
        allowed = not any(denied in text for denied in DENIED_TEXTS)
        lines = [line for line in text.split("\n") if line.strip()]
        self.outcomes.append(Outcome(step.stage, step.tried, step.allowed, allowed, _telling(lines, step)))
        if allowed != step.allowed:
            self.failures.append(f"{step.line}: expected {'an answer' if step.allowed else 'no answer'}")

    def _leave(self, step: Leave) -> None:  # noqa: ARG002 - one signature for all steps
        assert self._shell is not None
        self._print("[bold cyan]/ #[/] [bold]exit[/]")
        self._shell.type("exit")
        text, status = self._shell.finish(SECONDS)
        self._output(text.partition("\n")[2])
        self._shell = None
        if status:
            self.failures.append(f"the shell ended with {status}")

    def _table(self) -> Table:
        """What was allowed and denied, and by which policy."""
        table = Table(title="What app=foo could reach")
        for column in ("stage", "destination", "", "what the application printed", "decided by"):
            table.add_column(column)
        for outcome in self.outcomes:
            mark = "[green]allowed[/]" if outcome.allowed else "[red]denied[/]"
            policy = "-" if outcome.stage.startswith("no ") else "foo-deny-egress"
            table.add_row(outcome.stage, outcome.tried, mark, escape(outcome.shown), policy)
        return table


def _telling(lines: list[str], step: Type) -> str:
    """The line that says it: wget's last, ping's statistics, a page's title."""
    for line in lines:
        if "packet loss" in line or "<title>" in line:
            return line.strip()
    if step.line.startswith("nslookup"):
        return next((line.strip() for line in lines if "93.184" in line), lines[-1].strip() if lines else "")
    return lines[-1].strip() if lines else ""
