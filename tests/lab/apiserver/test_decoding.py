"""The API server decodes as a real one: repeated and unknown fields, nulls, types; the words of reference semantics 1.4.

kubectl decodes YAML and JSON itself and sends each key once, so repeated fields come by HTTP only (``kubectl create --raw``, clients, curl).
"""

from __future__ import annotations

import json

import pytest

POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
RESOURCE = "networkpolicies.networking.k8s.io"
REFUSAL = 'NetworkPolicy in version "v1" cannot be handled as a NetworkPolicy: '
STRICT = f"{REFUSAL}strict decoding error: "
GO = "json: cannot unmarshal"


def body(spec: str) -> str:
    return f'{{"metadata":{{"name":"p"}},"spec":{spec}}}'


REPEATED = {
    "a field": ('{"ingress":[],"egress":[],"ingress":[]}', ["spec.ingress"]),
    "three times": ('{"egress":[],"egress":[],"egress":[]}', ["spec.egress"]),
    "in a list": (
        '{"egress":[{},{"ports":[{"port":1,"port":2,"protocol":"TCP","protocol":"UDP"}]}]}',
        ["spec.egress[1].ports[0].port", "spec.egress[1].ports[0].protocol"],
    ),
    "a label": (
        '{"podSelector":{"matchLabels":{"a/b":"x","a/b":"y"}}}',
        ["spec.podSelector.matchLabels.a/b"],
    ),
}


@pytest.mark.parametrize("case", REPEATED)
@pytest.mark.parametrize("mode", ["Strict", "Warn", "", "Ignore"])
async def test_repeated_fields(client, store, case, mode):
    spec, paths = REPEATED[case]
    texts = [f'duplicate field "{path}"' for path in paths]
    options = {"data": body(spec), "headers": {"Content-Type": "application/json"}}
    params = {"fieldValidation": mode} if mode else {}
    async with client.post(POLICIES, params=params, **options) as response:
        answer = await response.json()
        if mode == "Strict":
            assert (response.status, answer["reason"]) == (400, "BadRequest")
            assert answer["message"] == STRICT + ", ".join(texts)
            assert store.list(RESOURCE) == []
            return
        assert response.status == 201
        shown = [] if mode == "Ignore" else [json.dumps(text) for text in texts]
        assert response.headers.getall("Warning", []) == [f"299 - {text}" for text in shown]


async def test_repeated_and_unknown_fields_stand_in_one_answer(client, store):
    async with client.post(
        POLICIES,
        data=body('{"egress":[],"egress":[],"ingres":[],"podSelector":{"x":1}}'),
        headers={"Content-Type": "application/json"},
        params={"fieldValidation": "Strict"},
    ) as response:
        message = (await response.json())["message"]
    assert message == (
        STRICT
        + 'duplicate field "spec.egress", unknown field "spec.ingres", unknown field "spec.podSelector.x"'
    )


async def test_a_replacement_is_decoded_likewise(client, store):
    store.create(RESOURCE, "default", {"metadata": {"name": "p"}, "spec": {}})
    async with client.put(
        f"{POLICIES}/p",
        data=body('{"policyTypes":["Egress"],"policyTypes":["Ingress"]}'),
        headers={"Content-Type": "application/json"},
        params={"fieldValidation": "Strict"},
    ) as response:
        assert response.status == 400
        assert (await response.json())["message"] == f'{STRICT}duplicate field "spec.policyTypes"'


NULLS = {
    "fields": ('{"podSelector":null,"ingress":null,"egress":null,"policyTypes":null}', {"podSelector": {}, "policyTypes": ["Ingress"]}),
    "in lists": ('{"ingress":[null],"policyTypes":["Ingress"]}', {"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]}),
    "of a rule": ('{"ingress":[{"from":null,"ports":null}]}', {"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]}),
    "labels": (
        '{"podSelector":{"matchLabels":{"a":null},"matchExpressions":null}}',
        {"podSelector": {"matchLabels": {"a": ""}}, "policyTypes": ["Ingress"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NULLS)
async def test_null_is_absence(client, store, case):
    spec, stored = NULLS[case]
    async with client.post(
        POLICIES, data=body(spec), headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 201, await response.text()
    assert store.get(RESOURCE, "default", "p")["spec"] == stored


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            '{"policyTypes":[null]}',
            'spec.policyTypes[0]: Unsupported value: "": supported values: "Ingress", "Egress"',
        ),
        ('{"ingress":[{"from":[null]}]}', "spec.ingress[0].from[0]: Required value: must specify a peer"),
    ],
)
async def test_null_in_a_list_is_the_empty_value(client, store, spec, expected):
    async with client.post(
        POLICIES, data=body(spec), headers={"Content-Type": "application/json"}
    ) as response:
        answer = await response.json()
    assert (answer["code"], answer["reason"]) == (422, "Invalid")
    assert answer["message"] == f'NetworkPolicy.networking.k8s.io "p" is invalid: {expected}'


@pytest.mark.parametrize("mode", ["Strict", "Warn", "Ignore"])
async def test_types_must_fit_in_any_mode(client, store, mode):
    spec = '{"egress":[{"ports":[{"port":80,"endPort":"90"}]}]}'
    headers = {"Content-Type": "application/json"}
    async with client.post(
        POLICIES, data=body(spec), headers=headers, params={"fieldValidation": mode}
    ) as response:
        answer = await response.json()
    assert (answer["code"], answer["reason"]) == (400, "BadRequest")
    field = "NetworkPolicyPort.spec.egress.ports.endPort of type int32"
    assert answer["message"] == f"{REFUSAL}{GO} string into Go struct field {field}"


async def test_kubectl_sends_the_last_of_repeated_keys(kubectl, store):
    """So the server cannot know; ``stockade check -f`` warns about it."""
    spec = '{"podSelector": {}, "policyTypes": ["Ingress"], "policyTypes": ["Egress"]}'
    text = f'{{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {{"name": "p"}}, "spec": {spec}}}'
    result = await kubectl("create", "-f", "-", stdin=text)
    assert (result.code, result.err) == (0, "")
    assert store.get(RESOURCE, "default", "p")["spec"]["policyTypes"] == ["Egress"]


async def test_a_raw_body_reaches_the_server_as_it_is(kubectl, store):
    if kubectl.old:
        pytest.skip("it cannot create --raw")
    wrong = body('{"egress":[],"egress":[]}')
    result = await kubectl("create", "--raw", f"{POLICIES}?fieldValidation=Strict", "-f", "-", stdin=wrong)
    assert result.code == 1
    assert 'strict decoding error: duplicate field "spec.egress"' in result.err
    assert store.list(RESOURCE) == []
