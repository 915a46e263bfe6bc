"""The real nft: what was loaded is read back, tampering is seen and repaired, a bad transaction changes nothing."""

from __future__ import annotations

import pytest

from stockade.dataplane.lower import NodeView, Options, lower
from stockade.dataplane.nfnetlink.backend import Netlink
from stockade.dataplane.nft import Nft
from stockade.dataplane.plane import Dataplane
from stockade.dataplane.programmer import ProgrammingError
from stockade.net.cidr import parse_block
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.build import pod, policy

pytestmark = pytest.mark.kernel

NODE = NodeView("node-1", (parse_block("10.244.0.0/24"),))
HTTP = {"name": "http", "containerPort": 8080, "protocol": "UDP"}
STATE = ClusterState.of(
    [
        pod("a", {"app": "a"}, "10.244.0.5", "fd00::5", on="node-1", ports=[HTTP]),
        policy(
            "deny",
            {
                "podSelector": {},
                "policyTypes": ["Egress"],
                "egress": [
                    {"ports": [{"port": 53}, {"port": "http", "protocol": "UDP"}]},
                    # leaves a single address, a prefix and a range: nft writes each in its own way
                    {"to": [{"ipBlock": {"cidr": "10.9.0.0/24", "except": ["10.9.0.0/31", "10.9.0.3/32"]}}]},
                ],
            },
        ),
    ]
)


@pytest.mark.parametrize("mask", [0xFFFF0000, 0xFF000000, 0x00FFFF00, 0x0000000F])
async def test_generation_is_read_back_under_every_mask(network, mask: int) -> None:
    nft = Nft()
    assert await nft.read() is None
    plane = Dataplane(nft, generation=5)
    await plane.apply(lower(compile_state(STATE), NODE, Options(mark_mask=mask)))
    assert (await nft.read()).generation == 6 == plane.generation
    adopted = Dataplane(Nft())
    done = await adopted.apply(lower(compile_state(STATE), NODE, Options(mark_mask=mask)))
    assert adopted.generation == 7
    assert not done.full
    assert await Nft().holds(adopted.applied, adopted.generation)


@pytest.mark.parametrize(
    "tampering",
    [
        "delete element inet stockade id4 { 10.244.0.5 }",
        "add element inet stockade self4 { 10.244.0.77 . 10.244.0.77 }",
        "insert rule inet stockade judge accept",
        "flush chain inet stockade fwd_hook",
        "flush ruleset",
        "add chain inet stockade other",
        "table inet stockade { flags dormant; }",
    ],
)
@pytest.mark.parametrize("verified_before", [True, False])
async def test_tampering_is_seen_and_repaired(network, tampering: str, verified_before: bool) -> None:
    plane = Dataplane(Nft())
    await plane.apply(lower(compile_state(STATE), NODE))
    before = plane.generation
    if verified_before:
        assert await plane.verify()
    await Nft().load(tampering)
    assert not await plane.verify()
    assert await plane.verify()
    assert plane.generation != before


async def test_a_changed_rule_is_seen_once_the_table_was_read(network) -> None:
    plane = Dataplane(Nft())
    await plane.apply(lower(compile_state(STATE), NODE))
    assert await plane.verify()
    await Nft().load("flush chain inet stockade pass\nadd rule inet stockade pass accept")
    assert not await plane.verify()


async def test_what_was_never_listed_is_not_believed_once_somebody_changed_something(network) -> None:
    """The same number of rules in each chain, and no listing before that to compare with."""
    own = Nft()
    plane = Dataplane(own)
    await plane.apply(lower(compile_state(STATE), NODE))
    await Nft().load("flush chain inet stockade pass\nadd rule inet stockade pass accept")
    own.distrust()
    assert not await plane.verify()
    assert await plane.verify()
    own.distrust()
    assert await plane.verify()  # this time there is one


async def test_a_refused_transaction_changes_nothing(network) -> None:
    plane = Dataplane(Nft())
    await plane.apply(lower(compile_state(STATE), NODE))
    with pytest.raises(ProgrammingError, match="Error"):
        await Nft().load("flush chain inet stockade fwd_hook\nadd rule inet stockade nowhere accept")
    assert await plane.verify()


async def test_every_kind_of_element_is_read_back(network) -> None:
    wanted = lower(compile_state(STATE), NODE)
    (block,) = (each for each in wanted.sets.values() if each.interval)
    assert any(low == high for low, high in block.elements)
    plane = Dataplane(Nft())
    await plane.apply(wanted)
    assert await plane.verify()
    held = await Nft().read()
    for name, each in wanted.sets.items():
        assert held.ruleset.sets[name].elements == each.elements
        assert held.ruleset.sets[name].key == each.key
    assert {n: m.elements for n, m in held.ruleset.maps.items()} == {
        n: m.elements for n, m in wanted.maps.items()
    }
    assert {n: c.hook for n, c in held.ruleset.chains.items()} == {
        n: c.hook for n, c in wanted.chains.items()
    }


async def test_adoption_changes_what_differs_and_takes_strangers_out(network) -> None:
    await Dataplane(Nft()).apply(lower(compile_state(STATE), NODE))
    other = ClusterState.of([pod("b", {"app": "b"}, "10.244.0.6", on="node-1"), *STATE.policies.values()])
    await Nft().load("add chain inet stockade other\nadd rule inet stockade other accept")
    plane = Dataplane(Nft())
    done = await plane.apply(lower(compile_state(other), NODE))
    assert not done.full
    assert await Nft().holds(plane.applied, plane.generation)


async def test_a_strange_table_of_our_name_is_replaced(network) -> None:
    strange = (
        "table inet stockade {\nset x { type mark; elements = { 1 }; }\nchain gate { ct mark 1 accept\n}\n}"
    )
    await Nft().load(strange)
    plane = Dataplane(Nft())
    assert (await plane.apply(lower(compile_state(STATE), NODE))).full
    assert await Nft().holds(plane.applied, plane.generation)


async def test_a_table_that_had_an_owner_is_made_anew(network) -> None:
    """nft itself cannot even list it reliably."""
    netlink = Netlink(own=True)
    await Dataplane(netlink).apply(lower(compile_state(STATE), NODE))
    netlink.close()
    plane = Dataplane(Nft())
    assert (await plane.apply(lower(compile_state(STATE), NODE))).full
    assert await plane.verify()
    assert not (await plane.apply(lower(compile_state(ClusterState.of([])), NODE))).full
    assert await plane.verify()


async def test_cleanup_leaves_no_table_and_may_be_repeated(network) -> None:
    plane = Dataplane(Nft())
    await plane.apply(lower(compile_state(STATE), NODE))
    await plane.cleanup()
    assert await Nft().read() is None
    await plane.cleanup()
