<<<<<<< HEAD
"""What an application prints when its connection fails at a given step.

In: how far the connection got. Out: lines of text per client. The texts are those of busybox 1.35 wget (networking/wget.c and
libbb/xconnect.c) and of curl 8 (lib/strerror.c, lib/connect.c). Pure; called by ``path``.
=======
"""What the application will print: the words in which people meet a denied connection.

In: what was asked for, and the step that fails. Out: the lines that busybox ``wget`` (``ping`` for ICMP, ``nc`` for the
lookups of other protocols) prints. Called by ``analysis.path``. The host is repeated as it stands in the URL, with a
port only when the URL has one.
>>>>>>> policy
"""

from __future__ import annotations

import msgspec

<<<<<<< HEAD
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
=======
from stockade.analysis.steps import LOOKUP, TRANSLATE, Step
from stockade.policy.verdict import ICMP


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """``host`` as in the URL; ``address`` is where the application thinks it connects to: the Service's address,
    not that of the pod behind it."""

    host: str
    protocol: str
    address: str
    port: int | None


def symptom(request: Request, failed: Step | None) -> tuple[str, ...]:
    if failed is not None and failed.kind == LOOKUP:
        program = {"TCP": "wget", ICMP: "ping"}.get(request.protocol, "nc")
        return (f"{program}: bad address '{request.host}'",)
    if request.protocol == ICMP:
        first = f"PING {request.host} ({request.address}): 56 data bytes"
        return (first, "(no reply)") if failed else (first,)
    if request.protocol != "TCP":
        return ("(no answer)",) if failed else ()
    where = f"[{request.address}]" if ":" in request.address else request.address
    connecting = f"Connecting to {request.host} ({where}:{request.port})"
    if failed is None:
        return (connecting,)
    if failed.kind == TRANSLATE:
        return connecting, f"wget: can't connect to remote host ({request.address}): Connection refused"
    return connecting, "wget: download timed out"
>>>>>>> policy
