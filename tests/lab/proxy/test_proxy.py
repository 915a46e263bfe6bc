"""The proxy follows the registry: bursts become one load, refusals are tried again."""

import asyncio
import contextlib

import pytest

from stockade.lab.proxy import proxy as module
from stockade.lab.proxy.proxy import SERVICES, SLICES, ServiceProxy
from stockade.testing.registry import MemoryRegistry


def service(name, ip):
    return {
        "metadata": {"name": name},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80, "protocol": "TCP"}]},
    }


def endpoint_slice(name, ip):
    return {
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ip]}],
        "ports": [{"port": 8080, "protocol": "TCP"}],
    }


class Kernel:
    def __init__(self):
        self.loaded = []
        self.refusals = 0
        self.changed = asyncio.Event()

    async def load(self, text):
        await asyncio.sleep(0)
        if self.refusals:
            self.refusals -= 1
            raise OSError(22, "refused")
        self.loaded.append(text)
        self.changed.set()

    async def next(self):
        await asyncio.wait_for(self.changed.wait(), 5)
        self.changed.clear()
        return self.loaded[-1]


@contextlib.asynccontextmanager
async def running(proxy):
    task = asyncio.create_task(proxy.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_follows_services_and_slices():
    registry, kernel = MemoryRegistry(), Kernel()
    registry.create(SERVICES, "default", service("web", "10.96.0.5"))
    proxy = ServiceProxy(registry, kernel.load)
    async with running(proxy):
        assert "10.96.0.5 . tcp . 80" in await kernel.next()
        await asyncio.wait_for(proxy.synced.wait(), 5)
        registry.create(SLICES, "default", endpoint_slice("web", "10.244.0.2"))
        assert "dnat to 10.244.0.2:8080" in await kernel.next()
        registry.delete(SERVICES, "default", "web")
        assert "10.96.0.5" not in await kernel.next()


async def test_a_burst_is_one_load_and_nothing_new_is_none():
    registry, kernel = MemoryRegistry(), Kernel()
    async with running(ServiceProxy(registry, kernel.load)):
        await kernel.next()
        for number in range(50):
            registry.create(SERVICES, "default", service(f"s{number}", f"10.96.1.{number}"))
        assert "10.96.1.49" in await kernel.next()
        registry.mutate(SERVICES, "default", "s1", lambda obj: obj["metadata"].update(labels={"a": "b"}))
        await asyncio.sleep(0.05)
    assert len(kernel.loaded) == 2


async def test_a_refusal_is_tried_again(monkeypatch):
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.01)
    registry, kernel = MemoryRegistry(), Kernel()
    kernel.refusals = 2
    proxy = ServiceProxy(registry, kernel.load)
    async with running(proxy):
        await kernel.next()
        await asyncio.wait_for(proxy.synced.wait(), 5)
    assert kernel.refusals == 0


async def test_it_is_not_synced_before_the_kernel_took_the_rules():
    registry, kernel = MemoryRegistry(), Kernel()
    kernel.refusals = 1
    proxy = ServiceProxy(registry, kernel.load)
    async with running(proxy):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kernel.next(), 0.1)
        assert not proxy.synced.is_set()


async def test_what_somebody_did_to_the_tables_does_not_last():
    registry, kernel = MemoryRegistry(), Kernel()
    registry.create(SERVICES, "default", service("web", "10.96.0.5"))
    async with running(ServiceProxy(registry, kernel.load, resync=0.05)):
        first = await kernel.next()
        assert await kernel.next() == first
