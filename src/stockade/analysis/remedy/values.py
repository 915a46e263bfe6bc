"""What ``suggest`` answers: new policies to apply, what else they would allow, and what nobody can mend with a policy.

Values only, ready for JSON. Part of a Path; read by report and cli.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stockade.model.netpol import NetworkPolicy
from stockade.policy.verdict import Flow


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """``policies`` are new objects to be applied beside those that exist: policies add up (rule 4), so nothing that is
    allowed today is lost. ``complete``: with them the path is allowed. ``also``: connections besides the path's own that
    they allow, because selectors cannot tell some pods apart; ``notes`` says the same, and whatever else to know."""

    policies: tuple[NetworkPolicy, ...] = ()
    complete: bool = False
    also: tuple[Flow, ...] = ()
    notes: tuple[str, ...] = ()


def manifest(policy: NetworkPolicy) -> dict[str, Any]:
    """As ``kubectl apply`` reads it; only fields that say something."""
    body: dict[str, Any] = msgspec.to_builtins(policy)
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", **body}
