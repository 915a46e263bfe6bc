"""Recipe 09: only one port of an application may be reached. A rule means the pod's port, not the Service's."""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import TIMED_OUT, apply, delete
from stockade.lab.demo.steps import Check, Leave, Recipe, Run, Save, Shell, Step, Type, policy

NAME = "api-allow-5000"
MANIFEST = policy(
    NAME,
    """\
  podSelector:
    matchLabels:
      app: apiserver
  ingress:
  - ports:
    - port: 5000
    from:
    - podSelector:
        matchLabels:
          role: monitoring
""",
)
_STAGE = "port 5000 from role=monitoring"
_HELLO = "wget -qO- --timeout=2 http://apiserver:8001"
_METRICS = "wget -qO- --timeout=2 http://apiserver:5001/metrics"


def _look(line: str, who: str, why: str, *, prints: tuple[str, ...] = TIMED_OUT) -> Type:
    port = "8001" if line == _HELLO else "5001"
    check = Check(_STAGE, f"{who} → apiserver:{port}", allowed=prints is not TIMED_OUT, by=NAME)
    return Type(line, why, check, prints=prints)


_STEPS: tuple[Step, ...] = (
    Run(
        "kubectl run apiserver --image=ahmet/app-on-two-ports --labels=app=apiserver",
        "serves on 8000, and its metrics on 5000",
        prints=("pod/apiserver created",),
    ),
    Run(
        "kubectl create service clusterip apiserver --tcp 8001:8000 --tcp 5001:5000",
        "the Service has other ports than the pod",
        prints=("service/apiserver created",),
    ),
    Save(
        f"{NAME}.yaml",
        MANIFEST,
        "5000 is the port of the pod: policies see packets after the Service's translation",
    ),
    apply(NAME, "one port, for one kind of client"),
    Shell("kubectl run test-$RANDOM --rm -i -t --image=alpine -- sh", "a client without the label"),
    _look(_HELLO, "no label", "not an allowed port"),
    _look(_METRICS, "no label", "not an allowed client"),
    Leave(),
    Shell("kubectl run test-$RANDOM --labels=role=monitoring --rm -i -t --image=alpine -- sh", "a monitor"),
    _look(_HELLO, "monitoring", "not an allowed port"),
    _look(
        _METRICS,
        "monitoring",
        "the allowed port, reached by the Service's 5001",
        prints=("http.requests={number}", "go.goroutines={number}", "go.cpus={number}"),
    ),
    Leave(),
    *delete("apiserver", NAME),
)
ABOUT = """\
Use it where metrics and users come in by different ports.

Ports in a policy are the pod's. The Service's ports 8001 and 5001 are translated before any policy looks.
"""
RECIPE = Recipe(
    number="09",
    name="allow-port",
    title="ALLOW traffic only to a port of an application",
    about=ABOUT,
    table="What was answered",
    steps=_STEPS,
)
