"""The Kubernetes API over HTTP: get, list, create, patch, delete, and the raw stream of a watch.

In: an Access value and resource paths. Out: decoded views or raw JSON objects; KubeError with a clear text for everything
that can go wrong. The only door to HTTP below the lab: ``reflector``, ``snapshot``, ``agent.events`` and the CLI go through here.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar

import aiohttp
import msgspec

from stockade import __version__
from stockade.kube.auth import Credentials, ssl_context
from stockade.kube.config import Access
from stockade.kube.errors import UNREACHABLE, UNTRUSTED, KubeError, from_status
from stockade.kube.resources import Resource

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}
TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
STREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10)
READ_SIZE = 2**18
T = TypeVar("T")
JsonObject = dict[str, Any]


class ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    """meta/v1 ListMeta; ``continue_`` is the token of the next page."""

    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One list response."""

    metadata: ListMeta = ListMeta()
    items: list[T] | None = None


class ApiClient:
    """An async context manager that holds one connection pool."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._credentials = Credentials(access)
        self._session: aiohttp.ClientSession | None = None
        self._opened = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        context = ssl_context(self.access, await self._credentials.certificate())
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        self._session = await self._opened.enter_async_context(
            aiohttp.ClientSession(
                connector=connector,
                read_bufsize=READ_SIZE,
                headers={"User-Agent": f"stockade/{__version__}", "Accept": "application/json"},
            )
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._opened.aclose()

    async def get(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        return _object(await self.request("GET", resource.path(namespace, name)))

    async def list_raw(
        self, resource: Resource, namespace: str = "", params: Mapping[str, str] | None = None
    ) -> Page[msgspec.Raw]:
        """One page; every item still undecoded, so that one bad object does not lose the others."""
        body = await self.request("GET", resource.path(namespace), params=params)
        try:
            return msgspec.json.decode(body, type=Page[msgspec.Raw])
        except msgspec.DecodeError as error:
            raise KubeError(
                200, "", f"the list of {resource} is not what the API promises: {error}"
            ) from error

    async def list(
        self, resource: Resource, namespace: str = "", params: Mapping[str, str] | None = None
    ) -> list[JsonObject]:
        page = await self.list_raw(resource, namespace, params)
        return [msgspec.json.decode(item) for item in page.items or []]

    async def create(self, resource: Resource, namespace: str, obj: Any) -> JsonObject:
        return _object(await self.request("POST", resource.path(namespace), body=obj))

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Any,
        *,
        kind: str = "merge",
        subresource: str = "",
    ) -> JsonObject:
        """``kind``: merge, strategic or json."""
        path = resource.path(namespace, name, subresource)
        return _object(await self.request("PATCH", path, body=patch, content_type=PATCH_TYPES[kind]))

    async def delete(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        return _object(await self.request("DELETE", resource.path(namespace, name)))

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> bytes:
        data = None if body is None else msgspec.json.encode(body)
        async with self._open(method, path, params, data, content_type, TIMEOUT) as response:
            return await response.read()

    @contextlib.asynccontextmanager
    async def stream(self, path: str, params: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        """The lines of a long response (a watch), however long one line is (objects may have megabytes)."""
        async with self._open("GET", path, params, None, "", STREAM_TIMEOUT) as response:
            yield _lines(response.content)

    @contextlib.asynccontextmanager
    async def websocket(
        self, path: str, params: Sequence[tuple[str, str]], protocol: str
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """For exec. A handshake that the server refuses has no body that could be read: the status code has to do."""
        assert self._session is not None, "use ApiClient as an async context manager"
        try:
            async with self._session.ws_connect(
                self.access.server + path,
                params=list(params),
                protocols=(protocol,),
                headers=await self._credentials.headers(),
                server_hostname=self.access.server_name or None,
            ) as socket:
                yield socket
        except aiohttp.WSServerHandshakeError as error:
            raise KubeError(error.status, "", f"{path} answers {error.status} {error.message}") from error
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise self._unreachable(error) from error

    @contextlib.asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        data: bytes | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own kind of limit
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None, "use ApiClient as an async context manager"
        headers = await self._credentials.headers()
        if data is not None:
            headers["Content-Type"] = content_type
        try:
            async with self._session.request(
                method,
                self.access.server + path,
                params=params,
                data=data,
                headers=headers,
                timeout=timeout,
                server_hostname=self.access.server_name or None,
            ) as response:
                if response.status >= 400:
                    raise await self._failure(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(error) from error

    async def _failure(self, response: aiohttp.ClientResponse) -> KubeError:
        if response.status == 401:
            self._credentials.forget()
        error = from_status(response.status, await response.read(), response.headers.get("Retry-After"))
        if error.code == 401:
            error.message = f"{self.access.server} does not accept the credentials of {self.access.origin}"
            error.args = (error.message,)
        return error

    def _unreachable(self, error: BaseException) -> KubeError:
        server, origin = self.access.server, self.access.origin
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            why = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
            return KubeError(
                0, UNTRUSTED, f"the certificate of {server} is not trusted: {why} (see {origin})"
            )
        if isinstance(error, aiohttp.ClientSSLError):
            return KubeError(
                0, UNTRUSTED, f"no TLS connection to {server}: {error.os_error.strerror or error}"
            )
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return KubeError(0, UNREACHABLE, f"the host name of {server} cannot be resolved (see {origin})")
        if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
            return KubeError(
                0, UNREACHABLE, f"{server} refuses connections: is the cluster running? (see {origin})"
            )
        if isinstance(error, TimeoutError):
            return KubeError(0, UNREACHABLE, f"{server} does not answer in time (see {origin})")
        return KubeError(
            0, UNREACHABLE, f"the connection to {server} failed: {error or type(error).__name__}"
        )


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest: list[bytes] = []
    async for chunk in content.iter_any():
        head, *tail = chunk.split(b"\n")
        rest.append(head)
        for piece in tail:
            if line := b"".join(rest):
                yield line
            rest = [piece]
    if line := b"".join(rest):
        yield line


def _object(body: bytes) -> JsonObject:
    try:
        return msgspec.json.decode(body, type=JsonObject)
    except msgspec.DecodeError as error:
        raise KubeError(200, "", f"the server's answer is not a JSON object: {error}") from error
