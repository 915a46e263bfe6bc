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
RECIPE = Recipe(
    "04",
    "deny-other-namespaces",
    "DENY all traffic from other namespaces",
    "What could reach web in default",
    (
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
