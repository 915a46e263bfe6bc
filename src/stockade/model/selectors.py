"""LabelSelector and its matcher (meta/v1 LabelSelector; reference semantics rules 7 and 8)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from stockade.model.meta import View

IN, NOT_IN, EXISTS, DOES_NOT_EXIST = "In", "NotIn", "Exists", "DoesNotExist"


class LabelSelectorRequirement(View, frozen=True, kw_only=True):
    """One ``matchExpressions`` item."""

    key: str = ""
    operator: str = ""
    values: list[str] | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """``NotIn`` matches an absent key; an unknown operator matches nothing (rule 57: never widen)."""
        values = self.values or []
        if self.operator == IN:
            return self.key in labels and labels[self.key] in values
        if self.operator == NOT_IN:
            return self.key not in labels or labels[self.key] not in values
        if self.operator == EXISTS:
            return self.key in labels
        return self.operator == DOES_NOT_EXIST and self.key not in labels

    def __str__(self) -> str:
        values = ",".join(self.values or [])
        if self.operator == IN:
            return f"{self.key} in ({values})"
        if self.operator == NOT_IN:
            return f"{self.key} notin ({values})"
        return self.key if self.operator == EXISTS else f"!{self.key}"


class LabelSelector(View, frozen=True, kw_only=True):
    """``matchLabels`` AND ``matchExpressions``; empty matches everything, also an object without labels."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[LabelSelectorRequirement] | None = None

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        own = labels or {}
        if any(own.get(key) != value for key, value in (self.match_labels or {}).items()):
            return False
        return all(requirement.matches(own) for requirement in self.match_expressions or [])

    @property
    def is_empty(self) -> bool:
        return not self.match_labels and not self.match_expressions

    @property
    def key(self) -> str:
        """Equal for selectors that are written alike up to order; usable as a cache or set key."""
        labels = sorted((self.match_labels or {}).items())
        rules = sorted((r.key, r.operator, sorted(r.values or [])) for r in self.match_expressions or [])
        return msgspec.json.encode([labels, rules]).decode()

    def __str__(self) -> str:
        """kubectl's form: ``app=web,tier in (a,b)``; ``<all>`` when empty."""
        parts = [f"{key}={value}" for key, value in (self.match_labels or {}).items()]
        parts += [str(requirement) for requirement in self.match_expressions or []]
        return ",".join(parts) or "<all>"
