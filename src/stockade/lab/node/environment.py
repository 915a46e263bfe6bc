"""A container's environment: what its spec says, what its image says, and the Services of its namespace.

In: container, pod, image, and where configmaps, secrets and services are looked up. Out: variables, or ConfigError. Rules: Kubernetes API, EnvVar
v1 core: ``env`` comes over ``envFrom``, later over earlier; ``$(NAME)`` refers to what was declared before and to Services. Service variables:
kubelet's (enableServiceLinks; of namespace default the Service kubernetes always). Called by ``command``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from stockade.lab.node import fields
from stockade.lab.node.volumes.content import config_data, secret_data

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
_MASTER = ("default", "kubernetes")
JsonObject = dict[str, Any]


class ConfigError(Exception):
    """The spec asks for what cannot be given; the container waits with CreateContainerConfigError."""


class Objects(Protocol):
    """Part of the registry."""

    def find(self, resource: str, namespace: str, name: str) -> JsonObject | None: ...

    def list(self, resource: str, namespace: str = "") -> list[JsonObject]: ...


def expand(text: str, environment: Mapping[str, str]) -> str:
    """$(NAME) by its value; unknown names stay as they are; ``$$`` is a literal ``$``."""

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return environment.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


def expand_all(text: str, environment: Mapping[str, str]) -> str:
    """As ``expand``, but an unknown name is an error (subPathExpr)."""
    missing = [
        match[2] for match in _REFERENCE.finditer(text) if match[1] != "$" and match[2] not in environment
    ]
    if missing:
        raise ConfigError(f"missing value for {missing[0]!r} in {text!r}")
    return expand(text, environment)


def declared(container: JsonObject, pod: JsonObject, objects: Objects) -> dict[str, str]:
    """What the pod's spec and the cluster's Services say, without the image: what ``$(NAME)`` in a command line refers to."""
    namespace = pod["metadata"]["namespace"]
    found: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        found |= _from_all(source, namespace, objects)
    found = services(pod, objects) | found
    for entry in container.get("env") or []:
        source = entry.get("valueFrom")
        value = (
            expand(entry.get("value") or "", found)
            if not source
            else _from_one(source, pod, container, objects)
        )
        if value is not None:
            found[entry["name"]] = value
    return found


def _from_all(source: JsonObject, namespace: str, objects: Objects) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    data: dict[str, bytes] = {}
    for field, resource, read in (
        ("configMapRef", "configmaps", config_data),
        ("secretRef", "secrets", secret_data),
    ):
        reference = source.get(field)
        if reference:
            found = objects.find(resource, namespace, str(reference.get("name")))
            if found is None and not reference.get("optional"):
                raise ConfigError(f'{resource[:-1]} "{reference.get("name")}" not found')
            data |= read(found) if found is not None else {}
    return {prefix + key: value.decode(errors="replace") for key, value in data.items()}


def _from_one(source: JsonObject, pod: JsonObject, container: JsonObject, objects: Objects) -> str | None:
    """None: optional, and not there."""
    try:
        if source.get("fieldRef"):
            return fields.value(pod, source["fieldRef"].get("fieldPath") or "")
        if source.get("resourceFieldRef"):
            return fields.resource(pod, source["resourceFieldRef"], container["name"])
    except fields.FieldError as error:
        raise ConfigError(str(error)) from error
    namespace = pod["metadata"]["namespace"]
    for field, resource, word, read in (
        ("configMapKeyRef", "configmaps", "ConfigMap", config_data),
        ("secretKeyRef", "secrets", "Secret", secret_data),
    ):
        if source.get(field):
            return _key(source[field], namespace, resource, word, objects, read)
    raise ConfigError(f"valueFrom {', '.join(sorted(source))} is not supported in the lab")


def _key(
    reference: JsonObject, namespace: str, resource: str, word: str, objects: Objects, read: Any
) -> str | None:
    name, key = str(reference.get("name")), reference.get("key") or ""
    found = objects.find(resource, namespace, name)
    data: dict[str, bytes] = read(found) if found is not None else {}
    if key in data:
        return data[key].decode(errors="replace")
    if reference.get("optional"):
        return None
    if found is None:
        raise ConfigError(f'{resource[:-1]} "{name}" not found')
    raise ConfigError(f"couldn't find key {key} in {word} {namespace}/{name}")


def services(pod: JsonObject, objects: Objects) -> dict[str, str]:
    """``WEB_SERVICE_HOST``, ``WEB_PORT_80_TCP_ADDR`` and the like, of Services with an address."""
    namespace, wanted = pod["metadata"]["namespace"], []
    if pod.get("spec", {}).get("enableServiceLinks") is not False:
        wanted = objects.list("services", namespace)
    master = objects.find("services", *_MASTER)
    if master is not None and (namespace != _MASTER[0] or not wanted):
        wanted = [*wanted, master]
    found: dict[str, str] = {}
    for service in wanted:
        spec = service.get("spec", {})
        if spec.get("clusterIP") not in (None, "", "None") and spec.get("ports"):
            prefix = service["metadata"]["name"].upper().replace("-", "_")
            found |= _service(prefix, spec["clusterIP"], spec["ports"])
    return found


def _service(prefix: str, address: str, ports: Iterable[JsonObject]) -> dict[str, str]:
    found: dict[str, str] = {f"{prefix}_SERVICE_HOST": address}
    host = f"[{address}]" if ":" in address else address
    for index, port in enumerate(ports):
        number, protocol = str(port["port"]), port.get("protocol") or "TCP"
        url = f"{protocol.lower()}://{host}:{number}"
        if not index:
            found |= {f"{prefix}_SERVICE_PORT": number, f"{prefix}_PORT": url}
        if port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = number
        each = f"{prefix}_PORT_{number}_{protocol.upper()}"
        found |= {
            each: url,
            f"{each}_PROTO": protocol.lower(),
            f"{each}_PORT": number,
            f"{each}_ADDR": address,
        }
    return found
