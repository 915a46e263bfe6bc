"""Requests, and the texts of failures; over real HTTP and TLS on loopback."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stockade.kube.client import ApiClient
from stockade.kube.config import Access
from stockade.kube.errors import ConfigError, KubeError
from stockade.kube.resources import EVENTS, NETWORK_POLICIES, NODES, PODS
from stockade.kube.snapshot import _read
from stockade.testing.kube_api import Answer, ScriptedApi, listing, obj, serving, status


async def failure(*steps):
    api = ScriptedApi()
    api.script("/api/v1/namespaces/default/pods/a", *steps)
    async with serving(api.handle) as client:
        with pytest.raises(KubeError) as caught:
            await client.get(PODS, "default", "a")
    return caught.value


def test_paths():
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("default", "a", "status") == "/api/v1/namespaces/default/pods/a/status"
    assert NODES.path("ignored", "n") == "/api/v1/nodes/n"
    assert NETWORK_POLICIES.path("a b") == "/apis/networking.k8s.io/v1/namespaces/a%20b/networkpolicies"
    assert str(NETWORK_POLICIES) == "networkpolicies.networking.k8s.io"


async def test_writing():
    api = ScriptedApi()
    path = "/api/v1/namespaces/default/events"
    api.script(path, Answer(obj("e", 1), 201))
    api.script(f"{path}/e", Answer(obj("e", 2)), Answer(obj("e", 2)))
    async with serving(api.handle) as client:
        assert (await client.create(EVENTS, "default", {"a": 1}))["metadata"]["resourceVersion"] == "1"
        await client.patch(EVENTS, "default", "e", {"count": 2})
        await client.delete(EVENTS, "default", "e")
    assert [(method, body) for method, _, _, body in api.requests] == [
        ("POST", {"a": 1}),
        ("PATCH", {"count": 2}),
        ("DELETE", None),
    ]


async def test_a_status_keeps_the_servers_words():
    error = await failure(status(404, "NotFound", 'pods "a" not found'))
    assert (error.code, error.reason, str(error)) == (404, "NotFound", 'pods "a" not found')


async def test_what_a_proxy_answers_is_no_status():
    error = await failure(Answer({"detail": "bad gateway"}, 502))
    assert error.code == 502


async def test_unauthorized_names_the_kubeconfig():
    error = await failure(status(401, "Unauthorized", "Unauthorized"))
    assert "does not accept the credentials of the test" in str(error)


async def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with ApiClient(Access(server=f"http://127.0.0.1:{port}", origin="my-config")) as client:
        with pytest.raises(
            KubeError, match=r"refuses connections: is the cluster running\? \(see my-config\)"
        ):
            await client.get(PODS, "default", "a")


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(pem + secret)
    return path, pem, secret


@pytest.fixture
async def secure(identity):
    """A TLS server that says whether the client showed a certificate."""
    path, _, _ = identity

    async def handle(request):
        return web.json_response({"certificate": bool(request.get_extra_info("peercert"))})

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=path)
    context.load_cert_chain(path)
    context.verify_mode = ssl.CERT_OPTIONAL
    app = web.Application()
    app.router.add_get("/{tail:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def ask(access):
    async with ApiClient(access) as client:
        return await client.get(PODS, "default", "a")


async def test_a_certificate_that_the_kubeconfig_names_is_trusted(secure, identity):
    _, ca, key = identity
    assert await ask(Access(server=secure, origin="t", ca=ca)) == {"certificate": False}
    assert await ask(Access(server=secure, origin="t", ca=ca, certificate=ca, key=key)) == {
        "certificate": True
    }
    assert await ask(Access(server=secure, origin="t", insecure=True)) == {"certificate": False}


async def test_a_certificate_that_nobody_vouches_for_is_refused(secure):
    with pytest.raises(KubeError, match=r"is not trusted: self-signed certificate .*see my-config"):
        await ask(Access(server=secure, origin="my-config"))


async def test_a_certificate_that_is_none(secure):
    with pytest.raises(ConfigError, match="my-config: unusable certificate or key"):
        await ask(Access(server=secure, origin="my-config", ca=b"nonsense"))


LISTS = {
    "/api/v1/namespaces": listing(9, {"metadata": {"name": "default"}}),
    "/api/v1/pods": listing(9, obj("a", 1)),
    "/apis/networking.k8s.io/v1/networkpolicies": listing(9, obj("np", 1)),
    "/api/v1/services": listing(9),
    "/api/v1/nodes": listing(9),
    "/apis/discovery.k8s.io/v1/endpointslices": listing(9),
}


async def snapshot(**changes):
    api = ScriptedApi()
    for path, answer in {**LISTS, **{f"/api/v1/{kind}": answer for kind, answer in changes.items()}}.items():
        api.script(path, answer)
    async with serving(api.handle) as client:
        return await _read(client.access)


async def test_a_snapshot_has_everything():
    found = await snapshot()
    assert sorted(each.metadata.name for each in found.objects) == ["a", "default", "np"]
    assert found.notes == []


async def test_a_snapshot_without_nodes_says_so():
    found = await snapshot(nodes=status(403, "Forbidden", "nodes is forbidden"))
    (note,) = found.notes
    assert str(note) == (
        "warning: nodes: not read: nodes is forbidden "
        "(the verdict holds; names of Services, nodes or workloads may be missing from it)"
    )


async def test_a_snapshot_without_pods_would_lie():
    with pytest.raises(KubeError, match="may not list pods in all namespaces, which a true answer needs"):
        await snapshot(pods=status(403, "Forbidden", "pods is forbidden"))


def owner(kind: str, name: str):
    return {"ownerReferences": [{"kind": kind, "name": name, "uid": "u"}]}


async def workload_snapshot(replica_sets, jobs):
    pod = obj("a", 1)
    pod["metadata"] |= owner("ReplicaSet", "web-1")
    api = ScriptedApi()
    for path, answer in {**LISTS, "/api/v1/pods": listing(9, pod)}.items():
        api.script(path, answer)
    api.script("/apis/apps/v1/replicasets", replica_sets)
    api.script("/apis/batch/v1/jobs", jobs)
    async with serving(api.handle) as client:
        return await _read(client.access, workloads=True)


async def test_a_snapshot_for_a_workload_knows_whose_pods_they_are():
    replica_set = obj("web-1", 1)
    replica_set["metadata"] |= owner("Deployment", "web")
    found = await workload_snapshot(listing(9, replica_set), status(404))
    (pod,) = [each for each in found.objects if each.metadata.name == "a"]
    assert [each.kind for each in pod.metadata.owner_references] == ["ReplicaSet", "Deployment"]
    assert found.notes == []  # a server without Jobs has none
    assert sorted(each.metadata.name for each in found.objects) == ["a", "default", "np"]


async def test_a_snapshot_without_replica_sets_says_so():
    found = await workload_snapshot(status(403, "Forbidden", "no"), listing(9))
    (note,) = found.notes
    assert str(note).startswith(
        "warning: replicasets.apps: not read: no (the verdict holds; names of Services,"
    )
