"""metav1.Status values of the streaming endpoints: refusals before, and results at the end of, a session."""

from __future__ import annotations

from stockade.lab.apiserver import failures
from stockade.lab.apiserver.registry import ApiError, JsonObject


class KubeletError(Exception):
    """Answered before the upgrade as the kubelet does: 500 and plain text ("unable to upgrade connection: …")."""


SUCCESS: JsonObject = {"metadata": {}, "status": "Success"}


def failure(code: int, reason: str, message: str) -> JsonObject:
    """As the API server words it: InternalError messages get their prefix."""
    return _error(code, reason, message).status


def bad_request(message: str) -> ApiError:
    return _error(400, "BadRequest", message)


def internal_error(message: str) -> ApiError:
    return _error(500, "InternalError", message)


def _error(code: int, reason: str, message: str) -> ApiError:
    prefix = "Internal error occurred: " if reason == "InternalError" else ""
    return failures.failure(code, reason, prefix + message)


def exit_status(code: int) -> JsonObject:
    """The last word of an exec (error channel, v4 and later): clients read the exit code from the cause."""
    if code == 0:
        return SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
