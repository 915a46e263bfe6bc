"""Recipe 11, first half: nothing may leave a pod; then port 53, to anywhere.

The manifests and commands are those of the recipe "DENY egress traffic from an application" (kubernetes-network-policy-recipes, 11),
without the flag ``--generator`` that kubectl dropped in 1.21.
"""

from __future__ import annotations

from stockade.lab.demo.recipes.answers import WELCOME, created, deleted, policy_deleted
from stockade.lab.demo.steps import Check, Leave, Recipe, Run, Save, Shell, Step, Type

POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: foo-deny-egress
spec:
  podSelector:
    matchLabels:
      app: foo
  policyTypes:
  - Egress
"""
DENY_ALL = POLICY + "  egress: []\n"
FIELD_DROPPED = POLICY
ALLOW_DNS = (
    POLICY
    + """\
  egress:
  # allow DNS resolution
  - ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
"""
)
MANIFEST = "foo-deny-egress.yaml"


APPLY = f"kubectl apply -f {MANIFEST}"
WEB = "wget -qO- --timeout 1 http://web:80/"
EXAMPLE = "wget -qO- --timeout 1 http://www.example.com/"
NAME = "foo-deny-egress"
NO_POLICY, DENIED, DNS = "no policy", "egress: []", "only port 53"


def _denied(stage: str, tried: str) -> Check:
    return Check(stage, tried, allowed=False, by=NAME)


BAD_ADDRESS = ("wget: bad address 'web:80'",)

_STEPS: tuple[Step, ...] = (
    Run(
        "kubectl run web --image=nginx --port 80 --expose --labels app=web",
        "a web server and a Service in front of it",
        prints=("pod/web created", "service/web created"),
    ),
    Shell(
        "kubectl run --rm --restart=Never --image=alpine -i -t -l app=foo test -- ash",
        "a pod with the label app=foo; no policy selects it yet",
    ),
    Type(WEB, "the Service answers", Check(NO_POLICY, "web:80", allowed=True), prints=WELCOME, head=4),
    Save(MANIFEST, DENY_ALL, "no egress rule: nothing leaves a pod with app=foo"),
    Run(
        APPLY,
        "the agent programs the kernel; the open shell's pod is isolated from now on",
        prints=created(NAME),
    ),
    Type(
        WEB,
        "not the connection fails but the lookup: kube-dns cannot be asked",
        _denied(DENIED, "web:80"),
        prints=BAD_ADDRESS,
    ),
    Type(
        EXAMPLE,
        "the same for names outside the cluster",
        _denied(DENIED, "www.example.com"),
        prints=("wget: bad address 'www.example.com'",),
    ),
    Run(
        "stockade explain pod/test http://web:80/",
        "asked for the reason, the engine names the lookup, the policy and what wget prints",
        pictured_lines=19,
    ),
    Save(MANIFEST, FIELD_DROPPED, "the egress field dropped altogether", pictured=False),
    Run(APPLY, "means the same, so the rules do not change", pictured=False),
    Type(
        WEB,
        "and the pod sees the same",
        _denied("egress dropped", "web:80"),
        prints=BAD_ADDRESS,
        pictured=False,
    ),
    Save(MANIFEST, ALLOW_DNS, "allow port 53 to anywhere"),
    Run(APPLY, "names resolve again", prints=(f"networkpolicy.networking.k8s.io/{NAME} configured",)),
    Type(
        "wget --timeout 1 -O- http://web",
        "resolved, but port 80 is still denied",
        _denied(DNS, "web:80"),
        prints=("Connecting to web ({ip}:80)", "wget: download timed out"),
    ),
    Type(
        "wget --timeout 1 -O- http://www.example.com",
        "the same outside the cluster",
        _denied(DNS, "www.example.com:80"),
        prints=("Connecting to www.example.com ({ip}:80)", "wget: download timed out"),
    ),
    Type(
        "ping google.com",
        "resolved; ICMP has no port, so a rule with ports does not allow it (Ctrl-C)",
        _denied(DNS, "google.com (ping)"),
        prints=("PING google.com ({ip}): 56 data bytes", "..."),
        interrupt_after=2.5,
    ),
    Type(
        "nslookup www.example.com 74.125.129.101",
        "beware: port 53 of ANY host is open, not only of kube-dns",
        Check(DNS, "74.125.129.101:53", allowed=True, by=NAME),
    ),
    Leave(),
    Run("stockade drops", "each denied packet, with the policy that isolated the pod"),
    Run("kubectl delete pod,service web", "clean up", prints=deleted("web"), pictured=False),
    Run(
        "kubectl delete networkpolicy foo-deny-egress",
        "and the rules are gone",
        prints=(policy_deleted(NAME),),
        pictured=False,
    ),
)
RECIPE = Recipe(
    number="11",
    name="deny-egress",
    title="DENY egress traffic from an application",
    about="",
    table="What app=foo could reach",
    steps=_STEPS,
)
