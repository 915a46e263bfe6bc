"""Names for new policies: they say what is allowed, and are nobody's yet.

Called by ``suggest``. A policy applied under a name that exists would replace the one that has it. Names are RFC 1123 labels (at most
63 characters), which every client can print in a column.
"""

from __future__ import annotations

import re
from hashlib import sha256

from stockade.model.meta import ObjectRef
from stockade.store.state import ClusterState

_LONGEST = 60  # leaves room for a number


class PolicyNames:
    def __init__(self, state: ClusterState) -> None:
        self._taken = set(state.policies)

    def pick(self, namespace: str, words: str) -> ObjectRef:
        base = _label(words)
        ref, number = ObjectRef(namespace, base), 2
        while ref in self._taken:
            ref, number = ObjectRef(namespace, f"{base}-{number}"), number + 1
        self._taken.add(ref)
        return ref


def _label(words: str) -> str:
    text = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    if len(text) <= _LONGEST:
        return text
    digest = sha256(text.encode()).hexdigest()[:6]
    return f"{text[: _LONGEST - 7].rstrip('-')}-{digest}"
