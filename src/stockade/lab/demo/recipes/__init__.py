"""The recipes, in the order of the well-known collection; the first of number 11 is the one that ``stockade demo`` plays unasked.

Numbers and titles are those of kubernetes-network-policy-recipes (which has no 13); manifests and words are ours. ``by_name`` is for
people: a name, or a number.
"""

from __future__ import annotations

from typing import Final

from stockade.lab.demo.recipes import (
    allow_all_namespaces,
    allow_all_to_app,
    allow_external,
    allow_from_namespace,
    allow_port,
    allow_several,
    allow_some_pods_elsewhere,
    deny_all_egress_in_namespace,
    deny_all_in_namespace,
    deny_all_to_app,
    deny_egress,
    deny_egress_allow_dns,
    deny_external_egress,
    deny_other_namespaces,
    limit_to_app,
)
from stockade.lab.demo.steps import Recipe

RECIPES: Final = (
    deny_all_to_app.RECIPE,
    limit_to_app.RECIPE,
    allow_all_to_app.RECIPE,
    deny_all_in_namespace.RECIPE,
    deny_other_namespaces.RECIPE,
    allow_all_namespaces.RECIPE,
    allow_from_namespace.RECIPE,
    allow_some_pods_elsewhere.RECIPE,
    allow_external.RECIPE,
    allow_port.RECIPE,
    allow_several.RECIPE,
    deny_egress.RECIPE,
    deny_egress_allow_dns.RECIPE,
    deny_all_egress_in_namespace.RECIPE,
    deny_external_egress.RECIPE,
)


def by_name(text: str) -> Recipe | None:
    """``deny-egress``, ``11`` or ``1`` (the first of that number)."""
    number = f"0{text}" if text[1:2] in {"", "a"} else text
    return next((recipe for recipe in RECIPES if recipe.name == text), None) or next(
        (recipe for recipe in RECIPES if recipe.number == number), None
    )
