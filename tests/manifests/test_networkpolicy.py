"""What the API server says about NetworkPolicies: each rule by its number (V1-V22), word for word."""

from __future__ import annotations

import copy

import pytest

from stockade.manifests.validate import networkpolicy, validate, validate_update, warnings

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
KEY = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
CHARSET = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
LETTER = "must contain at least one letter (a-z)"


def policy(name="x", **spec) -> dict:
    meta = {"name": name} if name is not None else {}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


def messages(obj) -> list[str]:
    before = copy.deepcopy(obj)
    found = [error.message for error in validate(obj)]
    assert obj == before, "validation must not change the object"
    return found


def port(**fields) -> list[str]:
    return messages(policy(egress=[{"ports": [fields]}]))


def peer(**fields) -> list[str]:
    return messages(policy(ingress=[{"from": [fields]}]))


def block(cidr=None, *excepted, **more) -> list[str]:
    value = {"except": list(excepted)} if excepted else {}
    return peer(ipBlock={**value, **({"cidr": cidr} if cidr is not None else {})}, **more)


def selector(**fields) -> list[str]:
    return messages(policy(podSelector=fields))


PORTS = "spec.egress[0].ports[0]"
BLOCK = "spec.ingress[0].from[0].ipBlock"


def test_v1_bad_name() -> None:
    assert messages(policy("A_b")) == [f'metadata.name: Invalid value: "A_b": {SUBDOMAIN}']
    assert messages(policy("a.b")) == []


def test_v2_no_name() -> None:
    assert messages(policy(None)) == ["metadata.name: Required value: name or generateName is required"]
    assert messages({**policy(), "metadata": {"generateName": "web-"}}) == []


@pytest.mark.parametrize("number", [0, 70000, 65536, -1])
def test_v3_port_range(number) -> None:
    assert port(port=number) == [
        f"{PORTS}.port: Invalid value: {number}: must be between 1 and 65535, inclusive"
    ]


@pytest.mark.parametrize(
    ("name", "details"),
    [
        ("http_", [CHARSET]),
        ("", [CHARSET, LETTER]),
        ("80", [LETTER]),
        ("a--b", ["must not contain consecutive hyphens"]),
        ("-a", ["must not begin or end with a hyphen"]),
        ("a23456789012345x", ["must be no more than 15 bytes"]),
        ("HTTP", [CHARSET, LETTER]),
        ("http", []),
    ],
)
def test_v4_port_name(name, details) -> None:
    assert port(port=name) == [f'{PORTS}.port: Invalid value: "{name}": {detail}' for detail in details]


@pytest.mark.parametrize("protocol", ["ICMP", "tcp", ""])
def test_v5_protocol(protocol) -> None:
    expected = f'{PORTS}.protocol: Unsupported value: "{protocol}": supported values: "TCP", "UDP", "SCTP"'
    assert port(protocol=protocol) == [expected]


def test_v6_end_port_below_port() -> None:
    # The server shows the value of ``port`` in this message.
    assert port(port=80, endPort=79) == [
        f"{PORTS}.endPort: Invalid value: 80: must be greater than or equal to `port`"
    ]
    assert port(port=80, endPort=80) == []
    assert port(port=80, endPort=70000) == [
        f"{PORTS}.endPort: Invalid value: 70000: must be between 1 and 65535, inclusive"
    ]


def test_v7_end_port_with_a_name() -> None:
    assert port(port="http", endPort=90) == [
        f"{PORTS}.endPort: Invalid value: 90: may not be specified when `port` is non-numeric"
    ]


def test_v8_end_port_without_port() -> None:
    assert port(endPort=90) == [
        f"{PORTS}.endPort: Invalid value: 90: may not be specified when `port` is not specified"
    ]


def test_v9_empty_peer() -> None:
    assert peer() == ["spec.ingress[0].from[0]: Required value: must specify a peer"]
    assert peer(podSelector=None) == ["spec.ingress[0].from[0]: Required value: must specify a peer"]
    assert peer(podSelector={}) == []


def test_v10_block_beside_a_selector() -> None:
    expected = ["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"]
    assert block("10.0.0.0/8", podSelector={}) == expected
    assert peer(podSelector={}, namespaceSelector={}) == []


def test_v11_no_cidr() -> None:
    assert block() == [f"{BLOCK}.cidr: Required value"]


@pytest.mark.parametrize("cidr", ["10.0.0.0", "10.0.0.0/33", "x", "fe80::1%eth0/64"])
def test_v12_bad_cidr(cidr) -> None:
    assert block(cidr) == [f'{BLOCK}.cidr: Invalid value: "{cidr}": {CIDR}']
    assert block("0.0.0.0/0", cidr) == [f'{BLOCK}.except[0]: Invalid value: "{cidr}": {CIDR}']


@pytest.mark.parametrize(
    ("cidr", "details"),
    [
        ("010.0.0.0/8", ["must not have leading 0s in IP or prefix length"]),
        ("10.0.0.0/08", ["must not have leading 0s in IP or prefix length"]),
        ("::ffff:10.0.0.0/104", ["must not have an IPv4-mapped IPv6 address"]),
        ("10.1.2.3/8", ["must not have bits set beyond the prefix length"]),
        ("10.0.0.0/8", []),
    ],
)
def test_v13_strict_cidr(cidr, details) -> None:
    obj = policy(ingress=[{"from": [{"ipBlock": {"cidr": cidr}}]}])
    strict = [error.message for error in networkpolicy.validate(obj, strict_cidr=True)]
    assert strict == [f'{BLOCK}.cidr: Invalid value: "{cidr}": {detail}' for detail in details]
    assert messages(obj) == [], "the lenient server only warns"


@pytest.mark.parametrize("excepted", ["11.0.0.0/8", "10.0.0.0/8", "10.0.0.0/7", "fd00::/64", "0.0.0.0/0"])
def test_v14_except_not_inside(excepted) -> None:
    expected = f'{BLOCK}.except[0]: Invalid value: "{excepted}": must be a strict subset of `cidr`'
    assert block("10.0.0.0/8", excepted) == [expected]
    assert block("10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/32") == []


def test_v15_too_many_policy_types() -> None:
    assert messages(policy(policyTypes=["Ingress", "Egress", "ingress"])) == [
        'spec.policyTypes: Invalid value: ["Ingress","Egress","ingress"]: may not specify more than two policyTypes'
    ]


def test_v16_policy_type() -> None:
    assert messages(policy(policyTypes=["egress"])) == [
        'spec.policyTypes[0]: Unsupported value: "egress": supported values: "Ingress", "Egress"'
    ]
    assert messages(policy(policyTypes=["Ingress", "Ingress"])) == [], "repeating one is accepted"


def test_v17_operator() -> None:
    assert selector(matchExpressions=[{"key": "a", "operator": "Equals", "values": ["b"]}]) == [
        'spec.podSelector.matchExpressions[0].operator: Invalid value: "Equals": not a valid selector operator'
    ]


@pytest.mark.parametrize("operator", ["In", "NotIn"])
def test_v18_values_wanted(operator) -> None:
    assert selector(matchExpressions=[{"key": "a", "operator": operator}]) == [
        "spec.podSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
    ]


@pytest.mark.parametrize("operator", ["Exists", "DoesNotExist"])
def test_v19_values_unwanted(operator) -> None:
    assert selector(matchExpressions=[{"key": "a", "operator": operator, "values": ["b"]}]) == [
        (
            "spec.podSelector.matchExpressions[0].values: Forbidden: "
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        )
    ]


def test_v20_label_key() -> None:
    assert selector(matchLabels={"-bad": "x"}) == [
        f'spec.podSelector.matchLabels: Invalid value: "-bad": name part {KEY}'
    ]
    assert selector(matchExpressions=[{"key": "", "operator": "Exists"}]) == [
        'spec.podSelector.matchExpressions[0].key: Invalid value: "": name part must be non-empty',
        f'spec.podSelector.matchExpressions[0].key: Invalid value: "": name part {KEY}',
    ]


def test_v21_label_value() -> None:
    assert selector(matchLabels={"a": "a b"}) == [
        f'spec.podSelector.matchLabels: Invalid value: "a b": {VALUE}'
    ]
    assert selector(matchExpressions=[{"key": "a", "operator": "In", "values": ["a b"]}]) == [
        f'spec.podSelector.matchExpressions[0].values[0]: Invalid value: "a b": {VALUE}'
    ]


def test_v22_label_lengths_and_prefixes() -> None:
    long = "a" * 64
    path = "spec.podSelector.matchLabels"
    assert selector(matchLabels={long: ""}) == [
        f'{path}: Invalid value: "{long}": name part must be no more than 63 bytes'
    ]
    assert selector(matchLabels={"a": long}) == [
        f'{path}: Invalid value: "{long}": must be no more than 63 bytes'
    ]
    assert selector(matchLabels={"/a": ""}) == [f'{path}: Invalid value: "/a": prefix part must be non-empty']
    assert selector(matchLabels={"A_/a": ""}) == [f'{path}: Invalid value: "A_/a": prefix part {SUBDOMAIN}']
    assert selector(matchLabels={"a/b/c": ""}) == [
        (
            f"{path}: Invalid value: \"a/b/c\": a valid label key {KEY} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')"
        )
    ]


def test_errors_come_in_the_servers_order() -> None:
    found = messages(
        policy(
            "A_b",
            podSelector={"matchLabels": {"-": ""}},
            policyTypes=["x"],
            egress=[{"to": [{}], "ports": [{"port": 0}]}],
            ingress=[{"from": [{}], "ports": [{"port": 0}]}],
        )
    )
    assert [text.partition(": ")[0] for text in found] == [
        "metadata.name",
        "spec.podSelector.matchLabels",
        "spec.ingress[0].ports[0].port",
        "spec.ingress[0].from[0]",
        "spec.egress[0].ports[0].port",
        "spec.egress[0].to[0]",
        "spec.policyTypes[0]",
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"podSelector": None, "ingress": None, "egress": None, "policyTypes": None},
        {"policyTypes": ["Egress"], "ingress": [{}]},
        {"egress": [{"ports": [{"port": 1, "endPort": 65535}, {"port": 1, "endPort": 65535}]}]},
        {"egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}, {"ipBlock": {"cidr": "::/0"}}]}]},
        {"ingress": [{"from": None, "ports": None}]},
    ],
)
def test_what_the_server_accepts(spec) -> None:
    assert messages(policy(**spec)) == []


@pytest.mark.parametrize(
    ("cidr", "texts"),
    [
        ("10.1.2.3/8", ['CIDR value "10.1.2.3/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.1.2.3/32"?)']),
        ("010.0.0.0/8", [('non-standard CIDR value "010.0.0.0/8" will be considered invalid in a future Kubernetes release: '
                         'use "10.0.0.0/8"')]),
        ("::ffff:10.0.0.0/104", [('non-standard CIDR value "::ffff:10.0.0.0/104" will be considered invalid in a future '
                                 'Kubernetes release: use "10.0.0.0/8"')]),
        ("2001:DB8::/32", ['IPv6 CIDR value "2001:DB8::/32" should be in RFC 5952 canonical format ("2001:db8::/32")']),
        ("10.0.0.0/8", []),
        ("2001:db8::/32", []),
    ],
)  # fmt: skip
def test_warnings_about_cidrs(cidr, texts) -> None:
    peers = [{"ipBlock": {"cidr": cidr, "except": [cidr]}}]
    places = ("spec.egress[0].to[0].ipBlock.cidr", "spec.egress[0].to[0].ipBlock.except[0]")
    assert warnings(policy(egress=[{"to": peers}])) == [
        f"{place}: {text}" for place in places for text in texts
    ]


def test_an_update_may_change_the_whole_spec_but_not_the_identity() -> None:
    old = policy(policyTypes=["Egress"])
    old["metadata"]["uid"] = "1"
    new = policy(policyTypes=["Ingress"])
    assert validate_update(new, old) == []
    new["metadata"]["uid"] = "2"
    assert [error.message for error in validate_update(new, old)] == [
        'metadata.uid: Invalid value: "2": field is immutable'
    ]
