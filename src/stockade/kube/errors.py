"""KubeError: every way in which a request to the Kubernetes API can fail, with a text a person can act on.

Made by ``client`` from Status objects (meta/v1 Status) and from aiohttp's exceptions; read by everybody above.
"""

from __future__ import annotations

import msgspec

EXPIRED = "Expired"
UNREACHABLE = "Unreachable"
UNTRUSTED = "CertificateNotTrusted"


class StatusCause(msgspec.Struct, frozen=True):
    """details.causes[]: ``ResourceVersionTooLarge`` is the one that a watch must know."""

    reason: str = ""
    message: str = ""


class StatusDetails(msgspec.Struct, frozen=True, rename="camel"):
    causes: list[StatusCause] | None = None
    retry_after_seconds: float | None = None


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """meta/v1 Status: the body of an error response, and the object of an ERROR watch event."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: StatusDetails | None = None


class KubeError(Exception):
    """``code`` is the HTTP status, 0 when no server answered; ``reason`` is the API's word (NotFound, Forbidden, …)."""

    def __init__(self, code: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def is_expired(self) -> bool:
        """The resourceVersion is no longer (410) or not yet (504, "Too large resource version") known: list again."""
        return self.code == 410 or self.reason == EXPIRED or "Too large resource version" in self.message


class ConfigError(Exception):
    """The kubeconfig cannot be used; the text says which file and what is wrong."""


def from_status(code: int, body: bytes, retry_after: str | None = None) -> KubeError:
    """An error response's body, which is a Status if the API server itself answered (a proxy may send anything)."""
    try:
        status = msgspec.json.decode(body, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = body[:200].decode(errors="replace").strip()
        status = Status(code, "", text or f"the server answered with HTTP status {code}")
    seconds = status.details.retry_after_seconds if status.details else None
    if seconds is None and retry_after and retry_after.strip().isdigit():
        seconds = float(retry_after)
    return KubeError(status.code or code, status.reason, status.message, retry_after=seconds)
