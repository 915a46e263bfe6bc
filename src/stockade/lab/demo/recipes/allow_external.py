"""Recipe 08: clients outside the cluster may reach an application, by the address of a load balancer."""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import WELCOME, delete
from stockade.lab.demo.steps import Check, Recipe, Run, Save, policy

NAME = "web-allow-external"
_SPEC = """\
  podSelector:
    matchLabels:
      app: web
  ingress:
"""
MANIFEST = policy(NAME, _SPEC + "  - {}\n")
ONE_PORT = policy(NAME, _SPEC + "  - ports:\n    - port: 80\n")
NOTHING = policy(NAME, _SPEC.replace("ingress:", "ingress: []"))


def _visit(check: Check, why: str) -> Run:
    prints = WELCOME if check.allowed else ("no answer within 3 s",)
    return Run(
        "stockade outside --seconds 3 http://$EXTERNAL_IP",
        why,
        check=check,
        prints=prints,
        head=4 * check.allowed,
    )


def _apply(why: str, done: str) -> Run:
    return Run(
        f"kubectl apply -f {NAME}.yaml", why, prints=(f"networkpolicy.networking.k8s.io/{NAME} {done}",)
    )


ABOUT = """\
Use it for what the world may reach in a namespace that denies by default.

The lab gives a Service of type LoadBalancer an address of 203.0.113.0/24, which its simulated Internet knows; `stockade outside` is a client there. The policy sees the address of that client as it is. On real clusters that depends on the load balancer and on `externalTrafficPolicy`: where the node rewrites the source, a rule with an `ipBlock` sees the node.
"""
RECIPE = Recipe(
    number="08",
    name="allow-external",
    title="ALLOW traffic from external clients",
    about=ABOUT,
    table="What a client outside could reach",
    steps=(
        Run(
            "kubectl run web --image=nginx --labels=app=web --port=80",
            "a web server",
            prints=("pod/web created",),
        ),
        Run(
            "kubectl expose pod/web --type=LoadBalancer",
            "and a way in from outside; its port comes from the pod",
            prints=("service/web exposed",),
        ),
        Run(
            "kubectl wait --for=condition=Ready pod/web --timeout=20s",
            "it serves",
            prints=("pod/web condition met",),
        ),
        Run(
            "kubectl get service web -o jsonpath={.status.loadBalancer.ingress[0].ip}",
            "the lab's load balancer has an address for it",
            keep="EXTERNAL_IP",
        ),
        _visit(Check("no policy", "web:80", allowed=True), "a client in the simulated Internet"),
        Save(f"{NAME}.yaml", NOTHING, "to see a difference: nothing at first"),
        _apply("isolated", "created"),
        _visit(
            Check("ingress: []", "web:80", allowed=False, by=NAME),
            "the client outside is denied like any other",
        ),
        Save(f"{NAME}.yaml", MANIFEST, "an empty rule has no from: everywhere, so outside as well"),
        _apply("let in again", "configured"),
        _visit(Check("ingress: [{}]", "web:80", allowed=True, by=NAME), "from outside"),
        Save(f"{NAME}.yaml", ONE_PORT, "the same for one port; it is the pod's, not the Service's"),
        _apply("port 80 alone", "configured"),
        _visit(Check("ports: [80]", "web:80", allowed=True, by=NAME), "from outside"),
        *delete("web", NAME),
    ),
)
