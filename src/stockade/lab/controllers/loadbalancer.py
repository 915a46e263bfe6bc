"""The lab's load balancer: an address from a pool for each Service of type LoadBalancer.

In: Services. Out: ``status.loadBalancer.ingress`` (KEP-1860: ipMode VIP), taken back when the type changes. The simulated Internet has a
route for the pool to the first node, where the Service proxy translates it. Rules: Service v1 core: ``loadBalancerIP`` (deprecated) asks for an address,
``loadBalancerClass`` means somebody else's load balancer.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from stockade.lab.addresses import LOAD_BALANCER_CIDR
from stockade.lab.apiserver.registry import JsonObject, Registry
from stockade.lab.controllers.loop import Place, itself, run_loop
from stockade.lab.controllers.workqueue import WorkQueue

_POOL = ip_network(LOAD_BALANCER_CIDR)


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
        wanted = service["spec"].get("type") == "LoadBalancer"
        if wanted == bool(addresses(service)):
            return
        ingress = [{"ip": self._free(service["spec"].get("loadBalancerIP") or ""), "ipMode": "VIP"}]

        def change(obj: JsonObject) -> None:
            obj.setdefault("status", {})["loadBalancer"] = {"ingress": ingress} if wanted else {}

        self._registry.mutate("services", *key, change, "status")

    def _free(self, asked: str) -> str:
        """The address that was asked for when it can be had, else the first that nobody has."""
        used = {address for other in self._registry.list("services") for address in addresses(other)}
        if _is_of_pool(asked) and asked not in used:
            return asked
        free = next((str(host) for host in _POOL.hosts() if str(host) not in used), None)
        if free is None:
            raise RuntimeError(f"no address of {LOAD_BALANCER_CIDR} is left for another load balancer")
        return free


def addresses(service: JsonObject) -> list[str]:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [entry["ip"] for entry in ingress if entry.get("ip")]


def _is_of_pool(text: str) -> bool:
    try:
        return ip_address(text) in _POOL
    except ValueError:
        return False
