"""Which fields the Kubernetes objects have: the one table behind strict decoding, OpenAPI and strategic merge.

In: the text tables in ``tables/`` (read on first use). Out: ``types()`` (every type by its OpenAPI name) and ``type_of`` (the type
of an apiVersion and kind). Called by ``manifests.strict`` and by the lab's API server, which publishes OpenAPI v3 from it and finds
patch merge keys in it. The fields are those of the Kubernetes API; the descriptions are our own.

Shape: a TypeSpec has fields by JSON name, in the order of the API. A FieldSpec's ``type`` is one of

    string bool int32 int64 intOrString quantity time microTime bytes any   a scalar (``any``: arbitrary JSON)
    object                                                                 ``ref`` names its TypeSpec
    list, map (of string to ...)                                           ``item`` is one of the words above; ``ref`` when
                                                                           the item is an object

Kinds have apiVersion, kind and metadata among their fields. A list field with ``merge_key`` merges by that key under a strategic
merge patch, one with ``patch_strategy`` "merge" and no key is a merged set of scalars, every other list is replaced as a whole.
"""

from __future__ import annotations

from stockade.manifests.schema.table import META, FieldSpec, TypeSpec, kinds, type_of, types

__all__ = ["META", "FieldSpec", "TypeSpec", "kinds", "type_of", "types"]
