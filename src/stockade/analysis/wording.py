"""The same failure in the words of other clients: curl, and whatever prints its C library's message.

In: the request and the step that fails. Out: one line per client. Called by ``analysis.path``; docs/explain.md shows the table.
Sources: curl src/tool_operate.c and lib/strerror.c, lib/connect.c (8.x; seen with 7.88); glibc sysdeps/posix/gai_strerror-strs.h and
sysdeps/gnu/errlist.h; musl src/network/gai_strerror.c and src/errno/__strerror.h. N stands for a number of milliseconds.
"""

from __future__ import annotations

from typing import Final

import msgspec

from stockade.analysis.steps import LOOKUP, NO_NAME, TRANSLATE, Step
from stockade.analysis.symptom import Request

DROPPED_LOOKUP: Final = "the lookup's packets are dropped"
NO_SUCH_NAME: Final = "the name does not exist"
REFUSED: Final = "a Service without ready endpoints"
DROPPED_CONNECTION: Final = "the connection's packets are dropped"

WORDS: Final[dict[str, dict[str, str]]] = {
    DROPPED_LOOKUP: {
        "curl": "curl: (6) Could not resolve host: {name}",
        "glibc": "Temporary failure in name resolution (EAI_AGAIN)",
        "musl": "Try again (EAI_AGAIN)",
    },
    NO_SUCH_NAME: {
        "curl": "curl: (6) Could not resolve host: {name}",
        "glibc": "Name or service not known (EAI_NONAME)",
        "musl": "Name does not resolve (EAI_NONAME)",
    },
    REFUSED: {
        "curl": "curl: (7) Failed to connect to {name} port {port} after N ms: Couldn't connect to server",
        "glibc": "Connection refused (ECONNREFUSED)",
        "musl": "Connection refused (ECONNREFUSED)",
    },
    DROPPED_CONNECTION: {
        "curl": "curl: (28) Failed to connect to {name} port {port} after N ms: Timeout was reached",
        "glibc": "Connection timed out (ETIMEDOUT)",
        "musl": "Operation timed out (ETIMEDOUT)",
    },
}


class Wording(msgspec.Struct, frozen=True):
    """What ``client`` prints: curl, or a program that shows the message of glibc or musl."""

    client: str
    text: str


def failure_of(failed: Step) -> str:
    """Which row of the table. A lookup that was answered, or that nobody serves, is a name that does not exist to the resolver."""
    if failed.kind == LOOKUP:
        denied = any(not attempt.allowed for attempt in failed.attempts)
        return (
            DROPPED_LOOKUP if denied or not (failed.attempts or failed.trouble == NO_NAME) else NO_SUCH_NAME
        )
    return REFUSED if failed.kind == TRANSLATE else DROPPED_CONNECTION


def wordings(request: Request, failed: Step | None) -> tuple[Wording, ...]:
    """Empty when nothing fails, and for protocols that these clients do not speak."""
    if failed is None or request.protocol != "TCP":
        return ()
    name = (
        request.host.rpartition(":")[0] if ":" in request.host and "[" not in request.host else request.host
    )
    row = WORDS[failure_of(failed)]
    return tuple(Wording(client, text.format(name=name, port=request.port)) for client, text in row.items())
