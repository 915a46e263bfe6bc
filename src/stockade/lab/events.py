"""core/v1 Events: what the lab's components tell the user about an object (``kubectl describe`` shows them).

In: an object and what happened to it. Out: an Event in the object's namespace; the same thing happening again raises
``count`` and ``lastTimestamp`` of the first one instead of making a second (API: Event v1 core, fields count, series).
Called by the kubelet part and by every controller. Recording an event never fails its caller: a namespace that is
being deleted refuses new objects, and that must not stop a controller.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from stockade.lab.apiserver.registry import ApiError, JsonObject, Registry

NORMAL, WARNING = "Normal", "Warning"

_REMEMBERED = 2048
"""Events kept in mind for counting; the oldest is forgotten first and a repeat of it becomes a new Event."""

_Key = tuple[str, str, str, str, str]

log = logging.getLogger(__name__)


def timestamp() -> str:
    """Now, as metav1.Time is written: RFC 3339, whole seconds, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class EventRecorder:
    """Records events of one component, e.g. ``EventRecorder(registry, "kubelet", "lab-node-1")``."""

    def __init__(
        self, registry: Registry, component: str, host: str = "", clock: Callable[[], str] = timestamp
    ) -> None:
        self._registry = registry
        self._component = component
        self._host = host
        self._clock = clock
        self._seen: OrderedDict[_Key, tuple[str, str]] = OrderedDict()
        self._last = 0

    def event(self, obj: JsonObject, type: str, reason: str, message: str, field_path: str = "") -> None:  # noqa: A002 - the API's word
        """Record that ``reason`` (CamelCase) happened to ``obj``. ``type`` is "Normal" or "Warning";
        ``field_path`` names the part meant, e.g. ``spec.containers{web}``."""
        involved = _reference(obj, field_path)
        key = (str(involved.get("uid") or involved["name"]), type, reason, message, field_path)
        try:
            if not self._count(key):
                self._create(key, involved, type, reason, message)
        except ApiError as error:
            log.debug("event %s of %s not recorded: %s", reason, involved["name"], error)

    def _count(self, key: _Key) -> bool:
        """Count a repeat; False when there is no earlier event, or it was deleted."""
        place = self._seen.get(key)
        if place is None:
            return False
        now = self._clock()

        def again(event: JsonObject) -> None:
            event["count"] = int(event.get("count") or 1) + 1
            event["lastTimestamp"] = now

        try:
            self._registry.mutate("events", *place, again)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            del self._seen[key]
            return False
        self._seen.move_to_end(key)
        return True

    def _moment(self) -> int:
        """Nanoseconds, never the same twice: names by it list, and ``kubectl describe`` shows, events in the order they came."""
        self._last = max(self._last + 1, time.time_ns())
        return self._last

    def _create(self, key: _Key, involved: JsonObject, type: str, reason: str, message: str) -> None:  # noqa: A002 - the API's word
        now = self._clock()
        namespace = involved.get("namespace") or "default"
        name = f"{involved['name']}.{self._moment():x}"
        source = {"component": self._component} | ({"host": self._host} if self._host else {})
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "type": type,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "eventTime": None,
            "source": source,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }
        self._registry.create("events", namespace, event)
        self._seen[key] = (namespace, name)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


def _reference(obj: JsonObject, field_path: str) -> JsonObject:
    """The ObjectReference by which ``kubectl describe`` finds the event again (it asks by involvedObject.uid)."""
    meta = obj["metadata"]
    reference = {
        "kind": obj.get("kind", ""),
        "namespace": meta.get("namespace", ""),
        "name": meta["name"],
        "uid": meta.get("uid", ""),
        "apiVersion": obj.get("apiVersion", ""),
        "resourceVersion": meta.get("resourceVersion", ""),
        "fieldPath": field_path,
    }
    return {key: value for key, value in reference.items() if value}
