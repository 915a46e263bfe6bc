"""Two nodes, eight places for pods and the world outside, as network namespaces: built once, used for many worlds.

      p1 p3 p5 p7            p2 p4 p6 p8
        └─┴┬─┴─┘               └─┴┬─┴─┘          routed /32 and /128 veths, no bridge, as the lab wires its pods
         node-1 ─────────────── node-2           routers; each has a ruleset of its own
           └──────── outside ─────┘              every address of ``strategies.OUTSIDE``

Place N has the addresses that ``strategies.worlds`` gives pod N, whether or not a world has a pod there: an address without a pod is one
that the fence must hold. Every place is also reached through a Service address, which its client's node translates (DNAT) as
kube-proxy does, masquerading a pod that comes back to itself. Called by ``stockade.testing.witnesses``.
"""

from __future__ import annotations

from collections.abc import Iterator

from stockade.net.cidr import Address, parse_address
from stockade.testing.namespaces import Namespaces, ip, ip_batch, nft
from stockade.testing.strategies import NODES, OUTSIDE

PLACES = range(1, 9)
BEYOND = "outside"
HOSTS = tuple(text for text in OUTSIDE if text not in {"127.0.0.1", "::1"})
_GATEWAY = "169.254.1.1"  # where pods believe their router to be
_BEYOND_IP = "172.31.0.9"
_MACS = {"node-1": "02:00:00:00:00:01", "node-2": "02:00:00:00:00:02", BEYOND: "02:00:00:00:00:09"}


def node_of(place: int) -> str:
    return "node-1" if place % 2 else "node-2"


def addresses(place: int) -> tuple[str, str]:
    return f"10.244.0.{place}", f"fd00:244::{place:x}"


def service_address(place: int, family: int) -> str:
    return f"10.96.0.{place}" if family == 4 else f"fd00:96::{place:x}"


def place_at(address: Address) -> int | None:
    """The place that has this address."""
    return _PLACE_AT.get(address)


_PLACE_AT = {parse_address(text): place for place in PLACES for text in addresses(place)}


class Fabric:
    """``where`` says in which namespace an address lives."""

    def __init__(self, spaces: Namespaces) -> None:
        self._spaces = spaces
        self.where: dict[Address, str] = {}

    @property
    def names(self) -> list[str]:
        return [*NODES, BEYOND, *(f"p{place}" for place in PLACES)]

    def full(self, short: str) -> str:
        return self._spaces.name(short)

    def build(self) -> None:
        for name, ips in NODES.items():
            self._spaces.add_router(name)
            ip_batch(self.full(name), [f"addr add {_GATEWAY}/32 dev lo", *_own(ips)])
        self._spaces.add(BEYOND)
        ip_batch(self.full(BEYOND), _own((_BEYOND_IP, *HOSTS)))
        self._link("node-1", "node-2", NODES["node-1"][0], NODES["node-2"][0])
        for name in NODES:
            self._link(name, BEYOND, NODES[name][0], _BEYOND_IP)
        for place in PLACES:
            self._add_place(place)
        for name in NODES:
            ip_batch(self.full(name), _routes(name))
            nft(self.full(name), "".join(_services()))
        ip_batch(self.full(BEYOND), _routes(BEYOND))
        for short, texts in self._owners():
            self.where |= {parse_address(text): short for text in texts}

    @staticmethod
    def _owners() -> Iterator[tuple[str, tuple[str, ...]]]:
        yield from NODES.items()
        yield BEYOND, HOSTS
        for place in PLACES:
            yield f"p{place}", addresses(place)

    def _link(self, one: str, other: str, one_ip: str, other_ip: str) -> None:
        """Named after the far end. Neighbours know each other: a router that asked for one would do so from whatever address it finds."""
        ip(
            *("link", "add", other, "netns", self.full(one), "address", _MACS[one], "type", "veth"),
            *("peer", "name", one, "netns", self.full(other), "address", _MACS[other]),
        )
        for near, far, far_ip in ((one, other, other_ip), (other, one, one_ip)):
            commands = [
                f"link set {far} up",
                f"addr add {_near(near)}/64 dev {far} nodad",
                f"route add {far_ip}/32 dev {far}",
                *(
                    f"neigh replace {ip} lladdr {_MACS[far]} dev {far} nud permanent"
                    for ip in (far_ip, _near(far))
                ),
            ]
            ip_batch(self.full(near), commands)

    def _add_place(self, place: int) -> None:
        pod, node = self._spaces.add(f"p{place}"), self.full(node_of(place))
        v4, v6 = addresses(place)
        near, far = f"02:00:00:01:00:{place:02x}", f"02:00:00:02:00:{place:02x}"
        ip(
            *("link", "add", f"p{place}", "netns", node, "address", near, "type", "veth"),
            *("peer", "name", "eth0", "netns", pod, "address", far),
        )
        inner = [
            "link set eth0 up",
            f"addr add {v4}/32 dev eth0",
            f"addr add {v6}/128 dev eth0 nodad",
            f"route add {_GATEWAY} dev eth0",
            f"route add default via {_GATEWAY}",
            "route add default via fe80::1 dev eth0",
            *(f"neigh replace {each} lladdr {near} dev eth0 nud permanent" for each in (_GATEWAY, "fe80::1")),
        ]
        outer = [
            f"link set p{place} up",
            f"addr add fe80::1/64 dev p{place} nodad",
            f"route add {v4}/32 dev p{place}",
            f"route add {v6}/128 dev p{place}",
            *(f"neigh replace {each} lladdr {far} dev p{place} nud permanent" for each in (v4, v6)),
        ]
        ip_batch(pod, inner)
        ip_batch(node, outer)


def _near(short: str) -> str:
    """Link-local address of a router on the links between routers."""
    return {"node-1": "fe80::11", "node-2": "fe80::12", BEYOND: "fe80::19"}[short]


def _own(texts: tuple[str, ...]) -> list[str]:
    return [f"addr add {text}/{128 if ':' in text else 32} dev lo nodad" for text in texts]


def _routes(short: str) -> list[str]:
    """To the places of the other node, to the nodes and to the world outside, over the links between routers."""
    commands = []
    for name, (v4, v6) in NODES.items():
        if name == short:
            continue
        commands.append(f"route add {v6}/128 via {_near(name)} dev {name}")
        for place in PLACES:
            if node_of(place) == name:
                pod4, pod6 = addresses(place)
                commands.append(f"route add {pod4}/32 via {v4} dev {name} onlink")
                commands.append(f"route add {pod6}/128 via {_near(name)} dev {name}")
    if short != BEYOND:
        commands.append(f"route add default via {_BEYOND_IP} dev {BEYOND} onlink")
        commands.append(f"route add default via {_near(BEYOND)} dev {BEYOND}")
    return commands


def _services() -> Iterator[str]:
    for family, word, kind in ((4, "ip", "ipv4_addr"), (6, "ip6", "ipv6_addr")):
        pods = {place: addresses(place)[family == 6] for place in PLACES}
        vips = ", ".join(f"{service_address(place, family)} : {text}" for place, text in pods.items())
        doubled = ", ".join(f"{text} . {text}" for text in pods.values())
        yield f"table {word} services {{\n"
        yield f"map backends {{ type {kind} : {kind}; elements = {{ {vips} }}; }}\n"
        yield f"set itself {{ type {kind} . {kind}; elements = {{ {doubled} }}; }}\n"
        yield f"chain before {{ type nat hook prerouting priority dstnat; dnat to {word} daddr map @backends; }}\n"
        yield f"chain after {{ type nat hook postrouting priority srcnat; {word} saddr . {word} daddr @itself masquerade; }}\n"
        yield "}\n"
