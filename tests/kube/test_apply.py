"""Objects of any kind: where they are served, how they are applied, and when they count as gone."""

from __future__ import annotations

import msgspec
import pytest

from stockade.kube import apply as module
from stockade.kube.apply import apply, delete, path_of
from stockade.kube.errors import KubeError

CORE = {
    "resources": [
        {"name": "pods/status", "kind": "Pod", "namespaced": True},
        {"name": "pods", "kind": "Pod", "namespaced": True},
        {"name": "nodes", "kind": "Node"},
    ]
}
OBJECT = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
PATH = "/api/v1/namespaces/n/pods/a"


class Api:
    """Answers of a server, by method and path; a list gives one after the other, None is 404."""

    def __init__(self, **answers):
        self.answers = {"GET /api/v1": CORE, **answers}
        self.asked = []

    async def request(self, method, path, *, params=None, body=None, content_type=""):
        self.asked.append((method, path, params, body, content_type))
        answer = self.answers.get(f"{method} {path}")
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if answer is None:
            raise KubeError(404, "NotFound", f"{path} not found")
        return msgspec.json.encode(answer)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.05)


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (OBJECT, PATH),
        ({**OBJECT, "metadata": {"name": "a", "namespace": "other"}}, "/api/v1/namespaces/other/pods/a"),
        ({**OBJECT, "kind": "Node"}, "/api/v1/nodes/a"),
        ({**OBJECT, "metadata": {"name": "a/../b?c"}}, "/api/v1/namespaces/n/pods/a%2F..%2Fb%3Fc"),
    ],
)
async def test_where_an_object_is(obj, path):
    assert await path_of(Api(), obj, "n") == path


async def test_a_kind_that_is_not_served():
    with pytest.raises(KubeError, match="the cluster does not serve Nothing in v1"):
        await path_of(Api(), {**OBJECT, "kind": "Nothing"}, "n")


async def test_a_kind_that_is_served_in_a_moment():
    """As after its definition was applied."""
    rows = {"resources": [{"name": "gadgets", "kind": "Gadget", "namespaced": True}]}
    api = Api(**{"GET /apis/a.example.com/v1": [{"resources": []}, rows]})
    wanted = {"apiVersion": "a.example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}}
    assert await path_of(api, wanted, "n") == "/apis/a.example.com/v1/namespaces/n/gadgets/g"


@pytest.mark.parametrize("missing", ["apiVersion", "kind", "metadata"])
async def test_what_is_no_object(missing):
    with pytest.raises(KubeError, match=r"needs apiVersion, kind and metadata\.name"):
        await path_of(Api(), {key: value for key, value in OBJECT.items() if key != missing}, "n")


async def test_apply_takes_every_field():
    api = Api(**{f"PATCH {PATH}": {"stored": True}})
    assert await apply(api, OBJECT, "n", "me") == {"stored": True}
    params = {"fieldManager": "me", "force": "true", "fieldValidation": "Strict"}
    assert api.asked[-1] == ("PATCH", PATH, params, OBJECT, "application/apply-patch+yaml")


@pytest.mark.parametrize("after", [None, {"metadata": {"uid": "another"}}])
async def test_delete_waits_until_it_is_gone(after):
    here = {"metadata": {"uid": "1"}}
    api = Api(**{f"GET {PATH}": [here, here, after], f"DELETE {PATH}": here})
    await delete(api, OBJECT, "n")
    assert [method for method, path, *_ in api.asked if path == PATH] == ["GET", "DELETE", "GET", "GET"]


async def test_what_stays_is_told():
    here = {"metadata": {"uid": "1"}}
    api = Api(**{f"GET {PATH}": here, f"DELETE {PATH}": here})
    with pytest.raises(KubeError, match="Pod a is deleted, but still there"):
        await delete(api, {**OBJECT, "spec": {"terminationGracePeriodSeconds": 0}}, "n")
