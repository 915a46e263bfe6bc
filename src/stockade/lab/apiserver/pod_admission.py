"""The admission plugin ServiceAccount: as whom a pod runs, and how it can prove it.

In: a new pod, to be edited in place, and its account (None where there is none). Out: the volume ``kube-api-access-…`` with token, certificate
and namespace in every container, unless pod or account say no; imagePullSecrets of the account. Called by ``ObjectStore`` for each new pod.
"""

from __future__ import annotations

import secrets
from typing import Final

from stockade.lab.apiserver import failures
from stockade.lab.apiserver.kinds import Kind
from stockade.lab.apiserver.registry import JsonObject

MOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
ROOT_CA: Final = "kube-root-ca.crt"
DEFAULT: Final = "default"
_PREFIX: Final = "kube-api-access-"
_SAFE: Final = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX: Final = 5
_SECONDS: Final = 3607


def admit(kind: Kind, pod: JsonObject, account: JsonObject | None) -> None:
    """Raises ApiError Forbidden. A namespace may be so young that its default account is still to come: the pod waits for it on its node."""
    spec, meta = pod["spec"], pod["metadata"]
    name = spec["serviceAccountName"]
    if account is None and name != DEFAULT:
        why = (
            f'error looking up service account {meta["namespace"]}/{name}: serviceaccount "{name}" not found'
        )
        raise failures.forbidden(kind, meta["name"], why)
    if not spec.get("imagePullSecrets") and (account or {}).get("imagePullSecrets"):
        spec["imagePullSecrets"] = list((account or {})["imagePullSecrets"])
    if _wants_token(spec, account or {}):
        _mount(spec)


def _wants_token(spec: JsonObject, account: JsonObject) -> bool:
    """The pod's word comes before the account's."""
    for said in (spec.get("automountServiceAccountToken"), account.get("automountServiceAccountToken")):
        if said is not None:
            return bool(said)
    return True


def _mount(spec: JsonObject) -> None:
    name = _PREFIX + "".join(secrets.choice(_SAFE) for _ in range(_SUFFIX))
    used = False
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        mounts = container["volumeMounts"] = list(container.get("volumeMounts") or [])
        if all(mount.get("mountPath") != MOUNT_PATH for mount in mounts):
            mounts.append({"name": name, "readOnly": True, "mountPath": MOUNT_PATH})
            used = True
    if used:
        spec["volumes"] = [*(spec.get("volumes") or []), _volume(name)]


def _volume(name: str) -> JsonObject:
    namespace = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": _SECONDS, "path": "token"}},
        {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}
