"""The transaction between two rulesets: minimal, ordered, and raising the generation exactly when something is stricter."""

from __future__ import annotations

import msgspec
import pytest

from stockade.dataplane.commands import batch_text
from stockade.dataplane.diff import adopt, diff
from stockade.dataplane.ir import Ruleset, following
from stockade.dataplane.lower import NodeView, Options, lower
from stockade.dataplane.operations import Transaction
from stockade.dataplane.render import render
from stockade.model.meta import View
from stockade.net.cidr import parse_block
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.build import pod, policy

NODE = NodeView("node-1", (parse_block("10.244.0.0/24"),))
A, WEB, WEB2 = (
    pod(name, {"app": app}, ip, on="node-1")
    for name, app, ip in (
        ("a", "a", "10.244.0.5"),
        ("web", "web", "10.244.0.6"),
        ("web2", "web", "10.244.0.7"),
    )
)
FAR = pod("far", {"app": "web"}, "10.244.1.9", on="node-2")
DNS = {"ports": [{"port": 53, "protocol": "UDP"}]}
TO_WEB = {"to": [{"podSelector": {"matchLabels": {"app": "web"}}}]}


def rules(*objects: View, node: NodeView = NODE, options: Options | None = None) -> Ruleset:
    return lower(compile_state(ClusterState.of(objects)), node, options)


def egress(*rule: object, name: str = "p") -> View:
    spec = {"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": ["Egress"], "egress": list(rule)}
    return policy(name, spec)


def lines(transaction: Transaction) -> list[str]:
    return [line for batch in stages(transaction) for line in batch]


def stages(transaction: Transaction) -> list[list[str]]:
    texts = [batch_text(batch).replace(" inet stockade", "") for batch in transaction.batches]
    return [text.splitlines() for text in texts]


def test_first_time_replaces_in_one_step_under_the_next_generation() -> None:
    done = diff(None, rules(A), 6)
    assert (done.full, done.bump, done.generation) == (True, True, 7)
    (whole,) = stages(done)
    assert whole[:3] == ["add table", "delete table", "add table"]
    assert "add map gen { type mark : verdict; size 4; elements = { 0x00070000 : accept }; }" in whole
    assert "add element id4 { 10.244.0.5 : " in "\n".join(whole)


def test_nothing_to_do_is_empty() -> None:
    done = diff(rules(A, egress()), rules(A, egress()), 3)
    assert done.is_empty
    assert done.generation == 3


def test_a_new_remote_peer_is_one_element_and_no_bump() -> None:
    done = diff(rules(A, egress(TO_WEB)), rules(A, FAR, egress(TO_WEB)), 3)
    assert len(lines(done)) == 1
    assert lines(done)[0].startswith("add element p4_")
    assert not done.bump


def test_a_gone_remote_peer_bumps() -> None:
    done = diff(rules(A, FAR, egress(TO_WEB)), rules(A, egress(TO_WEB)), 3)
    assert done.bump
    assert done.generation == 4
    assert [line.split()[:3] for line in lines(done)][-1][:2] == ["delete", "element"]
    flushed = [line for line in lines(done) if line.startswith("flush")]
    assert flushed == ["flush chain remember"]
    assert "delete element gen { 0x00030000 }" in lines(done)
    assert len(stages(done)) == 1


def test_a_new_isolated_pod_of_this_node_needs_no_bump_because_it_was_fenced() -> None:
    assert not diff(rules(WEB, egress()), rules(WEB, A, egress()), 3).bump
    unfenced = NodeView("node-1")
    assert diff(rules(WEB, egress(), node=unfenced), rules(WEB, A, egress(), node=unfenced), 3).bump


def test_a_gone_local_pod_bumps_in_the_same_transaction() -> None:
    done = diff(rules(A, WEB), rules(WEB), 3)
    assert done.bump
    assert "delete element id4 { 10.244.0.5 }" in lines(done)
    assert "delete element self4 { 10.244.0.5 . 10.244.0.5 }" in lines(done)


def test_newly_isolated_bumps() -> None:
    assert diff(rules(A), rules(A, egress()), 3).bump


def test_another_identity_bumps_and_takes_three_steps() -> None:
    done = diff(rules(A, egress(TO_WEB)), rules(A, egress(DNS)), 3)
    assert done.bump
    prepare, change, retire = stages(done)
    assert any(line.startswith("add chain e_") for line in prepare)
    assert any(line.startswith("add element eg {") for line in prepare)
    assert not any(" id4 " in line for line in (*prepare, *retire))
    assert {line.split()[2] for line in change if "element" in line} == {"gen", "id4"}
    assert any(line.startswith("delete element eg {") for line in retire)
    assert any(line.startswith("delete chain e_") for line in retire)


def test_a_fenced_pod_is_programmed_in_one_step() -> None:
    done = diff(rules(WEB, egress()), rules(WEB, A, egress()), 3)
    assert len(stages(done)) == 1


def test_a_pod_like_another_is_elements_of_data_only() -> None:
    twin = pod("a2", {"app": "a"}, "10.244.0.9", on="node-1")
    done = diff(rules(A, egress()), rules(A, twin, egress()), 3)
    assert [line.split()[:3] for line in lines(done)] == [
        ["add", "element", "self4"],
        ["add", "element", "id4"],
    ]
    assert done.batches[0].elements_only


def test_adoption_refills_every_chain_and_raises_the_generation() -> None:
    wanted = rules(A, egress(TO_WEB))
    bare = {name: msgspec.structs.replace(c, rules=()) for name, c in wanted.chains.items()}
    done = adopt(msgspec.structs.replace(wanted, chains=bare, fenced=()), wanted, 3)
    assert (done.bump, done.generation, done.full) == (True, 4, False)
    flushed = {line.split()[-1] for line in lines(done) if line.startswith("flush chain")}
    assert flushed == set(wanted.chains)
    assert [line.split()[2] for line in lines(done) if " element " in line] == ["gen", "gen"]


def test_frame_changes_bump() -> None:
    wider = NodeView("node-1", (parse_block("10.244.0.0/23"),))
    done = diff(rules(A), rules(A, node=wider), 3)
    assert done.bump
    assert not done.full
    assert "flush chain judge" in lines(done)


def test_another_mark_mask_replaces_everything() -> None:
    done = diff(rules(A), rules(A, options=Options(mark_mask=0xFF000000)), 3)
    assert done.full
    assert any("elements = { 0x04000000 : accept }" in line for line in lines(done))


def test_another_log_rate_refills_deny_chains_without_a_bump() -> None:
    done = diff(rules(A, egress()), rules(A, egress(), options=Options(log_rate=7)), 3)
    assert any("deny_e_" in line and "rate 7/second" in line for line in lines(done))
    assert "flush chain fence" in lines(done)
    assert not done.bump


def test_order_targets_before_users_and_users_away_before_targets() -> None:
    def position(found: list[str], start: str) -> int:
        return next(at for at, line in enumerate(found) if line.startswith(start))

    there = lines(diff(rules(A, WEB), rules(A, WEB, egress(TO_WEB)), 3))
    order = ["add set p4_", "add chain e_", "add rule e_", "add element eg {"]
    assert [position(there, o) for o in order] == sorted(position(there, o) for o in order)
    back = lines(diff(rules(A, WEB, egress(TO_WEB)), rules(A, WEB), 3))
    order = ["delete element eg {", "flush chain e_", "delete chain e_", "delete set p4_"]
    assert [position(back, o) for o in order] == sorted(position(back, o) for o in order)


def test_annotations_alone_change_nothing() -> None:
    old = rules(A, egress(TO_WEB))
    noted = {n: msgspec.structs.replace(c, note="other words") for n, c in old.chains.items()}
    assert diff(old, msgspec.structs.replace(old, chains=noted), 3).is_empty


def test_generations_come_round_without_zero() -> None:
    assert [following(n, 3) for n in (0, 1, 2, 3)] == [1, 2, 3, 1]


def test_render_refuses_a_generation_outside_the_mask() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        render(rules(A), 0x10000)


def test_a_wider_policy_gives_a_new_identity_and_cuts_nothing() -> None:
    done = diff(rules(A, egress(DNS)), rules(A, egress(DNS, TO_WEB)), 3)
    assert len(stages(done)) == 3
    assert not done.bump
    assert diff(rules(A, egress(DNS, TO_WEB)), rules(A, egress(DNS)), 3).bump


def test_a_policy_that_goes_cuts_nothing_where_nothing_else_isolates() -> None:
    assert not diff(rules(A, egress(DNS)), rules(A), 3).bump
    both = policy("q", {"podSelector": {}, "policyTypes": ["Ingress"]})
    assert diff(rules(A, egress(DNS)), rules(A, both), 3).bump
    assert diff(rules(A, egress(DNS), egress(TO_WEB, name="q")), rules(A, egress(DNS)), 3).bump
