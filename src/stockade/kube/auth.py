"""An Access value turned into an Authorization header and an SSL context.

Token files are read again for each request (a bound service account token lives an hour); an exec plugin is run again when
its credential expires or the server answers 401.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import os
import ssl
import tempfile
from pathlib import Path

import msgspec

from stockade.kube.config import Access, ExecPlugin
from stockade.kube.errors import ConfigError

EXEC_SECONDS = 60.0
MARGIN = dt.timedelta(seconds=10)


class _ExecStatus(msgspec.Struct, frozen=True, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: dt.datetime | None = None


class _ExecCredential(msgspec.Struct, frozen=True):
    status: _ExecStatus


class Credentials:
    """Asked before each request. ``forget`` after a 401: the next ``headers`` starts anew."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._issued: _ExecStatus | None = None
        self._lock = asyncio.Lock()

    async def headers(self) -> dict[str, str]:
        access = self._access
        if access.token_file:
            try:
                return _bearer(Path(access.token_file).read_text(encoding="utf-8").strip())  # noqa: ASYNC240 - a page of tmpfs
            except OSError as error:
                raise ConfigError(f"cannot read {access.token_file}: {error.strerror}") from error
        if access.token:
            return _bearer(access.token)
        if access.exec:
            issued = await self._run(access.exec)
            return _bearer(issued.token) if issued.token else {}
        if access.username:
            pair = f"{access.username}:{access.password}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {}

    async def certificate(self) -> tuple[bytes, bytes]:
        """PEM certificate and key for TLS client authentication; empty when another way is used."""
        if self._access.certificate or not self._access.exec:
            return self._access.certificate, self._access.key
        issued = await self._run(self._access.exec)
        return issued.client_certificate_data.encode(), issued.client_key_data.encode()

    def forget(self) -> None:
        self._issued = None

    async def _run(self, plugin: ExecPlugin) -> _ExecStatus:
        async with self._lock:
            if self._issued is None or _is_over(self._issued):
                self._issued = await _run_plugin(plugin)
            return self._issued


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _is_over(issued: _ExecStatus) -> bool:
    end = issued.expiration_timestamp
    return end is not None and dt.datetime.now(dt.UTC) >= end - MARGIN


async def _run_plugin(plugin: ExecPlugin) -> _ExecStatus:
    question = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = {
        **os.environ,
        **{variable.name: variable.value for variable in plugin.env or []},
        "KUBERNETES_EXEC_INFO": msgspec.json.encode(question).decode(),
    }
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command,
            *(plugin.args or []),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        hint = f"; {plugin.install_hint.strip()}" if plugin.install_hint else ""
        raise ConfigError(f"cannot run the exec plugin {plugin.command!r}: {error.strerror}{hint}") from error
    try:
        async with asyncio.timeout(EXEC_SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        raise ConfigError(
            f"the exec plugin {plugin.command!r} gave no credential in {EXEC_SECONDS:g}s"
        ) from None
    if process.returncode:
        last = err.decode(errors="replace").strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
        raise ConfigError(f"the exec plugin {plugin.command!r} failed: {last[0]}")
    try:
        return msgspec.json.decode(out, type=_ExecCredential).status
    except msgspec.DecodeError as error:
        raise ConfigError(f"the exec plugin {plugin.command!r} printed no ExecCredential: {error}") from error


def ssl_context(access: Access, certificate: tuple[bytes, bytes] = (b"", b"")) -> ssl.SSLContext | bool:
    """True for plain http (aiohttp's "default", never used there). Raises ConfigError for unusable certificates."""
    if not access.server.startswith("https://"):
        return True
    try:
        context = ssl.create_default_context(cadata=access.ca.decode("ascii") if access.ca else None)
        if access.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate[0]:
            _load_chain(context, *certificate)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{access.origin}: unusable certificate or key: {error}") from error
    return context


def _load_chain(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """``load_cert_chain`` reads files only; this one is 0600 and gone at once."""
    with tempfile.NamedTemporaryFile(prefix="stockade-") as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)
