"""Names of what is in the table, and log prefixes: what ``lower`` writes, and the drop log, the counters and the agent read.

e_<p> re_<p> i_<p> ri_<p>   chains of profile p: egress and ingress, first packets and (r) replies
deny_e_<p> …                where they end
d_e_<p> d_i_<p>             counters: packets that profile p denied
c_<hash>                    counter: connections that one policy rule let begin
p4_ b4_ n4_ o4_ u4_ f4_     sets, see ``sets`` and ``fold``
"""

from __future__ import annotations

import hashlib

from stockade.policy.compiled import RuleRef

LOG_MARK = "stockade"  # first word of every log prefix of ours
FENCE = "fence"
FORWARD, INPUT = "fwd_hook", "in_hook"
REMEMBER = "remember"  # the one chain whose rule knows the generation
GENERATIONS = "gen"  # and the map that does


def digest(*parts: object) -> str:
    """12 hex digits that are equal for equal parts, in every process."""
    return hashlib.sha256("\x00".join(map(str, parts)).encode()).hexdigest()[:12]


def log_prefix(code: str, profile: str = "") -> str:
    return f"{LOG_MARK}|{code}|{profile}"


def rule_counter(rule: RuleRef) -> str:
    return f"c_{digest(rule)}"


def deny_counter(direction_code: str, profile: str) -> str:
    """``direction_code`` is e or i; replies are counted with the direction they answer to."""
    return f"d_{direction_code}_{profile}" if profile else f"d_{direction_code}"
