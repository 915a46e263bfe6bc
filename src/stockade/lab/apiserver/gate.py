"""The door of the API server: who is it, and may they? The middleware in front of every handler.

    bearer token or client certificate ─► User ─► (Impersonate-User, admin alone) ─► attributes of the request ─► may they?

In: the request. Out: the handler's answer, or 401, 403. Every path asks for credentials: there is nothing here for strangers on the same
machine. Rules: kube-apiserver's authenticators (CN is the user, O the groups) and RequestInfo.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from stockade.lab.apiserver import failures, users
from stockade.lab.apiserver.context import CONTEXT, USER, Context
from stockade.lab.apiserver.registry import ApiError
from stockade.lab.apiserver.requests import NAMESPACE_PARTS, flag
from stockade.lab.apiserver.users import Attributes, User

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@web.middleware
async def authorize(request: web.Request, handler: Handler) -> web.StreamResponse:
    user = _impersonated(request, authenticate(request))
    asked = attributes(request.method, request.path, request.query)
    if not users.may(user, asked):
        raise _forbidden(user, asked)
    USER.set(user)
    return await handler(request)


def authenticate(request: web.Request) -> User:
    """Raises ApiError Unauthorized. A token that is wrong is not made good by a certificate."""
    if "Authorization" in request.headers:
        return _of_header(request.headers["Authorization"], request.app[CONTEXT])
    certificate = request.transport.get_extra_info("peercert") if request.transport else None
    subject = dict(part for parts in (certificate or {}).get("subject", ()) for part in parts)
    name = subject.get("commonName", "")
    if name not in users.BUILTIN:  # the lab's authority signs for these alone
        raise failures.unauthorized()
    return users.named(name)


def _of_header(header: str, context: Context) -> User:
    scheme, _, given = header.partition(" ")
    found = user_of_token(given.strip(), context)
    if found is None or scheme.lower() != "bearer":
        raise failures.unauthorized()
    return found


def user_of_token(given: str, context: Context) -> User | None:
    """None for a token of nobody."""
    presented = given.encode(errors="surrogatepass")  # bytes that are no UTF-8
    user = ""
    for token, name in context.tokens.items():  # all of them: the time taken tells nothing
        if hmac.compare_digest(token.encode(), presented):
            user = name
    if user:
        return users.named(user)
    return context.accounts.verify(given) if context.accounts is not None else None


def _impersonated(request: web.Request, user: User) -> User:
    """``kubectl --as NAME --as-group GROUP``."""
    name = request.headers.get("Impersonate-User", "")
    groups = request.headers.getall("Impersonate-Group", [])
    if not name:
        return user
    if not user.is_admin:
        raise _forbidden(user, Attributes("impersonate", resource="users", name=name))
    known = users.named(name)
    return User(name, (*groups, users.AUTHENTICATED)) if groups else known


def attributes(method: str, path: str, query: Mapping[str, str]) -> Attributes:
    """What a request asks for, from its path alone."""
    verb = VERBS.get(method, method.lower())
    parts = [part for part in path.split("/") if part]
    start = {"api": 2, "apis": 3}.get(parts[0], 0) if parts else 0
    if not start or len(parts) <= start:
        return Attributes(verb, path=path)
    group = parts[1] if start == 3 else ""
    parts, namespace = parts[start:], ""
    if parts[0] == "watch" and len(parts) > 1:  # the old form of a watch
        parts = parts[1:]
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in NAMESPACE_PARTS:
            parts = parts[2:]
    resource, name, subresource = (*parts, "", "")[:3]
    if not name:
        verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
    if verb in ("get", "list") and flag(query, "watch"):
        verb = "watch"
    return Attributes(verb, group, resource, subresource, namespace, name)


def _forbidden(user: User, asked: Attributes) -> ApiError:
    why = users.refusal(user, asked)
    if asked.path:
        return failures.failure(403, "Forbidden", f"forbidden: {why}", {})
    resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    head = f'{resource} "{asked.name}"' if asked.name else resource
    details = {"name": asked.name, "group": asked.group, "kind": asked.resource}
    known = {key: value for key, value in details.items() if value}
    return failures.failure(403, "Forbidden", f"{head} is forbidden: {why}", known)
