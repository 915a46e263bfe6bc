"""Foreground deletion on the real store: what blocks its owner's end, what does not, and chains of owners."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from stockade.lab.apiserver.store import ObjectStore
from stockade.lab.controllers import run_controllers

MAPS = "configmaps"
HOLD = "example.com/hold"


class Cluster:
    def __init__(self):
        self.store = ObjectStore()
        self.store.create("namespaces", "", {"metadata": {"name": "default"}})

    def add(self, name, *owners, block=True, hold=False):
        references = [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
                "blockOwnerDeletion": block,
            }
            for owner in owners
        ]
        metadata = {"name": name, "ownerReferences": references, "finalizers": [HOLD] if hold else []}
        return self.store.create(MAPS, "default", {"metadata": metadata})

    def names(self):
        return {obj["metadata"]["name"] for obj in self.store.list(MAPS, "default")} - {"kube-root-ca.crt"}

    def end(self, name, **how):
        self.store.delete(MAPS, "default", name, **how)

    def let_go(self, name):
        self.store.mutate(MAPS, "default", name, lambda obj: obj["metadata"].update(finalizers=[]))

    async def until(self, *names):
        async with asyncio.timeout(10):
            while self.names() != set(names):  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.002)

    async def stays(self, *names):
        await self.until(*names)
        await asyncio.sleep(0.1)
        assert self.names() == set(names)

    def ended(self):
        records = self.store.history(MAPS).since(0)
        return [record.object["metadata"]["name"] for record in records if record.type == "DELETED"]


@pytest.fixture
async def cluster():
    made = Cluster()
    running = asyncio.create_task(run_controllers(made.store))
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_an_owner_waits_for_what_blocks_it(cluster):
    owner = cluster.add("owner")
    cluster.add("blocker", owner, hold=True)
    cluster.add("other", owner)
    cluster.end("owner", foreground=True)
    await cluster.stays("owner", "blocker")
    finalizers = cluster.store.get(MAPS, "default", "owner")["metadata"]["finalizers"]
    assert finalizers == ["foregroundDeletion"]
    cluster.let_go("blocker")
    await cluster.until()
    assert cluster.ended() == ["other", "blocker", "owner"]


async def test_an_owner_does_not_wait_for_what_does_not_block_it(cluster):
    owner = cluster.add("owner")
    cluster.add("free", owner, block=False, hold=True)
    cluster.end("owner", foreground=True)
    await cluster.until("free")
    assert "deletionTimestamp" in cluster.store.get(MAPS, "default", "free")["metadata"]
    cluster.let_go("free")
    await cluster.until()


async def test_a_chain_ends_from_its_end(cluster):
    first = cluster.add("first")
    second = cluster.add("second", first)
    cluster.add("third", second)
    cluster.end("first", foreground=True)
    await cluster.until()
    assert cluster.ended() == ["third", "second", "first"]


async def test_what_has_another_living_owner_stays(cluster):
    one, two = cluster.add("one"), cluster.add("two")
    cluster.add("both", one, two)
    cluster.end("one", foreground=True)
    await cluster.stays("two", "both")
    [reference] = cluster.store.get(MAPS, "default", "both")["metadata"]["ownerReferences"]
    assert reference["name"] == "two"


async def test_a_blocker_that_is_disowned_no_longer_blocks(cluster):
    owner = cluster.add("owner")
    cluster.add("blocker", owner, hold=True)
    cluster.end("owner", foreground=True)
    await cluster.stays("owner", "blocker")
    cluster.store.mutate(MAPS, "default", "blocker", lambda obj: obj["metadata"].update(ownerReferences=[]))
    await cluster.until("blocker")


async def test_in_the_background_the_owner_goes_first(cluster):
    owner = cluster.add("owner")
    cluster.add("held", owner, hold=True)
    cluster.end("owner")
    await cluster.until("held")
    cluster.let_go("held")
    await cluster.until()
