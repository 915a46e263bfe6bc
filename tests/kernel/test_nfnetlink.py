"""Our own netlink against the real kernel: it writes what the nft program writes, reads back what is there, and a refusal undoes everything."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stockade.dataplane.commands import batch_text
from stockade.dataplane.diff import create, diff, replace, turn_generation
from stockade.dataplane.ir import (
    Accept,
    Chain,
    Counter,
    Drop,
    Goto,
    KeyType,
    Member,
    NamedSet,
    Rule,
    VerdictMap,
)
from stockade.dataplane.lower import NodeView, Options, lower
from stockade.dataplane.nfnetlink.backend import Netlink
from stockade.dataplane.operations import (
    AddChain,
    AddCounter,
    AddElements,
    AddMap,
    AddRule,
    AddSet,
    AddTable,
    Batch,
    DeleteChain,
    DeleteCounter,
    DeleteElements,
    DeleteSet,
    FlushChain,
    MapElements,
    TurnGeneration,
    UnmapElements,
)
from stockade.dataplane.programmer import ProgrammingError
from stockade.net.cidr import parse_block
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.cluster import compile_text
from stockade.testing.handmade import (
    MASK,
    RULES,
    S4,
    V4,
    V6,
    addresses,
    batch_of,
    blocks,
    hand_made,
    hooks,
    listed,
    nft,
    number,
)
from stockade.testing.strategies import worlds

pytestmark = pytest.mark.kernel

VIEW = NodeView("node-1", (parse_block("10.244.0.0/24"), parse_block("fd00:244::/64")))
GOLDEN = Path(__file__).parent.parent / "golden"


async def written_twice(netlink: Netlink, *batches: Batch) -> tuple[str, str]:
    """The table after the nft program wrote it, and after we did."""
    found = []
    for text in (True, False):
        nft("flush", "ruleset")
        for batch in batches:
            if text:
                nft("-f", "-", text=batch_text(batch))
            else:
                await netlink.commit(batch)
        found.append(listed())
    return found[0], found[1]


@pytest.mark.parametrize("mask", [0xFFFF0000, 0xFF000000, 0x00FFFF00, 0x0000000F, 0xFFFFFFFF])
async def test_each_match_and_action_is_written_as_nft_writes_it(netlink, mask: int) -> None:
    ruleset = hand_made()
    by_nft, by_us = await written_twice(netlink, batch_of(*create(ruleset), generation=9, mask=mask))
    assert by_us == by_nft
    assert by_nft.count("\n") > len(RULES)


async def test_rules_are_the_same_instructions(netlink) -> None:
    """Not only the same words: what nft would hide in its listing is compared too."""
    batch = batch_of(*create(hand_made()))
    await netlink.commit(batch)
    ours = instructions()
    nft("flush", "ruleset")
    nft("-f", "-", text=batch_text(batch))
    assert "\n".join(ours) == "\n".join(instructions())
    assert len(ours) > 3 * len(RULES)


def instructions() -> list[str]:
    lines = nft("--debug=netlink", "list", "table", "inet", "stockade").splitlines()
    return [line for line in lines if line.startswith("  [")]


@pytest.mark.parametrize("case", sorted(each.parent.name for each in GOLDEN.glob("*/input.yaml")))
async def test_golden_inputs_are_written_as_nft_writes_them(netlink, case: str) -> None:
    ruleset = lower(compile_text((GOLDEN / case / "input.yaml").read_text()), VIEW)
    transaction = replace(ruleset, 3)
    by_nft, by_us = await written_twice(netlink, *transaction.batches)
    assert by_us == by_nft
    assert await netlink.holds(ruleset, transaction.generation)
    held = await netlink.read()
    assert held.generation == transaction.generation
    assert diff(held.ruleset, held.ruleset, 1).is_empty
    assert held.ruleset.sets.keys() == ruleset.sets.keys()


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(before=worlds(), after=worlds(), reject=st.booleans())
def test_random_changes_are_written_as_nft_writes_them(
    network, before: ClusterState, after: ClusterState, reject: bool
) -> None:
    async def run() -> None:
        netlink = Netlink()
        options = Options(pod_interfaces=("veth*",), deny="reject") if reject else Options()
        old, new = (lower(compile_state(state), VIEW, options) for state in (before, after))
        first = replace(old, 1)
        second = diff(old, new, first.generation)
        by_nft, by_us = await written_twice(netlink, *first.batches, *second.batches)
        assert by_us == by_nft
        assert await netlink.holds(new, second.generation)
        if any(each.operations for each in second.batches):
            assert not await netlink.holds(old, second.generation)
        netlink.close()

    asyncio.run(run())


async def test_what_was_written_is_read_back(netlink) -> None:
    wanted = hand_made()
    for one in replace(wanted, 4).batches:
        await netlink.commit(one)
    held = await netlink.read()
    assert held.generation == 5
    bare = {name: Chain(name, (), hook=each.hook) for name, each in wanted.chains.items()}
    found = held.ruleset
    assert found.sets == wanted.sets
    assert found.identities == wanted.identities
    assert found.maps == wanted.maps
    assert found.counters == wanted.counters
    assert found.chains == bare
    assert found.mark_mask == MASK


async def test_elements_are_taken_away_and_added(netlink) -> None:
    wanted = hand_made()
    await netlink.commit(batch_of(*create(wanted)))
    b4, p4, n4 = (wanted.sets[name] for name in ("b4", "p4", "n4"))
    touching = blocks("13.0.0.0-13.0.0.4")
    fresh = blocks("14.0.0.0/8", "255.0.0.0/8")
    await netlink.commit(
        batch_of(
            DeleteElements("b4", b4.key, touching),
            AddElements("b4", b4.key, fresh),
            DeleteElements("p4", p4.key, addresses("10.0.0.1")),
            AddElements("p4", p4.key, addresses("10.0.0.7", "10.0.0.8")),
            DeleteElements("n4", n4.key, frozenset({(number("10.0.0.1"), 6, 80)})),
            UnmapElements("id4", V4, (number("10.0.0.9"),)),
            MapElements("id4", V4, {number("10.0.0.10"): 7}),
            UnmapElements("eg", KeyType.IDENTITY, (7,)),
            MapElements("eg", KeyType.IDENTITY, {8: "end"}),
        )
    )
    found = (await netlink.read()).ruleset
    assert found.sets["b4"].elements == (b4.elements - touching) | fresh
    assert found.sets["p4"].elements == addresses("10.0.0.2", "10.0.0.3", "10.0.0.7", "10.0.0.8")
    assert found.sets["n4"].elements == {(number("10.0.0.1"), 132, 53)}
    assert found.identities["id4"].elements == {number("10.0.0.10"): 7, number("10.0.0.8"): 0x10002}
    assert found.maps["eg"].elements == {8: "end", 0x10002: "end"}


async def test_the_generation_turns(netlink) -> None:
    ruleset = lower(compile_text((GOLDEN / "deny-egress" / "input.yaml").read_text()), VIEW)
    begin, turn = replace(ruleset, 3).batches[0], Batch(tuple(turn_generation(ruleset, 4)), MASK, 5)
    by_nft, by_us = await written_twice(netlink, begin, turn)
    assert by_us == by_nft
    assert await netlink.holds(ruleset, 5)
    assert (await netlink.read()).generation == 5
    with pytest.raises(ProgrammingError, match=r"turn the generation.*No such file"):
        await netlink.commit(batch_of(TurnGeneration(4), generation=6))


async def test_a_set_larger_than_an_attribute_arrives_whole(netlink) -> None:
    many = frozenset((number("10.0.0.0") + offset,) for offset in range(20_000))
    spans = frozenset((offset << 8, (offset << 8) + 9) for offset in range(5_000))
    names = dict.fromkeys(range(1, 3000), "end")
    big = [NamedSet("many", (V4,), many), NamedSet("spans", (V4,), spans, interval=True)]
    operations = [AddTable(), *map(AddSet, big), AddMap(VerdictMap("eg", {})), AddChain(Chain("end", ()))]
    await netlink.commit(batch_of(*operations, MapElements("eg", KeyType.IDENTITY, names), *hooks()))
    found = (await netlink.read()).ruleset
    assert found.sets["many"].elements == many
    assert found.sets["spans"].elements == spans
    assert found.maps["eg"].elements == names


REFUSED = [
    (DeleteElements("p4", (V4,), addresses("10.0.0.1", "10.9.9.9")), r"set p4.*10\.9\.9\.9.*No such file"),
    (UnmapElements("id4", V4, (number("10.9.9.9"),)), r"map id4.*10\.9\.9\.9.*No such file"),
    (MapElements("eg", KeyType.IDENTITY, {99: "nowhere"}), "map eg.*No such file"),
    (MapElements("id4", V4, {number("10.0.0.9"): 8}), r"map id4.*10\.0\.0\.9.*File exists"),
    (AddElements("nowhere", (V4,), addresses("10.0.0.1")), "set nowhere.*No such file"),
    (AddRule("nowhere", Rule((), Accept())), "rule to chain nowhere.*No such file"),
    (AddRule("end", Rule((Member((S4,), "nowhere"),), Accept())), "rule to chain end.*No such file"),
    (AddRule("end", Rule((), Goto("fwd_hook"))), "rule to chain end.*Operation not supported"),
    (AddRule("end", Rule((), Goto("many"))), "Too many links"),
    (AddSet(NamedSet("p4", (V6,), frozenset())), "set p4.*File exists"),
    (DeleteSet("p4"), "delete set p4.*busy"),
    (DeleteChain("end"), "delete chain end.*busy"),
    (DeleteChain("nowhere"), "delete chain nowhere.*No such file"),
    (DeleteCounter("c_1"), "delete counter c_1.*busy"),
    (FlushChain("nowhere"), "flush chain nowhere.*No such file"),
]


@pytest.mark.parametrize(("refused", "words"), REFUSED, ids=[words for _, words in REFUSED])
async def test_one_refusal_at_the_end_undoes_everything(netlink, refused, words: str) -> None:
    await netlink.commit(batch_of(*create(hand_made())))
    before = nft("-a", "list", "ruleset")
    begin = [
        AddSet(NamedSet("fresh", (V4,), addresses("10.0.0.1"))),
        AddElements("p4", (V4,), addresses("10.7.7.7")),
        AddCounter(Counter("c_3")),
        AddChain(Chain("more", ())),
        AddRule("more", Rule((), Drop())),
        FlushChain("in_hook"),
    ]
    with pytest.raises(ProgrammingError, match=words):
        await netlink.commit(batch_of(*begin, refused))
    assert nft("-a", "list", "ruleset") == before
    await netlink.commit(batch_of(*begin))


async def test_a_thousand_refusals_are_one_error(netlink) -> None:
    await netlink.commit(batch_of(*create(hand_made())))
    missing = [DeleteChain(f"nowhere{each}") for each in range(2000)]
    with pytest.raises(ProgrammingError, match="delete chain nowhere0: No such file"):
        await netlink.commit(batch_of(*missing))
    assert (await netlink.read()).generation == 1
