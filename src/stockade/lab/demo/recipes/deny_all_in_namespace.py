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
ABOUT = """\
Use it as the first policy of a namespace: from then on every way in is written down.

The page of this recipe shows no check; here one pod is tried before and after.
"""
RECIPE = Recipe(
    number="03",
    name="deny-all-in-namespace",
    title="DENY all non-whitelisted traffic to a namespace",
    about=ABOUT,
    table="What could be reached in the namespace default",
    steps=(
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
