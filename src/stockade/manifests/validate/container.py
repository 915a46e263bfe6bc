"""Validation of a pod's containers and init containers: names, images, ports, environment, mounts, probes."""

from __future__ import annotations

import re

from stockade.manifests.paths import Path
from stockade.manifests.validate import names
from stockade.manifests.validate.access import JsonObject, child, children, text
from stockade.manifests.validate.errors import (
    FieldError,
    at_least_zero,
    each,
    invalid,
    not_found,
    not_supported,
    required,
    unique,
)

PROTOCOLS = ("SCTP", "TCP", "UDP")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_ENV_NAME = re.compile(r"[ -<>-~]+")
_ENV_TEXT = (
    "a valid environment variable name must consist only of printable ASCII characters other than '='"
    " (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '^[ -<>-~]+$')"
)


def containers(spec: JsonObject, path: Path, volumes: set[str]) -> list[FieldError]:
    """Both lists; names are unique over both."""
    seen: set[str] = set()
    errors: list[FieldError] = []
    host_network = spec.get("hostNetwork") is True
    if not children(spec, "containers"):
        errors.append(required((*path, "containers")))
    for key in ("containers", "initContainers"):
        for index, container in enumerate(children(spec, key)):
            at = (*path, key, index)
            errors += _name(container, at, seen)
            errors += _container(container, at, volumes)
            errors += _ports(container, at, host_network=host_network)
    return errors


def _name(container: JsonObject, path: Path, seen: set[str]) -> list[FieldError]:
    name, at = text(container, "name"), (*path, "name")
    if not name:
        return [required(at)]
    return each(at, name, names.dns_label) + unique(at, name, seen)


def _container(container: JsonObject, path: Path, volumes: set[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    image = text(container, "image")
    if not image:
        errors.append(required((*path, "image")))
    elif image != image.strip():
        errors.append(invalid((*path, "image"), image, "must not have leading or trailing whitespace"))
    for key, allowed in (
        ("imagePullPolicy", _PULL_POLICIES),
        ("terminationMessagePolicy", _MESSAGE_POLICIES),
    ):
        value = text(container, key)
        if value and value not in allowed:
            errors.append(not_supported((*path, key), value, allowed))
    for index, variable in enumerate(children(container, "env")):
        errors += _variable(variable, (*path, "env", index))
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(key) is not None:
            errors += _probe(child(container, key), (*path, key))
    return errors + _mounts(container, path, volumes)


def _ports(container: JsonObject, path: Path, *, host_network: bool) -> list[FieldError]:
    seen: set[str] = set()
    errors: list[FieldError] = []
    for index, port in enumerate(children(container, "ports")):
        errors += _port(port, (*path, "ports", index), seen, host_network=host_network)
    return errors


def _port(port: JsonObject, path: Path, seen: set[str], *, host_network: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    name, number, host = text(port, "name"), port.get("containerPort") or 0, port.get("hostPort") or 0
    if name:
        wrong = each((*path, "name"), name, names.port_name)
        errors += wrong or unique((*path, "name"), name, seen)
    if number == 0:
        errors.append(required((*path, "containerPort")))
    else:
        errors += [invalid((*path, "containerPort"), number, t) for t in names.port_number(number)]
    if host:
        errors += [invalid((*path, "hostPort"), host, t) for t in names.port_number(host)]
        if host_network and host != number:
            detail = "must match `containerPort` when `hostNetwork` is true"
            errors.append(invalid((*path, "containerPort"), number, detail))
    protocol = port.get("protocol")
    if protocol is not None and protocol not in PROTOCOLS:
        errors.append(not_supported((*path, "protocol"), protocol, PROTOCOLS))
    return errors


def _variable(variable: JsonObject, path: Path) -> list[FieldError]:
    name = text(variable, "name")
    if not name:
        return [required((*path, "name"))]
    found = [] if _ENV_NAME.fullmatch(name) else [invalid((*path, "name"), name, _ENV_TEXT)]
    if text(variable, "value") and variable.get("valueFrom") is not None:
        found.append(invalid((*path, "valueFrom"), "", "may not be specified when `value` is not empty"))
    return found


def _mounts(container: JsonObject, path: Path, volumes: set[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, mount in enumerate(children(container, "volumeMounts")):
        at = (*path, "volumeMounts", index)
        name, target = text(mount, "name"), text(mount, "mountPath")
        if not name:
            errors.append(required((*at, "name")))
        elif name not in volumes:
            errors.append(not_found((*at, "name"), name))
        if not target:
            errors.append(required((*at, "mountPath")))
        elif target in seen:
            errors.append(invalid((*at, "mountPath"), target, "must be unique"))
        seen.add(target)
        errors += _sub_path(mount, (*path, "volumeMounts"))
    return errors


def _sub_path(mount: JsonObject, path: Path) -> list[FieldError]:
    """Kubernetes reports these fields without the mount's index."""
    errors: list[FieldError] = []
    for key in ("subPath", "subPathExpr"):
        value = text(mount, key)
        if value.startswith("/"):
            errors.append(invalid((*path, key), value, "must be a relative path"))
        if ".." in value.split("/"):
            errors.append(invalid((*path, key), value, "must not contain '..'"))
    if text(mount, "subPath") and text(mount, "subPathExpr"):
        expression = text(mount, "subPathExpr")
        errors.append(
            invalid((*path, "subPathExpr"), expression, "subPathExpr and subPath are mutually exclusive")
        )
    return errors


def _probe(probe: JsonObject, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    given = [key for key in _HANDLERS if probe.get(key) is not None]
    if not given:
        errors.append(required(path, "must specify a handler type"))
    for key in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        errors += at_least_zero((*path, key), probe.get(key))
    for key in given:
        port = child(probe, key).get("port")
        if isinstance(port, int):
            errors += [invalid((*path, key, "port"), port, t) for t in names.port_number(port)]
        elif isinstance(port, str):
            errors += each((*path, key, "port"), port, names.port_name)
    return errors
