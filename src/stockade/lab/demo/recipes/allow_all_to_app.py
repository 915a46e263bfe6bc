"""Recipe 02a: everything may reach an application, whatever other policies deny."""

from __future__ import annotations

from stockade.lab.demo.recipes import deny_all_to_app
from stockade.lab.demo.recipes.answers import apply, delete, run_web, visit
from stockade.lab.demo.steps import Check, Recipe, Save, policy

NAME = "web-allow-all"
MANIFEST = policy(
    NAME,
    """\
  podSelector:
    matchLabels:
      app: web
  ingress:
  - {}
""",
)
_DENY = deny_all_to_app.NAME
ABOUT = """\
Use it where a namespace denies by default and one application is for everybody.

Policies add up: a connection is allowed when any policy that selects the pod allows it. There is no order, and no policy can take back what another allows.
"""
RECIPE = Recipe(
    number="02a",
    name="allow-all-to-app",
    title="ALLOW all traffic to an application",
    about=ABOUT,
    table="What could reach app=web",
    steps=(
        run_web(),
        Save(f"{_DENY}.yaml", deny_all_to_app.MANIFEST, "first the policy of recipe 01"),
        apply(_DENY, "nothing reaches web"),
        *visit(Check("web-deny-all", "web:80", allowed=False, by=_DENY), "denied"),
        Save(
            f"{NAME}.yaml",
            MANIFEST,
            "an empty rule: from everywhere, on every port, from outside the cluster too",
        ),
        apply(NAME, "policies only add: what one allows no other can take back"),
        *visit(Check("both policies", "web:80", allowed=True, by=NAME), "the union of both allows it"),
        *delete("web", _DENY, NAME),
    ),
)
