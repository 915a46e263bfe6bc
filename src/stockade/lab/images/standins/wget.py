"""wget of the built-in stand-in images: BusyBox's options and texts, and the ``--timeout`` that Debian's BusyBox leaves out.

In: a command line, inside a container. Out: the texts and exit codes that BusyBox 1.35 prints (compared with the original, which
recipes quote). Run by path, compiled, with ``python -ISE``: it must start within a few milliseconds, so it imports ``socket`` and
nothing larger. Plain http only. The timeout bounds connecting and each read, not the look-up of the name, as in BusyBox.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator

VALUE_FLAGS = {"O": "-O", "T": "-T", "U": "-U", "P": "-P", "Y": "-Y"}
PLAIN_FLAGS = {"q": "-q", "S": "-S"}
LONG = {
    "output-document": "-O",
    "timeout": "-T",
    "user-agent": "-U",
    "directory-prefix": "-P",
    "proxy": "-Y",
    "quiet": "-q",
    "server-response": "-S",
    "header": "--header",
    "post-data": "--post-data",
    "spider": "--spider",
    "no-check-certificate": "--no-check-certificate",
}
LONG_WITH_VALUE = {"-O", "-T", "-U", "-P", "-Y", "--header", "--post-data"}
USAGE = """Usage: wget [-qS] [--spider] [-O FILE] [-T SEC] [--header STR] [--post-data STR]
\t[-Y on/off] [--no-check-certificate] [-P DIR] [-U AGENT] URL...

Retrieve files via HTTP

\t--spider\tOnly check URL existence: $? is 0 if exists
\t--header STR\tAdd STR (of form 'header: value') to headers
\t--post-data STR\tSend STR using POST method
\t-q\t\tQuiet
\t-P DIR\t\tSave to DIR (default .)
\t-S    \t\tShow server response
\t-T SEC\t\tNetwork read timeout is SEC seconds
\t-O FILE\t\tSave to FILE ('-' for stdout)
\t-U STR\t\tUse STR for User-Agent header"""
DEFAULT_TIMEOUT = 900.0
MAX_REDIRECTS = 20
LINE_LIMIT = 65536


class Failure(Exception):  # noqa: N818 - not an error of this program
    """Ends the program with ``wget: TEXT``."""


class UsageError(Failure):
    """Ends the program with the usage."""


class Options:
    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.headers: list[str] = []
        self.urls: list[str] = []

    def __contains__(self, flag: str) -> bool:
        return flag in self.values

    def put(self, flag: str, value: str) -> None:
        if flag == "--header":
            self.headers.append(value)
        else:
            self.values[flag] = value

    @property
    def timeout(self) -> float:
        text = self.values.get("-T")
        if text is None:
            return DEFAULT_TIMEOUT
        if not text.isdecimal():
            raise Failure(f"invalid number '{text}'")
        return float(text) or DEFAULT_TIMEOUT


def parse(arguments: list[str]) -> Options:
    options = Options()
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            options.urls += rest
            break
        if argument.startswith("--"):
            _parse_long(argument, rest, options)
        elif argument.startswith("-") and argument != "-":
            _parse_short(argument[1:], rest, options)
        else:
            options.urls.append(argument)
    if not options.urls:
        raise UsageError
    return options


def _parse_long(argument: str, rest: list[str], options: Options) -> None:
    name, equals, value = argument[2:].partition("=")
    matching = [known for known in LONG if known == name] or [
        known for known in LONG if known.startswith(name)
    ]
    if not matching:
        raise UsageError(f"unrecognized option '{argument.partition('=')[0]}'")
    if len(matching) > 1:
        raise UsageError(
            f"option '{argument}' is ambiguous; possibilities: "
            + " ".join(f"'--{item}'" for item in matching)
        )
    flag = LONG[matching[0]]
    if flag in LONG_WITH_VALUE and not equals:
        if not rest:
            raise UsageError(f"option '--{matching[0]}' requires an argument")
        value = rest.pop(0)
    options.put(flag, value)


def _parse_short(letters: str, rest: list[str], options: Options) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in PLAIN_FLAGS:
            options.put(PLAIN_FLAGS[letter], "")
        elif letter in VALUE_FLAGS:
            if not letters and not rest:
                raise UsageError(f"option requires an argument -- '{letter}'")
            options.put(VALUE_FLAGS[letter], letters or rest.pop(0))
            return
        else:
            raise UsageError(f"invalid option -- '{letter}'")


class Target:
    """A URL taken apart. ``host`` stays as written, port included: that is what the messages show."""

    def __init__(self, url: str) -> None:
        scheme, separator, rest = url.partition("://")
        if not separator:
            rest = url
        elif scheme != "http":
            raise Failure(f"not an http or ftp url: {url}")
        cut = min((rest.index(mark) for mark in "/?#" if mark in rest), default=len(rest))
        self.host = rest[:cut].rpartition("@")[2]
        path = rest[cut:].partition("#")[0]
        self.path = path if path.startswith("/") else f"/{path}"
        self.name, self.port = _split_port(self.host)

    @property
    def file_name(self) -> str:
        return self.path.partition("?")[0].rpartition("/")[2] or "index.html"


def _split_port(host: str) -> tuple[str, int]:
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        name, _, port = host.partition(":")
    if port and not port.isdecimal():
        raise Failure(f"bad port '{port}'")
    return name, int(port or 80)


class Response:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self.status_line = self._line()
        self.headers: list[str] = []
        while line := self._line():
            self.headers.append(line)

    @property
    def code(self) -> int:
        parts = self.status_line.split(None, 2)
        return int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() else 0

    def header(self, name: str) -> str | None:
        for line in self.headers:
            key, _, value = line.partition(":")
            if key.strip().lower() == name:
                return value.strip()
        return None

    @property
    def length(self) -> int | None:
        text = self.header("content-length")
        return int(text) if text is not None and text.isdecimal() else None

    def body(self) -> Iterator[bytes]:
        """The content in pieces, as they come."""
        if (self.header("transfer-encoding") or "").lower() == "chunked":
            while size := self._chunk_size():
                yield from self._exactly(size)
                self._line()
        elif self.length is not None:
            yield from self._exactly(self.length)
        else:
            while piece := self._receive():
                yield piece

    def _chunk_size(self) -> int:
        text = self._line().partition(";")[0]
        try:
            return int(text, 16)
        except ValueError:
            raise Failure(f"invalid number '{text}'") from None

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size > 0:
            piece = self._receive()
            if not piece:
                raise Failure("connection closed prematurely")
            self._buffer = piece[size:]
            piece = piece[:size]
            size -= len(piece)
            yield piece

    def _receive(self) -> bytes:
        if self._buffer:
            piece, self._buffer = self._buffer, b""
            return piece
        return self._connection.recv(65536)

    def _line(self) -> str:
        while b"\n" not in self._buffer:
            piece = self._connection.recv(4096)
            if not piece or len(self._buffer) > LINE_LIMIT:
                if not self._buffer:
                    raise Failure("error getting response")
                break
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode("latin-1").rstrip("\r")


class Progress:
    """BusyBox's meter on stderr, in the width of the terminal."""

    def __init__(self, name: str, total: int | None, *, quiet: bool) -> None:
        self._name = name
        self._total = total
        self._quiet = quiet
        self._done = 0
        self._started = self._shown = time.monotonic()

    def add(self, size: int) -> None:
        self._done += size
        if time.monotonic() - self._shown >= 1:
            self._show()

    def finish(self) -> None:
        self._show()
        note("", quiet=self._quiet)

    def _show(self) -> None:
        if self._quiet:
            return
        self._shown = time.monotonic()
        line = f"\r{self._name:20.20}"
        remaining = 0
        if self._total:
            line += f" {100 * self._done // self._total:3}% "
            width = max(_columns() - 48, 1)
            line += "|" + ("*" * (width * self._done // self._total)).ljust(width) + "|"
            elapsed = self._shown - self._started
            remaining = int(elapsed * (self._total - self._done) / self._done) if self._done else 0
        size, unit = self._done, 0
        while size >= 100_000:
            size, unit = size >> 10, unit + 1
        line += f"{size:6}{' kMGTPEZY'[unit]}"
        line += f" {remaining // 3600}:{remaining // 60 % 60:02}:{remaining % 60:02} ETA"
        sys.stderr.write(line)
        sys.stderr.flush()


def _columns() -> int:
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80


def note(text: str, *, quiet: bool) -> None:
    if not quiet:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def connect(target: Target, timeout: float, *, quiet: bool) -> socket.socket:
    try:
        found = socket.getaddrinfo(target.name, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Failure(f"bad address '{target.host}'") from None
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    shown = f"[{address[0]}]" if family == socket.AF_INET6 else str(address[0])
    note(f"Connecting to {target.host} ({shown}:{target.port})", quiet=quiet)
    connection = socket.socket(family, kind, protocol)
    connection.settimeout(timeout)
    try:
        connection.connect(address)
    except TimeoutError:
        raise
    except OSError as error:
        raise Failure(
            f"can't connect to remote host ({address[0]}): {os.strerror(error.errno or 0)}"
        ) from None
    return connection


def request_text(target: Target, options: Options) -> bytes:
    data = options.values.get("--post-data")
    lines = [f"{'GET' if data is None else 'POST'} {target.path} HTTP/1.1", f"Host: {target.host}"]
    lines += [f"User-Agent: {options.values.get('-U', 'Wget')}", "Connection: close", *options.headers]
    body = b""
    if data is not None:
        body = os.fsencode(data)
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    return os.fsencode("\r\n".join(lines) + "\r\n\r\n") + body


def fetch(url: str, options: Options) -> None:
    quiet = "-q" in options
    name = Target(url).file_name
    for _ in range(MAX_REDIRECTS):
        target = Target(url)
        with connect(target, options.timeout, quiet=quiet) as connection:
            connection.sendall(request_text(target, options))
            response = Response(connection)
            if "-S" in options:
                for line in (response.status_line, *response.headers, ""):
                    sys.stderr.write(f"  {line}\n")
            location = response.header("location")
            if response.code in {301, 302, 303, 307, 308} and location:
                url = location if "://" in location else f"http://{target.host}{location}"
                continue
            if response.code not in {200, 201, 202, 203, 204, 205, 206}:
                raise Failure(f"server returned error: {response.status_line}")
            if "--spider" in options:
                note("remote file exists", quiet=quiet)
            else:
                store(response, name, options)
            return
    raise Failure("too many redirections")


def store(response: Response, name: str, options: Options) -> None:
    quiet = "-q" in options
    chosen = options.values.get("-O")
    if chosen == "-":
        note("writing to stdout", quiet=quiet)
        copy(response, 1, Progress("-", response.length, quiet=quiet))
        note("written to stdout", quiet=quiet)
        return
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if chosen else os.O_EXCL)
    path = chosen or f"{options.values.get('-P', '')}/{name}".removeprefix("/" if "-P" not in options else "")
    try:
        fd = os.open(path, flags, 0o666)
    except OSError as error:
        raise Failure(f"can't open '{path}': {os.strerror(error.errno or 0)}") from None
    note(f"saving to '{path}'", quiet=quiet)
    copy(response, fd, Progress(path.rpartition("/")[2], response.length, quiet=quiet))
    os.close(fd)
    note(f"'{path}' saved", quiet=quiet)


def copy(response: Response, fd: int, progress: Progress) -> None:
    for piece in response.body():
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(fd, rest) :]
        progress.add(len(piece))
    progress.finish()


def main(arguments: list[str]) -> int:
    try:
        options = parse(arguments)
        for url in options.urls:
            fetch(url, options)
    except UsageError as error:
        if str(error):
            note(f"wget: {error}", quiet=False)
        note(USAGE, quiet=False)
        return 1
    except TimeoutError:
        note("wget: download timed out", quiet=False)
        return 1
    except Failure as error:
        note(f"wget: {error}", quiet=False)
        return 1
    except OSError as error:
        note(f"wget: error getting response: {os.strerror(error.errno or 0)}", quiet=False)
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))
