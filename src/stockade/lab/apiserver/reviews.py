"""Reviews: what may I (``kubectl auth can-i``), what may somebody else, who am I (``whoami``), whose token is this. Nothing is stored.

In: the review in the body. Out: the same with its status. Called by the application for POSTs of these kinds. ``KINDS`` are
their rows in discovery.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from stockade.lab.apiserver import failures, users
from stockade.lab.apiserver.bodies import answer, read_object
from stockade.lab.apiserver.context import CONTEXT, USER
from stockade.lab.apiserver.gate import user_of_token
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.apiserver.users import Attributes, User

AUTHORIZATION, AUTHENTICATION = "/apis/authorization.k8s.io/v1", "/apis/authentication.k8s.io/v1"


def _review(kind: str, group: str, *, namespaced: bool = False) -> Kind:
    plural = f"{kind.lower()}s"
    return Kind(
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        group=group,
        namespaced=namespaced,
        verbs=("create",),
    )


KINDS = (
    _review("SelfSubjectReview", "authentication.k8s.io"),
    _review("TokenReview", "authentication.k8s.io"),
    _review("LocalSubjectAccessReview", "authorization.k8s.io", namespaced=True),
    _review("SelfSubjectAccessReview", "authorization.k8s.io"),
    _review("SelfSubjectRulesReview", "authorization.k8s.io"),
    _review("SubjectAccessReview", "authorization.k8s.io"),
)


def add_review_routes(app: web.Application) -> None:
    app.router.add_post(f"{AUTHENTICATION}/tokenreviews", review_token)
    app.router.add_post(f"{AUTHORIZATION}/subjectaccessreviews", review_subject)
    app.router.add_post(f"{AUTHORIZATION}/namespaces/{{namespace}}/localsubjectaccessreviews", review_subject)
    app.router.add_post(f"{AUTHORIZATION}/selfsubjectaccessreviews", review_access)
    app.router.add_post(f"{AUTHORIZATION}/selfsubjectrulesreviews", review_rules)
    app.router.add_post(f"{AUTHENTICATION}/selfsubjectreviews", review_self)


async def review_access(request: web.Request) -> web.Response:
    review = await read_object(request)
    return _reviewed(review, USER.get(), _asked(_dict(review.get("spec"), "spec")))


async def review_subject(request: web.Request) -> web.Response:
    """For another user, named by the one who may ask."""
    review = await read_object(request)
    spec = _dict(review.get("spec"), "spec")
    asked, name = _asked(spec), spec.get("user")
    groups = spec.get("groups") or []
    if not (name or groups) or not isinstance(name or "", str) or not isinstance(groups, list):
        raise failures.bad_request(
            "spec.user: Required value: at least one of user or group must be specified"
        )
    namespace = request.match_info.get("namespace", asked.namespace)
    if namespace != asked.namespace:
        raise failures.bad_request(
            f"spec.resourceAttributes.namespace: Invalid value: must match metadata.namespace: {namespace}"
        )
    known = users.named(str(name or ""))
    user = User(known.name, (*known.groups, *map(str, groups)))
    return _reviewed(review, user, asked)


def _asked(spec: JsonObject) -> Attributes:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        raise failures.bad_request(
            "spec: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        )
    given = _dict(path if resource is None else resource, "attributes")
    fields = Attributes.__struct_fields__
    return Attributes(**{"verb": "", **{key: str(value) for key, value in given.items() if key in fields}})


def _reviewed(review: JsonObject, user: User, asked: Attributes) -> web.Response:
    allowed = users.may(user, asked)
    status: JsonObject = {"allowed": allowed}
    if not allowed:
        status["reason"] = users.refusal(user, asked)
    return answer({**review, "status": status}, 201)


async def review_token(request: web.Request) -> web.Response:
    """Whose token is this? The answer does not repeat it."""
    review = await read_object(request)
    token = _dict(review.get("spec"), "spec").get("token")
    if not token or not isinstance(token, str):
        raise failures.bad_request("spec.token: Required value")
    user = user_of_token(token, request.app[CONTEXT])
    status: JsonObject = {"user": {}}
    if user is not None:
        status = {"authenticated": True, "user": {"username": user.name, "groups": list(user.groups)}}
    head = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {}}
    return answer({**head, "status": status}, 201)


async def review_rules(request: web.Request) -> web.Response:
    review = await read_object(request)
    if not _dict(review.get("spec"), "spec").get("namespace"):
        raise failures.bad_request("no namespace on request")
    resources, paths = users.rules_of(USER.get())
    status = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
    return answer({**review, "status": status}, 201)


async def review_self(request: web.Request) -> web.Response:
    """The body says nothing beyond its kind, so it is not read."""
    del request
    user = USER.get()
    info = {"username": user.name, "groups": list(user.groups)}
    review = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}}
    return answer({**review, "status": {"userInfo": info}}, 201)


def _dict(value: Any, what: str) -> JsonObject:
    if not isinstance(value, dict):
        raise failures.bad_request(f"{what} must be an object")
    return value
