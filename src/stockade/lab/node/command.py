"""From a container's spec and its image to the command line of its process, its user and its rights. Pure.

Rules: Kubernetes API, Container and SecurityContext v1 core: ``command`` replaces the image's entrypoint and its command, ``args`` replaces only the
command; ``$(NAME)`` is expanded from what the spec declares, ``$$(NAME)`` is not. Called by the kubelet part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from stockade.lab.images.image import Image
from stockade.lab.node import identities, privileges
from stockade.lab.node.environment import ConfigError, expand
from stockade.lab.node.spawner import Command

JsonObject = dict[str, Any]


def _variables(
    container: JsonObject, pod: JsonObject, image: Image, hostname: str, declared: Mapping[str, str]
) -> dict[str, str]:
    home = "/" if _user(container, pod, image) else "/root"
    result = {"HOME": home, **image.environment, "HOSTNAME": hostname}
    if container.get("tty"):
        result.setdefault("TERM", "xterm")
    return {**result, **declared}


def _user(container: JsonObject, pod: JsonObject, image: Image) -> int:
    user = _security_context(container, pod).get("runAsUser")
    return image.uid if user is None else int(user)


def _security_context(container: JsonObject, pod: JsonObject) -> JsonObject:
    """The container's own fields come before the pod's."""
    return (pod.get("spec", {}).get("securityContext") or {}) | (container.get("securityContext") or {})


def build(
    container: JsonObject, pod: JsonObject, image: Image, hostname: str, declared: Mapping[str, str]
) -> Command:
    """What the container's first process executes. ``declared``: by ``environment``. Raises ConfigError."""
    image = _with_user(image)
    variables = _variables(container, pod, image, hostname, declared)
    entrypoint, arguments = container.get("command"), container.get("args")
    if entrypoint:
        argv = [*entrypoint, *(arguments or [])]
        argv = [expand(item, declared) for item in argv]
    elif arguments:
        argv = [*image.entrypoint, *(expand(item, declared) for item in arguments)]
    else:
        argv = [*image.entrypoint, *image.command]
    if not argv:
        raise ConfigError("no command specified")
    return _with_security(
        container, pod, image, argv, variables, container.get("workingDir") or image.working_directory
    )


def _with_user(image: Image) -> Image:
    """A program of the lab itself is user 0 in a user namespace that has no other; it has no capability either way."""
    if image.program and identities.own().refusal(image.uid, image.gid):
        return msgspec.structs.replace(image, uid=0, gid=0)
    return image


def _with_security(
    container: JsonObject, pod: JsonObject, image: Image, argv: list[str], variables: dict[str, str], cwd: str
) -> Command:
    pod_context = pod.get("spec", {}).get("securityContext") or {}
    context = _security_context(container, pod)
    if context.get("privileged"):
        raise ConfigError("privileged containers are not given in the lab")
    uid = _user(container, pod, image)
    _check_non_root(context, uid, _words(pod, container))
    # A runAsUser without runAsGroup has group 0, as in container runtimes.
    gid = image.gid if context.get("runAsUser") is None else 0
    wanted = context.get("capabilities") or {}
    groups = [*(pod_context.get("supplementalGroups") or [])]
    if pod_context.get("fsGroup") is not None:
        groups.append(pod_context["fsGroup"])
    group = int(gid if context.get("runAsGroup") is None else context["runAsGroup"])
    if missing := identities.own().refusal(uid, group, groups):
        raise ConfigError(missing)
    try:
        capabilities = privileges.mask(wanted.get("add") or [], wanted.get("drop") or [])
    except privileges.CapabilityError as error:
        raise ConfigError(str(error)) from error
    return Command(
        argv=argv,
        env=variables,
        cwd=cwd,
        uid=uid,
        gid=group,
        groups=groups,
        capabilities=0 if image.program else capabilities,
        program=image.program,
        tty=bool(container.get("tty")),
    )


def _check_non_root(context: JsonObject, uid: int, where: str) -> None:
    """In the words of a kubelet."""
    if uid == 0 and context.get("runAsNonRoot"):
        if context.get("runAsUser") is not None:
            raise ConfigError(f"container's runAsUser breaks non-root policy ({where})")
        raise ConfigError(f"container has runAsNonRoot and image will run as root ({where})")


def _words(pod: JsonObject, container: JsonObject) -> str:
    meta = pod["metadata"]
    return f'pod: "{meta["name"]}_{meta["namespace"]}({meta.get("uid", "")})", container: {container.get("name", "")}'


def has_read_only_root(container: JsonObject) -> bool:
    return bool((container.get("securityContext") or {}).get("readOnlyRootFilesystem"))


def withheld(container: JsonObject) -> list[str]:
    """What the container asks for and starts without."""
    context = container.get("securityContext") or {}
    found = privileges.withheld((context.get("capabilities") or {}).get("add") or [])
    return [
        *(f"capability {name}" for name in found),
        *(["allowPrivilegeEscalation"] if context.get("allowPrivilegeEscalation") else []),
    ]
