"""Recipe 07: only pods with a label, in namespaces with a label, may reach an application."""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import apply, delete, delete_namespaces, namespace, run_web, visit
from stockade.lab.demo.steps import Check, Recipe, Save, policy

NAME = "web-allow-all-ns-monitoring"
MANIFEST = policy(
    NAME,
    """\
  podSelector:
    matchLabels:
      app: web
  ingress:
  - from:
    # one item with two selectors: both must match. Two items would mean: one of them.
    - namespaceSelector:
        matchLabels:
          team: operations
      podSelector:
        matchLabels:
          type: monitoring
""",
    namespace="default",
)
_STAGE = "namespace AND pod"
_GET = "wget -qO- --timeout=2 http://web.default"
_MONITORING = "--labels=type=monitoring"


def _check(who: str, *, allowed: bool) -> Check:
    return Check(_STAGE, who, allowed=allowed, by=NAME)


ABOUT = """\
Use it for monitoring: one kind of pod of one team, and nothing else of theirs.

Two selectors in one item of `from` must both match. With a dash before `podSelector` they would be two items, and each alone would be enough: then the pod with the label in `default` and every pod in `other` would come in.
"""
RECIPE = Recipe(
    number="07",
    name="allow-some-pods-elsewhere",
    title="ALLOW traffic from some pods in another namespace",
    about=ABOUT,
    table="What could reach app=web",
    steps=(
        run_web(),
        *namespace("other", "team=operations"),
        Save(f"{NAME}.yaml", MANIFEST, "both selectors in one item of the list"),
        apply(NAME, "monitoring pods of the operations team come in, nobody else"),
        *visit(_check("default, no label", allowed=False), "neither", line=_GET),
        *visit(
            _check("default, monitoring", allowed=False),
            "the pod's label alone",
            flags=_MONITORING,
            line=_GET,
        ),
        *visit(
            _check("other, no label", allowed=False),
            "the namespace alone",
            flags="--namespace=other",
            line=_GET,
        ),
        *visit(
            _check("other, monitoring", allowed=True),
            "both",
            flags=f"--namespace=other {_MONITORING}",
            line=_GET,
        ),
        *delete("web", NAME),
        delete_namespaces("other"),
    ),
)
