"""Endpoints of a user's own become EndpointSlices."""

from __future__ import annotations

import pytest

from .conftest import service

SLICES = "endpointslices.discovery.k8s.io"


def endpoints(name="db", labels=None, **more):
    subsets = [
        {
            "addresses": [{"ip": "192.0.2.7"}, {"ip": "2001:db8::7", "hostname": "six"}],
            "notReadyAddresses": [{"ip": "192.0.2.8"}, {"ip": "no address"}],
            "ports": [{"name": "pg", "port": 5432}],
        }
    ]
    metadata = {"name": name, "labels": labels or {}, **more}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}


def bare(name="db"):
    made = service(name)
    del made["spec"]["selector"]
    return made


def found(world):
    return {
        (entry["addressType"], each["addresses"][0], each["conditions"]["ready"])
        for entry in world.all(SLICES)
        for each in entry["endpoints"]
    }


WHOLE = {("IPv4", "192.0.2.7", True), ("IPv4", "192.0.2.8", False), ("IPv6", "2001:db8::7", True)}


async def test_they_follow_the_endpoints_and_end_with_them(world) -> None:
    world.add("endpoints", endpoints())
    await world.settle()
    assert not found(world)  # no Service yet
    world.add("services", bare())
    await world.until(lambda: found(world) == WHOLE)
    ports = [{"name": "pg", "protocol": "TCP", "port": 5432}]
    assert all(entry["ports"] == ports for entry in world.all(SLICES))
    names = {entry["metadata"]["name"] for entry in world.all(SLICES)}
    world.edit("endpoints", "db", lambda obj: obj["subsets"][0]["addresses"].pop(0))
    await world.until(lambda: found(world) == WHOLE - {("IPv4", "192.0.2.7", True)})
    assert {entry["metadata"]["name"] for entry in world.all(SLICES)} == names  # changed, not replaced
    world.registry.delete("endpoints", "default", "db")
    await world.until(lambda: not world.all(SLICES))


@pytest.mark.parametrize(
    "made",
    [
        endpoints(labels={"endpointslice.kubernetes.io/skip-mirror": "true"}),
        endpoints(annotations={"control-plane.alpha.kubernetes.io/leader": "{}"}),
    ],
)
async def test_some_are_not_mirrored(world, made) -> None:
    world.add("services", bare())
    world.add("endpoints", made)
    await world.settle()
    assert not found(world)


async def test_a_selector_ends_it(world) -> None:
    world.add("services", bare())
    world.add("endpoints", endpoints())
    await world.until(lambda: found(world) == WHOLE)
    world.edit("services", "db", lambda obj: obj["spec"].update(selector={"app": "db"}))
    await world.until(lambda: not found(world))
