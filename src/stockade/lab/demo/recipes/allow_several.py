"""Recipe 10: several applications, each with its labels, may reach a database."""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import apply, delete
from stockade.lab.demo.steps import Check, Leave, Recipe, Run, Save, Shell, Type, policy

NAME = "redis-allow-services"
MANIFEST = policy(
    NAME,
    """\
  podSelector:
    matchLabels:
      app: bookstore
      role: db
  ingress:
  - from:
    - podSelector:
        matchLabels:
          app: bookstore
          role: search
    - podSelector:
        matchLabels:
          app: bookstore
          role: api
    - podSelector:
        matchLabels:
          app: inventory
          role: web
""",
)
_STAGE = "three podSelectors"
_NC = "nc -v -w 2 db 6379"
ABOUT = """\
Use it for a shared database: each client in a line of its own.

Items of `from` are alternatives.
"""
RECIPE = Recipe(
    number="10",
    name="allow-several",
    title="ALLOW traffic with multiple selectors",
    about=ABOUT,
    table="What could reach db",
    steps=(
        Run(
            "kubectl run db --image=redis:4 --labels=app=bookstore,role=db --expose --port=6379",
            "a database",
            prints=("pod/db created", "service/db created"),
        ),
        Save(f"{NAME}.yaml", MANIFEST, "three items in from: any of them is enough"),
        apply(NAME, "three micro-services come in"),
        Shell(
            "kubectl run test-$RANDOM --labels=app=inventory,role=web --rm -i -t --image=alpine -- sh",
            "the third of them",
        ),
        Type(
            _NC,
            "connected (Ctrl-C)",
            Check(_STAGE, "app=inventory,role=web", allowed=True, by=NAME),
            prints=("db ({ip}:6379) open", "..."),
            interrupt_after=1.0,
        ),
        Type(
            "printf 'PING\\r\\nQUIT\\r\\n' | nc -w 2 db 6379",
            "and the database answers",
            Check(_STAGE, "app=inventory,role=web: PING", allowed=True, by=NAME),
            prints=("+PONG", "+OK"),
        ),
        Leave(),
        Shell("kubectl run test-$RANDOM --labels=app=other --rm -i -t --image=alpine -- sh", "somebody else"),
        Type(
            _NC,
            "no item matches",
            Check(_STAGE, "app=other", allowed=False, by=NAME),
            prints=("nc: db ({ip}:6379): Operation timed out",),
        ),
        Leave(),
        *delete("db", NAME),
    ),
)
