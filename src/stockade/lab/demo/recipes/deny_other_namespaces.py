"""Recipe 04: only pods of the same namespace may reach the pods of a namespace."""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import apply, delete, delete_namespaces, namespace, run_web, visit
from stockade.lab.demo.steps import Check, Recipe, Save, policy

NAME = "deny-from-other-namespaces"
MANIFEST = policy(
    NAME,
    """\
  podSelector:
    matchLabels:
  ingress:
  - from:
    - podSelector: {}
""",
    namespace="default",
)
ABOUT = """\
Use it to keep the teams or stages of one cluster apart.

A `podSelector` without a `namespaceSelector` looks in the policy's own namespace. `matchLabels:` without a value is null, which is the same as an empty selector.
"""
RECIPE = Recipe(
    number="04",
    name="deny-other-namespaces",
    title="DENY all traffic from other namespaces",
    about=ABOUT,
    table="What could reach web in default",
    steps=(
        run_web(),
        Save(f"{NAME}.yaml", MANIFEST, "matchLabels without a value is an empty selector: every pod"),
        apply(NAME, "a podSelector without a namespaceSelector means pods of the policy's own namespace"),
        *namespace("foo"),
        *visit(
            Check("from podSelector: {}", "a pod in foo", allowed=False, by=NAME),
            "from another namespace",
            flags="--namespace=foo",
            line="wget -qO- --timeout=2 http://web.default",
        ),
        *visit(
            Check("from podSelector: {}", "a pod in default", allowed=True, by=NAME),
            "from the same namespace",
            line="wget -qO- --timeout=2 http://web.default",
        ),
        *delete("web", NAME),
        delete_namespaces("foo"),
    ),
)
