"""The lab's registry of objects: what POST, PUT, PATCH and DELETE mean, without HTTP.

In: plain JSON objects, from the handlers of this package and, through the ``Registry`` protocol, from the node, the
controllers, DNS and the Service proxy. Out: stored objects and changes.

    create/replace/mutate ─► admission, defaults, validation ─► Storage (SQLite) ─► index in memory ─► History ─► watchers

Who owns an object: what comes in is copied before it is edited; what is stored is never edited again, only replaced; so
what goes out may be shared freely and must not be modified. Everything here is synchronous, hence atomic on the one loop.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import msgspec

from stockade.lab.apiserver import admission, managed, pod_admission, rules
from stockade.lab.apiserver.crd import checking, definition
from stockade.lab.apiserver.crd.definition import CLEANUP, DEFINITIONS
from stockade.lab.apiserver.failures import (
    Cause,
    already_exists,
    bad_request,
    forbidden,
    invalid,
    method_not_allowed,
    not_found,
)
from stockade.lab.apiserver.history import History, Record
from stockade.lab.apiserver.identity import (
    SERVER_OWNED,
    Managers,
    carry_over,
    check_preconditions,
    desired,
    disown,
    own,
    with_status,
)
from stockade.lab.apiserver.kinds import Catalogue, Kind
from stockade.lab.apiserver.quota import MOST_BYTES, Quota
from stockade.lab.apiserver.registry import ApiError, Change, JsonObject
from stockade.lab.apiserver.retention import Retention
from stockade.lab.apiserver.storage import Storage
from stockade.lab.apiserver.termination import FOREGROUND, Termination, is_finished, plan_deletion

SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: random names spell no words
_encode = msgspec.json.encode
_decode = msgspec.json.decode


class Entry(msgspec.Struct, frozen=True):
    """A stored object and the same as JSON, so that lists and watches need not encode it again."""

    object: JsonObject
    raw: bytes


def _utc_now() -> datetime:
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """metav1.Time: whole seconds, Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class ObjectStore:
    """Implements ``Registry``; the keyword arguments beyond it serve the HTTP handlers. ``families``: of the cluster's Services."""

    def __init__(
        self,
        storage: Storage | None = None,
        clock: Callable[[], datetime] = _utc_now,
        families: Sequence[str] = ("IPv4", "IPv6"),
        quota: int = MOST_BYTES,
    ) -> None:
        self._storage = storage or Storage()
        self.kinds = Catalogue()
        self._clock = clock
        self._families = families
        self._revision = self._storage.revision()
        self._index: dict[str, dict[tuple[str, str], Entry]] = {
            kind.resource: {} for kind in self.kinds.all()
        }
        self._retention = Retention(clock)
        self._quota = Quota(quota)
        self._histories = {kind.resource: History(self._revision) for kind in self.kinds.all()}
        self._load()

    def _load(self) -> None:
        """Definitions first: they say what else there is to load."""
        rows = sorted(self._storage.load(), key=lambda row: row[0] != DEFINITIONS)
        for resource, namespace, name, raw in rows:
            if resource in self._index:
                self._index[resource][namespace, name] = entry = Entry(_decode(raw), raw)
                self._quota.wrote(None, raw)
                if resource == DEFINITIONS:
                    self._serve(entry.object)
            if resource == "events":
                self._retention.wrote((namespace, name))

    @property
    def revision(self) -> int:
        """The newest resourceVersion."""
        return self._revision

    def now(self) -> str:
        """As timestamps are written."""
        return timestamp(self._clock())

    def history(self, resource: str) -> History:
        return self._histories[resource]

    def together(self) -> AbstractContextManager[None]:
        """What is written inside becomes durable at its end, all or nothing. For start-up: an exception must end the process."""
        return self._storage.together()

    def close(self) -> None:
        self._storage.close()

    # reading

    def entry(self, resource: str, namespace: str, name: str) -> Entry | None:
        return self._index[resource].get((namespace, name))

    def count(self, resource: str) -> int:
        return len(self._index[resource])

    def entries(self, resource: str, namespace: str = "") -> list[Entry]:
        """In the order of etcd's keys: namespace, then name."""
        held = self._index[resource]
        keys = sorted(key for key in held if key[0] == namespace) if namespace else sorted(held)
        return [held[key] for key in keys]

    def find(self, resource: str, namespace: str, name: str) -> JsonObject | None:
        entry = self.entry(resource, namespace, name)
        return entry.object if entry else None

    def get(self, resource: str, namespace: str, name: str) -> JsonObject:
        return self._stored(self.kinds.of(resource), namespace, name).object

    def list(self, resource: str, namespace: str = "") -> list[JsonObject]:
        return [entry.object for entry in self.entries(resource, namespace)]

    def serves(self, resource: str) -> bool:
        return self.kinds.has(resource)

    def custom_resources(self) -> dict[tuple[str, str], tuple[str, bool]]:
        custom = [kind for kind in self.kinds.all() if kind.custom is not None]
        return {(kind.api_version, kind.kind): (kind.resource, kind.namespaced) for kind in custom}

    async def watch(self, resource: str, namespace: str = "") -> AsyncIterator[Change]:
        """The ``Registry`` form: never fails, never ends. A consumer that fell behind gets the world once more."""
        history = self._histories[resource]
        known: dict[tuple[str, str], JsonObject] = {}
        seen = -1  # older than any floor: the first round lists
        while True:
            changes, seen = self._next_changes(resource, namespace, seen, known)
            for change in changes:
                yield change
            if not changes:  # nothing was yielded, so nothing can have happened meanwhile
                await history.changed()

    def _next_changes(
        self, resource: str, namespace: str, seen: int, known: dict[tuple[str, str], JsonObject]
    ) -> tuple[Sequence[Change], int]:
        try:
            records = self._histories[resource].since(seen)
        except ApiError:
            return self._catch_up(resource, namespace, known), self._revision
        changes = []
        for record in records:
            key = _key(record.object)
            if namespace in ("", key[0]):
                changes.append(Change(record.type, record.object))
                known[key] = record.object
                if record.type == "DELETED":
                    del known[key]
        return changes, records[-1].revision if records else seen

    def _catch_up(
        self, resource: str, namespace: str, known: dict[tuple[str, str], JsonObject]
    ) -> Sequence[Change]:
        current = {_key(obj): obj for obj in self.list(resource, namespace)}
        changes = [Change("DELETED", obj) for key, obj in known.items() if key not in current]
        changes += [Change("MODIFIED" if key in known else "ADDED", obj) for key, obj in current.items()]
        known.clear()
        known.update(current)
        return changes

    # writing

    def create(
        self,
        resource: str,
        namespace: str,
        obj: JsonObject,
        *,
        managers: Managers | None = None,
        dry_run: bool = False,
    ) -> JsonObject:
        """``managers`` gives ``metadata.managedFields``, when defaults are in."""
        kind = self.kinds.of(resource)
        if kind.custom is not None and self._is_ending(resource):
            raise method_not_allowed("create not allowed while custom resource definition is terminating")
        new: JsonObject = _decode(_encode(obj))
        metadata = self._new_metadata(kind, namespace, new)
        self._check_namespace(kind, namespace, metadata["name"])
        new["apiVersion"], new["kind"] = _stored_version(kind), kind.kind
        rules.apply_defaults(kind, new)
        admission.prepare_create(kind, new)
        if kind.resource == "pods":
            account = new["spec"]["serviceAccountName"]
            pod_admission.admit(kind, new, self.find("serviceaccounts", namespace, account))
        _refuse(kind, new, rules.validate(kind, new))
        if (namespace, metadata["name"]) in self._index[resource]:
            raise already_exists(kind, metadata["name"])
        _refuse(kind, new, admission.allocate(kind, new, None, lambda: self.list(resource), self._families))
        self._establish(kind, new)
        own(new, None, managers or managed.of_part(kind, "", self.now()))
        self._quota.check(kind, new, None)
        return self._commit("ADDED", kind, new, None, dry_run=dry_run)

    def replace(
        self,
        resource: str,
        namespace: str,
        name: str,
        obj: JsonObject,
        *,
        subresource: str = "",
        managers: Managers | None = None,
        dry_run: bool = False,
    ) -> JsonObject:
        """PUT, and the last step of PATCH: as a client may do it, so with every check. ``managers`` None: as before."""
        kind = self.kinds.of(resource)
        old = self._stored(kind, namespace, name).object
        check_preconditions(kind, old, obj.get("metadata") or {})
        new: JsonObject = _decode(_encode(obj))
        new["apiVersion"], new["kind"] = _stored_version(kind), kind.kind
        if subresource == "status":
            new = {**_decode(_encode(old)), "status": new.get("status") or {}}
            if kind.custom is not None:
                rules.apply_defaults(kind, new)
                _refuse(kind, new, rules.validate(kind, new, old))
            own(new, old, managers)
            self._quota.check(kind, new, old)
            return self._update(kind, old, new, dry_run=dry_run)
        if subresource == admission.EPHEMERAL:
            new = admission.with_ephemeral_containers(_decode(_encode(old)), new)
        carry_over(kind, new, old)
        rules.apply_defaults(kind, new)
        admission.prepare_update(kind, new, old, subresource)
        _refuse(kind, new, rules.validate(kind, new, old))
        if subresource == admission.EPHEMERAL:
            _refuse(kind, new, admission.check_ephemeral_containers(new, old))
        _refuse(kind, new, admission.allocate(kind, new, old, lambda: self.list(resource), self._families))
        self._establish(kind, new)
        own(new, old, managers)
        self._quota.check(kind, new, old)
        return self._update(kind, old, new, dry_run=dry_run)

    def mutate(
        self,
        resource: str,
        namespace: str,
        name: str,
        change: Callable[[JsonObject], None],
        subresource: str = "",
    ) -> JsonObject:
        """For the lab's own parts, which are trusted: no validation; without ``subresource`` all fields may change."""
        kind = self.kinds.of(resource)
        entry = self._stored(kind, namespace, name)
        new: JsonObject = _decode(entry.raw)
        change(new)
        if subresource == "status":
            new = with_status(entry.object, new)
        if new != entry.object:
            own(new, entry.object, managed.of_part(kind, subresource, self.now()))
        return self._update(kind, entry.object, new)

    def delete(
        self,
        resource: str,
        namespace: str,
        name: str,
        grace_seconds: int | None = None,
        *,
        foreground: bool = False,
        dry_run: bool = False,
    ) -> JsonObject:
        """``foreground``: the garbage collector ends what depends on it first."""
        kind = self.kinds.of(resource)
        entry = self._stored(kind, namespace, name)
        new: JsonObject = _decode(entry.raw)
        if foreground:
            held = new["metadata"].get("finalizers") or []
            new["metadata"]["finalizers"] = [*dict.fromkeys([*held, FOREGROUND])]
        step = plan_deletion(kind, new, grace_seconds, self._clock())
        if step is Termination.NOW:
            return self._commit("DELETED", kind, new, entry.object, dry_run=dry_run)
        return self._update(kind, entry.object, new, dry_run=dry_run)

    def remove(self, resource: str, namespace: str, name: str, uid: str = "") -> None:
        """Finalizers still hold an object back: then only its grace period ends, and the last finalizer's removal ends it."""
        kind = self.kinds.of(resource)
        entry = self.entry(resource, namespace, name)
        if entry is None or (uid and entry.object["metadata"]["uid"] != uid):
            return
        new: JsonObject = _decode(entry.raw)
        new["metadata"].setdefault("deletionTimestamp", timestamp(self._clock()))
        new["metadata"]["deletionGracePeriodSeconds"] = 0
        if kind.resource == "namespaces":
            new.setdefault("spec", {})["finalizers"] = []
        self._update(kind, entry.object, new)

    def orphan(self, uid: str) -> None:
        """Take the owner ``uid`` out of every object that names it, so that its end does not become theirs."""
        for resource, held in self._index.items():
            for (namespace, name), entry in list(held.items()):
                owners = entry.object["metadata"].get("ownerReferences") or []
                if any(owner.get("uid") == uid for owner in owners):
                    self.mutate(resource, namespace, name, lambda obj: disown(obj, uid))

    # steps of writing

    def _stored(self, kind: Kind, namespace: str, name: str) -> Entry:
        entry = self._index[kind.resource].get((namespace, name))
        if entry is None:
            raise not_found(kind, name)
        return entry

    def _new_metadata(self, kind: Kind, namespace: str, obj: JsonObject) -> JsonObject:
        metadata: JsonObject = obj.get("metadata") or {}
        if namespace and metadata.get("namespace", namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        prefix = metadata.get("generateName") or ""
        if not metadata.get("name") and prefix:
            metadata["name"] = self._free_name(kind, namespace, prefix[:58])
        for field in (*SERVER_OWNED[2:], "managedFields", "selfLink"):
            metadata.pop(field, None)
        metadata.setdefault("name", "")
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = timestamp(self._clock())
        if kind.namespaced:
            metadata["namespace"] = namespace
        else:
            metadata.pop("namespace", None)
        if kind.generation:
            metadata["generation"] = 1
        admission.omit_empty(metadata)
        obj["metadata"] = metadata
        return metadata

    def _free_name(self, kind: Kind, namespace: str, prefix: str) -> str:
        """A few attempts, as the real server makes; then AlreadyExists."""
        place, name = namespace if kind.namespaced else "", ""
        for _ in range(8):
            name = prefix + "".join(random.choices(SUFFIX, k=5))  # noqa: S311 - a name, no secret
            if (place, name) not in self._index[kind.resource]:
                break
        return name

    def _check_namespace(self, kind: Kind, namespace: str, name: str) -> None:
        if not kind.namespaced:
            return
        held = self._stored(self.kinds.of("namespaces"), "", namespace).object
        if held["metadata"].get("deletionTimestamp"):
            cause = Cause(
                "NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace"
            )
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise forbidden(kind, name, why, [cause])

    def _establish(self, kind: Kind, new: JsonObject) -> None:
        if kind.resource == DEFINITIONS and not new["metadata"].get("deletionTimestamp"):
            checking.establish(new, self.kinds.all(), self.now())
            finalizers = new["metadata"].get("finalizers") or []
            new["metadata"]["finalizers"] = [*dict.fromkeys([*finalizers, CLEANUP])]

    def _is_ending(self, resource: str) -> bool:
        crd = self.find(DEFINITIONS, "", resource)
        return crd is None or bool(crd["metadata"].get("deletionTimestamp"))

    def _serve(self, crd: JsonObject, *, gone: bool = False) -> None:
        """Serve what a stored definition defines; the objects of one that is gone are gone before it."""
        established = any(
            c["type"] == "Established" and c["status"] == "True"
            for c in crd.get("status", {}).get("conditions") or []
        )
        kinds = definition.kinds_of(crd) if established and not gone else []
        self.kinds.serve(crd["metadata"]["name"], kinds)
        for kind in kinds:
            self._index.setdefault(kind.resource, {})
            self._histories.setdefault(kind.resource, History(self._revision))

    def _update(self, kind: Kind, old: JsonObject, new: JsonObject, *, dry_run: bool = False) -> JsonObject:
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        admission.omit_empty(new["metadata"])
        if is_finished(kind, new):
            return self._commit("DELETED", kind, new, old, dry_run=dry_run)
        if new == old:
            return old
        if kind.generation and desired(new) != desired(old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        return self._commit("MODIFIED", kind, new, old, dry_run=dry_run)

    def _commit(
        self, change: str, kind: Kind, new: JsonObject, old: JsonObject | None, *, dry_run: bool
    ) -> JsonObject:
        if dry_run:
            return new
        revision = self._revision + 1
        new["metadata"]["resourceVersion"] = str(revision)
        key, raw = _key(new), _encode(new)
        held = self._index[kind.resource].get(key)
        before = held.raw if held is not None else None
        if change == "DELETED":
            self._storage.delete(revision, (kind.resource, *key))
            del self._index[kind.resource][key]
            self._quota.wrote(before, None)
        else:
            self._storage.put(revision, (kind.resource, *key), raw)
            self._index[kind.resource][key] = Entry(new, raw)
            self._quota.wrote(before, raw)
        self._revision = revision
        self._histories[kind.resource].append(Record(revision, change, new, raw, old))
        if kind.resource == DEFINITIONS:
            self._serve(new, gone=change == "DELETED")
        if kind.resource == "events":
            self._retain(change, key)
        return new

    def _retain(self, change: str, key: tuple[str, str]) -> None:
        """Old events go when new ones come."""
        if change == "DELETED":
            self._retention.deleted(key)
            return
        self._retention.wrote(key)
        for namespace, name in self._retention.expired():
            self.delete("events", namespace, name)


def _stored_version(kind: Kind) -> str:
    return kind.custom.storage if kind.custom is not None else kind.api_version


def _key(obj: JsonObject) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _refuse(kind: Kind, obj: JsonObject, causes: list[Cause]) -> None:
    if causes:
        raise invalid(kind, obj["metadata"]["name"], causes)
