"""Flow in, Verdict out: the vocabulary of every decision. A verdict carries its own proof.

Called by evaluate (makes), explain, analysis, report, agent (read).
"""

from __future__ import annotations

import msgspec

from stockade.model.meta import ObjectRef
from stockade.policy.compiled import RuleRef

ICMP = "ICMP"


class PodEndpoint(msgspec.Struct, frozen=True, tag="pod"):
    ref: ObjectRef

    def __str__(self) -> str:
        return f"pod {self.ref}"


class AddressEndpoint(msgspec.Struct, frozen=True, tag="address"):
    """Anything that is not a pod of the state: external hosts, nodes."""

    family: int
    address: int
    text: str

    def __str__(self) -> str:
        return self.text


Endpoint = PodEndpoint | AddressEndpoint


class Flow(msgspec.Struct, frozen=True):
    """The first packet of a connection, after Service translation: ``port`` is the destination pod's own port.
    ``protocol`` is TCP, UDP, SCTP or ICMP (ICMP: port is None). ``family`` 4 or 6 chooses among dual-stack addresses."""

    source: Endpoint
    destination: Endpoint
    protocol: str
    port: int | None
    family: int = 4


class Miss(msgspec.Struct, frozen=True):
    """Why a candidate rule did not match. ``part`` is what failed first: peer or port; ``detail`` is for people."""

    rule: RuleRef
    part: str  # "peer" | "port" | "protocol" | "family" | "except" | "namespace" | "labels"
    detail: str
    score: int  # how near: more parts matched = higher


class DirectionVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of one flow. Not isolated: ``isolated_by`` is empty and allowed is True (rule 3)."""

    direction: str
    allowed: bool
    subject: ObjectRef | None  # the pod whose policies were asked; None for an external end
    isolated_by: tuple[ObjectRef, ...] = ()
    allowed_by: tuple[RuleRef, ...] = ()  # every rule that allows, in order
    misses: tuple[Miss, ...] = ()  # nearest first; empty when allowed
    reason: str = ""  # "not isolated", "own node", "own address", ...


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Allowed when both directions allow (rule 5)."""

    flow: Flow
    egress: DirectionVerdict
    ingress: DirectionVerdict

    @property
    def allowed(self) -> bool:
        return self.egress.allowed and self.ingress.allowed

    @property
    def denied_by(self) -> DirectionVerdict | None:
        """The direction that is met first on the packet's way and denies."""
        if not self.egress.allowed:
            return self.egress
        return None if self.ingress.allowed else self.ingress
