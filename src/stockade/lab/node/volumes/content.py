"""What files a volume holds: configMap, secret, downwardAPI, projected. Pure but for ``Sources``, which it asks.

In: a volume of a pod's spec. Out: ``File`` by relative path, or MissingError with the words of a kubelet. Rules: Kubernetes API,
ConfigMapVolumeSource, SecretVolumeSource, DownwardAPIVolumeSource, ProjectedVolumeSource v1 core: ``items`` choose keys and name files, a key that
is not there is an error unless ``optional``; later sources of a projected volume come over earlier ones. Called by ``pod_volumes``.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from stockade.lab.node import fields

JsonObject = dict[str, Any]
_MODE: Final = 0o644
_TOKEN_SECONDS: Final = 3600


class MissingError(Exception):
    """What the volume is to show is not there (yet), or cannot be shown."""


class File(msgspec.Struct, frozen=True):
    data: bytes
    mode: int = _MODE
    uid: int = 0


class Sources(Protocol):
    """Where the content comes from. ``find`` knows configmaps and secrets of the pod's namespace."""

    def find(self, resource: str, name: str) -> JsonObject | None: ...

    def token(self, audience: str, seconds: int) -> bytes: ...


Files = dict[str, File]
Owner = tuple[int | None, int | None]
"""The user all containers run as, and the fsGroup, where the pod says so: they may read its token."""


def files(volume: JsonObject, pod: JsonObject, sources: Sources, owner: Owner = (None, None)) -> Files:
    """Of a configMap, secret, downwardAPI or projected volume."""
    for kind, source in volume.items():
        read = _READERS.get(kind)
        if read is not None and source is not None:
            return read(source, pod, sources, source.get("defaultMode", _MODE), owner)
    return {}


def _config_map(source: JsonObject, pod: JsonObject, sources: Sources, mode: int, _owner: Owner) -> Files:
    name = str(source.get("name") or "")
    found = sources.find("configmaps", name)
    where = f"configmap references non-existent config key: {{}}: {pod['metadata']['namespace']}/{name}"
    if found is None:
        return _absent("configmap", name, source)
    return _chosen(config_data(found), source, mode, where)


def _secret(source: JsonObject, pod: JsonObject, sources: Sources, mode: int, _owner: Owner) -> Files:
    name = str(source.get("secretName") or source.get("name") or "")
    found = sources.find("secrets", name)
    if found is None:
        return _absent("secret", name, source)
    where = f"secret references non-existent secret key: {{}}: {pod['metadata']['namespace']}/{name}"
    return _chosen(secret_data(found), source, mode, where)


def config_data(config_map: JsonObject) -> dict[str, bytes]:
    binary = {key: base64.b64decode(text) for key, text in (config_map.get("binaryData") or {}).items()}
    return {key: str(text).encode() for key, text in (config_map.get("data") or {}).items()} | binary


def secret_data(secret: JsonObject) -> dict[str, bytes]:
    return {key: base64.b64decode(text) for key, text in (secret.get("data") or {}).items()}


def _absent(kind: str, name: str, source: JsonObject) -> Files:
    if source.get("optional"):
        return {}
    raise MissingError(f'{kind} "{name}" not found')


def _chosen(data: dict[str, bytes], source: JsonObject, mode: int, where: str) -> Files:
    items = source.get("items")
    if not items:
        return {key: File(content, mode) for key, content in data.items()}
    found: Files = {}
    for item in items:
        if item["key"] in data:
            found[inner_path(item["path"])] = File(data[item["key"]], item.get("mode", mode))
        elif not source.get("optional"):
            raise MissingError(where.format(item["key"]))
    return found


def _downward(source: JsonObject, pod: JsonObject, _sources: Sources, mode: int, _owner: Owner) -> Files:
    found: Files = {}
    for item in source.get("items") or []:
        try:
            if item.get("fieldRef"):
                text = fields.file_content(pod, item["fieldRef"].get("fieldPath", ""))
            else:
                text = fields.resource(pod, item.get("resourceFieldRef") or {})
        except fields.FieldError as error:
            raise MissingError(str(error)) from error
        found[inner_path(item["path"])] = File(text.encode(), item.get("mode", mode))
    return found


def _token(source: JsonObject, _pod: JsonObject, sources: Sources, mode: int, owner: Owner) -> Files:
    """Readable for whom the pod runs as, and for its fsGroup (then ``writer`` adds the group's rights); else as the volume says."""
    data = sources.token(source.get("audience") or "", source.get("expirationSeconds") or _TOKEN_SECONDS)
    user, group = owner
    private = user is not None or group is not None
    return {inner_path(source["path"]): File(data, 0o600 if private else mode, user or 0)}


def _projected(source: JsonObject, pod: JsonObject, sources: Sources, mode: int, owner: Owner) -> Files:
    found: Files = {}
    for part in source.get("sources") or []:
        for kind, each in part.items():
            read = _READERS.get(kind)
            if read is None:
                raise MissingError(f"projected {kind} sources are not supported in the lab")
            found |= read(each, pod, sources, mode, owner)
    return found


_READERS: Final[dict[str, Callable[[JsonObject, JsonObject, Sources, int, Owner], Files]]] = {
    "configMap": _config_map,
    "secret": _secret,
    "downwardAPI": _downward,
    "projected": _projected,
    "serviceAccountToken": _token,
}


def inner_path(path: str) -> str:
    """A relative path that stays inside; what starts with ``..`` is the writer's own (as in the API's validation)."""
    parts = path.split("/")
    if not path or path.startswith("/") or ".." in parts or parts[0].startswith("..") or len(path) > 4096:
        raise MissingError(f'invalid path "{path}"')
    return posixpath.normpath(path)
