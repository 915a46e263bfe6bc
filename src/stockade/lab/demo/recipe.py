"""The deny-egress recipe as steps: what is typed, where, and what it shows. Data only; ``play`` runs it. A step with ``pictured`` stands in the short picture, too.

The manifests and commands are those of the recipe "DENY egress traffic from an application" (kubernetes-network-policy-recipes, 11),
without the flag ``--generator`` that kubectl dropped in 1.21.
"""

from __future__ import annotations

import msgspec

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


class Run(msgspec.Struct, frozen=True):
    """A command on the host's prompt; ``why`` is one line on what happened. ``pictured_lines``: so many of its output; 0 is all."""

    line: str
    why: str
    pictured: bool = True
    pictured_lines: int = 0


class Save(msgspec.Struct, frozen=True):
    """A file that the recipe tells the reader to save."""

    text: str
    why: str
    pictured: bool = True


class Shell(msgspec.Struct, frozen=True):
    """Open the interactive pod; its shell stays open for the ``Type`` steps."""

    line: str
    why: str
    pictured: bool = True


class Type(msgspec.Struct, frozen=True):
    """A line typed in the pod. ``seconds``: press Ctrl-C after that long (ping never ends by itself).

    ``tried`` and ``allowed`` make the line of the closing table."""

    line: str
    why: str
    stage: str
    tried: str
    allowed: bool
    head: int = 0  # show only so many lines of output; 0 is all
    interrupt_after: float = 0.0
    pictured: bool = True


class Leave(msgspec.Struct, frozen=True):
    """``exit`` in the pod."""

    why: str
    pictured: bool = False


Step = Run | Save | Shell | Type | Leave
APPLY = f"kubectl apply -f {MANIFEST}"
WEB = "wget -qO- --timeout 1 http://web:80/"
EXAMPLE = "wget -qO- --timeout 1 http://www.example.com/"
NO_POLICY, DENIED, DNS = "no policy", "egress: []", "only port 53"

STEPS: tuple[Step, ...] = (
    Run(
        "kubectl run web --image=nginx --port 80 --expose --labels app=web",
        "a web server and a Service in front of it",
    ),
    Shell(
        "kubectl run --rm --restart=Never --image=alpine -i -t -l app=foo test -- ash",
        "a pod with the label app=foo; no policy selects it yet",
    ),
    Type(WEB, "the Service answers", NO_POLICY, "web:80", allowed=True, head=4),
    Save(DENY_ALL, "no egress rule: nothing leaves a pod with app=foo"),
    Run(APPLY, "the agent programs the kernel; the open shell's pod is isolated from now on"),
    Type(
        WEB,
        "not the connection fails but the lookup: kube-dns cannot be asked",
        DENIED,
        "web:80",
        allowed=False,
    ),
    Type(EXAMPLE, "the same for names outside the cluster", DENIED, "www.example.com", allowed=False),
    Run(
        "stockade explain pod/test http://web:80/",
        "asked for the reason, the engine names the lookup, the policy and what wget prints",
        pictured_lines=19,
    ),
    Save(FIELD_DROPPED, "the egress field dropped altogether", pictured=False),
    Run(APPLY, "means the same, so the rules do not change", pictured=False),
    Type(WEB, "and the pod sees the same", "egress dropped", "web:80", allowed=False, pictured=False),
    Save(ALLOW_DNS, "allow port 53 to anywhere"),
    Run(APPLY, "names resolve again"),
    Type(
        "wget --timeout 1 -O- http://web",
        "resolved, but port 80 is still denied",
        DNS,
        "web:80",
        allowed=False,
    ),
    Type(
        "wget --timeout 1 -O- http://www.example.com",
        "the same outside the cluster",
        DNS,
        "www.example.com:80",
        allowed=False,
    ),
    Type(
        "ping google.com",
        "resolved; ICMP has no port, so a rule with ports does not allow it (Ctrl-C)",
        DNS,
        "google.com (ping)",
        allowed=False,
        interrupt_after=2.5,
    ),
    Type(
        "nslookup www.example.com 74.125.129.101",
        "beware: port 53 of ANY host is open, not only of kube-dns",
        DNS,
        "74.125.129.101:53",
        allowed=True,
    ),
    Leave("--rm deletes the pod"),
    Run("stockade drops", "each denied packet, with the policy that isolated the pod"),
    Run("kubectl delete pod,service web", "clean up", pictured=False),
    Run("kubectl delete networkpolicy foo-deny-egress", "and the rules are gone", pictured=False),
)
