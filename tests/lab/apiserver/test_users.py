"""Who may do what: admin, viewer, nobody; tokens, certificates, impersonation, and what ``kubectl auth can-i`` says about it."""

from __future__ import annotations

import ssl

import aiohttp
import pytest
from aiohttp import web

from stockade.lab import credentials
from stockade.lab.apiserver.app import create_app
from stockade.lab.apiserver.gate import attributes
from stockade.lab.apiserver.users import Attributes

from .conftest import VERSION, VIEWER_TOKEN

PODS = "/api/v1/namespaces/default/pods"
VIEWER = {"Authorization": f"Bearer {VIEWER_TOKEN}"}


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", PODS, 200),
        ("GET", "/api/v1/namespaces", 200),
        ("GET", "/apis", 200),
        ("GET", "/openapi/v2", 200),
        ("GET", "/metrics", 200),
        ("GET", f"{PODS}?watch=1&timeoutSeconds=1&resourceVersion=1", 200),
        ("GET", f"{PODS}/x/log", 404),
        ("GET", "/api/v1/namespaces/default/secrets", 403),
        ("GET", "/api/v1/secrets", 403),
        ("GET", "/api/v1/namespaces/default/secrets/x", 403),
        ("GET", f"{PODS}/x/exec", 403),
        ("GET", f"{PODS}/x/attach", 403),
        ("GET", f"{PODS}/x/portforward", 403),
        ("POST", f"{PODS}/x/exec", 403),
        ("POST", PODS, 403),
        ("POST", f"{PODS}/", 403),
        ("PUT", f"{PODS}/x", 403),
        ("PATCH", f"{PODS}/x", 403),
        ("PATCH", f"{PODS}/x/status", 403),
        ("DELETE", f"{PODS}/x", 403),
        ("DELETE", PODS, 403),
        ("POST", f"{PODS}/x/eviction", 403),
        ("POST", "/api/v1//namespaces/default/pods", 403),
        ("POST", "/healthz", 403),
    ],
)
async def test_a_viewer_looks_and_changes_nothing(client, method, path, code):
    async with client.request(method, path, headers=VIEWER, json={}) as response:
        assert response.status == code, await response.text()


async def test_the_refusal_says_what_was_asked(client):
    async with client.delete(f"{PODS}/web", headers=VIEWER) as response:
        found = await response.json()
    text = 'pods "web" is forbidden: User "viewer" cannot delete resource "pods" in API group "" in the namespace "default"'
    assert (found["reason"], found["message"]) == ("Forbidden", text)


async def test_can_i(kubectl):
    asked = {
        ("create", "pods"): ("yes", "no"),
        ("get", "pods"): ("yes", "yes"),
        ("get", "secrets"): ("yes", "no"),
        ("create", "pods/exec"): ("yes", "no"),
        ("list", "networkpolicies.networking.k8s.io"): ("yes", "yes"),
    }
    for words, expected in asked.items():
        for context, answer in zip(("lab", "viewer"), expected, strict=True):
            result = await kubectl("--context", context, "auth", "can-i", *words)
            assert (result.out.split()[0], result.code) == (answer, int(answer == "no")), (words, result)
    listed = await kubectl("--context", "viewer", "auth", "can-i", "--list")
    assert listed.code == 0
    assert "[get list watch]" in listed.out, listed


async def test_kubectl_as_somebody_else(kubectl):
    refused = await kubectl("--as", "viewer", "create", "configmap", "x")
    assert 'User "viewer" cannot create resource "configmaps"' in refused.err
    nobody = await kubectl("--as", "nobody", "get", "pods")
    assert 'User "nobody" cannot list resource "pods"' in nobody.err
    climbing = await kubectl("--context", "viewer", "--as", "admin", "get", "pods")
    assert 'User "viewer" cannot impersonate resource "users"' in climbing.err


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", PODS, Attributes("list", "", "pods", "", "default")),
        ("GET", f"{PODS}/", Attributes("list", "", "pods", "", "default")),
        ("GET", f"{PODS}?watch=true", Attributes("watch", "", "pods", "", "default")),
        ("DELETE", "/apis/apps/v1/deployments", Attributes("deletecollection", "apps", "deployments")),
        (
            "PUT",
            "/api/v1/namespaces/x/finalize",
            Attributes("update", "", "namespaces", "finalize", "x", "x"),
        ),
        ("GET", "/api/v1/namespaces/x", Attributes("get", "", "namespaces", "", "x", "x")),
        ("GET", "/apis/apps/v1", Attributes("get", path="/apis/apps/v1")),
    ],
)
def test_what_a_path_asks_for(method, path, expected):
    path, _, query = path.partition("?")
    assert attributes(method, path, {"watch": "true"} if query else {}) == expected


async def test_client_certificates(store, tmp_path):
    other = credentials.make(tmp_path, ("admin", "viewer"))
    made = credentials.make(tmp_path, ("admin", "viewer"))
    app = create_app(store, tokens={"t": "viewer"}, runtime=None, version=VERSION)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=made.server_context()).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    for source, user, expected in (
        (made, "admin", 200),
        (made, "viewer", 403),
        (None, "", 401),
        (other, "admin", 0),
    ):
        context = ssl.create_default_context(cadata=made.ca)
        if source is not None:
            chain, key = source.clients[user]
            (tmp_path / "c.pem").write_text(chain + key)
            context.load_cert_chain(tmp_path / "c.pem")
        async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(ssl=context)) as session:
            try:
                async with session.get("/api/v1/secrets") as response:
                    found = response.status
                async with session.get("/api/v1/secrets", headers={"Authorization": "Bearer x"}) as response:
                    assert response.status == 401, "a wrong token is wrong, whatever the certificate"
            except aiohttp.ClientError:
                found = 0
        assert found == expected
    await runner.cleanup()


async def test_health_and_metrics(client):
    for path in ("/healthz", "/livez", "/readyz", "/readyz/ping"):
        async with client.get(path) as response:
            assert (response.status, await response.text()) == (200, "ok")
    async with client.get("/livez?verbose") as response:
        assert "[+]ping ok\n" in await response.text()
    async with client.get("/healthz/nothing") as response:
        assert response.status == 404
    async with client.get(f"{PODS}/missing"):
        pass
    async with client.get("/apis/evil.example/v1/things"):
        pass
    async with client.get("/metrics") as response:
        text = await response.text()
    assert 'apiserver_request_total{code="404",group="",resource="pods",verb="GET"} 1.0' in text
    assert 'apiserver_storage_objects{resource="namespaces"} 2.0' in text
    assert "evil" not in text
