"""The eight requirements on a reflector (reference ecosystem A1), against a scripted API over real HTTP."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager

import pytest

from stockade.kube.backoff import Backoff
from stockade.kube.errors import KubeError
from stockade.kube.reflector import Pace, Reflector
from stockade.kube.resources import NETWORK_POLICIES, PODS
from stockade.testing.kube_api import (
    ScriptedApi,
    Watch,
    bookmark,
    error,
    event,
    listing,
    obj,
    serving,
    status,
)

PATH = "/api/v1/pods"
START = (event("ADDED", "a", 3), event("ADDED", "b", 5), bookmark(7, end=True))


class Recorder:
    def __init__(self):
        self.calls = []
        self.changed = asyncio.Event()

    def _note(self, *call):
        self.calls.append(call)
        self.changed.set()

    def replace(self, resource, objects):
        self._note("replace", sorted(each.metadata.name for each in objects))
        self.objects = objects

    def upsert(self, resource, obj):
        self._note("upsert", obj.metadata.name)

    def delete(self, resource, ref):
        self._note("delete", ref.name)

    def trouble(self, resource, error, retry_in):
        self._note("trouble", None if error is None else str(error))

    async def until(self, *expected):
        async with asyncio.timeout(10):
            while self.calls[: len(expected)] != list(expected):
                assert len(self.calls) < len(expected) or self.calls[: len(expected)] == list(expected), (
                    self.calls
                )
                self.changed.clear()
                await self.changed.wait()

    async def until_seen(self, expected):
        async with asyncio.timeout(10):
            while expected not in self.calls:
                self.changed.clear()
                await self.changed.wait()


class QuickClock:
    """Time that passes only when somebody sleeps; the naps are remembered."""

    def __init__(self):
        self.now = 1000.0
        self.naps = []

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        self.naps.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@asynccontextmanager
async def reflecting(*steps, resource=PODS, path=PATH, pace=None):
    api, sink, clock = ScriptedApi(), Recorder(), QuickClock()
    api.script(path, *steps)
    async with serving(api.handle) as client:
        reflector = Reflector(client, resource, sink, clock=clock, chance=random.Random(1), pace=pace)
        task = asyncio.create_task(reflector.run())
        try:
            yield api, sink, reflector, clock
        finally:
            task.cancel()
            await asyncio.wait({task})


async def test_streaming_list_then_changes():
    changes = event("MODIFIED", "a", 8), event("DELETED", "b", 9), event("ADDED", "c", 10)
    async with reflecting(Watch(*START, *changes, then="hang")) as (api, sink, reflector, _):
        await sink.until(("replace", ["a", "b"]), ("upsert", "a"), ("delete", "b"), ("upsert", "c"))
        assert reflector.synced.is_set()
        query = api.requests[0][2]
        assert query["watch"] == "1"
        assert query["sendInitialEvents"] == "true"
        assert query["resourceVersionMatch"] == "NotOlderThan"
        assert query["allowWatchBookmarks"] == "true"
        assert 300 <= int(query["timeoutSeconds"]) <= 600


async def test_a_plain_bookmark_does_not_end_the_initial_events():
    initial = (
        event("ADDED", "a", 3),
        bookmark(4),
        event("ADDED", "b", 5),
        event("DELETED", "a", 6),
        bookmark(7, end=True),
    )
    async with reflecting(Watch(*initial, then="hang")) as (_, sink, reflector, _):
        await sink.until(("replace", ["b"]))
        assert reflector.stats.replaces == 1


async def test_nothing_is_synced_before_the_end_of_the_initial_events():
    async with reflecting(Watch(event("ADDED", "a", 3), bookmark(4), then="hang")) as (
        api,
        sink,
        reflector,
        _,
    ):
        await api.until(1)
        await asyncio.sleep(0.1)
        assert sink.calls == []
        assert not reflector.synced.is_set()


async def test_reconnects_from_the_last_version_without_a_list():
    steps = (
        Watch(*START, event("MODIFIED", "a", 8)),
        Watch(bookmark(20)),
        Watch(event("DELETED", "a", 21), then="hang"),
    )
    async with reflecting(*steps) as (api, sink, _, clock):
        await sink.until(("replace", ["a", "b"]), ("upsert", "a"), ("delete", "a"))
        assert [query.get("resourceVersion") for _, _, query, _ in api.requests] == [None, "8", "20"]
        assert "sendInitialEvents" not in api.requests[1][2]
        assert clock.naps == []


async def test_a_cut_connection_is_a_reconnect_too():
    steps = Watch(*START, then="cut"), Watch(event("ADDED", "c", 8), then="hang")
    async with reflecting(*steps) as (api, sink, _, _):
        await sink.until_seen(("upsert", "c"))
        assert [call for call in sink.calls if call[0] == "replace"] == [("replace", ["a", "b"])]
        assert api.requests[1][2]["resourceVersion"] == "7"


@pytest.mark.parametrize(
    "gone",
    [
        status(410, "Expired", "too old resource version"),
        Watch(error(410, "Expired", "too old resource version")),
        status(504, "Timeout", "Too large resource version: 9, current: 2"),
        Watch(error(504, "Timeout", "Too large resource version: 9, current: 2")),
    ],
    ids=["status", "in stream", "too large, status", "too large, in stream"],
)
async def test_gone_means_list_again_and_tells_of_missed_deletes(gone):
    again = Watch(event("ADDED", "b", 5), event("ADDED", "c", 40), bookmark(41, end=True), then="hang")
    async with reflecting(Watch(*START), gone, again) as (api, sink, _, clock):
        await sink.until(("replace", ["a", "b"]), ("replace", ["b", "c"]))
        assert api.requests[1][2]["resourceVersion"] == "7"
        assert "resourceVersion" not in api.requests[2][2]
        assert clock.naps == []  # the first time at once


async def test_gone_again_and_again_backs_off():
    gone = status(410, "Expired", "too old")
    async with reflecting(gone, gone, gone, Watch(*START, then="hang")) as (_, sink, _, clock):
        await sink.until_seen(("trouble", None))
        assert len(clock.naps) == 2
        assert sink.calls[-1] == ("trouble", None)


@pytest.mark.parametrize("code", [400, 422])
async def test_falls_back_to_pages(code):
    steps = (
        status(code, "Invalid", "sendInitialEvents: Forbidden"),
        listing(50, obj("a", 3), more="next"),
        listing(50, obj("b", 5)),
        Watch(event("ADDED", "c", 51), then="hang"),
    )
    async with reflecting(*steps) as (api, sink, reflector, clock):
        await sink.until(("replace", ["a", "b"]), ("upsert", "c"))
        assert [query.get("limit") for _, _, query, _ in api.requests] == [None, "500", "500", None]
        assert api.requests[2][2]["continue"] == "next"
        assert api.requests[3][2]["resourceVersion"] == "50"
        assert clock.naps == []
        assert reflector.synced.is_set()


async def test_a_continue_token_that_expired_means_one_unpaged_list():
    steps = (
        status(422, "Invalid", "no"),
        listing(50, obj("old", 3), more="next"),
        status(410, "Expired", "the continue token is too old"),
        listing(60, obj("a", 3), obj("b", 5)),
        Watch(then="hang"),
    )
    async with reflecting(*steps) as (api, sink, _, _):
        await sink.until(("replace", ["a", "b"]))
        assert "limit" not in api.requests[3][2]
        assert "continue" not in api.requests[3][2]


async def test_a_server_that_never_ends_its_initial_events_is_listed():
    steps = Watch(event("ADDED", "a", 3), then="hang"), listing(50, obj("a", 3)), Watch(then="hang")
    async with reflecting(*steps, pace=Pace(initial_idle=0.1)) as (_, sink, _, _):
        await sink.until(("replace", ["a"]))


async def test_silence_makes_a_new_connection():
    steps = Watch(*START, then="hang"), Watch(event("ADDED", "c", 8), then="hang")
    async with reflecting(*steps, pace=Pace(idle=0.2, too_short=0)) as (api, sink, _, _):
        await sink.until(("replace", ["a", "b"]), ("upsert", "c"))
        assert api.requests[1][2]["resourceVersion"] == "7"


async def test_retry_after_is_a_lower_bound_and_429_is_not_fatal():
    busy = status(429, "TooManyRequests", "slow down", {"Retry-After": "17"})
    async with reflecting(busy, Watch(*START, then="hang")) as (_, sink, _, clock):
        await sink.until(("trouble", "slow down"), ("replace", ["a", "b"]), ("trouble", None))
        assert clock.naps[0] >= 17


async def test_forbidden_is_told_and_tried_again():
    no = status(403, "Forbidden", 'pods is forbidden: User "x" cannot list resource "pods"')
    async with reflecting(no, Watch(*START, then="hang")) as (_, sink, _, _):
        await sink.until(
            ("trouble", 'pods is forbidden: User "x" cannot list resource "pods"'),
            ("replace", ["a", "b"]),
            ("trouble", None),
        )


async def test_a_server_that_closes_at_once_is_not_hammered():
    steps = Watch(*START), *[Watch()] * 4, Watch(event("ADDED", "c", 8), then="hang")
    async with reflecting(*steps) as (_, sink, _, clock):
        await sink.until(("replace", ["a", "b"]), ("upsert", "c"))
        assert len(clock.naps) == 4


async def test_an_object_larger_than_any_buffer():
    big = event("ADDED", "big", 8, spec={"nodeName": "y" * 3_000_000})
    async with reflecting(Watch(*START, big, then="hang")) as (_, sink, _, _):
        await sink.until(("replace", ["a", "b"]), ("upsert", "big"))


async def test_garbage_in_the_stream_is_an_error_not_an_end():
    async with reflecting(Watch(*START, {"kind": "what"}), Watch(event("ADDED", "c", 8), then="hang")) as (
        _,
        sink,
        _,
        _,
    ):
        await sink.until_seen(("upsert", "c"))
        assert "sent no event" in sink.calls[1][1]


async def test_an_unreadable_pod_is_left_out_and_taken_out():
    bad = event("MODIFIED", "a", 8, spec={"containers": "none"})
    async with reflecting(Watch(*START, bad, then="hang")) as (_, sink, _, _):
        await sink.until(("replace", ["a", "b"]), ("delete", "a"))


async def test_an_unreadable_policy_still_isolates():
    """Rule 57."""
    path = "/apis/networking.k8s.io/v1/networkpolicies"
    spec = {"podSelector": {"matchLabels": {"app": "x"}}, "egress": "everything"}
    page = listing(9, obj("np", 3, spec=spec))
    async with reflecting(status(422), page, resource=NETWORK_POLICIES, path=path) as (_, sink, _, _):
        await sink.until(("replace", ["np"]))
        policy = sink.objects[0]
        assert policy.directions == {"Ingress", "Egress"}
        assert policy.pod_selector.match_labels == {"app": "x"}
        assert not policy.spec.egress


def test_backoff_doubles_with_jitter_and_forgets_after_a_quiet_minute():
    clock = QuickClock()

    class Top(random.Random):
        def uniform(self, low, high):
            return high

    backoff = Backoff(clock, Top())
    assert [backoff.next() for _ in range(8)] == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    clock.now += 89
    assert backoff.next() == 30.0
    clock.now += 91
    assert backoff.next() == 0.8
    assert backoff.next(5.0) == 5.0


async def test_a_server_that_starts_later_is_found_soon():
    class Starting:
        """Refuses five times."""

        def __init__(self):
            self.refusals = 5

        @asynccontextmanager
        async def stream(self, path, params):
            if self.refusals:
                self.refusals -= 1
                raise KubeError(0, "Unreachable", "refused")

            async def lines():
                for each in START:
                    yield json.dumps(each).encode()
                await asyncio.sleep(3600)

            yield lines()

    sink, clock = Recorder(), QuickClock()
    task = asyncio.create_task(Reflector(Starting(), PODS, sink, clock=clock).run())
    await sink.until_seen(("replace", ["a", "b"]))
    task.cancel()
    assert len(clock.naps) == 5
    assert sum(clock.naps) <= 0.05 + 0.1 + 0.2 + 0.4 + 0.8
