"""redis-server of the built-in stand-in: strings and their life times, in memory, over RESP2 and inline commands.

In: ``[--port N] [--requirepass …]``, inside a container; commands. Out: the answers and error texts that a Redis client expects. Called
as the first process of a pod. Protocol: the Redis serialization protocol specification, version 2. What is not known answers
``ERR unknown command``, as a server without that command does.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Final

VERSION: Final = "4.0.14"
LINE_LIMIT: Final = 65536
MOST_WORDS: Final = 1024
LONGEST: Final = 16 << 20
Reply = bytes


class CommandError(Exception):
    """Answered as an error; the text begins with its kind (``ERR``, ``WRONGTYPE`` …)."""


def simple(text: str) -> Reply:
    return f"+{text}\r\n".encode()


def integer(number: int) -> Reply:
    return f":{number}\r\n".encode()


def bulk(value: bytes | None) -> Reply:
    return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)


def array(values: list[bytes]) -> Reply:
    return b"*%d\r\n%s" % (len(values), b"".join(bulk(value) for value in values))


class Database:
    """Keys, values, and when they end."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._ends: dict[bytes, float] = {}

    def run(self, words: list[bytes]) -> Reply:
        """One command. Raises CommandError."""
        name = words[0].upper().decode(errors="replace")
        known = COMMANDS.get(name)
        if known is None:
            raise CommandError(f"ERR unknown command '{words[0].decode(errors='replace')}'")
        fewest, most, command = known
        if not fewest <= len(words) - 1 <= most:
            raise CommandError(f"ERR wrong number of arguments for '{name.lower()}' command")
        return command(self, words[1:])

    def _drop_ended(self) -> None:
        now = time.monotonic()
        for key in [key for key, end in self._ends.items() if end <= now]:
            self._remove(key)

    def _remove(self, key: bytes) -> bool:
        self._ends.pop(key, None)
        return self._values.pop(key, None) is not None

    def get(self, words: list[bytes]) -> Reply:
        self._drop_ended()
        return bulk(self._values.get(words[0]))

    def set(self, words: list[bytes]) -> Reply:
        self._drop_ended()
        key, value, *options = words
        seconds, only = _set_options([option.upper() for option in options])
        if only is not None and (key in self._values) is not only:
            return bulk(None)
        self._remove(key)
        self._values[key] = value
        if seconds is not None:
            self._ends[key] = time.monotonic() + seconds
        return simple("OK")

    def delete(self, words: list[bytes]) -> Reply:
        self._drop_ended()
        return integer(sum(self._remove(key) for key in words))

    def exists(self, words: list[bytes]) -> Reply:
        self._drop_ended()
        return integer(sum(key in self._values for key in words))

    def add(self, words: list[bytes], sign: int = 1) -> Reply:
        self._drop_ended()
        change = _number(words[1]) if len(words) > 1 else 1
        total = _number(self._values.get(words[0], b"0")) + sign * change
        self._values[words[0]] = b"%d" % total
        return integer(total)

    def keys(self, words: list[bytes]) -> Reply:
        self._drop_ended()
        pattern = words[0].decode(errors="surrogateescape")
        return array(
            [
                key
                for key in self._values
                if fnmatch.fnmatchcase(key.decode(errors="surrogateescape"), pattern)
            ]
        )

    def size(self, _: list[bytes]) -> Reply:
        self._drop_ended()
        return integer(len(self._values))

    def clear(self, _: list[bytes]) -> Reply:
        self._values.clear()
        self._ends.clear()
        return simple("OK")

    def expire(self, words: list[bytes]) -> Reply:
        self._drop_ended()
        if words[0] not in self._values:
            return integer(0)
        self._ends[words[0]] = time.monotonic() + _number(words[1])
        return integer(1)

    def life(self, words: list[bytes]) -> Reply:
        self._drop_ended()
        if words[0] not in self._values:
            return integer(-2)
        end = self._ends.get(words[0])
        return integer(-1 if end is None else round(end - time.monotonic()))

    def kind(self, words: list[bytes]) -> Reply:
        self._drop_ended()
        return simple("string" if words[0] in self._values else "none")


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise CommandError("ERR value is not an integer or out of range") from None


def _set_options(options: list[bytes]) -> tuple[float | None, bool | None]:
    """Life time in seconds; whether the key must be there (XX), must not (NX), or either."""
    seconds, only = None, None
    rest = list(options)
    while rest:
        option = rest.pop(0)
        if option in {b"NX", b"XX"}:
            only = option == b"XX"
        elif option in {b"EX", b"PX"} and rest:
            seconds = _number(rest.pop(0)) / (1 if option == b"EX" else 1000)
        else:
            raise CommandError("ERR syntax error")
    return seconds, only


def _ping(_: Database, words: list[bytes]) -> Reply:
    return bulk(words[0]) if words else simple("PONG")


def _info(_: Database, __: list[bytes]) -> Reply:
    text = f"# Server\r\nredis_version:{VERSION}\r\nredis_mode:standalone\r\nos:Stockade stand-in\r\n\r\n# Replication\r\nrole:master\r\n"
    return bulk(text.encode())


Command = Callable[[Database, list[bytes]], Reply]
_ANY: Final = MOST_WORDS
COMMANDS: Final[dict[str, tuple[int, int, Command]]] = {
    "PING": (0, 1, _ping),
    "ECHO": (1, 1, lambda _, words: bulk(words[0])),
    "GET": (1, 1, Database.get),
    "SET": (2, 6, Database.set),
    "DEL": (1, _ANY, Database.delete),
    "EXISTS": (1, _ANY, Database.exists),
    "INCR": (1, 1, Database.add),
    "INCRBY": (2, 2, Database.add),
    "DECR": (1, 1, lambda database, words: database.add(words, -1)),
    "DECRBY": (2, 2, lambda database, words: database.add(words, -1)),
    "KEYS": (1, 1, Database.keys),
    "DBSIZE": (0, 0, Database.size),
    "FLUSHALL": (0, 1, Database.clear),
    "FLUSHDB": (0, 1, Database.clear),
    "EXPIRE": (2, 2, Database.expire),
    "TTL": (1, 1, Database.life),
    "TYPE": (1, 1, Database.kind),
    "SELECT": (1, 1, lambda _, __: simple("OK")),
    "INFO": (0, 1, _info),
    "COMMAND": (0, _ANY, lambda _, __: array([])),
}


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    """A RESP array of bulk strings, or an inline command. Empty at the end."""
    line = (await reader.readline()).rstrip(b"\r\n")
    if not line.startswith(b"*"):
        return line.split() or ([] if reader.at_eof() else [b""])
    count = _length(line[1:], MOST_WORDS, "multibulk")
    words = []
    for _ in range(count):
        head = (await reader.readline()).rstrip(b"\r\n")
        if not head.startswith(b"$"):
            raise CommandError(f"ERR Protocol error: expected '$', got '{head[:1].decode(errors='replace')}'")
        words.append((await reader.readexactly(_length(head[1:], LONGEST, "bulk") + 2))[:-2])
    return words or [b""]


def _length(text: bytes, most: int, what: str) -> int:
    if not text.isdigit() or int(text) > most:
        raise CommandError(f"ERR Protocol error: invalid {what} length")
    return int(text)


class Server:
    def __init__(self, password: str = "") -> None:
        self._database = Database()
        self._password = password.encode()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known = not self._password
        try:
            while words := await read_command(reader):
                if words == [b""]:
                    continue
                name = words[0].upper()
                if name == b"AUTH":
                    known = known or words[1:] == [self._password]
                    writer.write(simple("OK") if known else b"-ERR invalid password\r\n")
                elif not known:
                    writer.write(b"-NOAUTH Authentication required.\r\n")
                else:
                    writer.write(self._answer(words))
                await writer.drain()
                if name == b"QUIT":
                    break
        except CommandError as error:  # of the protocol: no way to go on
            writer.write(f"-{error}\r\n".encode())
        except (OSError, EOFError, ValueError):
            pass  # a client that went away, or a line beyond the limit
        writer.close()

    def _answer(self, words: list[bytes]) -> Reply:
        if words[0].upper() == b"QUIT":
            return simple("OK")
        try:
            return self._database.run(words)
        except CommandError as error:
            return f"-{error}\r\n".encode()


async def serve(port: int, password: str) -> None:
    server = await asyncio.start_server(Server(password).talk, None, port, limit=LINE_LIMIT)
    sys.stdout.write("* Ready to accept connections\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


def main(arguments: list[str]) -> None:
    flags = {"--port": "6379", "--requirepass": ""}
    rest = list(arguments)
    while rest:
        name = rest.pop(0)
        if name in flags and rest:
            flags[name] = rest.pop(0)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    asyncio.run(serve(int(flags["--port"]), flags["--requirepass"]))


if __name__ == "__main__":
    main(sys.argv[1:])
