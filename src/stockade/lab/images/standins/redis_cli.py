"""redis-cli of the built-in stand-in: one command, or those on standard input.

In: ``[-h HOST] [-p PORT] [-a PASSWORD] [-t SECONDS] [COMMAND [ARG …]]``, inside a container. Out: the answers as redis-cli prints them: with
their types on a terminal, raw otherwise; ``Could not connect to Redis at db:6379: …`` and exit status 1 when nobody answers.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys

FLAGS = {"-h": "127.0.0.1", "-p": "6379", "-a": "", "-n": "0", "-t": ""}


class Lost(Exception):  # noqa: N818 - an end, not an error of this program
    """The connection is over."""


class Client:
    def __init__(self, sock: socket.socket, *, raw: bool) -> None:
        self._file = sock.makefile("rwb")
        self._raw = raw

    def ask(self, words: list[str]) -> str:
        encoded = [word.encode() for word in words]
        parts = [b"*%d\r\n" % len(encoded), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)]
        self._file.write(b"".join(parts))
        self._file.flush()
        return self._read()

    def _read(self) -> str:
        line = self._file.readline()
        if not line:
            raise Lost
        kind, rest = line[:1], line[1:].rstrip(b"\r\n").decode(errors="replace")
        if kind == b"$":
            return self._bulk(int(rest))
        if kind == b"*":
            return self._array(int(rest))
        if kind == b":" and not self._raw:
            return f"(integer) {rest}"
        return f"(error) {rest}" if kind == b"-" and not self._raw else rest

    def _bulk(self, length: int) -> str:
        if length < 0:
            return "" if self._raw else "(nil)"
        text = self._file.read(length + 2)[:-2].decode(errors="replace")
        return text if self._raw else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def _array(self, count: int) -> str:
        items = [self._read() for _ in range(count)]
        if self._raw:
            return "\n".join(items)
        return "\n".join(f"{number}) {item}" for number, item in enumerate(items, 1)) or "(empty list or set)"


def parse(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    flags, rest = dict(FLAGS), list(arguments)
    while rest and rest[0] in flags and len(rest) > 1:
        flags[rest[0]] = rest[1]
        del rest[:2]
    return flags, rest


def interactive(client: Client, flags: dict[str, str]) -> None:
    prompt = f"{flags['-h']}:{flags['-p']}> " if sys.stdin.isatty() else ""
    while True:
        sys.stdout.write(prompt)
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line:
            return
        try:
            words = shlex.split(line)
        except ValueError:
            sys.stdout.write("Invalid argument(s)\n")
            continue
        if words and words[0].lower() in {"quit", "exit"}:
            return
        if words:
            sys.stdout.write(client.ask(words) + "\n")


def main(arguments: list[str]) -> int:
    flags, words = parse(arguments)
    host, port = flags["-h"], flags["-p"]
    try:
        with socket.create_connection((host, int(port)), float(flags["-t"]) if flags["-t"] else None) as sock:
            client = Client(sock, raw=not sys.stdout.isatty())
            if flags["-a"]:
                client.ask(["AUTH", flags["-a"]])
            if words:
                sys.stdout.write(client.ask(words) + "\n")
            else:
                interactive(client, flags)
    except Lost:
        sys.stderr.write("Error: Server closed the connection\n")
        return 1
    except OSError as error:
        text = "Connection timed out" if isinstance(error, TimeoutError) else error.strerror or str(error)
        sys.stderr.write(f"Could not connect to Redis at {host}:{port}: {text}\n")
        return 1
    return 0


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _: os._exit(128 + caught))
    sys.exit(main(sys.argv[1:]))
