"""Addresses of Services of type LoadBalancer."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from stockade.lab.addresses import LOAD_BALANCER_CIDR, LOAD_BALANCER_CIDR_6
from stockade.lab.controllers.loadbalancer import addresses

from .conftest import service


def given(world, name, namespace="default"):
    return addresses(world.get("services", name, namespace))


async def test_each_gets_an_address_of_the_pool_and_keeps_it(world) -> None:
    for name in ("one", "two"):
        world.add("services", service(name, type="LoadBalancer"))
        await world.until(lambda: given(world, name))  # noqa: B023
    one, two = given(world, "one"), given(world, "two")
    assert one != two
    assert {ip_address(ip) in ip_network(LOAD_BALANCER_CIDR) for ip in one + two} == {True}
    world.edit("services", "one", lambda obj: obj["metadata"].update(labels={"a": "b"}))
    await world.settle()
    assert given(world, "one") == one


async def test_the_address_asked_for_when_it_is_free(world) -> None:
    for name in ("one", "two"):
        world.add("services", service(name, type="LoadBalancer", loadBalancerIP="203.0.113.77"))
        await world.until(lambda: given(world, name))  # noqa: B023
    assert given(world, "one") == ["203.0.113.77"]
    assert given(world, "two") != ["203.0.113.77"]
    world.add("services", service("three", type="LoadBalancer", loadBalancerIP="8.8.8.8"))
    await world.until(lambda: given(world, "three"))
    assert given(world, "three")[0].startswith("203.0.113.")


async def test_others_get_none_and_a_change_of_type_gives_it_back(world) -> None:
    world.add("services", service("plain"))
    world.add("services", service("foreign", type="LoadBalancer", loadBalancerClass="other.example/lb"))
    world.add("services", service("web", type="LoadBalancer"))
    await world.until(lambda: given(world, "web"))
    await world.settle()
    assert given(world, "plain") == given(world, "foreign") == []
    world.edit("services", "web", lambda obj: obj["spec"].update(type="ClusterIP"))
    await world.until(lambda: not given(world, "web"))


async def test_two_families_have_an_address_each_and_one_more_or_less_when_they_change(world) -> None:
    world.add("services", service("web", type="LoadBalancer", ipFamilies=["IPv6", "IPv4"]))
    await world.until(lambda: len(given(world, "web")) == 2)
    six, four = given(world, "web")
    assert ip_address(six) in ip_network(LOAD_BALANCER_CIDR_6)
    assert ip_address(four) in ip_network(LOAD_BALANCER_CIDR)
    world.edit("services", "web", lambda obj: obj["spec"].update(ipFamilies=["IPv6"]))
    await world.until(lambda: given(world, "web") == [six])
