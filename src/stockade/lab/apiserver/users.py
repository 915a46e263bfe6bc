"""Who asks, and what they may do: the lab has two users, and no RBAC objects.

    admin    everything (group system:masters); the node's agent is as good as admin
    viewer   get, list and watch of everything but Secrets; no exec, attach, port-forward, no writes (as the ClusterRole ``view``)

    system:serviceaccount:NAMESPACE:NAME   whom a pod's token stands for: may ask what is served and who it is, nothing else

In: a name; what is asked. Out: answers. Called by ``gate`` for each request and by ``reviews`` for ``kubectl auth can-i``. Whoever is known to
nobody (``--as``) may do nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stockade.lab.apiserver.kinds import KINDS
from stockade.lab.apiserver.registry import JsonObject

MASTERS, VIEWERS, AUTHENTICATED = "system:masters", "stockade:viewers", "system:authenticated"
ACCOUNT, ACCOUNTS = "system:serviceaccount:", "system:serviceaccounts"
READ = ("get", "list", "watch")
HIDDEN = ("secrets",)
ENTERED = ("exec", "attach", "portforward", "proxy")  # a GET of these is no reading
SELF_REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")
DISCOVERY = ("api", "apis", "openapi", "version", "healthz", "livez", "readyz")  # open to every known user
REVIEW_GROUPS = ("authorization.k8s.io", "authentication.k8s.io")


class User(msgspec.Struct, frozen=True):
    name: str
    groups: tuple[str, ...] = ()

    @property
    def is_admin(self) -> bool:
        return MASTERS in self.groups


BUILTIN: Mapping[str, User] = {
    "admin": User("admin", (MASTERS, AUTHENTICATED)),
    "agent": User("agent", (MASTERS, AUTHENTICATED)),
    "viewer": User("viewer", (VIEWERS, AUTHENTICATED)),
}


class Attributes(msgspec.Struct, frozen=True):
    """What is asked: a resource, or with ``path`` something else."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def named(name: str) -> User:
    parts = name.removeprefix(ACCOUNT).split(":") if name.startswith(ACCOUNT) else []
    if len(parts) == 2 and all(parts):
        return service_account(*parts)
    return BUILTIN.get(name, User(name, (AUTHENTICATED,)))


def service_account(namespace: str, name: str) -> User:
    """Whom a pod's token stands for."""
    groups = (ACCOUNTS, f"{ACCOUNTS}:{namespace}", AUTHENTICATED)
    return User(f"{ACCOUNT}{namespace}:{name}", groups)


def may(user: User, asked: Attributes) -> bool:
    if user.is_admin:
        return True
    if asked.path:
        discovery = asked.path.strip("/").partition("/")[0] in DISCOVERY
        return asked.verb == "get" and (discovery or VIEWERS in user.groups)
    if asked.group in REVIEW_GROUPS and asked.resource in SELF_REVIEWS:
        return asked.verb == "create"
    if VIEWERS not in user.groups or asked.verb not in READ:
        return False
    hidden = asked.resource in (*HIDDEN, "*") and asked.group in ("", "*")
    return not hidden and asked.subresource not in (*ENTERED, "*")


def refusal(user: User, asked: Attributes) -> str:
    """The text after ``… is forbidden: ``."""
    if asked.path:
        return f'User "{user.name}" cannot {asked.verb} path "{asked.path}"'
    resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    return (
        f'User "{user.name}" cannot {asked.verb} resource "{resource}" in API group "{asked.group}" {where}'
    )


def rules_of(user: User) -> tuple[list[JsonObject], list[JsonObject]]:
    """Resource rules and non-resource rules, as a SelfSubjectRulesReview lists them."""
    reviews: list[JsonObject] = [
        {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"], "resources": list(SELF_REVIEWS[:2])},
        {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": [SELF_REVIEWS[2]]},
    ]
    if user.is_admin:
        everything: JsonObject = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        return [everything, *reviews], [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    if VIEWERS not in user.groups:
        return reviews, []
    return [*_readable(), *reviews], [{"verbs": ["get"], "nonResourceURLs": ["*"]}]


def _readable() -> list[JsonObject]:

    found = []
    for group in sorted({kind.group for kind in KINDS}):
        kinds = [kind for kind in KINDS if kind.group == group and kind.resource not in HIDDEN]
        names = [
            name
            for kind in kinds
            for name in (
                kind.plural,
                *(f"{kind.plural}/{sub}" for sub in kind.subresources if sub in ("log", "scale", "status")),
            )
        ]
        found.append({"verbs": list(READ), "apiGroups": [group], "resources": names})
    return found
