"""The three kinds of PATCH body, applied to an object as JSON. The face of ``jsonpatch`` and ``strategic``.

In: the stored object and the decoded body. Out: a new object; nothing given is changed. Called by the PATCH handler, which
then defaults, validates and stores. ``PatchError`` carries the HTTP code (400 the patch cannot be read, 422 it does not apply).
"""

from stockade.lab.apiserver.jsonpatch import PatchError, json_patch, merge_patch
from stockade.lab.apiserver.strategic import MergeKeys, builtin_merge_key, strategic_merge_patch

__all__ = [
    "MergeKeys",
    "PatchError",
    "builtin_merge_key",
    "json_patch",
    "merge_patch",
    "strategic_merge_patch",
]
