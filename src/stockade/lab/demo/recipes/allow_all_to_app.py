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
RECIPE = Recipe(
    "02a",
    "allow-all-to-app",
    "ALLOW all traffic to an application",
    "What could reach app=web",
    (
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
