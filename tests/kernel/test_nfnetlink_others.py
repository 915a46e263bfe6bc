"""Our own netlink when others write too: who changed what is known, doubts end with a reading, nothing of anybody else's is touched."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from pathlib import Path

import msgspec
import pytest

from stockade.dataplane.diff import replace
from stockade.dataplane.ir import Accept, Chain, Counter, Hook, Rule
from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.netlink import NetlinkSocket
from stockade.dataplane.nfnetlink.backend import Netlink
from stockade.dataplane.nfnetlink.monitor import Monitor
from stockade.dataplane.nfnetlink.wire import Kind
from stockade.dataplane.nft import Nft
from stockade.dataplane.operations import AddChain, AddCounter, AddElements, AddRule, AddTable
from stockade.dataplane.plane import Dataplane
from stockade.dataplane.programmer import InterferenceError
from stockade.net.cidr import parse_block
from stockade.testing.cluster import compile_text
from stockade.testing.handmade import TAMPERING, V4, addresses, adopted, batch_of, hand_made, hooks, nft

pytestmark = pytest.mark.kernel

VIEW = NodeView("node-1", (parse_block("10.244.0.0/24"), parse_block("fd00:244::/64")))
GOLDEN = Path(__file__).parent.parent / "golden"


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
