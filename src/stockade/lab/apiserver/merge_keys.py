"""How lists merge under a strategic merge patch, from the field tables."""

from __future__ import annotations

from collections.abc import Callable

from stockade.lab.apiserver.kinds import Kind
from stockade.manifests import schema


def merge_keys_of(kind: Kind) -> Callable[[tuple[str, ...]], str | None]:
    """For the path of a list (field names only): its merge key, "" for a merged set of values, None for "replace"."""

    def merge_key(path: tuple[str, ...]) -> str | None:
        spec = schema.type_of(kind.api_version, kind.kind)
        field = None
        for name in path:
            field = spec.fields.get(name) if spec else None
            spec = schema.types().get(field.ref) if field and field.ref else None
        if field is None or "merge" not in field.patch_strategy.split(","):
            return None
        return field.merge_key

    return merge_key
