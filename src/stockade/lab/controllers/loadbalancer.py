"""The lab's load balancer: for each Service of type LoadBalancer an address of each of its families, from pools.

In: Services. Out: ``status.loadBalancer.ingress`` (KEP-1860: ipMode VIP), taken back when the type changes. The simulated Internet has a
route for the pools to the first node, where the Service proxy translates it. Rules: Service v1 core: ``loadBalancerIP`` (deprecated) asks for an address,
``loadBalancerClass`` means somebody else's load balancer.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from stockade.lab.addresses import LOAD_BALANCER_CIDR, LOAD_BALANCER_CIDR_6
from stockade.lab.apiserver.registry import JsonObject, Registry
from stockade.lab.controllers.backends import families
from stockade.lab.controllers.loop import Place, itself, run_loop
from stockade.lab.controllers.workqueue import WorkQueue

_POOLS = {"IPv4": ip_network(LOAD_BALANCER_CIDR), "IPv6": ip_network(LOAD_BALANCER_CIDR_6)}


class LoadBalancerController:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._queue: WorkQueue[Place] = WorkQueue()

    async def run(self) -> None:
        await run_loop(self._registry, self._queue, {"services": itself}, self._reconcile)

    def _reconcile(self, key: Place) -> None:
        service = self._registry.find("services", *key)
        if service is None or service.get("spec", {}).get("loadBalancerClass"):
            return
        spec, present = service["spec"], addresses(service)
        wanted = families(service) if spec.get("type") == "LoadBalancer" else []
        if [_family(address) for address in present] == wanted:
            return
        kept = {_family(address): address for address in present}
        asked = spec.get("loadBalancerIP") or ""
        ingress = [{"ip": kept.get(each) or self._free(each, asked), "ipMode": "VIP"} for each in wanted]

        def change(obj: JsonObject) -> None:
            obj.setdefault("status", {})["loadBalancer"] = {"ingress": ingress} if wanted else {}

        self._registry.mutate("services", *key, change, "status")

    def _free(self, family: str, asked: str) -> str:
        """The address that was asked for when it can be had, else the first that nobody has."""
        pool = _POOLS[family]
        used = {address for other in self._registry.list("services") for address in addresses(other)}
        if _is_of(pool, asked) and asked not in used:
            return asked
        free = next((str(host) for host in pool.hosts() if str(host) not in used), None)
        if free is None:
            raise RuntimeError(f"no address of {pool} is left for another load balancer")
        return free


def addresses(service: JsonObject) -> list[str]:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [entry["ip"] for entry in ingress if entry.get("ip")]


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _is_of(pool: IPv4Network | IPv6Network, text: str) -> bool:
    try:
        return ip_address(text) in pool
    except ValueError:
        return False
