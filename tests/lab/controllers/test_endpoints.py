from __future__ import annotations

from .conftest import deployment, pod, service

SLICES = "endpointslices.discovery.k8s.io"


def endpoints(world, name="web"):
    """Address → (ready, port numbers) of all slices of a Service."""
    found = {}
    for entry in world.all(SLICES):
        if entry["metadata"]["labels"]["kubernetes.io/service-name"] == name:
            ports = tuple(port["port"] for port in entry["ports"])
            found |= {e["addresses"][0]: (e["conditions"]["ready"], ports) for e in entry["endpoints"]}
    return found


def subsets(world, name="web"):
    return world.get("endpoints", name).get("subsets", [])


async def test_a_service_finds_its_pods(world):
    world.add("services", service("web", {"port": 80, "targetPort": 8080, "name": "http"}))
    world.add("deployments.apps", deployment(replicas=2))
    await world.until(lambda: sorted(endpoints(world).values()) == [(True, (8080,))] * 2)
    [entry] = world.all(SLICES)
    assert entry["metadata"]["name"].startswith("web-")
    assert entry["metadata"]["ownerReferences"][0]["kind"] == "Service"
    assert entry["addressType"] == "IPv4"
    assert entry["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    first = entry["endpoints"][0]
    assert first["nodeName"] == "node-1"
    assert first["targetRef"]["kind"] == "Pod"
    await world.until(lambda: len(subsets(world)[0]["addresses"]) == 2)
    assert subsets(world)[0]["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]


async def test_readiness_and_termination(world):
    world.kubelet_removes = False
    world.add("services", service())
    world.add("pods", pod("a", ip="10.244.0.50"))
    world.add("pods", pod("b", ip="10.244.0.51", ready=False))
    world.add("pods", pod("other", {"app": "db"}, ip="10.244.0.52"))
    await world.until(
        lambda: endpoints(world) == {"10.244.0.50": (True, (8080,)), "10.244.0.51": (False, (8080,))}
    )
    assert [a["ip"] for a in subsets(world)[0]["notReadyAddresses"]] == ["10.244.0.51"]
    world.registry.delete("pods", "default", "a")
    await world.until(lambda: endpoints(world)["10.244.0.50"] == (False, (8080,)))
    conditions = world.all(SLICES)[0]["endpoints"][0]["conditions"]
    assert conditions == {"ready": False, "serving": True, "terminating": True}
    assert "addresses" not in subsets(world)[0]
    world.registry.remove("pods", "default", "a")
    await world.until(lambda: "10.244.0.50" not in endpoints(world))


async def test_a_finished_pod_is_no_endpoint(world):
    world.add("services", service())
    world.add("pods", pod("a", ip="10.244.0.50"))
    await world.until(lambda: endpoints(world))
    world.edit("pods", "a", lambda p: p["status"].update(phase="Succeeded"))
    await world.until(lambda: not endpoints(world))


async def test_relabelling_moves_a_pod(world):
    world.add("services", service("web"))
    world.add("services", service("db"))
    world.add("pods", pod("a", ip="10.244.0.50"))
    await world.until(lambda: endpoints(world, "web"))
    world.edit("pods", "a", lambda p: p["metadata"].update(labels={"app": "db"}))
    await world.until(lambda: endpoints(world, "db") and not endpoints(world, "web"))


async def test_a_named_port_may_differ_from_pod_to_pod(world):
    world.add("services", service("web", {"port": 80, "targetPort": "http"}))
    for name, ip, number in (("a", "10.244.0.50", 8080), ("b", "10.244.0.51", 9090)):
        world.add("pods", pod(name, ip=ip, ports=[{"name": "http", "containerPort": number}]))
    world.add(
        "pods", pod("c", ip="10.244.0.52", ports=[{"name": "http", "containerPort": 1, "protocol": "UDP"}])
    )
    wanted = {"10.244.0.50": (True, (8080,)), "10.244.0.51": (True, (9090,)), "10.244.0.52": (True, ())}
    await world.until(lambda: endpoints(world) == wanted)
    assert len(world.all(SLICES)) == 3


async def test_a_headless_service_is_marked_and_names_its_hosts(world):
    headless = service("web", clusterIP="None", publishNotReadyAddresses=True)
    world.add("services", headless)
    world.add("pods", pod("a", ip="10.244.0.50", ready=False, hostname="a", subdomain="web"))
    await world.until(lambda: endpoints(world) == {"10.244.0.50": (True, (8080,))})
    [entry] = world.all(SLICES)
    assert entry["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert entry["endpoints"][0]["hostname"] == "a"


async def test_no_pods_leave_one_empty_slice(world):
    world.add("services", service())
    await world.until(lambda: world.all(SLICES) and world.all("endpoints"))
    assert [entry["endpoints"] for entry in world.all(SLICES)] == [[]]
    assert "subsets" not in world.get("endpoints", "web")


async def test_a_service_without_selector_is_its_users(world):
    world.add("services", service("web", selector=None))
    world.add("services", service("ext", type="ExternalName", externalName="example.com"))
    mine = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "web"},
        "subsets": [{"addresses": [{"ip": "1.2.3.4"}]}],
    }
    world.add("endpoints", mine)
    await world.settle()
    assert endpoints(world) == {"1.2.3.4": (True, ())}  # mirrored
    assert [e["metadata"]["name"] for e in world.all("endpoints")] == ["web"]
    assert subsets(world) == mine["subsets"]


async def test_a_deleted_slice_comes_back_and_a_deleted_service_takes_all_along(world):
    world.add("services", service())
    world.add("pods", pod("a", ip="10.244.0.50"))
    await world.until(lambda: endpoints(world))
    world.registry.delete(SLICES, "default", world.all(SLICES)[0]["metadata"]["name"])
    await world.until(lambda: endpoints(world))
    world.registry.delete("services", "default", "web")
    await world.until(lambda: not world.all(SLICES) and not world.all("endpoints"))


async def test_many_pods_are_spread_over_slices(world):
    world.add("services", service())
    for number in range(150):
        world.add("pods", pod(f"p{number}", ip=f"10.244.1.{number}"))
    await world.until(lambda: len(endpoints(world)) == 150)
    assert sorted(len(entry["endpoints"]) for entry in world.all(SLICES)) == [50, 100]


async def test_one_slice_for_each_family_of_the_service(world):
    world.add("services", service("web", ipFamilies=["IPv6", "IPv4"]))
    world.add("services", service("four", ipFamilies=["IPv4"], selector={"app": "web"}))
    world.add("pods", pod("a", ip="10.244.0.50"))
    world.edit("pods", "a", lambda p: p["status"].update(podIPs=[{"ip": "10.244.0.50"}, {"ip": "fd00::50"}]))
    world.add("pods", pod("single", ip="10.244.0.51"))
    await world.until(lambda: set(endpoints(world)) == {"10.244.0.50", "10.244.0.51", "fd00::50"})
    by_type = {e["addressType"]: len(e["endpoints"]) for e in slices_of(world, "web")}
    assert by_type == {"IPv4": 2, "IPv6": 1}
    assert [e["addressType"] for e in slices_of(world, "four")] == ["IPv4"]
    # Endpoints know the first family only
    assert [a["ip"] for a in subsets(world)[0]["addresses"]] == ["fd00::50"]
    world.edit("services", "web", lambda s: s["spec"].update(ipFamilies=["IPv6"]))
    await world.until(lambda: [e["addressType"] for e in slices_of(world, "web")] == ["IPv6"])


def slices_of(world, name):
    key = "kubernetes.io/service-name"
    return [entry for entry in world.all(SLICES) if entry["metadata"]["labels"][key] == name]
