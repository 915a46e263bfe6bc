"""A ruleset as plain data, for programs that read ``stockade render -o json``. Pure.

In: a ruleset and what it was made from. Out: dicts and lists; matches and actions are nft text, where a rule comes from stands apart.
"""

from __future__ import annotations

from typing import Any

from stockade.dataplane.heading import LocalPod, local_pods
from stockade.dataplane.ir import Chain, Counter, IdentityMap, NamedSet, Rule, Ruleset, VerdictMap
from stockade.dataplane.lower import NodeView
from stockade.dataplane.render import Marker, element_texts, identity_text, key_text, rule_text
from stockade.policy.compiled import CompiledPolicies, Profile, RuleRef


def listing(compiled: CompiledPolicies, node: NodeView, ruleset: Ruleset, generation: int) -> dict[str, Any]:
    marker = Marker(ruleset.mark_mask, generation)
    return {
        "node": node.name,
        "generation": generation,
        "markMask": f"{ruleset.mark_mask:#010x}",
        "fenced": [str(block) for block in ruleset.fenced],
        "pods": [_pod(pod) for pod in local_pods(compiled, node, ruleset)],
        "sets": [_set(each) for each in ruleset.sets.values()],
        "maps": [
            *(_identities(each) for each in ruleset.identities.values()),
            *(_verdicts(each) for each in ruleset.maps.values()),
        ],
        "counters": [_counter(each) for each in ruleset.counters.values()],
        "chains": [_chain(each, marker) for each in ruleset.chains.values()],
    }


def _pod(pod: LocalPod) -> dict[str, Any]:
    return {
        "namespace": pod.ref.namespace,
        "name": pod.ref.name,
        "addresses": list(pod.addresses),
        "identity": identity_text(pod.identity),
        "egress": _profile(pod.egress),
        "ingress": _profile(pod.ingress),
    }


def _profile(profile: Profile | None) -> dict[str, Any] | None:
    if profile is None:
        return None
    return {"profile": profile.id, "isolatedBy": [str(ref) for ref in profile.policies]}


def _set(each: NamedSet) -> dict[str, Any]:
    return {
        "name": each.name,
        "type": " . ".join(each.key),
        "interval": each.interval,
        "note": each.note,
        "elements": element_texts(each),
    }


def _identities(each: IdentityMap) -> dict[str, Any]:
    elements = {key_text(each.key, a): identity_text(number) for a, number in sorted(each.elements.items())}
    return {"name": each.name, "note": each.note, "elements": elements}


def _verdicts(each: VerdictMap) -> dict[str, Any]:
    elements = {identity_text(number): chain for number, chain in sorted(each.elements.items())}
    return {"name": each.name, "note": each.note, "elements": elements}


def _counter(each: Counter) -> dict[str, Any]:
    return {"name": each.name, "note": each.note, **_origin(each.origin)}


def _chain(chain: Chain, marker: Marker) -> dict[str, Any]:
    found: dict[str, Any] = {"name": chain.name, "role": chain.role.value, "note": chain.note}
    if chain.hook is not None:
        found |= {"hook": chain.hook.hook, "priority": chain.hook.priority}
    return {**found, "rules": [_rule(rule, marker) for rule in chain.rules]}


def _rule(rule: Rule, marker: Marker) -> dict[str, Any]:
    return {
        "text": rule_text(rule, marker),
        "note": rule.note,
        "counter": rule.counter,
        "from": [_origin(ref) for ref in rule.origins],
    }


def _origin(ref: RuleRef | None) -> dict[str, Any]:
    if ref is None:
        return {}
    return {"policy": str(ref.policy), "rule": f"{ref.direction.lower()}[{ref.index}]"}
