"""Recipe 11, second half: nothing may leave a pod but questions to the cluster's DNS."""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import apply, delete, run_web
from stockade.lab.demo.steps import Check, Leave, Recipe, Save, Shell, Type, policy

NAME = "foo-deny-egress"
KUBE_DNS = """\
  podSelector:
    matchLabels:
      app: foo
  policyTypes:
  - Egress
  egress:
  # the cluster's own DNS, and no other
  - to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
    ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
"""
_STAGE = "only kube-dns"


def _denied(tried: str) -> Check:
    return Check(_STAGE, tried, allowed=False, by=NAME)


ABOUT = """\
The second half of the recipe, with one difference that matters: the rule names the pods of kube-dns. Port 53 of other hosts is closed, and with it a way out for data.

Names outside still resolve, because kube-dns asks for the pod; data can still leave in the names that are asked for.
"""
RECIPE = Recipe(
    number="11",
    name="deny-egress-allow-dns",
    title="DENY egress traffic from an application, but allow DNS",
    about=ABOUT,
    table="What app=foo could reach",
    steps=(
        run_web(),
        Save(f"{NAME}.yaml", policy(NAME, KUBE_DNS), "pods of kube-dns in kube-system, on port 53"),
        apply(NAME, "whoever has app=foo may ask for names"),
        Shell(
            "kubectl run --rm --restart=Never --image=alpine -i -t -l app=foo test -- ash",
            "a pod with app=foo",
        ),
        Type(
            "wget --timeout 1 -O- http://web:80/",
            "the name resolves, the connection is denied",
            _denied("web:80"),
            prints=("Connecting to web:80 ({ip}:80)", "wget: download timed out"),
        ),
        Type(
            "wget --timeout 1 -O- http://www.example.com/",
            "names outside resolve too: kube-dns asks for us",
            _denied("www.example.com:80"),
            prints=("Connecting to www.example.com ({ip}:80)", "wget: download timed out"),
        ),
        Type(
            "ping google.com",
            "ICMP has no port: no rule with ports allows it (Ctrl-C)",
            _denied("google.com (ping)"),
            prints=("PING google.com ({ip}): 56 data bytes", "..."),
            interrupt_after=1.5,
        ),
        Type(
            "nslookup www.example.com 74.125.129.101",
            "port 53 of another host is closed",
            _denied("74.125.129.101:53"),
            prints=(";; connection timed out; no servers could be reached", "..."),
        ),
        Leave(),
        *delete("web", NAME),
    ),
)
