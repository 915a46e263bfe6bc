"""SelfSubjectAccessReview, SelfSubjectRulesReview, SelfSubjectReview: ``kubectl auth can-i`` and ``whoami``. Nothing is stored.

In: the review in the body. Out: the same with its status. Called by the application for POSTs of these kinds.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from stockade.lab.apiserver import failures, users
from stockade.lab.apiserver.bodies import answer, read_object
from stockade.lab.apiserver.context import USER
from stockade.lab.apiserver.registry import JsonObject
from stockade.lab.apiserver.users import Attributes

AUTHORIZATION, AUTHENTICATION = "/apis/authorization.k8s.io/v1", "/apis/authentication.k8s.io/v1"


def add_review_routes(app: web.Application) -> None:
    app.router.add_post(f"{AUTHORIZATION}/selfsubjectaccessreviews", review_access)
    app.router.add_post(f"{AUTHORIZATION}/selfsubjectrulesreviews", review_rules)
    app.router.add_post(f"{AUTHENTICATION}/selfsubjectreviews", review_self)


async def review_access(request: web.Request) -> web.Response:
    review = await read_object(request)
    spec = _dict(review.get("spec"), "spec")
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        raise failures.bad_request(
            "spec: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        )
    given = _dict(path if resource is None else resource, "attributes")
    fields = Attributes.__struct_fields__
    asked = Attributes(**{"verb": "", **{key: str(value) for key, value in given.items() if key in fields}})
    user = USER.get()
    allowed = users.may(user, asked)
    status: JsonObject = {"allowed": allowed}
    if not allowed:
        status["reason"] = users.refusal(user, asked)
    return answer({**review, "status": status}, 201)


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
