"""Where one pod's volumes find what they show: configmaps and secrets of its namespace, tokens of its service account.

In: the parts of the node, the pod's newest object. Out: ``content.Sources``. A token is kept until four fifths of its life are over, and read
again then, as by a kubelet. Made by the pod's worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from stockade.lab.node.parts import Parts
from stockade.lab.node.volumes.content import MissingError

JsonObject = dict[str, Any]
_RENEWED_AFTER: Final = 0.8
_AT_LEAST: Final = 600  # seconds


class PodSources:
    def __init__(self, parts: Parts, pod: Callable[[], JsonObject]) -> None:
        self._parts = parts
        self._pod = pod
        self._tokens: dict[tuple[str, int], tuple[float, bytes]] = {}

    def find(self, resource: str, name: str) -> JsonObject | None:
        return self._parts.registry.find(resource, self._pod()["metadata"]["namespace"], name)

    def token(self, audience: str, seconds: int) -> bytes:
        renew, held = self._tokens.get((audience, seconds), (0.0, b""))
        if time.time() >= renew:
            held = self._fresh(audience, max(seconds, _AT_LEAST))
            self._tokens[audience, seconds] = (time.time() + _RENEWED_AFTER * seconds, held)
        return held

    def _fresh(self, audience: str, seconds: int) -> bytes:
        pod = self._pod()
        name = pod["spec"].get("serviceAccountName") or "default"
        account = self.find("serviceaccounts", name)
        if account is None:
            raise MissingError(f'failed to fetch token: serviceaccounts "{name}" not found')
        return self._parts.tokens.issue(account, seconds, [audience] if audience else None, pod).encode()
