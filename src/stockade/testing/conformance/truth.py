"""What must connect in a cyclonus case, from plain JSON: the suite's own small model. Written for these cases, it knows only what they use."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from stockade.testing.conformance.case import Json, Name
from stockade.testing.conformance.world import PORTS, World


def connects(world: World, source: Name, destination: Name, protocol: str, port: int) -> bool:
    return all(
        _lets(world, direction, subject, peer, (protocol, port))
        for direction, subject, peer in (
            ("egress", source, destination),
            ("ingress", destination, source),
        )
    )


def _lets(world: World, direction: str, subject: Name, peer: Name, probe: tuple[str, int]) -> bool:
    applying = [
        (space, spec)
        for (space, _), spec in world.policies.items()
        if space == subject[0]
        and direction.capitalize() in spec["policyTypes"]
        and _selected(spec["podSelector"], world.pods[subject]["labels"])
    ]
    far = "to" if direction == "egress" else "from"
    return not applying or any(
        _one_of(rule.get(far), lambda item, home=space: _is_peer(world, home, item, peer))
        and _one_of(rule.get("ports"), lambda item: _is_port(item, *probe))
        for space, spec in applying
        for rule in spec.get(direction) or []
    )


def _one_of(items: list[Json] | None, fits: Any) -> bool:
    return not items or any(map(fits, items))


def _is_peer(world: World, home: str, item: Json, peer: Name) -> bool:
    pod = world.pods[peer]
    if "ipBlock" in item:
        address, block = ip_address(pod["ip"]), item["ipBlock"]
        inside = address in ip_network(block["cidr"])
        return inside and not any(address in ip_network(hole) for hole in block.get("except", []))
    if "namespaceSelector" in item:
        labels = {**world.namespaces[peer[0]], "kubernetes.io/metadata.name": peer[0]}
        near = _selected(item["namespaceSelector"], labels)
    else:
        near = peer[0] == home
    return near and _selected(item.get("podSelector", {}), pod["labels"])


def _selected(selector: Json, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        (labels.get(each["key"]) in each["values"]) is (each["operator"] == "In")
        for each in selector.get("matchExpressions", [])
    )


def _is_port(item: Json, protocol: str, port: int) -> bool:
    if item.get("protocol", "TCP") != protocol:
        return False
    wanted: Any = item.get("port")
    if isinstance(wanted, str):
        return {"name": wanted, "containerPort": port, "protocol": protocol} in PORTS
    return wanted is None or bool(wanted <= port <= item.get("endPort", wanted))
