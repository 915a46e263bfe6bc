"""Recipe 12: nothing may leave any pod of a namespace that no other policy lets out."""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import apply, delete, run_web
from stockade.lab.demo.steps import Check, Leave, Recipe, Run, Save, Shell, Type, policy

NAME = "default-deny-all-egress"
MANIFEST = policy(
    NAME,
    """\
  policyTypes:
  - Egress
  podSelector: {}
  egress: []
""",
    namespace="default",
)


def _denied(tried: str) -> Check:
    return Check("every pod isolated", tried, allowed=False, by=NAME)


ABOUT = """\
Use it as the first policy of a namespace in which nothing should call out unless it is written down. Apply it together with one that allows DNS, or nothing in the namespace resolves a name.

The page of this recipe shows no check; here a lookup, a Service's address and a host outside are tried.
"""
RECIPE = Recipe(
    number="12",
    name="deny-all-egress-in-namespace",
    title="DENY all non-whitelisted egress traffic from a namespace",
    about=ABOUT,
    table="What pods in the namespace default could reach",
    steps=(
        run_web(),
        Save(f"{NAME}.yaml", MANIFEST, "every pod of the namespace, no egress rule"),
        apply(NAME, "from now on each way out needs a policy of its own"),
        Run(
            "kubectl wait --for=condition=Ready pod/web --timeout=20s",
            "probes come from the node: a pod that may open nothing still serves",
            prints=("pod/web condition met",),
        ),
        Run(
            "kubectl get service web -o jsonpath={.spec.clusterIP}",
            "its address, for a try without a lookup",
            keep="WEB_IP",
        ),
        Shell(
            "kubectl run test-$RANDOM --rm -i -t --image=alpine -- sh",
            "a pod without labels is selected, too",
        ),
        Type(
            "wget -qO- --timeout=2 http://web",
            "not even the name resolves",
            _denied("web:80"),
            prints=("wget: bad address 'web'",),
        ),
        Type(
            "wget -qO- --timeout=2 http://$WEB_IP",
            "and the address cannot be reached",
            _denied("the Service's address"),
            prints=("wget: download timed out",),
        ),
        Type(
            "wget -qO- --timeout=2 http://www.example.com",
            "nor anything outside",
            _denied("www.example.com"),
            prints=("wget: bad address 'www.example.com'",),
        ),
        Leave(),
        *delete("web", NAME),
    ),
)
