"""Lists in pages, and lists of the past: ``limit``, ``continue``, ``resourceVersion`` with ``resourceVersionMatch``.

In: the query of a list. Out: the entries to answer, the revision that they are of, and the token of the next page. Called by ``reads``. Rules: the
API concepts page: all pages show the state of the first; when that is forgotten, 410 with a token that goes on from now. What was
before is found by undoing the changes that the history remembers.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import msgspec

from stockade.lab.apiserver import failures
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import ApiError
from stockade.lab.apiserver.requests import number
from stockade.lab.apiserver.selectors import Selection
from stockade.lab.apiserver.store import Entry, ObjectStore

TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105 - the API's word
TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted "
    "between the time the first chunk was returned and now may show up in the list."
)


class Token(msgspec.Struct, frozen=True):
    """``rv`` -1: whatever is there now; ``start``: namespace and name of the last object sent."""

    rv: int
    start: tuple[str, str]
    v: str = TOKEN_VERSION

    def text(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


class Page(msgspec.Struct, frozen=True):
    """``remaining`` is told where it is known: without selectors."""

    entries: list[Entry]
    revision: int
    next: str = ""
    remaining: int | None = None

    def metadata(self) -> dict[str, object]:
        found: dict[str, object] = {"resourceVersion": str(self.revision)}
        if self.next:
            found["continue"] = self.next
        if self.remaining:
            found["remainingItemCount"] = self.remaining
        return found


def page_of(
    store: ObjectStore, kind: Kind, namespace: str, selection: Selection, query: Mapping[str, str]
) -> Page:
    """Raises ApiError."""
    limit = number(query, "limit") or 0
    if limit < 0:
        raise failures.bad_request(f"limit: Invalid value: {limit}: must be greater than or equal to 0")
    token = _token(query.get("continue", ""))
    revision = _revision(store, query, token)
    entries, start = _state(store, kind, namespace, revision, token), 0
    if token is not None:
        start = sum(1 for key, _ in entries if key <= token.start)
    chosen = [pair for pair in entries[start:] if selection.everything or selection.matches(pair[1].object)]
    if query.get("resourceVersion") == "0" and token is None:
        limit = 0  # "anything will do": answered whole, as from a watch cache
    sent = chosen[:limit] if limit else chosen
    rest = len(chosen) - len(sent)
    following = Token(revision, sent[-1][0]).text() if rest else ""
    remaining = rest if rest and selection.everything else None
    return Page([entry for _, entry in sent], revision, following, remaining)


Keyed = tuple[tuple[str, str], Entry]


def _state(store: ObjectStore, kind: Kind, namespace: str, revision: int, token: Token | None) -> list[Keyed]:
    """The entries as they were at ``revision``, in order."""
    now = {_key(entry): entry for entry in store.entries(kind.resource, namespace)}
    if revision == store.revision:
        return list(now.items())
    try:
        records = store.history(kind.resource).since(revision)
    except ApiError as error:
        if token is None:
            raise
        later = Token(-1, token.start).text()
        raise ApiError({**error.status, "message": TOO_OLD, "metadata": {"continue": later}}) from None
    for record in reversed(records):
        key = _key_of(record.object)
        if namespace not in ("", key[0]):
            continue
        if record.previous is None:
            now.pop(key, None)
        else:
            now[key] = Entry(record.previous, msgspec.json.encode(record.previous))
    return sorted(now.items(), key=lambda pair: pair[0])


def _key(entry: Entry) -> tuple[str, str]:
    return _key_of(entry.object)


def _key_of(obj: dict[str, dict[str, str]]) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _token(text: str) -> Token | None:
    if not text:
        return None
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Token)
    except (ValueError, binascii.Error):
        raise failures.bad_request("continue key is not valid: it was not made by this server") from None
    if token.v != TOKEN_VERSION:
        raise failures.bad_request(
            "continue key is not valid: server does not recognize this encoded version"
        )
    return token


def _revision(store: ObjectStore, query: Mapping[str, str], token: Token | None) -> int:
    text, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    if token is not None:
        if text not in ("", "0"):
            raise failures.bad_request("specifying resource version is not allowed when using continue")
        return store.revision if token.rv < 0 or token.rv > store.revision else token.rv
    asked = _number(text)
    if asked > store.revision:
        raise failures.too_large_revision(asked, store.revision)
    exact = match == "Exact" or (not match and "limit" in query and asked)
    return asked if exact else store.revision


def _number(text: str) -> int:
    try:
        return int(text or "0")
    except ValueError:
        why = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise failures.bad_request(why) from None
