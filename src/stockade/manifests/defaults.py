"""The API server's defaults, applied in place before validation and storage (reference semantics 1.1 and 7).

In: a raw object whose field types are right. Called by the lab's API server for every create and update, and by
``manifests.load``, so that a file means what it would mean on the cluster. Admission (service account, tolerations, addresses)
is not here: that is the server's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stockade.manifests.validate.access import JsonObject, child, children

_POD = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "terminationGracePeriodSeconds": 30,
    "schedulerName": "default-scheduler",
    "enableServiceLinks": True,
}
_CONTAINER = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_FILES_MODE = 0o644
_EXTERNAL = ("NodePort", "LoadBalancer")


def apply_defaults(obj: JsonObject) -> None:
    """Fills what is absent; never changes what is given."""
    own = _DEFAULTERS.get((obj.get("apiVersion"), obj.get("kind")))
    if own is not None:
        spec = obj.get("spec")
        if spec is None:
            spec = obj["spec"] = {}
        own(spec)


def _fill(target: JsonObject, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _fill_empty(target: JsonObject, values: dict[str, Any]) -> None:
    """For plain strings and numbers of the API, where empty is absent."""
    for key, value in values.items():
        if not target.get(key):
            target[key] = value


def _network_policy(spec: JsonObject) -> None:
    if spec.get("podSelector") is None:
        spec["podSelector"] = {}
    for direction in ("ingress", "egress"):
        for rule in children(spec, direction):
            for port in children(rule, "ports"):
                _fill(port, {"protocol": "TCP"})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def pod_spec(spec: JsonObject) -> None:
    """A pod's spec, or that of a template."""
    _fill(spec, {key: value for key, value in _POD.items() if not isinstance(value, str)})
    _fill_empty(spec, {key: value for key, value in _POD.items() if isinstance(value, str)})
    _fill(spec, {"securityContext": {}})
    for key in ("containers", "initContainers", "ephemeralContainers"):
        for container in children(spec, key):
            _container(container, host_network=spec.get("hostNetwork") is True)
    for volume in children(spec, "volumes"):
        _volume(volume)
    if spec.get("serviceAccountName"):
        _fill_empty(spec, {"serviceAccount": spec["serviceAccountName"]})


def _container(container: JsonObject, *, host_network: bool) -> None:
    image = container.get("image") or ""
    _fill_empty(container, {**_CONTAINER, "imagePullPolicy": _pull_policy(image)})
    _fill(container, {"resources": {}})
    for port in children(container, "ports"):
        _fill_empty(port, {"protocol": "TCP"})
        if host_network and not port.get("hostPort") and port.get("containerPort"):
            port["hostPort"] = port["containerPort"]
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(key) is not None:
            probe = child(container, key)
            _fill_empty(probe, _PROBE)
            if probe.get("httpGet") is not None:
                _fill_empty(child(probe, "httpGet"), {"path": "/", "scheme": "HTTP"})
    for variable in children(container, "env"):
        reference = child(child(variable, "valueFrom"), "fieldRef")
        if reference:
            _fill_empty(reference, {"apiVersion": "v1"})


def _pull_policy(image: str) -> str:
    """A digest or a tag other than latest is pulled once."""
    name = image.rpartition("/")[2]
    if "@" in name:
        return "IfNotPresent"
    tag = name.partition(":")[2] or "latest"
    return "Always" if tag == "latest" else "IfNotPresent"


def _volume(volume: JsonObject) -> None:
    sources = [key for key in volume if key != "name" and volume[key] is not None]
    if not sources:
        volume["emptyDir"] = {}
    for key in ("secret", "configMap", "downwardAPI", "projected"):
        if volume.get(key) is not None:
            _fill(child(volume, key), {"defaultMode": _FILES_MODE})
    for source in children(child(volume, "projected"), "sources"):
        if source.get("serviceAccountToken") is not None:
            _fill(child(source, "serviceAccountToken"), {"expirationSeconds": 3600})
    if volume.get("hostPath") is not None:
        _fill(child(volume, "hostPath"), {"type": ""})


def _service(spec: JsonObject) -> None:
    _fill_empty(spec, {"type": "ClusterIP", "sessionAffinity": "None"})
    kind = spec["type"]
    for port in children(spec, "ports"):
        _fill_empty(port, {"protocol": "TCP"})
        if port.get("targetPort") in (None, 0, "") and port.get("port"):
            port["targetPort"] = port["port"]
    if kind != "ExternalName":
        _fill(spec, {"internalTrafficPolicy": "Cluster"})
    if kind in _EXTERNAL:
        _fill_empty(spec, {"externalTrafficPolicy": "Cluster"})
    if kind == "LoadBalancer":
        _fill(spec, {"allocateLoadBalancerNodePorts": True})
    if spec["sessionAffinity"] == "ClientIP" and not spec.get("sessionAffinityConfig"):
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}


def _template(spec: JsonObject) -> None:
    template = spec.get("template")
    if template is not None:
        if template.get("spec") is None:
            template["spec"] = {}
        pod_spec(template["spec"])


def _deployment(spec: JsonObject) -> None:
    _fill(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "strategy": {}})
    strategy = child(spec, "strategy")
    _fill_empty(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        _fill(strategy, {"rollingUpdate": {}})
        _fill(child(strategy, "rollingUpdate"), {"maxUnavailable": "25%", "maxSurge": "25%"})
    _template(spec)


def _replica_set(spec: JsonObject) -> None:
    _fill(spec, {"replicas": 1})
    _template(spec)


def _stateful_set(spec: JsonObject) -> None:
    _fill(spec, {"replicas": 1, "revisionHistoryLimit": 10, "updateStrategy": {}})
    _fill_empty(spec, {"podManagementPolicy": "OrderedReady"})
    strategy = child(spec, "updateStrategy")
    _fill_empty(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        _fill(strategy, {"rollingUpdate": {}})
        _fill(child(strategy, "rollingUpdate"), {"partition": 0})
    _fill(spec, {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"}})
    _template(spec)


def _daemon_set(spec: JsonObject) -> None:
    _fill(spec, {"revisionHistoryLimit": 10, "updateStrategy": {}})
    strategy = child(spec, "updateStrategy")
    _fill_empty(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        _fill(strategy, {"rollingUpdate": {}})
        _fill(child(strategy, "rollingUpdate"), {"maxUnavailable": 1, "maxSurge": 0})
    _template(spec)


def _job(spec: JsonObject) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _fill(spec, {"parallelism": 1, "backoffLimit": 6, "suspend": False, "completionMode": "NonIndexed"})
    _fill(spec, {"podReplacementPolicy": "TerminatingOrFailed"})
    _template(spec)


def _cron_job(spec: JsonObject) -> None:
    _fill_empty(spec, {"concurrencyPolicy": "Allow"})
    _fill(spec, {"suspend": False, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1})


def _namespace(spec: JsonObject) -> None:
    _fill(spec, {"finalizers": ["kubernetes"]})


_DEFAULTERS: dict[tuple[Any, Any], Callable[[JsonObject], None]] = {
    ("networking.k8s.io/v1", "NetworkPolicy"): _network_policy,
    ("v1", "Pod"): pod_spec,
    ("v1", "Service"): _service,
    ("v1", "Namespace"): _namespace,
    ("v1", "ReplicationController"): _replica_set,
    ("apps/v1", "Deployment"): _deployment,
    ("apps/v1", "ReplicaSet"): _replica_set,
    ("apps/v1", "StatefulSet"): _stateful_set,
    ("apps/v1", "DaemonSet"): _daemon_set,
    ("batch/v1", "Job"): _job,
    ("batch/v1", "CronJob"): _cron_job,
}
