"""Our own netlink against the real kernel: it writes what the nft program writes, reads back what is there, and knows who changed what."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stockade.dataplane.commands import batch_text
from stockade.dataplane.diff import create, diff, replace, turn_generation
from stockade.dataplane.ir import (
    Accept,
    AcceptKnown,
    Chain,
    Counter,
    CtReply,
    CtState,
    Dispatch,
    Drop,
    Field,
    FromInterface,
    Goto,
    Hook,
    HopLimit,
    Identify,
    IdentityMap,
    IsFamily,
    IsProtocol,
    KeyType,
    Log,
    Member,
    NamedSet,
    NoReturnPath,
    NotNodeAddress,
    PortWithin,
    Reject,
    RejectCode,
    Remember,
    Rule,
    Ruleset,
    VerdictMap,
    Within,
)
from stockade.dataplane.lower import NodeView, Options, lower
from stockade.dataplane.netlink import NetlinkSocket
from stockade.dataplane.nfnetlink import ownership
from stockade.dataplane.nfnetlink.backend import Netlink
from stockade.dataplane.nfnetlink.monitor import Monitor
from stockade.dataplane.nfnetlink.wire import OWNER, Kind
from stockade.dataplane.nft import Nft
from stockade.dataplane.operations import (
    AddChain,
    AddCounter,
    AddElements,
    AddGenerations,
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
    Operation,
    TurnGeneration,
    UnmapElements,
)
from stockade.dataplane.plane import Dataplane
from stockade.dataplane.programmer import InterferenceError, ProgrammingError
from stockade.net.cidr import parse_block
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState
from stockade.testing.cluster import compile_text
from stockade.testing.strategies import worlds

pytestmark = pytest.mark.kernel

MASK = 0xFFFF0000
VIEW = NodeView("node-1", (parse_block("10.244.0.0/24"), parse_block("fd00:244::/64")))
GOLDEN = Path(__file__).parent.parent / "golden"
V4, V6, PROTO, PORT = KeyType.IPV4, KeyType.IPV6, KeyType.PROTOCOL, KeyType.SERVICE


def number(address: str) -> int:
    return int(ip_address(address))


def addresses(*texts: str) -> frozenset[tuple[int, ...]]:
    return frozenset((number(text),) for text in texts)


def blocks(*texts: str) -> frozenset[tuple[int, int]]:
    """``10.0.0.0/8`` or ``10.0.0.1-10.0.0.5``."""
    found = set()
    for text in texts:
        low, _, high = text.partition("-")
        net = ip_network(low)
        found.add((int(net[0]), number(high) if high else int(net[-1])))
    return frozenset(found)


def within(field: Field, text: str) -> Within:
    ((low, high),) = blocks(text)
    return Within(field, low, high)


SETS = [
    NamedSet("p4", (V4,), addresses("10.0.0.1", "10.0.0.2", "10.0.0.3")),
    NamedSet("p6", (V6,), addresses("fd00::1", "fd00::2")),
    NamedSet("empty", (V4,), frozenset()),
    NamedSet(
        "b4",
        (V4,),
        blocks("10.0.0.0/8", "11.0.0.3", "12.0.0.0-12.0.0.5", "13.0.0.0-13.0.0.4", "13.0.0.5-13.0.0.9"),
        interval=True,
    ),
    NamedSet("all4", (V4,), blocks("0.0.0.0/0"), interval=True),
    NamedSet("last4", (V4,), blocks("0.0.0.0/32", "255.255.255.255"), interval=True),
    NamedSet("b6", (V6,), blocks("fd00::/8", "fe80::-fe80::7", "ff00::/8"), interval=True),
    NamedSet(
        "n4", (V4, PROTO, PORT), frozenset({(number("10.0.0.1"), 6, 80), (number("10.0.0.1"), 132, 53)})
    ),
    NamedSet("n6", (V6, PROTO, PORT), frozenset({(number("fd00::1"), 17, 53)})),
    NamedSet("s4", (V4, V4), frozenset({(1 << 24, 1 << 24)})),
    NamedSet("s6", (V6, V6), frozenset({(1, 1)})),
    NamedSet("nd", (KeyType.ICMPV6_TYPE,), frozenset({(133,), (135,)})),
]
S4, D4, S6, D6 = Field.SADDR4, Field.DADDR4, Field.SADDR6, Field.DADDR6
SPORT, DPORT = Field.SPORT, Field.DPORT
MATCHES = [
    (Member((S4,), "p4"),),
    (Member((D4,), "p4", negated=True),),
    (Member((S6,), "p6"), IsProtocol(17)),
    (Member((D6,), "b6"),),
    (Member((S4,), "b4"), PortWithin(6, DPORT, 80, 80)),
    (Member((S4, Field.PROTOCOL, DPORT), "n4"),),
    (Member((D6, Field.PROTOCOL, SPORT), "n6"),),
    (Member((S4, D4), "s4"),),
    (Member((S6, D6), "s6"),),
    (Member((Field.ICMPV6_TYPE,), "nd"),),
    (HopLimit(255), Member((Field.ICMPV6_TYPE,), "nd")),
    *((within(S4, f"{ip_address('10.0.0.0')}/{length}"),) for length in (7, 8, 9, 13, 16, 24, 30, 32)),
    (within(S4, "0.0.0.0/0"),),
    (within(D4, "10.0.0.1-10.0.0.5"),),
    *((within(D6, f"fe80::/{length}"),) for length in (10, 16, 64, 127, 128)),
    (within(S6, "::/0"),),
    (within(S6, "fe80::1-fe80::7"),),
    (within(S4, "10.0.0.0/8"), Member((S4,), "p4", negated=True), NotNodeAddress(S4)),
    (within(D6, "fd00::/8"), NotNodeAddress(D6)),
    (IsFamily(4),),
    (IsFamily(6), Member((S6,), "p6")),
    (IsProtocol(6),),
    (IsProtocol(50),),
    *((PortWithin(each, DPORT, 80, 80),) for each in (6, 17, 132)),
    (PortWithin(17, SPORT, 80, 90), Member((D4,), "p4")),
    (PortWithin(132, DPORT, 0, 65535),),
    *((CtState(each),) for each in ("new", "established", "related", "invalid", "untracked")),
    (CtReply(),),
    (FromInterface("eth0"),),
    (FromInterface("veth*"), NoReturnPath()),
]
ACTIONS = [
    Accept(),
    Accept(forget=True),
    Drop(),
    Reject(RejectCode.TCP_RESET),
    Reject(RejectCode.ADMIN_PROHIBITED),
    Goto("end"),
    Goto("end", forget=True),
    Identify(S4, "id4", "end"),
    Identify(D6, "id6", "end"),
    Dispatch("eg"),
    Log("stockade|e|0123456789ab", 5, 200, 400, 96),
    Log("S", 6, 1, 5, 0),
    AcceptKnown(),
    Remember(),
]
RULES = [
    *(Rule(matches, Drop()) for matches in MATCHES),
    *(Rule((), action) for action in ACTIONS),
    *(Rule((), action, counter="c_1") for action in ACTIONS),
    *(
        Rule((Member((S4,), "p4"), PortWithin(6, DPORT, 80, 80)), action, counter="c_1")
        for action in ACTIONS
        if action != Identify(D6, "id6", "end")
    ),
]


def hand_made() -> Ruleset:
    chains = [
        Chain("end", (Rule((), Drop()),)),
        Chain("many", tuple(RULES)),
        Chain("fwd_hook", (Rule((), AcceptKnown()), Rule((), Goto("many"))), hook=Hook("forward", -10)),
        Chain("in_hook", (Rule((), AcceptKnown()),), hook=Hook("input", 7)),
    ]
    return Ruleset(
        sets={each.name: each for each in SETS},
        identities={
            "id4": IdentityMap("id4", V4, {number("10.0.0.9"): 7, number("10.0.0.8"): 0x10002}),
            "id6": IdentityMap("id6", V6, {number("fd00::9"): 7}),
        },
        maps={"eg": VerdictMap("eg", {7: "end", 0x10002: "end"})},
        counters={name: Counter(name) for name in ("c_1", "c_2")},
        chains={each.name: each for each in chains},
        fenced=(),
        mark_mask=MASK,
    )


def nft(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(["nft", *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def listed() -> str:
    return nft("list", "table", "inet", "stockade")


def batch_of(*operations, generation: int = 1, mask: int = MASK) -> Batch:
    return Batch(operations, mask, generation)


@pytest.fixture
def netlink(network):
    made = Netlink()
    yield made
    made.close()


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


def hooks() -> list[Operation]:
    """What ``read`` needs to know the generation."""
    chain = Chain("fwd_hook", (), hook=Hook("forward", 0))
    return [AddGenerations(), AddChain(chain), AddRule("fwd_hook", Rule((), AcceptKnown()))]


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


# --- others


async def adopted(netlink: Netlink) -> Ruleset:
    wanted = hand_made()
    await netlink.commit(replace(wanted, 4).batches[0])
    assert await netlink.holds(wanted, 5)
    return wanted


async def test_changes_of_other_tables_do_not_disturb(netlink) -> None:
    wanted = await adopted(netlink)
    for turn in range(5):
        nft("-f", "-", text=f"add table ip other\nadd chain ip other c{turn}\n")
        nft("-f", "-", text=f"add table inet stockade2\nadd chain inet stockade2 c{turn}\n")
        nft("-f", "-", text=f"add table ip stockade\nadd chain ip stockade c{turn}\n")
        await netlink.commit(batch_of(AddElements("empty", (V4,), frozenset({(turn,)})), generation=5))
    assert await netlink.holds(wanted, 5)  # known without a look: elements were added by ourselves
    assert (await netlink.read()).ruleset.sets["empty"].elements == {(turn,) for turn in range(5)}


async def test_a_batch_that_changes_nothing_is_no_interference(netlink) -> None:
    await adopted(netlink)
    for _ in range(3):  # the kernel gives no new generation id for elements that are there already
        await netlink.commit(batch_of(AddElements("p4", (V4,), addresses("10.0.0.1")), generation=5))
    nft("add element inet stockade p4 { 10.0.0.77 }")
    with pytest.raises(InterferenceError):
        await netlink.commit(batch_of(AddElements("p4", (V4,), addresses("10.0.0.1")), generation=5))


async def test_others_who_write_all_the_time_do_not_stop_us(netlink) -> None:
    await adopted(netlink)
    text = "".join(f"add table ip noisy{turn}\n" for turn in range(50))
    script = "while :; do nft add table ip noisy; nft delete table ip noisy; done"
    noise = subprocess.Popen(["sh", "-c", script])  # noqa: ASYNC220 - it must write while the loop is busy
    try:
        nft("-f", "-", text=text)
        for turn in range(300):
            await netlink.commit(batch_of(AddElements("empty", (V4,), frozenset({(turn,)})), generation=5))
    finally:
        noise.kill()
        noise.wait()
    found = (await netlink.read()).ruleset
    assert found.sets["empty"].elements == {(turn,) for turn in range(300)}


TAMPERING = [
    "add element inet stockade p4 { 10.0.0.77 }",
    "delete element inet stockade b4 { 11.0.0.3 }",
    "delete element inet stockade id4 { 10.0.0.9 }",
    "delete element inet stockade eg { 0:7 }",
    "insert rule inet stockade many accept",
    "add element inet stockade gen { 0x00060000 : accept }",
    "delete element inet stockade gen { 0x00050000 }",
    "flush chain inet stockade fwd_hook",
    "flush chain inet stockade end; add rule inet stockade end accept",
    "add chain inet stockade other",
    "add set inet stockade other { type ipv4_addr; flags timeout; }",
    "add quota inet stockade other 10 mbytes",
    "add counter inet stockade other",
    "chain inet stockade fwd_hook { policy drop; }",
    "delete table inet stockade",
    "flush ruleset",
]


def between(netlink: Netlink, monkeypatch, part: str, method: str, command: str) -> list[int]:
    """Somebody runs ``command`` just before the first call of a method of the backend's; counts the calls."""
    original, calls = getattr(getattr(netlink, part), method), []

    def wrapped(*arguments):
        calls.append(1)
        if len(calls) == 1:
            nft(command)
        return original(*arguments)

    monkeypatch.setattr(getattr(netlink, part), method, wrapped)
    return calls


async def test_who_comes_in_between_is_not_overwritten(netlink, monkeypatch) -> None:
    await adopted(netlink)
    addition = batch_of(AddElements("empty", (V4,), frozenset({(1,)})), generation=5)
    calls = between(netlink, monkeypatch, "_channel", "transact", "add table ip other")
    await netlink.commit(addition)
    assert len(calls) == 2
    command = "add element inet stockade p4 { 10.0.0.77 }"
    calls = between(netlink, monkeypatch, "_channel", "transact", command)
    with pytest.raises(InterferenceError, match="p4"):
        await netlink.commit(batch_of(AddElements("empty", (V4,), frozenset({(2,)})), generation=5))
    assert len(calls) == 1
    assert (await netlink.read()).ruleset.sets["empty"].elements == {(1,)}


async def test_a_table_made_anew_overwrites_who_comes_in_between(netlink, monkeypatch) -> None:
    wanted = await adopted(netlink)
    calls = between(netlink, monkeypatch, "_channel", "transact", "flush chain inet stockade end")
    await netlink.commit(replace(wanted, 5).batches[0])
    assert len(calls) == 2
    assert await netlink.holds(wanted, 6)


async def test_a_reading_that_was_disturbed_is_done_again(netlink, monkeypatch) -> None:
    await adopted(netlink)
    command = "add element inet stockade empty { 10.0.0.77 }"
    calls = between(netlink, monkeypatch, "_reader", "held", command)
    assert (await netlink.read()).ruleset.sets["empty"].elements == addresses("10.0.0.77")
    assert len(calls) == 2


@pytest.mark.parametrize("tampering", TAMPERING)
async def test_tampering_is_seen(netlink, tampering: str) -> None:
    wanted = await adopted(netlink)
    nft(tampering)
    with pytest.raises(InterferenceError, match=r"nft .*pid"):
        await netlink.commit(batch_of(AddElements("empty", (V4,), frozenset({(1,)})), generation=5))
    assert not await netlink.holds(wanted, 5)
    other = Netlink()
    assert not await other.holds(wanted, 5)
    other.close()
    held = await netlink.read()
    assert held is None or held.generation in {5, None}
    await netlink.commit(replace(wanted, 5).batches[0])
    assert await netlink.holds(wanted, 6)


async def test_the_plane_repairs_what_others_did(netlink) -> None:
    state = compile_text((GOLDEN / "dual-stack-peers" / "input.yaml").read_text())
    plane = Dataplane(netlink)
    await plane.apply(lower(state, VIEW))
    assert await plane.verify()
    nft("flush chain inet stockade judge")
    assert not await plane.verify()
    assert await plane.verify()
    assert await Nft().holds(plane.applied, plane.generation)
    successor = Dataplane(Netlink())
    assert not (await successor.apply(lower(state, VIEW))).full


async def test_after_a_reading_that_was_right_nothing_is_read_again(netlink, monkeypatch) -> None:
    wanted = await adopted(netlink)
    monkeypatch.setattr(netlink._reader, "holds", lambda *_: False)
    assert await netlink.holds(wanted, 5)
    nft("add table ip other")
    assert await netlink.holds(wanted, 5)
    assert await netlink.holds(hand_made(), 5)  # equal to the ruleset that was compared
    less = msgspec.structs.replace(wanted, counters={})
    assert not await netlink.holds(less, 5)


async def test_our_own_changes_are_believed_for_a_while(netlink, monkeypatch) -> None:
    wanted = await adopted(netlink)
    monkeypatch.setattr(netlink._reader, "holds", lambda *_: False)
    await netlink.commit(batch_of(AddElements("empty", (V4,), frozenset({(1,)})), generation=5))
    assert await netlink.holds(wanted, 5)
    netlink._trust = 0
    assert not await netlink.holds(wanted, 5)


async def test_lost_notifications_are_a_doubt_that_a_reading_ends(netlink) -> None:
    wanted = await adopted(netlink)
    netlink._unwatch()  # a loop that is busy with something else
    netlink._events._socket._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    nft("-f", "-", text="add table ip other\n" + "".join(f"add chain ip other c{n}\n" for n in range(500)))
    with pytest.raises(InterferenceError, match="lost"):
        await netlink.commit(batch_of(AddElements("empty", (V4,), frozenset({(1,)})), generation=5))
    assert await netlink.holds(wanted, 5)
    await netlink.commit(batch_of(AddElements("empty", (V4,), frozenset({(1,)})), generation=5))


@pytest.mark.parametrize("own_listener", [True, False])
async def test_the_monitor_tells_who_did_what(netlink, own_listener: bool) -> None:
    monitor = Monitor(netlink.ports) if own_listener else None
    changes = monitor.changes() if monitor else netlink.changes()
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    wanted = await adopted(netlink)
    await netlink.commit(batch_of(AddElements("empty", (V4,), frozenset({(1,)})), generation=5))
    nft("add table ip other")
    await asyncio.sleep(0.05)
    assert not waiting.done()
    nft("add element inet stockade p4 { 10.0.0.77 }")
    change = await asyncio.wait_for(waiting, 10)
    assert (change.process, change.what) == ("nft", "element added to set p4")
    assert change.pid > 1
    nft("flush ruleset")
    change = await asyncio.wait_for(anext(changes), 10)
    assert "deleted" in change.what
    assert not await netlink.holds(wanted, 5)
    await changes.aclose()
    if monitor:
        monitor.close()


async def test_counters_are_read(netlink) -> None:
    count = Rule((), Accept(), counter="c_1")
    out = Chain("out_hook", (), hook=Hook("output", 0))
    chains = [AddTable(), AddCounter(Counter("c_1")), AddCounter(Counter("c_2")), AddChain(out)]
    await netlink.commit(batch_of(*chains, AddRule("out_hook", count)))
    nft("-f", "-", text="add table ip other\nadd counter ip other x\n")
    assert await netlink.read_counters() == {"c_1": (0, 0), "c_2": (0, 0)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", 9))
    found = await netlink.read_counters()
    assert found["c_1"][0] >= 1
    assert found["c_1"][1] >= found["c_1"][0] * 20
    assert found["c_2"] == (0, 0)


async def test_delete_takes_our_table_only(netlink) -> None:
    await netlink.delete()
    nft("-f", "-", text="add table ip other\nadd table ip stockade\n")
    await adopted(netlink)
    await netlink.delete()
    assert await netlink.read() is None
    assert nft("list", "tables").split("\n")[:2] == ["table ip other", "table ip stockade"]


async def test_a_table_that_vanishes_while_it_is_read_is_no_table(netlink, monkeypatch) -> None:
    await adopted(netlink)
    calls = between(netlink, monkeypatch, "_reader", "_value", "delete table inet stockade")
    assert await netlink.read() is None
    assert len(calls) == 1


@pytest.mark.parametrize("what", ["counters", "chains"])
async def test_nothing_of_ours_is_overlooked_while_others_change(netlink, monkeypatch, what: str) -> None:
    """Chains and counters of all inet tables are one list to the kernel; another table vanishes while ours is listed."""
    aside = "".join(f"add chain inet aside c{n}\nadd counter inet aside c{n}\n" for n in range(500))
    nft("-f", "-", text=f"add table inet aside\n{aside}")
    names = {f"c_{number:04}" for number in range(3000)}
    counters, chains = ([made(name) for name in names] for made in (Counter, lambda name: Chain(name, ())))
    await netlink.commit(batch_of(AddTable(), *map(AddCounter, counters), *map(AddChain, chains), *hooks()))
    receive, kind = NetlinkSocket.receive, Kind.NEWOBJ if what == "counters" else Kind.NEWCHAIN
    parts = []

    def disturbed(socket):
        found = receive(socket)
        parts.extend(message.kind for message in found[:1] if message.kind == kind)
        if len(parts) == 2:
            nft("delete table inet aside")
            parts.append(None)
        return found

    monkeypatch.setattr(NetlinkSocket, "receive", disturbed)
    held = (await netlink.read()).ruleset
    assert parts.count(None) == 1
    assert held.counters.keys() == names
    assert held.chains.keys() == names | {"fwd_hook"}


# --- ownership


def fails(*arguments: str) -> str:
    done = subprocess.run(["nft", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stderr


@pytest.fixture
def owner(network):
    made = Netlink(own=True)
    if not made.owns:
        made.close()
        pytest.skip("this kernel has no persistent owned tables")
    assert nft("list", "ruleset") == ""  # the probe is gone
    yield made
    made.close()


async def test_nobody_owns_what_would_vanish(owner, monkeypatch) -> None:
    monkeypatch.setattr(ownership, "OWNED", OWNER)
    plain = Netlink(own=True)
    assert not plain.owns
    await plain.commit(batch_of(AddTable()))
    plain.close()
    assert "table inet stockade" in listed()


async def test_an_owned_table_is_out_of_reach(owner) -> None:
    wanted = await adopted(owner)
    for command in TAMPERING:
        if command != "flush ruleset":
            assert "Operation not permitted" in fails(command)
    nft("flush ruleset")
    owner._right = None
    assert await owner.holds(wanted, 5)
    await owner.commit(batch_of(AddElements("empty", (V4,), frozenset({(1,)})), generation=5))
    stranger = Netlink()
    with pytest.raises(ProgrammingError, match="not permitted"):
        await stranger.commit(batch_of(AddElements("empty", (V4,), frozenset({(2,)})), generation=5))
    with pytest.raises(ProgrammingError, match="not permitted"):
        await stranger.delete()
    stranger.close()


@pytest.mark.parametrize("own", [True, False])
async def test_an_orphan_stays_in_force_and_is_adopted(owner, own: bool) -> None:
    wanted = await adopted(owner)
    owner.close()
    heir = Netlink(own=own)
    held = await heir.read()
    assert (held.generation, held.ruleset.sets) == (5, wanted.sets)
    await heir.commit(batch_of(AddElements("empty", (V4,), frozenset({(1,)})), generation=5))
    if own:
        assert "not permitted" in fails("flush chain inet stockade fwd_hook")
    await heir.commit(replace(wanted, 5).batches[0])
    assert await heir.holds(wanted, 6)
    if not own:
        nft("flush chain inet stockade fwd_hook")
    await heir.delete()
    assert nft("list", "ruleset") == ""
    heir.close()


async def test_a_table_without_owner_is_owned_once_it_is_made_anew(owner) -> None:
    plain = Netlink()
    wanted = await adopted(plain)
    plain.close()
    await owner.read()
    await owner.commit(batch_of(AddElements("empty", (V4,), frozenset({(1,)})), generation=5))
    nft("flush chain inet stockade end")
    await owner.commit(replace(wanted, 5).batches[0])
    assert "not permitted" in fails("flush chain inet stockade end")
