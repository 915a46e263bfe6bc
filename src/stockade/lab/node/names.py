"""What a pod is called inside, and whom it asks for names: hostname, /etc/hosts, /etc/resolv.conf. Pure.

Rules: Kubernetes API, PodSpec v1 core (hostname, subdomain, setHostnameAsFQDN, hostAliases, dnsPolicy, dnsConfig). Called by the kubelet part.
"""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]


LONGEST = 64  # sethostname(2)


class HostnameError(Exception):
    """setHostnameAsFQDN asks for more than a kernel takes."""


def hostname(pod: JsonObject, node_name: str) -> str:
    spec = pod.get("spec", {})
    if spec.get("hostNetwork"):
        return node_name
    return str(spec.get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")


def full_name(pod: JsonObject, name: str) -> str:
    """As DNS knows a pod with a subdomain; else its hostname."""
    subdomain = pod.get("spec", {}).get("subdomain")
    return f"{name}.{subdomain}.{pod['metadata']['namespace']}.svc.cluster.local" if subdomain else name


def kernel_hostname(pod: JsonObject, name: str) -> str:
    """What hostname(1) prints. Raises HostnameError."""
    if not pod.get("spec", {}).get("setHostnameAsFQDN"):
        return name
    full = full_name(pod, name)
    if len(full) > LONGEST:
        raise HostnameError(
            f"failed to construct FQDN from pod hostname, {full} is longer than {LONGEST} characters"
        )
    return full


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
    config = spec.get("dnsConfig") or {}
    servers: list[str] = []
    searches: list[str] = []
    options: dict[str, str | None] = {}
    if policy == "Default":
        if not config:
            return node_resolv_conf
        servers, searches, options = _parsed(node_resolv_conf)
    elif policy != "None":
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


def _parsed(text: str) -> tuple[list[str], list[str], dict[str, str | None]]:
    """Servers, search list and options of a resolv.conf(5)."""
    rows = [line.split() for line in text.splitlines() if line.split()]
    servers = [word for row in rows if row[0] == "nameserver" for word in row[1:2]]
    searches = [word for row in rows if row[0] == "search" for word in row[1:]]
    pairs = [word.partition(":") for row in rows if row[0] == "options" for word in row[1:]]
    return servers, searches, {name: value if colon else None for name, colon, value in pairs}


def _hosts(pod: JsonObject, name: str) -> str:
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
    ]
    full = full_name(pod, name)
    own = name if full == name else f"{full}\t{name}"
    lines += [f"{entry['ip']}\t{own}" for entry in pod.get("status", {}).get("podIPs") or []]
    for alias in pod.get("spec", {}).get("hostAliases") or []:
        lines.append(f"{alias['ip']}\t" + "\t".join(alias.get("hostnames") or []))
    return "\n".join(lines) + "\n"
