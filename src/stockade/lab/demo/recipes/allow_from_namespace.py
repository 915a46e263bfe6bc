"""Recipe 06: only pods of namespaces with a label may reach an application."""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import apply, delete, delete_namespaces, namespace, run_web, visit
from stockade.lab.demo.steps import Check, Recipe, Save, policy

NAME = "web-allow-prod"
MANIFEST = policy(
    NAME,
    """\
  podSelector:
    matchLabels:
      app: web
  ingress:
  - from:
    - namespaceSelector:
        matchLabels:
          purpose: production
""",
)
_GET = "wget -qO- --timeout=2 http://web.default"
ABOUT = """\
Use it to let only production reach a production database, or one team reach another's service.

The label is the namespace's. Whoever may label namespaces decides who comes in; `kubernetes.io/metadata.name` cannot be forged that way.
"""
RECIPE = Recipe(
    number="06",
    name="allow-from-namespace",
    title="ALLOW all traffic from a namespace",
    about=ABOUT,
    table="What could reach app=web",
    steps=(
        run_web(),
        *namespace("dev", "purpose=testing"),
        *namespace("prod", "purpose=production"),
        Save(f"{NAME}.yaml", MANIFEST, "the label is looked for on the namespace, not on the pod"),
        apply(NAME, "only purpose=production comes in"),
        *visit(
            Check("from purpose=production", "a pod in dev", allowed=False, by=NAME),
            "purpose=testing",
            flags="--namespace=dev",
            line=_GET,
        ),
        *visit(
            Check("from purpose=production", "a pod in prod", allowed=True, by=NAME),
            "purpose=production",
            flags="--namespace=prod",
            line=_GET,
        ),
        *delete("web", NAME),
        delete_namespaces("prod", "dev"),
    ),
)
