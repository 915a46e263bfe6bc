"""Recipe 05: pods of all namespaces may reach an application."""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import apply, delete, delete_namespaces, namespace, run_web, visit
from stockade.lab.demo.steps import Check, Recipe, Save, policy

NAME = "web-allow-all-namespaces"
MANIFEST = policy(
    NAME,
    """\
  podSelector:
    matchLabels:
      app: web
  ingress:
  - from:
    - namespaceSelector: {}
""",
    namespace="default",
)
ABOUT = """\
Use it for a service of the whole cluster in a namespace that denies by default.

`namespaceSelector: {}` means every pod of every namespace. It does not mean hosts outside the cluster: that is an empty rule (recipe 02a), or an `ipBlock`.
"""
RECIPE = Recipe(
    number="05",
    name="allow-all-namespaces",
    title="ALLOW traffic to an application from all namespaces",
    about=ABOUT,
    table="What could reach app=web",
    steps=(
        run_web(),
        Save(
            f"{NAME}.yaml", MANIFEST, "every namespace, all its pods; hosts outside the cluster are no pods"
        ),
        apply(NAME, "isolated, with that exception"),
        *namespace("secondary"),
        *visit(
            Check("from namespaceSelector: {}", "a pod in secondary", allowed=True, by=NAME),
            "let in although it lives elsewhere",
            flags="--namespace=secondary",
            line="wget -qO- --timeout=2 http://web.default",
        ),
        *delete("web", NAME),
        delete_namespaces("secondary"),
    ),
)
