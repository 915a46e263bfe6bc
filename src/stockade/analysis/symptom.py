"""What an application prints when its connection fails at a given step.

In: how far the connection got. Out: lines of text per client. The texts are those of busybox 1.35 wget (networking/wget.c and
libbb/xconnect.c) and of curl 8 (lib/strerror.c, lib/connect.c). Pure; called by ``path``.
"""

from __future__ import annotations

import msgspec

LOOKUP_TIMED_OUT, NO_SUCH_NAME, REFUSED, TIMED_OUT = (
    "lookup timed out",
    "no such name",
    "refused",
    "timed out",
)


class Symptom(msgspec.Struct, frozen=True):
    """``lines`` is what ``client`` prints, one entry a line."""

    client: str
    lines: tuple[str, ...]


def symptoms(failure: str, *, authority: str, host: str, address: str, port: int) -> tuple[Symptom, ...]:
    """``authority`` is ``host[:port]`` as written by the user: busybox prints it like that when the lookup fails."""
    connecting = f"Connecting to {host} ({address}:{port})"
    wget = {
        LOOKUP_TIMED_OUT: (f"wget: bad address '{authority}'",),
        NO_SUCH_NAME: (f"wget: bad address '{authority}'",),
        REFUSED: (connecting, f"wget: can't connect to remote host ({address}): Connection refused"),
        TIMED_OUT: (connecting, "wget: download timed out"),
    }
    curl = {
        LOOKUP_TIMED_OUT: (f"curl: (28) Resolving timed out, or (6) Could not resolve host: {host}",),
        NO_SUCH_NAME: (f"curl: (6) Could not resolve host: {host}",),
        REFUSED: (f"curl: (7) Failed to connect to {host} port {port}: Connection refused",),
        TIMED_OUT: (f"curl: (28) Failed to connect to {host} port {port}: Timeout was reached",),
    }
    return (Symptom("wget (busybox)", wget[failure]), Symptom("curl", curl[failure]))
