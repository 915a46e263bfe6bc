# ruff: noqa: PTH101, PTH102, PTH108
# Every pod starts with these calls: plain ones cost a third of those of pathlib.
"""The volumes of one pod on its node: made before its first container, kept up to date while it runs, gone with it.

In: the pod's spec, a directory on the node's memory file system, where the content comes from (``content.Sources``). Out: directories, and for
each container the mounts of its ``volumeMounts``; VolumeError with the words of a kubelet. Made and called by the pod's worker.

- emptyDir is a memory file system of its own, so its end needs no walk through what the pod left there, and ``sizeLimit`` holds.
- configMap, secret, downwardAPI and projected are written by the node (``writer``) and always mounted read-only, as a kubelet does it.
- Everything else would lead to the host or to storage that the lab does not have: refused, host paths for ever.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, Final

from stockade.lab.node import identities, quantities, syscalls
from stockade.lab.node.environment import ConfigError, expand_all
from stockade.lab.node.volumes import content, subpath, writer
from stockade.lab.node.wire import Mount

JsonObject = dict[str, Any]
_WRITTEN: Final = ("configMap", "secret", "downwardAPI", "projected")
_READABLE: Final = 0o755
_MESSAGE_MODE: Final = 0o666
_MESSAGE_LIMIT: Final = 4096
_NOT_FOR_MOUNTS: Final = ("/proc", "/sys")
_WHY: Final = {
    "hostPath": "a pod of the lab never sees files of the host",
    "persistentVolumeClaim": "the lab has no persistent volumes; use an emptyDir",
}


class VolumeError(Exception):
    """A volume cannot be had, now or ever; the text is an event's."""


class PodVolumes:
    """``directory`` is the pod's own, made here."""

    def __init__(self, directory: str, pod: JsonObject, sources: content.Sources) -> None:
        self._directory = directory
        self._sources = sources
        spec = pod.get("spec", {})
        self._volumes: dict[str, JsonObject] = {
            volume["name"]: volume for volume in spec.get("volumes") or []
        }
        self._group: int | None = (spec.get("securityContext") or {}).get("fsGroup")
        self._owner = (_only_user(spec), self._group)
        self._written: dict[str, content.Files] = {}
        self._memory: set[str] = set()
        self._references = set(_references(self._volumes.values()))
        self._shows_labels = any(_shows_labels(volume) for volume in self._volumes.values())

    def refers_to(self, resource: str, name: str) -> bool:
        return (resource, name) in self._references

    def set_up(self, pod: JsonObject) -> None:
        """Makes what is not there yet. Raises VolumeError for the first that cannot be had."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._directory, 0o700)
        nobody = identities.own().refusal(0, self._group) if self._group is not None else None
        for name in self._volumes:
            if nobody:
                raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : fsGroup: {nobody}')
            try:
                self._set_up(name, pod)
            except (content.MissingError, OSError, ValueError) as error:
                raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error

    def _set_up(self, name: str, pod: JsonObject) -> None:
        volume = self._volumes[name]
        if volume.get("emptyDir") is not None:
            if name not in self._memory:
                self._empty(name, volume["emptyDir"])
            return
        kind = next((key for key in volume if key != "name"), "")
        if kind not in _WRITTEN:
            why = _WHY.get(kind, "the lab has emptyDir, configMap, secret, downwardAPI and projected volumes")
            raise content.MissingError(f"{kind} volumes are not supported: {why}")
        if name not in self._written:
            self._write(name, pod)

    def _empty(self, name: str, source: JsonObject) -> None:
        medium = source.get("medium") or ""
        if medium not in ("", "Memory"):
            raise content.MissingError(f"emptyDir with medium {medium} is not supported in the lab")
        size = source.get("sizeLimit")
        limit = quantities.in_units(size, 1) if size else 0
        options = ["mode=0777" if self._group is None else f"mode=2777,gid={self._group}"]
        options += [f"size={limit}"] if limit else []
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._path(name), 0o700)
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
        syscalls.mount("tmpfs", self._path(name), "tmpfs", flags, ",".join(options))
        self._memory.add(name)

    def _write(self, name: str, pod: JsonObject) -> None:
        files = content.files(self._volumes[name], pod, self._sources, self._owner)
        if self._written.get(name) == files:
            return
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._path(name))
            os.chmod(self._path(name), _READABLE)
        writer.write(self._path(name), files, self._group)
        self._written[name] = files

    def refresh(self, pod: JsonObject, *, labels: bool = False) -> None:
        """After a change of what the volumes show (``labels``: of the pod itself). What is missing now leaves the old content."""
        if labels and not self._shows_labels:
            return
        for name in self._written:
            with contextlib.suppress(content.MissingError, OSError):
                self._write(name, pod)

    def mounts(self, container: JsonObject, environment: Mapping[str, str]) -> list[Mount]:
        """Outer directories first. Raises ConfigError."""
        found = [self._mount(mount, environment) for mount in container.get("volumeMounts") or []]
        return sorted(found, key=lambda mount: mount["target"].count("/"))

    def _mount(self, mount: JsonObject, environment: Mapping[str, str]) -> Mount:
        name, target = mount["name"], posixpath.normpath(f"/{mount['mountPath']}").replace("//", "/")
        if target == "/" or any(target == top or target.startswith(f"{top}/") for top in _NOT_FOR_MOUNTS):
            raise ConfigError(f'volume "{name}" cannot be mounted at {target!r}')
        wanted = mount.get("subPath") or ""
        if mount.get("subPathExpr"):
            wanted = expand_all(mount["subPathExpr"], environment)
        if wanted:
            try:
                subpath.ensure(self._path(name), wanted)
            except subpath.SubpathError as error:
                text = f'failed to prepare subPath for volumeMount "{name}": {error}'
                raise ConfigError(text) from error
        return {
            "source": self._path(name),
            "subpath": wanted,
            "target": target,
            "read_only": name in self._written or bool(mount.get("readOnly")),
        }

    def message_mount(self, container: str, run: int, target: str) -> Mount:
        """A file in which the container can leave its last words."""
        path = self._message(container, run)
        os.close(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        os.chmod(path, _MESSAGE_MODE)
        return {"source": path, "subpath": "", "target": posixpath.normpath(target), "read_only": False}

    def take_message(self, container: str, run: int) -> str:
        """What it left there, at most 4 KiB; once."""
        path = self._message(container, run)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return ""
        try:
            text = os.read(fd, _MESSAGE_LIMIT).decode(errors="replace")
        finally:
            os.close(fd)
        os.unlink(path)
        return text

    def _message(self, container: str, run: int) -> str:
        return f"{self._directory}/..{container}.{run}"  # begins no volume's name

    def close(self) -> None:
        for name in self._memory:
            with contextlib.suppress(OSError):
                syscalls.umount(self._path(name))
        self._memory.clear()
        self._written.clear()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"


def _only_user(spec: JsonObject) -> int | None:
    """The user that all containers run as; None: they differ, or their images decide, or none of them will start, as there is no such user."""
    default = (spec.get("securityContext") or {}).get("runAsUser")
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    users = {(each.get("securityContext") or {}).get("runAsUser", default) for each in containers}
    user = users.pop() if len(users) == 1 else None
    return None if user is None or identities.own().refusal(user, 0) else user


def _sources(volume: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    for kind, source in volume.items():
        if kind == "projected":
            for part in source.get("sources") or []:
                yield from part.items()
        elif isinstance(source, dict):
            yield kind, source


def _references(volumes: Iterator[JsonObject] | Any) -> Iterator[tuple[str, str]]:
    for volume in volumes:
        for kind, source in _sources(volume):
            if kind == "configMap":
                yield "configmaps", str(source.get("name"))
            elif kind == "secret":
                yield "secrets", str(source.get("secretName") or source.get("name"))


def _shows_labels(volume: JsonObject) -> bool:
    return any(
        ((item.get("fieldRef") or {}).get("fieldPath") or "").startswith(
            ("metadata.labels", "metadata.annotations")
        )
        for kind, source in _sources(volume)
        if kind == "downwardAPI"
        for item in source.get("items") or []
    )
