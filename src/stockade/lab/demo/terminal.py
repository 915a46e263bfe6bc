"""A terminal with a person at it: runs a program on a pty, types lines, reads what comes back.

In: a command and lines to type. Out: the text that a person would see, without control sequences. Called by the recipes and by
the tests of the lab. Busybox's shell asks the terminal for its cursor position before each prompt; the question is ignored,
as a dumb terminal would.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Self

CONTROL = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>()][0-9A-B]?|\x07")
PROMPT = "/ # "
ROWS, COLUMNS = 40, 160
QUIET = 0.3  # seconds without output after which a shell waits for us


class TerminalTimeoutError(Exception):
    """The expected text did not come; the message holds what did."""


class Terminal:
    """One program on one pty. Use as a context manager: the program is ended at the end."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: str | None = None) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=dict(env), cwd=cwd, start_new_session=True
        )
        os.close(slave)
        self._raw = b""
        self._read_to = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            os.close(self._master)

    def wait_for(self, text: str, seconds: float = 20.0) -> str:
        """Everything since the last call up to and with ``text``. Raises TerminalTimeoutError."""
        deadline = time.monotonic() + seconds
        while True:
            seen = self._text()[self._read_to :]
            at = seen.find(text)
            if at >= 0:
                self._read_to += at + len(text)
                return seen[: at + len(text)]
            left = deadline - time.monotonic()
            if left <= 0 or not self._fill(left):
                message = f"no {text!r} within {seconds:g} s; the terminal shows: {seen!r}"
                raise TerminalTimeoutError(message)

    def type(self, line: str) -> None:
        os.write(self._master, line.encode() + b"\n")

    def ask(self, line: str, prompt: str = PROMPT, seconds: float = 20.0) -> str:
        """Type ``line`` at a prompt and return its output: without the echoed line, without the next prompt."""
        self.type(line)
        answer = self.wait_for(prompt, seconds)
        return answer.removesuffix(prompt).partition("\n")[2].rstrip("\n")

    def settle(self, prompt: str = PROMPT, seconds: float = 20.0) -> None:
        """Wait until a shell answers, however many prompts and hints kubectl printed before."""
        self.type("echo se''ttled")
        self.wait_for("settled", seconds)
        self.wait_for(prompt, seconds)
        while self._fill(QUIET):
            pass
        self._read_to = len(self._text())

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.write(self._master, b"\x03")

    def finish(self, seconds: float = 20.0) -> tuple[str, int]:
        """What is left to read, and the exit status, once the program has ended."""
        deadline = time.monotonic() + seconds
        while self._fill(max(0.0, deadline - time.monotonic())):
            pass
        left = self._text()[self._read_to :]
        return left, self._process.wait(timeout=max(0.1, deadline - time.monotonic()))

    def stop(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    def _text(self) -> str:
        return CONTROL.sub(b"", self._raw).decode(errors="replace").replace("\r\n", "\n").replace("\r", "")

    def _fill(self, seconds: float) -> bool:
        """False when nothing came in time or the other side is closed."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the last process closed its side
            return False
        self._raw += data
        return bool(data)
