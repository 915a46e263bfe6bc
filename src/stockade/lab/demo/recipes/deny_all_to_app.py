"""Recipe 01: nothing may reach an application."""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import apply, delete, run_web, visit
from stockade.lab.demo.steps import Check, Recipe, Save, policy

NAME = "web-deny-all"
MANIFEST = policy(
    NAME,
    """\
  podSelector:
    matchLabels:
      app: web
  ingress: []
""",
)
ABOUT = """\
Use it to start from nothing before letting chosen clients in, or to take an application out of service without deleting it.

A rule list that is present and empty allows nothing. The pods of kube-dns are not selected: names resolve as before, and the connection fails after its own timeout, since a denied packet is dropped and not refused.
"""
RECIPE = Recipe(
    number="01",
    name="deny-all-to-app",
    title="DENY all traffic to an application",
    about=ABOUT,
    table="What could reach app=web",
    steps=(
        run_web(),
        *visit(Check("no policy", "web:80", allowed=True), "without a policy everybody reaches everybody"),
        Save(f"{NAME}.yaml", MANIFEST, "the policy selects app=web and has no ingress rule"),
        apply(NAME, "policyTypes is left out: the API fills in Ingress, since there is no egress rule"),
        *visit(
            Check("ingress: []", "web:80", allowed=False, by=NAME),
            "the name resolves, the connection is dropped: a timeout",
        ),
        *delete("web", NAME),
    ),
)
