"""What the application will print: the words in which people meet a denied connection.

In: what was asked for, and the step that fails. Out: the lines that busybox ``wget`` (``ping`` for ICMP, ``nc`` for the
lookups of other protocols) prints. Called by ``analysis.path``. The host is repeated as it stands in the URL, with a
port only when the URL has one.
"""

from __future__ import annotations

import msgspec

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
