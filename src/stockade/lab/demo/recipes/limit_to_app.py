"""Recipe 02: only chosen applications may reach an application."""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import apply, delete, visit
from stockade.lab.demo.steps import Check, Recipe, Run, Save, policy

NAME = "api-allow"
MANIFEST = policy(
    NAME,
    """\
  podSelector:
    matchLabels:
      app: bookstore
      role: api
  ingress:
  - from:
    - podSelector:
        matchLabels:
          app: bookstore
""",
)
_GET = "wget -qO- --timeout=2 http://apiserver"
ABOUT = """\
Use it for a service that only the rest of its own application may call.

`from` asks for one label; a client may carry more. Several labels in one `matchLabels` must all be there.
"""
RECIPE = Recipe(
    number="02",
    name="limit-to-app",
    title="LIMIT traffic to an application",
    about=ABOUT,
    table="What could reach apiserver",
    steps=(
        Run(
            "kubectl run apiserver --image=nginx --labels=app=bookstore,role=api --expose --port=80",
            "the interface of a book shop",
            prints=("pod/apiserver created", "service/apiserver created"),
        ),
        Save(f"{NAME}.yaml", MANIFEST, "only pods of the same application may come in"),
        apply(NAME, "apiserver is isolated for ingress, with one exception"),
        *visit(
            Check("from app=bookstore", "a pod without labels", allowed=False, by=NAME),
            "this pod carries the label run=test-… and no other",
            line=_GET,
        ),
        *visit(
            Check("from app=bookstore", "app=bookstore,role=frontend", allowed=True, by=NAME),
            "one label of the pod is asked for; its others do not matter",
            flags="--labels=app=bookstore,role=frontend",
            line=_GET,
        ),
        *delete("apiserver", NAME),
    ),
)
