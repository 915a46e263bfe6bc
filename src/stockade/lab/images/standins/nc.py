"""nc of the built-in stand-ins: the options and texts of BusyBox as Alpine builds it (NC_110_COMPAT), which Debian leaves out.

In: a command line, inside a container. Out: what netcat does, and on stderr with ``-v``: ``db (10.96.0.7:6379) open`` or
``nc: db (10.96.0.7:6379): Operation timed out``, which recipes quote. Run compiled with ``python -ISE``.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys

WITH_VALUE = "wpsqief"
PLAIN = "vnuzlk46tN"
USAGE = """Usage: nc [OPTIONS] HOST PORT  - connect
nc [OPTIONS] -l -p PORT [HOST] [PORT]  - listen

\t-e PROG\tRun PROG after connect (must be last)
\t-l\tListen mode, for inbound connects
\t-lk\tWith -e, provides persistent server
\t-p PORT\tLocal port
\t-s ADDR\tLocal address
\t-w SEC\tTimeout for connects and final net reads
\t-i SEC\tDelay interval for lines sent
\t-n\tDon't do DNS resolution
\t-u\tUDP mode
\t-v\tVerbose
\t-z\tZero-I/O mode (scanning)"""
# Alpine's C library words these two in its own way.
TEXTS = {110: "Operation timed out", 111: "Connection refused", 113: "Host is unreachable"}


class Failure(Exception):  # noqa: N818 - not an error of this program
    """Ends the program; the text goes to stderr when ``shown``."""


class Options:
    def __init__(self, arguments: list[str]) -> None:
        self.values: dict[str, str] = {}
        self.words: list[str] = []
        self.words_of_program: list[str] = []
        rest = list(arguments)
        while rest:
            argument = rest.pop(0)
            if not argument.startswith("-") or argument == "-":
                self.words.append(argument)
            elif argument.startswith("-e"):
                self.values["e"] = argument[2:] or (rest.pop(0) if rest else "")
                self.words_of_program = rest
                break
            else:
                self._short(argument[1:], rest)

    def _short(self, letters: str, rest: list[str]) -> None:
        for index, letter in enumerate(letters):
            if letter in PLAIN:
                self.values[letter] = ""
            elif letter in WITH_VALUE:
                value = letters[index + 1 :]
                if not value and not rest:
                    raise Failure(f"option requires an argument -- '{letter}'\n{USAGE}")
                self.values[letter] = value or rest.pop(0)
                return
            else:
                raise Failure(f"invalid option -- '{letter}'\n{USAGE}")

    def __contains__(self, letter: str) -> bool:
        return letter in self.values

    @property
    def seconds(self) -> float | None:
        text = self.values.get("w")
        if text is None:
            return None
        if not text.isdecimal():
            raise Failure(f"invalid number '{text}'")
        return float(text)

    @property
    def kind(self) -> socket.SocketKind:
        return socket.SOCK_DGRAM if "u" in self else socket.SOCK_STREAM


def tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def connect(options: Options) -> socket.socket:
    if len(options.words) != 2:
        raise Failure(USAGE)
    host, port = options.words
    try:
        found = socket.getaddrinfo(host, port, 0, options.kind)
    except socket.gaierror:
        raise Failure(f"bad address '{host}'") from None
    family, kind, _, _, address = found[0]
    sock = socket.socket(family, kind)
    if "p" in options:
        sock.bind(("", int(options.values["p"])))
    sock.settimeout(options.seconds)
    shown = f"{host} ({address[0]}:{port})"
    try:
        sock.connect(address)
    except TimeoutError:
        raise Failure(f"{shown}: {TEXTS[110]}" if "v" in options else "") from None
    except OSError as error:
        text = TEXTS.get(error.errno or 0) or os.strerror(error.errno or 0)
        raise Failure(f"{shown}: {text}" if "v" in options else "") from None
    if "v" in options:
        tell(f"{shown} open")
    return sock


def listen(options: Options) -> socket.socket:
    """The first who comes."""
    port = options.values.get("p") or (options.words[-1] if options.words else "")
    if not port.isdecimal():
        raise Failure(f"invalid port '{port}'")
    server = _bound(options, int(port))
    if "v" in options:
        tell(f"listening on [::]:{port} ...")
    if "u" in options:
        _, client = server.recvfrom(1, socket.MSG_PEEK)
        server.connect(client)
        return server
    server.listen(1)
    server.settimeout(options.seconds)
    try:
        sock, client = server.accept()
    except TimeoutError:
        raise Failure("timed out" if "v" in options else "") from None
    server.close()
    if "v" in options:
        tell(f"connect to {sock.getsockname()[0]}:{port} from {client[0]}:{client[1]}")
    return sock


def _bound(options: Options, port: int) -> socket.socket:
    family = socket.AF_INET6 if socket.has_ipv6 and "4" not in options else socket.AF_INET
    try:
        server = socket.socket(family, options.kind)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((options.values.get("s", ""), port))
    except OSError as error:
        if family == socket.AF_INET6:
            options.values["4"] = ""
            return _bound(options, port)
        raise Failure(f"bind: {error.strerror}") from None
    return server


def relay(sock: socket.socket, seconds: float | None, *, datagrams: bool) -> None:
    """Until the other side has no more, or nothing came for ``seconds`` after our own input ended."""
    inputs: list[int] = [0, sock.fileno()]
    sock.setblocking(True)
    while True:
        wait = seconds if 0 not in inputs else None
        ready = select.select(inputs, [], [], wait)[0]
        if not ready:
            return
        if sock.fileno() in ready:
            data = sock.recv(65536)
            if not data and not datagrams:
                return
            os.write(1, data)
        if 0 in ready:
            data = os.read(0, 65536)
            if data:
                sock.sendall(data)
                continue
            inputs.remove(0)
            if not datagrams:
                sock.shutdown(socket.SHUT_WR)


def run_program(sock: socket.socket, options: Options) -> None:
    program = options.values["e"]
    sock.setblocking(True)
    for fd in (0, 1, 2):
        os.dup2(sock.fileno(), fd)
    os.environ.pop("LD_LIBRARY_PATH", None)
    os.execvp(program, [program, *options.words_of_program])  # noqa: S606 - what -e is for


def serve(options: Options) -> None:
    while True:
        sock = listen(options)
        if "e" in options and "k" in options:
            if os.fork() == 0:
                run_program(sock, options)
            sock.close()
            continue
        if "e" in options:
            run_program(sock, options)
        relay(sock, options.seconds, datagrams="u" in options)
        if "k" not in options:
            return


def main(arguments: list[str]) -> int:
    try:
        options = Options(arguments)
        if "l" in options:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            serve(options)
            return 0
        sock = connect(options)
        if "z" in options:
            return 0
        if "e" in options:
            run_program(sock, options)
        relay(sock, options.seconds, datagrams="u" in options)
    except Failure as error:
        if str(error):
            tell(str(error) if str(error) == USAGE else f"nc: {error}")
        return 1
    except OSError as error:
        tell(f"nc: {TEXTS.get(error.errno or 0) or error.strerror}")
        return 1
    return 0


if __name__ == "__main__":
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # as pid 1 of a pod it would miss a signal that it does not handle
        signal.signal(number, lambda caught, _: os._exit(128 + caught))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))
