"""The options of a request: what its query may say for its verb, checked before anything else is done.

    GET collection, watch   ListOptions       limit, continue, resourceVersion, resourceVersionMatch, sendInitialEvents
    POST, PUT, PATCH        Create-, Update-, PatchOptions   dryRun, fieldManager, fieldValidation, force
    DELETE                  DeleteOptions     dryRun, gracePeriodSeconds, preconditions, propagationPolicy (body or query)

In: the query, the body of a DELETE. Out: nothing, or an ApiError with the words of apimachinery's ``metav1/validation``: 422, kind ``ListOptions``
of group meta.k8s.io and so on, without a name. Called by the application for every resource path, and by the handlers that delete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from stockade.lab.apiserver.failures import Cause, bad_request, failure
from stockade.lab.apiserver.registry import ApiError, JsonObject
from stockade.lab.apiserver.requests import flag, number

APPLY_PATCH = "application/apply-patch+yaml"
EXACT, NOT_OLDER = "Exact", "NotOlderThan"
LONGEST_MANAGER = 128
KIND_OF = {
    "POST": "CreateOptions",
    "PUT": "UpdateOptions",
    "PATCH": "PatchOptions",
    "DELETE": "DeleteOptions",
}
POLICIES = ("Foreground", "Background", "Orphan")


class Preconditions(msgspec.Struct, frozen=True):
    uid: str | None = None
    resourceVersion: str | None = None  # noqa: N815 - the API's word


class DeleteOptions(msgspec.Struct, frozen=True):
    """meta/v1 DeleteOptions, as far as they mean something here."""

    gracePeriodSeconds: int | None = None  # noqa: N815
    preconditions: Preconditions | None = None
    orphanDependents: bool | None = None  # noqa: N815
    propagationPolicy: str | None = None  # noqa: N815
    dryRun: Sequence[str] | None = None  # noqa: N815

    @property
    def policy(self) -> str:
        """Orphan, Foreground or Background; ``orphanDependents`` is the old way to say it."""
        return self.propagationPolicy or ("Orphan" if self.orphanDependents else "Background")

    @property
    def is_dry_run(self) -> bool:
        return "All" in (self.dryRun or ())


def check_list(query: Mapping[str, str], *, watch: bool) -> None:
    """Raises ApiError Invalid."""
    causes = _watch_options(query) if watch else _list_options(query)
    if causes:
        raise _invalid("ListOptions", causes)


def _list_options(query: Mapping[str, str]) -> list[Cause]:
    match, version = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    causes = []
    if match:
        if not version:
            why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            causes.append(_forbidden("resourceVersionMatch", why))
        causes += _no_continue(query)
        if match not in (EXACT, NOT_OLDER):
            causes.append(_unsupported("resourceVersionMatch", match, (EXACT, NOT_OLDER, "")))
        if match == EXACT and version == "0":
            why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            causes.append(_forbidden("resourceVersionMatch", why))
    if "sendInitialEvents" in query:
        causes.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return causes


def _watch_options(query: Mapping[str, str]) -> list[Cause]:
    match, initial = query.get("resourceVersionMatch", ""), "sendInitialEvents" in query
    causes = []
    if initial and match != NOT_OLDER:
        why = f"sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER}"
        causes.append(_forbidden("resourceVersionMatch", why))
    if match:
        if not initial:
            why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            causes.append(_forbidden("resourceVersionMatch", why))
        if match != NOT_OLDER:
            causes.append(_unsupported("resourceVersionMatch", match, (NOT_OLDER,)))
        causes += _no_continue(query)
    return causes


def _no_continue(query: Mapping[str, str]) -> list[Cause]:
    if not query.get("continue"):
        return []
    return [_forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")]


def check_write(method: str, query: Mapping[str, str], dry_run: Sequence[str], media: str = "") -> None:
    """Of POST, PUT and PATCH; ``dry_run``: every value of that parameter; ``media`` is the type of the body. Raises ApiError Invalid."""
    causes = _dry_run(dry_run) + _manager(query.get("fieldManager", ""))
    asked = query.get("fieldValidation", "")
    if asked not in ("", "Strict", "Warn", "Ignore"):
        causes.append(_unsupported("fieldValidation", asked, ("", "Ignore", "Strict", "Warn")))
    if method == "PATCH" and media == APPLY_PATCH and not query.get("fieldManager"):
        causes.insert(
            0, Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")
        )
    elif method == "PATCH" and media != APPLY_PATCH and "force" in query:
        causes.insert(0, _forbidden("force", "may not be specified for non-apply patch"))
    if causes:
        raise _invalid(KIND_OF[method], causes)


def _dry_run(asked: Sequence[str]) -> list[Cause]:
    asked = [value for value in asked if value]
    if all(value == "All" for value in asked):
        return []
    return [_unsupported("dryRun", asked, ("All",))]


def _manager(name: str) -> list[Cause]:
    causes = []
    if len(name.encode(errors="surrogatepass")) > LONGEST_MANAGER:
        text = f"Too long: may not be more than {LONGEST_MANAGER} bytes"
        causes.append(Cause("FieldValueTooLong", text, "fieldManager"))
    if not name.isprintable():
        text = f"Invalid value: {_shown(name)}: should only contain printable characters"
        causes.append(Cause("FieldValueInvalid", text, "fieldManager"))
    return causes


def delete_options(body: JsonObject, query: Mapping[str, str], dry_run: Sequence[str]) -> DeleteOptions:
    """From the body, or without one from the query, which ``kubectl delete --raw`` and curl use. Raises ApiError."""
    given = {key: value for key, value in body.items() if value is not None} or _of_query(query)
    try:
        options = msgspec.convert(given, DeleteOptions)
    except msgspec.ValidationError as error:
        text = f'DeleteOptions in version "v1" cannot be handled as a DeleteOptions: json: cannot unmarshal: {error}'
        raise bad_request(text) from None
    if not options.is_dry_run and "All" in dry_run:
        options = msgspec.structs.replace(options, dryRun=["All"])
    causes = _dry_run(dry_run) + _dry_run(options.dryRun or ())
    if options.propagationPolicy is not None and options.orphanDependents is not None:
        text = (
            f"Invalid value: {_shown(options.propagationPolicy)}: "
            "orphanDependents and deletionPropagation cannot be both set"
        )
        causes.append(Cause("FieldValueInvalid", text, "propagationPolicy"))
    if options.propagationPolicy not in (None, "", *POLICIES):
        causes.append(_unsupported("propagationPolicy", options.propagationPolicy, (*POLICIES, "nil")))
    if causes:
        raise _invalid(KIND_OF["DELETE"], causes)
    return options


def _of_query(query: Mapping[str, str]) -> JsonObject:
    found: JsonObject = {}
    if (grace := number(query, "gracePeriodSeconds")) is not None:
        found["gracePeriodSeconds"] = grace
    if query.get("propagationPolicy"):
        found["propagationPolicy"] = query["propagationPolicy"]
    if "orphanDependents" in query:
        found["orphanDependents"] = flag(query, "orphanDependents")
    return found


def _forbidden(field: str, why: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def _unsupported(field: str, value: object, known: Sequence[str]) -> Cause:
    supported = ", ".join(map(_shown, known))
    text = f"Unsupported value: {_shown(value)}: supported values: {supported}"
    return Cause("FieldValueNotSupported", text, field)


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode(errors="replace")


def _invalid(kind: str, causes: Sequence[Cause]) -> ApiError:
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = {
        "group": "meta.k8s.io",
        "kind": kind,
        "causes": [msgspec.to_builtins(cause) for cause in causes],
    }
    return failure(422, "Invalid", f'{kind}.meta.k8s.io "" is invalid: {joined}', details)
