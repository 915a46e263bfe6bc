"""The resources that hold content, and which resource a kind is: for the namespace and garbage controllers."""

from __future__ import annotations

from stockade.lab.apiserver.kinds import KINDS

RESOURCE_OF = {(kind.api_version, kind.kind): kind.resource for kind in KINDS if kind.namespaced}
"""apiVersion and kind → resource, as the Registry names it."""

NAMESPACED = tuple(RESOURCE_OF.values())

CLUSTER_OF = {(kind.api_version, kind.kind): kind.resource for kind in KINDS if not kind.namespaced}
