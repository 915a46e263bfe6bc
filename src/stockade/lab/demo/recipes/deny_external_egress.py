"""Recipe 14: nothing may leave the cluster. The page's manifest denies more than it says; the one it had before does what it says.

The page allows kube-dns and nothing else, and shows ``http://web:80`` answering. It cannot: a pod that a policy isolates for egress
reaches what the policies list, and web is not listed (NetworkPolicySpec.egress; reference rules 3 and 45). The earlier
manifest, kept by conformance suites, has a second rule for every namespace's pods; that is what "only external traffic is denied" means.
"""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import TIMED_OUT, WELCOME, apply, delete, run_web
from stockade.lab.demo.recipes.deny_egress_allow_dns import KUBE_DNS
from stockade.lab.demo.steps import Check, Leave, Recipe, Run, Save, Shell, Type, policy

NAME = "foo-deny-external-egress"
AS_PRINTED = policy(NAME, KUBE_DNS)
AS_IT_WAS = policy(
    NAME,
    """\
  podSelector:
    matchLabels:
      app: foo
  policyTypes:
  - Egress
  egress:
  - ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
  # every pod of every namespace; what is outside the cluster is no pod
  - to:
    - namespaceSelector: {}
""",
)
_WEB = "wget -qO- --timeout=1 http://web:80"
_EXAMPLE = "wget -qO- --timeout=1 http://www.example.com"
_FIRST, _SECOND = "as the page has it", "as it was"


def _check(stage: str, tried: str, *, allowed: bool = False) -> Check:
    return Check(stage, tried, allowed=allowed, by=NAME)


ABOUT = """\
Use it for applications that talk to others in the cluster and to nobody else.

**The page is wrong.** Its manifest allows kube-dns and nothing else, and it shows `http://web:80` answering. A pod that a policy isolates for egress reaches what the policies list, and web is not listed: every implementation that follows the API denies it, with a timeout and not with `bad address`, since the lookup is allowed. The manifest that the page had before, which conformance suites have kept, has a second rule for the pods of all namespaces; it does what the page says. Both are played here.

With `podSelector` and `namespaceSelector` only pods can be named: addresses outside the cluster match neither. Services are judged by the pods behind them, so `namespaceSelector: {}` includes web by its Service.
"""
RECIPE = Recipe(
    number="14",
    name="deny-external-egress",
    title="DENY external egress traffic",
    about=ABOUT,
    table="What app=foo could reach",
    steps=(
        run_web(),
        Save(f"{NAME}.yaml", AS_PRINTED, "the page's manifest: kube-dns, and nothing else"),
        apply(NAME, "the page promises that pods of the cluster can be reached"),
        Shell(
            "kubectl run --rm --restart=Never --image=alpine -i -t -l app=foo test -- ash",
            "a pod with app=foo",
        ),
        Type(
            _WEB,
            "the page shows an answer here. It is wrong: no rule allows this, so every implementation that is right denies it",
            _check(_FIRST, "web:80"),
            prints=TIMED_OUT,
        ),
        Type(_EXAMPLE, "denied, as the page says", _check(_FIRST, "www.example.com:80"), prints=TIMED_OUT),
        Save(
            f"{NAME}.yaml",
            AS_IT_WAS,
            "an earlier version of the page: DNS anywhere, and every pod of the cluster",
        ),
        Run(
            f"kubectl apply -f {NAME}.yaml",
            "this one does what the page says",
            prints=(f"networkpolicy.networking.k8s.io/{NAME} configured",),
        ),
        Type(
            _WEB,
            "pods of the cluster answer",
            _check(_SECOND, "web:80", allowed=True),
            prints=WELCOME,
            head=4,
        ),
        Type(_EXAMPLE, "hosts outside do not", _check(_SECOND, "www.example.com:80"), prints=TIMED_OUT),
        Leave(),
        *delete("web", NAME),
    ),
)
