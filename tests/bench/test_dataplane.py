"""The pure parts of bench/dataplane.py: the world, the packets, the statistics, the aims, the plot."""

import struct
from argparse import ArgumentTypeError
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from cluster import RANGE, Flow, flows, size_of, state, world
from layouts import iptables
from layouts.names import CONNTRACK, KUBE_ROUTER, NONE, OURS
from packets import _frame, internet_checksum
from plot import HEIGHT, plot, spread
from results import Cost, Cut, Kind, LeftOut, Programming, Results, bases, checks, costs, quartiles, tables
from stockade.policy.compile import compile_state
from stockade.policy.evaluate import evaluate
from stockade.policy.verdict import Flow as Judged
from stockade.policy.verdict import PodEndpoint

SMALL, LARGE = (10, 10), (5000, 1000)


def results(**changes):
    """One that meets every aim."""
    ns = {
        (SMALL, CONNTRACK, Kind.KNOWN): 600,
        (SMALL, OURS, Kind.KNOWN): 650,
        (LARGE, CONNTRACK, Kind.KNOWN): 600,
        (LARGE, OURS, Kind.KNOWN): 650,
        (SMALL, OURS, Kind.NEW): 2000,
        (LARGE, OURS, Kind.NEW): 3900,
        (LARGE, KUBE_ROUTER, Kind.NEW): 12000,
    } | changes.pop("ns", {})
    given = {
        "machine": "a machine",
        "rounds": 3,
        "burst": 320,
        "bases": {"10 x 10 new": 2800, "5000 x 1000 new": 2900},
        "costs": tuple(Cost(*key, value, value - 9, value + 9) for key, value in ns.items()),
        "programming": (Programming(LARGE, {"full load, ms": 1400, "add a pod, ms": 1.3}),),
        "cuts": (Cut(LARGE, "TCP up", (5.0, 21.0, 6.0)),),
    }
    return Results(**(given | changes))


def missed(found):
    return [check.aim for check in checks(found) if not check.ok]


@pytest.mark.parametrize(("pods", "policies", "each"), [(20, 10, 2), (10, 10, 1), (10, 30, 1)])
def test_policies_share_the_pods_or_pods_the_policies(pods, policies, each):
    made = world((pods, policies))
    assert {len(policy.pods) for policy in made.policies} == {each}
    assert {len(mine) for mine in made.policies_of} == {max(1, policies // pods)}
    assert {len(set(members)) for members in made.selectors} == {50}
    assert all(rule.high - rule.low in {0, RANGE - 1} for policy in made.policies for rule in policy.rules)


def test_flows_of_the_benchmark_are_allowed_and_others_are_not():
    made = world((12, 6))
    compiled = compile_state(state(made))

    def allowed(flow: Flow, port: int) -> bool:
        ends = (compiled.pods[compiled.by_address[4, each]].ref for each in (flow.source, flow.destination))
        source, target = map(PodEndpoint, ends)
        return evaluate(compiled, Judged(source, target, "UDP", port)).allowed

    picked = flows(made, 100)
    assert len(set(picked)) == 100
    assert all(allowed(flow, flow.port) for flow in picked)
    assert not any(allowed(flow, 7) for flow in picked)


@pytest.mark.parametrize("text", ["10", "x10", "10x", "0x5", "ax5", "70000x10"])
def test_sizes_that_are_none_are_refused(text):
    with pytest.raises(ArgumentTypeError, match="want pods x policies"):
        size_of(text)


def test_frames_are_64_octets_with_a_right_checksum():
    frame = _frame(Flow(0x0A400002, 0x0A800002, 40000, 443), "02:00:00:00:01:01", "02:00:00:00:01:02")
    assert len(frame) == 64
    assert internet_checksum(frame[14:34]) == 0
    assert struct.unpack_from("!HH", frame, 34) == (40000, 443)


def test_drift_is_in_both_and_so_in_no_difference():
    drift = [0, 5000, 100, 900]
    samples = {
        (SMALL, NONE, Kind.NEW): [1000 + d for d in drift],
        (SMALL, OURS, Kind.NEW): [1300 + d for d in drift],
    }
    assert list(costs(samples)) == [Cost(SMALL, OURS, Kind.NEW, 300, 300, 300)]
    assert bases(samples) == {"10 x 10 new": 1500}


def test_quartiles_of_one_value_are_that_value():
    assert quartiles([7.0]) == (7.0, 7.0, 7.0)
    assert quartiles([1, 2, 3, 4, 5]) == (2, 3, 4)


def test_aims_met():
    assert missed(results()) == []


@pytest.mark.parametrize(
    ("changes", "aim"),
    [
        ({"ns": {(SMALL, OURS, Kind.KNOWN): 700}}, "known flow at 10 x 10"),
        ({"ns": {(LARGE, OURS, Kind.NEW): 4001, (LARGE, KUBE_ROUTER, Kind.NEW): 15000}}, "first packet at 5000 x 1000 <="),
        ({"ns": {(LARGE, KUBE_ROUTER, Kind.NEW): 11000}}, "first packet at 5000 x 1000 >="),
        ({"programming": (Programming(LARGE, {"full load, ms": 1501, "add a pod, ms": 1.3}),)}, "full load"),
        ({"programming": (Programming(LARGE, {"full load, ms": 1400, "add a pod, ms": 2.1}),)}, "add a pod"),
        ({"cuts": (Cut(LARGE, "TCP up", (5.0, 21.0, 22.0)),)}, "TCP up cut"),
    ],
)  # fmt: skip
def test_each_aim_can_be_missed(changes, aim):
    assert [
        each.replace("≤", "<=").replace("≥", ">=")[: len(aim)] for each in missed(results(**changes))
    ] == [aim]


def test_what_was_not_measured_is_neither_met_nor_missed():
    ours_only = results(costs=(Cost(SMALL, OURS, Kind.NEW, 1, 1, 1),), programming=(), cuts=())
    assert {check.ok for check in checks(ours_only)} == {None}


def test_tables_say_what_could_not_be_loaded():
    text = "\n".join(tables(results(left_out=(LeftOut(SMALL, KUBE_ROUTER, "no memory"),))))
    row = next(line for line in text.splitlines() if line.startswith(f"| {KUBE_ROUTER}"))
    assert "not loaded" in row
    assert "12000 (11991-12009)" in row
    assert "Left out: kube-router at 10 x 10: no memory" in text


def test_the_plot_is_xml_and_names_every_layout_in_both_panels():
    root = ET.fromstring(plot(results()))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count(OURS) == 2
    assert texts.count(KUBE_ROUTER) == 1  # it has no figure for known flows
    assert {"1 µs", "10 µs", "10 x 10", "5000 x 1000"} <= set(texts)


def test_labels_do_not_overlap_and_stay_inside():
    placed = spread([100, 101, 102, HEIGHT - 30, HEIGHT - 29])
    assert all(b - a >= 15 for a, b in pairwise(placed))
    assert placed[-1] <= HEIGHT


def test_the_others_layouts_have_a_chain_for_each_pod_and_a_rule_for_each_port():
    made = world((20, 10))
    chains, rules = iptables._pods_and_policies(made)
    assert len([chain for chain in chains if chain.startswith("POD-")]) == 20
    assert len([rule for rule in rules if rule.startswith("-A ROUTER-FORWARD -s")]) == 20
    assert len([rule for rule in rules if rule.endswith("-j RETURN")]) == 10 * 3 * 2
