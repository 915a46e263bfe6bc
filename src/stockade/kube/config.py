"""Where the API server is and who we are: kubeconfig files, or the service account of a pod.

In: ``KUBECONFIG`` (several files, merged the way kubectl does: the first file that sets something wins), ``~/.kube/config``,
``--kubeconfig``, ``--context``, or the in-cluster files. Out: an Access value; ``auth`` and ``tls`` turn it into headers and
an SSL context. Callers: the CLI and the agent. Rule source: client-go's kubeconfig (api/v1 Config).
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from stockade.kube.errors import ConfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
T = TypeVar("T")


class _Entry(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Base of kubeconfig's own structs, whose keys are written-like-this."""


class EnvVar(msgspec.Struct, frozen=True):
    name: str
    value: str = ""


class ExecPlugin(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """users[].user.exec: a program that prints an ExecCredential."""

    command: str
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    api_version: str = "client.authentication.k8s.io/v1"
    install_hint: str = ""


class Cluster(_Entry, frozen=True, kw_only=True):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""


class User(_Entry, frozen=True, kw_only=True):
    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    username: str = ""
    password: str = ""
    exec: ExecPlugin | None = None


class Context(_Entry, frozen=True, kw_only=True):
    cluster: str = ""
    user: str = ""
    namespace: str = ""


class _Named(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    cluster: Cluster | None = None
    user: User | None = None
    context: Context | None = None


class _File(_Entry, frozen=True, kw_only=True):
    current_context: str | None = None
    clusters: list[_Named] | None = None
    users: list[_Named] | None = None
    contexts: list[_Named] | None = None


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """One API server and one identity. File names are absolute; PEM blocks are bytes."""

    server: str
    origin: str  # which file or service account this came from, for messages
    context: str = ""
    namespace: str = "default"
    ca: bytes = b""
    insecure: bool = False
    server_name: str = ""
    certificate: bytes = b""
    key: bytes = b""
    token: str = ""
    token_file: str = ""
    username: str = ""
    password: str = ""
    exec: ExecPlugin | None = None


def load(
    path: str | Path | None = None, context: str | None = None, environ: Mapping[str, str] | None = None
) -> Access:
    """``path`` wins over KUBECONFIG, that over ``~/.kube/config``, that over the pod's service account. Raises ConfigError."""
    env = os.environ if environ is None else environ
    files = _candidates(path, env)
    existing = [file for file in files if file.is_file()]
    if existing:
        return _Merged(existing).access(context)
    if path is None and not context and env.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(env)
    if path is not None or env.get("KUBECONFIG"):
        raise ConfigError(f"no kubeconfig at {', '.join(map(str, files))}")
    raise ConfigError(
        "no cluster: KUBECONFIG is not set and ~/.kube/config does not exist (give --kubeconfig FILE)"
    )


def in_cluster(environ: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> Access:
    """The service account that the kubelet mounts into a pod; its token file is renewed, so it is read again and again."""
    token, ca = directory / "token", directory / "ca.crt"
    if not token.is_file():
        raise ConfigError(f"this pod has no service account token ({token}); give --kubeconfig FILE")
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    namespace = directory / "namespace"
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        origin="the pod's service account",
        namespace=namespace.read_text().strip() if namespace.is_file() else "default",
        ca=ca.read_bytes() if ca.is_file() else b"",
        token_file=str(token),
    )


def _candidates(path: str | Path | None, env: Mapping[str, str]) -> list[Path]:
    if path is not None:
        return [Path(path)]
    if listed := env.get("KUBECONFIG"):
        return [Path(part) for part in listed.split(os.pathsep) if part]
    return [Path(env.get("HOME") or "~").expanduser() / ".kube" / "config"]


class _Merged:
    """Several kubeconfig files seen as one; each entry remembers its file, because relative paths start there."""

    def __init__(self, files: list[Path]) -> None:
        parsed = [(file, _parse(file)) for file in files]
        self._current = next((f.current_context for _, f in parsed if f.current_context), "")
        self._contexts = _first_wins((n.name, n.context, p) for p, f in parsed for n in f.contexts or [])
        self._clusters = _first_wins((n.name, n.cluster, p) for p, f in parsed for n in f.clusters or [])
        self._users = _first_wins((n.name, n.user, p) for p, f in parsed for n in f.users or [])
        self._origin = ", ".join(map(str, files))

    def access(self, wanted: str | None) -> Access:
        name = wanted or self._current
        if not name:
            raise ConfigError(f"{self._origin}: no current-context (give --context NAME)")
        if name not in self._contexts:
            known = ", ".join(sorted(self._contexts)) or "none"
            raise ConfigError(f"{self._origin}: no context {name!r} (known: {known})")
        context, _ = self._contexts[name]
        cluster, at = self._look_up("cluster", context.cluster, self._clusters, name)
        if not cluster.server.startswith(("https://", "http://")):
            raise ConfigError(
                f"{at}: cluster {context.cluster!r} has no usable server address: {cluster.server!r}"
            )
        user, user_at = User(), at
        if context.user:
            user, user_at = self._look_up("user", context.user, self._users, name)
        return Access(
            server=cluster.server.rstrip("/"),
            origin=str(at),
            context=name,
            namespace=context.namespace or "default",
            ca=_pem(at, cluster.certificate_authority_data, cluster.certificate_authority),
            insecure=cluster.insecure_skip_tls_verify,
            server_name=cluster.tls_server_name,
            certificate=_pem(user_at, user.client_certificate_data, user.client_certificate),
            key=_pem(user_at, user.client_key_data, user.client_key),
            token=user.token,
            token_file=str(user_at.parent / user.token_file) if user.token_file else "",
            username=user.username,
            password=user.password,
            exec=user.exec,
        )

    def _look_up(
        self, what: str, name: str, entries: dict[str, tuple[T, Path]], context: str
    ) -> tuple[T, Path]:
        if name not in entries:
            raise ConfigError(
                f"{self._origin}: context {context!r} names {what} {name!r}, which is not there"
            )
        return entries[name]


def _first_wins(entries: Any) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value, path in entries:
        if value is not None:
            kept.setdefault(name, (value, path))
    return kept


def _parse(file: Path) -> _File:
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    try:
        raw = msgspec.json.decode(text) if text.startswith(b"{") else _yaml(file, text)
        return msgspec.convert(raw or {}, type=_File)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{file}: not a kubeconfig: {error}") from error


def _yaml(file: Path, text: bytes) -> Any:
    import yaml  # noqa: PLC0415 - 30 ms that JSON and in-cluster agents need not spend

    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{file}{where}: not YAML: {getattr(error, 'problem', None) or error}") from error


def _pem(file: Path, data: str, path: str) -> bytes:
    """Inline data wins over a file name, as in client-go."""
    if data:
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise ConfigError(f"{file}: certificate or key data is not base64: {error}") from error
    if not path:
        return b""
    target = file.parent / path
    try:
        return target.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} names {target}, which cannot be read: {error.strerror}") from error
