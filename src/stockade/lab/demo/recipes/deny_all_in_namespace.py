"""Recipe 03: nothing may reach any pod of a namespace that no other policy lets in."""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import apply, delete, run_web, visit
from stockade.lab.demo.steps import Check, Recipe, Save, policy

NAME = "default-deny-all"
MANIFEST = policy(
    NAME,
    """\
  podSelector: {}
  ingress: []
""",
    namespace="default",
)
RECIPE = Recipe(
    "03",
    "deny-all-in-namespace",
    "DENY all non-whitelisted traffic to a namespace",
    "What could be reached in the namespace default",
    (
        run_web(),
        *visit(Check("no policy", "web:80", allowed=True), "nothing is selected yet"),
        Save(f"{NAME}.yaml", MANIFEST, "an empty podSelector selects every pod of the policy's namespace"),
        apply(NAME, "from now on each way in needs a policy of its own"),
        *visit(
            Check("every pod isolated", "web:80", allowed=False, by=NAME),
            "kube-dns lives in another namespace: names still resolve",
        ),
        *delete("web", NAME),
    ),
)
