"""From a container's spec and its image to the command line, environment and files of its process. Pure.

Rules: Kubernetes API, Container v1 core: ``command`` replaces the image's entrypoint and its command, ``args`` replaces only the
command; ``$(NAME)`` is expanded from the container's environment, ``$$(NAME)`` is not; Pod DNS (dnsPolicy, dnsConfig), hostAliases.
Called by the kubelet part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stockade.lab.images.image import Image
from stockade.lab.node import identities, privileges
from stockade.lab.node.spawner import Command

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
JsonObject = dict[str, Any]


class ConfigError(Exception):
    """The spec asks for what cannot be given; the container waits with CreateContainerConfigError."""


def expand(text: str, environment: Mapping[str, str]) -> str:
    """$(NAME) by its value; unknown names stay as they are; ``$$`` is a literal ``$``."""

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return environment.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


def environment(container: JsonObject, pod: JsonObject, image: Image, hostname: str) -> dict[str, str]:
    home = "/" if _user(container, pod, image) else "/root"
    result = {"HOME": home, **image.environment, "HOSTNAME": hostname}
    if container.get("tty"):
        result.setdefault("TERM", "xterm")
    if container.get("envFrom"):
        raise ConfigError("envFrom is not supported in the lab")
    declared: dict[str, str] = {}
    for entry in container.get("env") or []:
        source = entry.get("valueFrom")
        declared[entry["name"]] = (
            expand(entry.get("value") or "", declared)
            if not source
            else _from_source(source, pod, entry["name"])
        )
    return result | declared


def _user(container: JsonObject, pod: JsonObject, image: Image) -> int:
    user = _security_context(container, pod).get("runAsUser")
    return image.uid if user is None else int(user)


def _security_context(container: JsonObject, pod: JsonObject) -> JsonObject:
    """The container's own fields come before the pod's."""
    return (pod.get("spec", {}).get("securityContext") or {}) | (container.get("securityContext") or {})


def _from_source(source: JsonObject, pod: JsonObject, name: str) -> str:
    path = (source.get("fieldRef") or {}).get("fieldPath")
    if not path:
        raise ConfigError(f"env {name}: only value and valueFrom.fieldRef are supported in the lab")
    return field_value(pod, path)


def field_value(pod: JsonObject, path: str) -> str:
    """Downward API: the fields that ``fieldRef`` may name."""
    meta, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    match = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path)
    if match:
        return str((meta.get(match[1]) or {}).get(match[2], ""))
    values = {
        "metadata.name": meta.get("name"),
        "metadata.namespace": meta.get("namespace"),
        "metadata.uid": meta.get("uid"),
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName"),
        "status.hostIP": status.get("hostIP"),
        "status.hostIPs": ",".join(entry["ip"] for entry in status.get("hostIPs") or []),
        "status.podIP": status.get("podIP"),
        "status.podIPs": ",".join(entry["ip"] for entry in status.get("podIPs") or []),
    }
    if path not in values:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(values[path] or "")


def build(container: JsonObject, pod: JsonObject, image: Image, hostname: str) -> Command:
    """What the container's first process executes. Raises ConfigError."""
    variables = environment(container, pod, image, hostname)
    entrypoint, arguments = container.get("command"), container.get("args")
    if entrypoint:
        argv = [*entrypoint, *(arguments or [])]
        argv = [expand(item, variables) for item in argv]
    elif arguments:
        argv = [*image.entrypoint, *(expand(item, variables) for item in arguments)]
    else:
        argv = [*image.entrypoint, *image.command]
    if not argv:
        raise ConfigError("no command specified")
    return _with_security(
        container, pod, image, argv, variables, container.get("workingDir") or image.working_directory
    )


def _with_security(
    container: JsonObject, pod: JsonObject, image: Image, argv: list[str], variables: dict[str, str], cwd: str
) -> Command:
    pod_context = pod.get("spec", {}).get("securityContext") or {}
    context = _security_context(container, pod)
    if context.get("privileged"):
        raise ConfigError("privileged containers are not given in the lab")
    uid = _user(container, pod, image)
    # A runAsUser without runAsGroup has group 0, as in container runtimes.
    gid = image.gid if context.get("runAsUser") is None else 0
    if uid == 0 and context.get("runAsNonRoot"):
        raise ConfigError("container has runAsNonRoot and image will run as root")
    wanted = context.get("capabilities") or {}
    groups = [*(pod_context.get("supplementalGroups") or [])]
    if pod_context.get("fsGroup") is not None:
        groups.append(pod_context["fsGroup"])
    group = int(context.get("runAsGroup") or gid)
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


def hostname(pod: JsonObject, node_name: str) -> str:
    spec = pod.get("spec", {})
    if spec.get("hostNetwork"):
        return node_name
    return str(spec.get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")


def files(pod: JsonObject, name: str, cluster_dns: str, node_resolv_conf: str) -> dict[str, str]:
    """/etc/resolv.conf, /etc/hosts and /etc/hostname as the pod shall see them."""
    return {
        "/etc/resolv.conf": _resolv_conf(pod, cluster_dns, node_resolv_conf),
        "/etc/hosts": _hosts(pod, name),
        "/etc/hostname": f"{name}\n",
    }


def _resolv_conf(pod: JsonObject, cluster_dns: str, node_resolv_conf: str) -> str:
    spec = pod.get("spec", {})
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    if policy == "Default":
        return node_resolv_conf
    config = spec.get("dnsConfig") or {}
    servers, searches, options = [], [], {}
    if policy != "None":
        servers = [cluster_dns]
        searches = [f"{pod['metadata']['namespace']}.svc.cluster.local", "svc.cluster.local", "cluster.local"]
        # A real kubelet writes ndots:5 only. The other two bound a look-up that a policy denies (default: 5 s x 2 per name).
        options = {"ndots": "5", "timeout": "1", "attempts": "2"}
    servers += config.get("nameservers") or []
    searches += config.get("searches") or []
    options |= {entry["name"]: entry.get("value") for entry in config.get("options") or []}
    lines = [f"search {' '.join(dict.fromkeys(searches))}"] if searches else []
    lines += [f"nameserver {server}" for server in dict.fromkeys(servers)]
    if options:
        lines.append(
            "options "
            + " ".join(name if value is None else f"{name}:{value}" for name, value in options.items())
        )
    return "\n".join(lines) + "\n"


def _hosts(pod: JsonObject, name: str) -> str:
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
    ]
    subdomain = pod.get("spec", {}).get("subdomain")
    own = (
        f"{name}.{subdomain}.{pod['metadata']['namespace']}.svc.cluster.local\t{name}" if subdomain else name
    )
    lines += [f"{entry['ip']}\t{own}" for entry in pod.get("status", {}).get("podIPs") or []]
    for alias in pod.get("spec", {}).get("hostAliases") or []:
        lines.append(f"{alias['ip']}\t" + "\t".join(alias.get("hostnames") or []))
    return "\n".join(lines) + "\n"
