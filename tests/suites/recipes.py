"""The fourteen recipes of kubernetes-network-policy-recipes as data: what is set up, which policies, who reaches what.

A check names a client, a target and the outcome: ``open``, or the step that fails first: ``lookup`` (``wget: bad address``) or
``connect`` (``download timed out``). A client is ``namespace/pod`` or an address outside the cluster. Recipe 14 appears twice: as its
page has it now, where its own claim that web stays reachable does not hold, and as it was, where it does.
"""

from __future__ import annotations

from typing import Any

import msgspec

from stockade.model.meta import View
from stockade.testing.build import namespace, node, pod, policy, service

Json = dict[str, Any]
OPEN, LOOKUP, CONNECT = "open", "lookup", "connect"
OUTSIDE = "198.51.100.7"
EXTERNAL = "http://www.example.com"
DNS_PORTS = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
KUBE_DNS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}


class Recipe(msgspec.Struct, kw_only=True):
    id: str
    setup: list[View]
    policies: list[View]
    checks: list[tuple[str, str, str]]  # client, target, outcome


def cluster() -> list[View]:
    dns = {"k8s-app": "kube-dns"}
    ports = [{"name": f"dns-{p['protocol'].lower()}", "targetPort": 53, **p} for p in DNS_PORTS]
    return [
        node(),
        namespace("default"),
        namespace("kube-system"),
        pod("kube-system/kube-dns", dns, "10.244.0.2"),
        service("kube-system/kube-dns", dns, "10.96.0.10", *ports),
    ]


def run(name: str, labels: Json | None = None, *ports: tuple[int, int]) -> list[View]:
    """``kubectl run NAME --expose``: a pod, and a Service on its port (port, target port)."""
    chosen = {"app": name} if labels is None else labels
    served = [
        {"name": f"p{port}", "port": port, "protocol": "TCP", "targetPort": to}
        for port, to in ports or [(80, 80)]
    ]
    number = sum(map(ord, name)) % 200 + 20
    return [pod(name, chosen, f"10.244.0.{number}"), service(name, chosen, f"10.96.1.{number}", *served)]


def client(name: str, labels: Json | None = None) -> View:
    short = name.replace("/", "-")
    return pod(name, labels or {"run": "test"}, f"10.244.1.{sum(map(ord, short)) % 200 + 20}")


def labelled(**labels: str) -> Json:
    return {"matchLabels": labels}


def np(name: str, subject: Json | None, **spec: Any) -> View:
    return policy(name, {"podSelector": subject, **spec})


def into(name: str, subject: Json, *peers: Json, **rule: Any) -> View:
    return np(name, subject, ingress=[{"from": list(peers), **rule} if peers else rule])


APP_WEB, BOOK = labelled(app="web"), {"app": "bookstore"}
WEB = "http://web"
FOO = client("foo", {"app": "foo"})
PLAIN = client("test")


def egress(name: str, *rules: Json, subject: Json | None = None) -> View:
    chosen = labelled(app="foo") if subject is None else subject
    return np(name, chosen, policyTypes=["Egress"], egress=list(rules))


RECIPES = [
    Recipe(
        id="01 deny all to an application",
        setup=[*run("web"), PLAIN],
        policies=[np("web-deny-all", APP_WEB, ingress=[])],
        checks=[("test", WEB, CONNECT), (OUTSIDE, "web:80", CONNECT)],
    ),
    Recipe(
        id="01 before",
        setup=[*run("web"), PLAIN],
        policies=[],
        checks=[("test", WEB, OPEN), (OUTSIDE, "web:80", OPEN)],
    ),
    Recipe(
        id="02 limit traffic to an application",
        setup=[
            *run("apiserver", {**BOOK, "role": "api"}),
            PLAIN,
            client("front", {**BOOK, "role": "frontend"}),
        ],
        policies=[into("api-allow", labelled(**BOOK, role="api"), {"podSelector": labelled(**BOOK)})],
        checks=[("test", "http://apiserver", CONNECT), ("front", "http://apiserver", OPEN)],
    ),
    Recipe(
        id="02a allow all to an application",
        setup=[*run("web"), PLAIN],
        policies=[np("web-allow-all", APP_WEB, ingress=[{}]), np("web-deny-all", APP_WEB, ingress=[])],
        checks=[("test", WEB, OPEN), (OUTSIDE, "web:80", OPEN)],
    ),
    Recipe(
        id="03 deny all to a namespace",
        setup=[*run("web"), *run("db", None, (6379, 6379)), PLAIN, client("other/test")],
        policies=[np("default-deny-all", {}, ingress=[])],
        checks=[
            ("test", WEB, CONNECT),
            ("test", "http://db:6379", CONNECT),
            ("other/test", "http://web.default", CONNECT),
            ("test", "other:pod/test:80", OPEN),
        ],
    ),
    Recipe(
        id="04 deny from other namespaces",
        setup=[*run("web"), namespace("foo"), client("foo/test"), PLAIN],
        policies=[into("deny-from-other-namespaces", {"matchLabels": None}, {"podSelector": {}})],
        checks=[("foo/test", "http://web.default", CONNECT), ("test", WEB, OPEN)],
    ),
    Recipe(
        id="05 allow from all namespaces",
        setup=[*run("web"), namespace("secondary"), client("secondary/test"), PLAIN],
        policies=[
            np("web-deny-all", APP_WEB, ingress=[]),
            into("web-allow-all-namespaces", APP_WEB, {"namespaceSelector": {}}),
        ],
        checks=[
            ("secondary/test", "http://web.default", OPEN),
            ("test", WEB, OPEN),
            (OUTSIDE, "web:80", CONNECT),
        ],
    ),
    Recipe(
        id="06 allow from a namespace",
        setup=[
            *run("web"),
            namespace("dev", {"purpose": "testing"}),
            namespace("prod", {"purpose": "production"}),
            client("dev/test"),
            client("prod/test"),
        ],
        policies=[into("web-allow-prod", APP_WEB, {"namespaceSelector": labelled(purpose="production")})],
        checks=[("dev/test", "http://web.default", CONNECT), ("prod/test", "http://web.default", OPEN)],
    ),
    Recipe(
        id="07 allow some pods of another namespace",
        setup=[
            *run("web"),
            namespace("other", {"team": "operations"}),
            PLAIN,
            client("monitor", {"type": "monitoring"}),
            client("other/test"),
            client("other/monitor", {"type": "monitoring"}),
        ],
        policies=[
            into(
                "web-allow-all-ns-monitoring",
                APP_WEB,
                {
                    "namespaceSelector": labelled(team="operations"),
                    "podSelector": labelled(type="monitoring"),
                },
            )
        ],
        checks=[
            ("test", WEB, CONNECT),
            ("monitor", WEB, CONNECT),
            ("other/test", "http://web.default", CONNECT),
            ("other/monitor", "http://web.default", OPEN),
        ],
    ),
    Recipe(
        id="08 allow external clients",
        setup=[*run("web"), PLAIN],
        policies=[np("web-deny-all", APP_WEB, ingress=[]), np("web-allow-external", APP_WEB, ingress=[{}])],
        checks=[(OUTSIDE, "web:80", OPEN), (OUTSIDE, "web:81", OPEN), ("test", WEB, OPEN)],
    ),
    Recipe(
        id="08 on one port",
        setup=[*run("web")],
        policies=[np("web-allow-external", APP_WEB, ingress=[{"ports": [{"port": 80}]}])],
        checks=[(OUTSIDE, "web:80", OPEN), (OUTSIDE, "web:81", CONNECT)],
    ),
    Recipe(
        id="09 allow one port",
        setup=[
            *run("apiserver", None, (8001, 8000), (5001, 5000)),
            PLAIN,
            client("monitor", {"role": "monitoring"}),
        ],
        policies=[
            into(
                "api-allow-5000",
                labelled(app="apiserver"),
                {"podSelector": labelled(role="monitoring")},
                ports=[{"port": 5000}],
            )
        ],
        checks=[
            ("test", "http://apiserver:8001", CONNECT),
            ("test", "http://apiserver:5001/metrics", CONNECT),
            ("monitor", "http://apiserver:8001", CONNECT),
            ("monitor", "http://apiserver:5001/metrics", OPEN),
        ],
    ),
    Recipe(
        id="10 allow several selectors",
        setup=[
            *run("db", {**BOOK, "role": "db"}, (6379, 6379)),
            client("web", {"app": "inventory", "role": "web"}),
            client("api", {**BOOK, "role": "api"}),
            client("other", {"app": "other"}),
        ],
        policies=[
            into(
                "redis-allow-services",
                labelled(**BOOK, role="db"),
                {"podSelector": labelled(**BOOK, role="search")},
                {"podSelector": labelled(**BOOK, role="api")},
                {"podSelector": labelled(app="inventory", role="web")},
            )
        ],
        checks=[
            ("web", "http://db:6379", OPEN),
            ("api", "http://db:6379", OPEN),
            ("other", "http://db:6379", CONNECT),
        ],
    ),
    Recipe(
        id="11 deny egress of an application",
        setup=[*run("web"), FOO, PLAIN],
        policies=[egress("foo-deny-egress")],
        checks=[
            ("foo", WEB, LOOKUP),
            ("foo", EXTERNAL, LOOKUP),
            ("test", WEB, OPEN),
            (OUTSIDE, "foo:80", OPEN),
        ],
    ),
    Recipe(
        id="11 with lookups",
        setup=[*run("web"), FOO],
        policies=[egress("foo-deny-egress", {"ports": DNS_PORTS})],
        checks=[("foo", WEB, CONNECT), ("foo", EXTERNAL, CONNECT), ("foo", "http://192.0.2.1:53", OPEN)],
    ),
    Recipe(
        id="11 with lookups by kube-dns only",
        setup=[*run("web"), FOO],
        policies=[egress("foo-deny-egress", {"to": [KUBE_DNS], "ports": DNS_PORTS})],
        checks=[("foo", WEB, CONNECT), ("foo", EXTERNAL, CONNECT), ("foo", "http://192.0.2.1:53", CONNECT)],
    ),
    Recipe(
        id="12 deny all egress of a namespace",
        setup=[*run("web"), PLAIN, FOO, client("other/test")],
        policies=[egress("default-deny-all-egress", subject={})],
        checks=[
            ("test", WEB, LOOKUP),
            ("foo", EXTERNAL, LOOKUP),
            ("test", "http://192.0.2.1:80", CONNECT),
            ("other/test", "http://web.default", OPEN),
        ],
    ),
    Recipe(
        id="14 deny external egress, as the page has it",
        setup=[*run("web"), FOO],
        policies=[egress("foo-deny-external-egress", {"to": [KUBE_DNS], "ports": DNS_PORTS})],
        checks=[("foo", WEB, CONNECT), ("foo", EXTERNAL, CONNECT)],
    ),
    Recipe(
        id="14 deny external egress, as it was",
        setup=[*run("web"), FOO],
        policies=[
            egress("foo-deny-external-egress", {"ports": DNS_PORTS}, {"to": [{"namespaceSelector": {}}]})
        ],
        checks=[("foo", WEB, OPEN), ("foo", EXTERNAL, CONNECT), ("foo", "http://192.0.2.1:53", OPEN)],
    ),
]
