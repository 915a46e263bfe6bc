"""An API server on an ephemeral port with TLS and a token, and kubectl to talk to it."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import ipaddress
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stockade.lab.apiserver.app import create_app
from stockade.lab.apiserver.connections import Bounds, Runner
from stockade.lab.apiserver.storage import Storage
from stockade.lab.apiserver.store import ObjectStore
from stockade.testing.runtime import LocalRuntime

TOKEN, VIEWER_TOKEN = "test-token", "viewer-token"
VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "linux/amd64"}


@pytest.fixture
def store() -> ObjectStore:
    made = ObjectStore(Storage())
    for name in ("default", "kube-system"):
        made.create("namespaces", "", {"metadata": {"name": name}})
    return made


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stockade-test")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "tls.crt", folder / "tls.key"
    cert_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return cert_file, key_file


@dataclass
class Server:
    store: ObjectStore
    runtime: LocalRuntime
    port: int
    kubeconfig: Path
    tls: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@pytest.fixture
async def server(store, certificate, tmp_path) -> AsyncIterator[Server]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    runtime = LocalRuntime()
    app = create_app(store, tokens={TOKEN: "admin", VIEWER_TOKEN: "viewer"}, runtime=runtime, version=VERSION)
    runner = Runner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(_kubeconfig(port, certificate[0]))
    yield Server(store, runtime, port, kubeconfig, ssl.create_default_context(cafile=certificate[0]))
    await runner.cleanup()


class Plain:
    """A server without TLS, whose connections the test counts."""

    def __init__(self, runner, app, bounds):
        self.runner, self.app, self.bounds = runner, app, bounds
        self.port = runner.addresses[0][1]

    @property
    def open(self):
        return len(self.runner.server.connections)

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def until(self, count):
        async with asyncio.timeout(10):
            while self.open != count:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.01)


@pytest.fixture
async def plain(store):
    bounds = Bounds(header=0.3, body=0.3, stalled=1.0, most=20)
    app = create_app(
        store, tokens={TOKEN: "admin", VIEWER_TOKEN: "viewer"}, runtime=None, version=VERSION, bounds=bounds
    )
    runner = Runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield Plain(runner, app, bounds)
    await runner.cleanup()


def _kubeconfig(port: int, cert: Path) -> str:
    data = base64.b64encode(cert.read_bytes()).decode()
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": data}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [
            {"name": "admin", "user": {"token": TOKEN}},
            {"name": "viewer", "user": {"token": VIEWER_TOKEN}},
        ],
        "contexts": [
            {"name": "lab", "context": {"cluster": "lab", "user": "admin"}},
            {"name": "viewer", "context": {"cluster": "lab", "user": "viewer"}},
        ],
        "current-context": "lab",
    }
    return msgspec.json.encode(config).decode()


@dataclass
class Result:
    code: int
    out: str
    err: str


Kubectl = Callable[..., Awaitable[Result]]


NEW_KUBECTL = Path(sys.executable).parent / "kubectl"
CACHED_KUBECTL = Path(__file__).parents[3] / ".cache/kubernetes-client/usr/bin/kubectl"
OLD_KUBECTL = Path(os.environ.get("STOCKADE_KUBECTL_OLD") or CACHED_KUBECTL)


def _runner(binary: Path, server: Server, home: Path) -> Kubectl:
    async def run(*arguments: str, stdin: str = "") -> Result:
        environment = {"KUBECONFIG": str(server.kubeconfig), "HOME": str(home), "PATH": os.defpath}
        process = await asyncio.create_subprocess_exec(
            binary,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return Result(process.returncode, out.decode(), err.decode())

    run.old = binary == OLD_KUBECTL
    return run


def _require(binary: Path) -> Path:
    if not binary.exists():
        pytest.skip(f"{binary} is not there: scripts/test unpacks kubectl 1.20 where Debian has the package")
    return binary


@pytest.fixture(params=[pytest.param(NEW_KUBECTL, id="kubectl"), pytest.param(OLD_KUBECTL, id="kubectl-old")])
def kubectl(request, server, tmp_path) -> Kubectl:
    """``await kubectl("get", "pods", stdin="…")``, once for the newest client and once for the oldest (``kubectl.old``)."""
    return _runner(_require(request.param), server, tmp_path)


@pytest.fixture
def old_kubectl(server, tmp_path) -> Kubectl:
    """kubectl 1.20, which reads OpenAPI v2."""
    return _runner(_require(OLD_KUBECTL), server, tmp_path)


@pytest.fixture
async def client(server) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    connector = aiohttp.TCPConnector(ssl=server.tls)
    async with aiohttp.ClientSession(server.url, headers=headers, connector=connector) as session:
        yield session
