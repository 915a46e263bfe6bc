"""Names and labels are users' text; nft's input is ours. Whatever stands in the first must not act in the second."""

from __future__ import annotations

import re

import pytest

from stockade.dataplane.heading import heading
from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.render import render
from stockade.net.cidr import parse_block
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.build import namespace, pod, policy

NODE = NodeView("node-1", (parse_block("10.244.0.0/24"),))
MARK = "zzmarkzz"
HOSTILE = [
    f'{MARK}"; flush ruleset; "',
    f"{MARK}\n\t}}\n}}\nflush ruleset\n",
    f"{MARK} # \\\r\nflush ruleset",
    f"{MARK}\u2028flush ruleset\x00\x85",
    f"{MARK}$(reboot)`reboot`",
]


def text(evil: str, *, annotate: bool) -> str:
    spec = {
        "podSelector": {"matchLabels": {"app": evil}},
        "policyTypes": ["Egress", "Ingress"],
        "egress": [
            {
                "ports": [{"port": evil, "protocol": "TCP"}, {"port": 53, "protocol": evil}],
                "to": [
                    {"podSelector": {"matchExpressions": [{"key": evil, "operator": "In", "values": [evil]}]}},
                    {"podSelector": {"matchLabels": {evil: evil}}, "namespaceSelector": {"matchLabels": {evil: evil}}},
                    {"ipBlock": {"cidr": evil}},
                    {"ipBlock": {"cidr": "10.0.0.0/8", "except": [evil]}},
                ],
            }
        ],
    }  # fmt: skip
    port = {"name": evil, "containerPort": 80, "protocol": "TCP"}
    objects = [
        namespace(evil, {evil: evil}),
        pod(f"{evil}/a", {"app": evil, evil: evil}, "10.244.0.5", ports=[port], on="node-1"),
        pod("b", {evil: evil}, "10.244.0.6", evil, ports=[port], on="node-1"),
        policy(f"{evil}/{evil}", spec),
        # Selectors and ports of no use to anybody make no rules; this one does, and its comment has the policy's name.
        policy(f"default/{evil}", {**spec, "podSelector": {}, "ingress": [{"ports": [{"port": 53}]}]}),
    ]
    compiled = compile_state(ClusterState.of(objects))
    ruleset = lower(compiled, NODE)
    return render(ruleset, annotate=annotate, above=heading(compiled, NODE, ruleset, 1, [evil]))


@pytest.mark.parametrize("evil", HOSTILE)
def test_names_are_in_comments_at_most(evil) -> None:
    plain = text(evil, annotate=False)
    assert MARK not in plain
    assert "flush" not in plain
    assert "10.244.0.6" in plain  # the pods are really there
    noted = text(evil, annotate=True)
    assert MARK in noted
    assert re.search(f"tcp dport 53 .*  # default/{MARK}", noted)
    code = "\n".join(re.sub(r"\s*#( .*)?$", "", line) for line in noted.split("\n"))
    code = "\n".join(line for line in code.split("\n") if line.strip())
    assert code == "\n".join(line for line in plain.split("\n") if line.strip())
    assert all(letter.isprintable() or letter in "\n\t" for letter in noted)
