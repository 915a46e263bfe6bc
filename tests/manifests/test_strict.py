"""Strict decoding in the words of the API server (reference semantics 1.4)."""

from __future__ import annotations

import copy

import pytest

from stockade.manifests.strict import MAX_PROBLEMS, check_fields, drop_nulls, duplicate_fields, prune_unknown

POLICY = ("networking.k8s.io/v1", "NetworkPolicy")
GO = "into Go struct field"


def policy(**spec) -> dict:
    return {"apiVersion": POLICY[0], "kind": POLICY[1], "metadata": {"name": "x"}, "spec": spec}


def texts(obj, kind=POLICY) -> list[str]:
    return [problem.message for problem in check_fields(obj, *kind)]


def test_unknown_fields_are_named_with_their_indexes() -> None:
    obj = policy(ingres=[], egress=[{"ports": [{"prot": "TCP"}]}, {"To": []}])
    assert texts(obj) == [
        'unknown field "spec.ingres"',
        'unknown field "spec.egress[0].ports[0].prot"',
        'unknown field "spec.egress[1].To"',
    ]
    assert texts({**policy(), "status": {}}) == ['unknown field "status"']


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"egress": [{"ports": [{"endPort": "90"}]}]}, f"string {GO} NetworkPolicyPort.spec.egress.ports.endPort of type int32"),
        ({"egress": [{"ports": [{"port": True}]}]}, f"bool {GO} NetworkPolicyPort.spec.egress.ports.port of type int32"),
        ({"egress": [{"ports": [{"port": 8.5}]}]}, f"number 8.5 {GO} NetworkPolicyPort.spec.egress.ports.port of type int32"),
        ({"egress": [{"ports": [{"port": 2**31}]}]}, f"number 2147483648 {GO} NetworkPolicyPort.spec.egress.ports.port of type int32"),
        ({"egress": [{"ports": [{"protocol": 6}]}]}, f"number {GO} NetworkPolicyPort.spec.egress.ports.protocol of type v1.Protocol"),
        ({"egress": {}}, f"object {GO} NetworkPolicySpec.spec.egress of type []v1.NetworkPolicyEgressRule"),
        ({"egress": ["all"]}, f"string {GO} NetworkPolicySpec.spec.egress of type v1.NetworkPolicyEgressRule"),
        ({"policyTypes": "Egress"}, f"string {GO} NetworkPolicySpec.spec.policyTypes of type []v1.PolicyType"),
        ({"policyTypes": [1]}, f"number {GO} NetworkPolicySpec.spec.policyTypes of type v1.PolicyType"),
        ({"podSelector": []}, f"array {GO} NetworkPolicySpec.spec.podSelector of type v1.LabelSelector"),
        ({"podSelector": {"matchLabels": {"a": True}}}, f"bool {GO} LabelSelector.spec.podSelector.matchLabels of type string"),
        ({"podSelector": {"matchLabels": "a"}}, f"string {GO} LabelSelector.spec.podSelector.matchLabels of type map[string]string"),
    ],
)  # fmt: skip
def test_type_errors(spec, text) -> None:
    problems = check_fields(policy(**spec), *POLICY)
    assert [problem.message for problem in problems] == [f"json: cannot unmarshal {text}"]
    assert not problems[0].unknown


def test_spec_of_the_wrong_type() -> None:
    assert texts({**policy(), "spec": "x"}) == [
        f"json: cannot unmarshal string {GO} NetworkPolicy.spec of type v1.NetworkPolicySpec"
    ]


@pytest.mark.parametrize("port", [80, "http", "80", 0, -1, 2**31 - 1])
def test_a_port_is_a_number_or_a_name(port) -> None:
    assert texts(policy(egress=[{"ports": [{"port": port}]}])) == []


def test_null_is_absence() -> None:
    obj = policy(egress=None, podSelector=None, ingress=[None, {"from": [None]}], policyTypes=[None])
    obj["metadata"]["labels"] = {"a": None}
    assert texts(obj) == []
    drop_nulls(obj, *POLICY)
    assert obj["spec"] == {"ingress": [{}, {"from": [{}]}], "policyTypes": [""]}
    assert obj["metadata"]["labels"] == {"a": ""}


def test_other_scalars() -> None:
    secret = {"metadata": {"creationTimestamp": "yesterday"}, "data": {"a": "aGk=", "b": "a$=="}}
    assert texts(secret, ("v1", "Secret")) == [
        'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"',
        "illegal base64 data at input byte 1",
    ]
    limits = {"cpu": 1, "memory": "1Gi", "bad": "1 Gi", "worse": True}
    pod = {"spec": {"containers": [{"resources": {"limits": limits}}]}}
    assert len(texts(pod, ("v1", "Pod"))) == 2
    assert texts({"metadata": {"creationTimestamp": "2024-01-01T00:00:00Z"}}, ("v1", "Pod")) == []


def test_pruning_drops_unknown_fields_and_nothing_else() -> None:
    obj = policy(ingres=[], egress=[{"ports": [{"prot": "x", "port": 53}], "x": 1}])
    obj["metadata"]["annotations"] = {"any": "thing"}
    wanted = copy.deepcopy(obj)
    del (
        wanted["spec"]["ingres"],
        wanted["spec"]["egress"][0]["x"],
        wanted["spec"]["egress"][0]["ports"][0]["prot"],
    )
    prune_unknown(obj, *POLICY)
    assert obj == wanted


def test_a_real_pod_has_no_unknown_field() -> None:
    probe = {"httpGet": {"path": "/", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10}
    container = {
        "name": "web", "image": "nginx", "imagePullPolicy": "Always", "ports": [{"containerPort": 80, "protocol": "TCP"}],
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}], "livenessProbe": probe,
        "resources": {"requests": {"cpu": "100m"}}, "volumeMounts": [{"name": "t", "mountPath": "/t", "readOnly": True}],
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "runAsUser": 1}, "stdin": True, "tty": True, "stdinOnce": True,
    }  # fmt: skip
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
    spec = {
        "containers": [container], "restartPolicy": "Never", "dnsPolicy": "ClusterFirst", "nodeName": "n",
        "volumes": [{"name": "t", "projected": {"sources": [token], "defaultMode": 420}}, {"name": "e", "emptyDir": {}}],
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "h"}]}},
        "securityContext": {"fsGroup": 1}, "enableServiceLinks": True, "preemptionPolicy": "PreemptLowerPriority",
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}],
    }  # fmt: skip
    status = {
        "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "hostIPs": [{"ip": "1.2.3.4"}],
        "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": None, "observedGeneration": 1}],
        "containerStatuses": [{"name": "web", "ready": True, "restartCount": 0, "image": "i", "imageID": "",
                               "state": {"running": {"startedAt": "2024-01-01T00:00:00Z"}}, "started": True}],
        "qosClass": "Burstable",
    }  # fmt: skip
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec, "status": status}
    assert texts(pod, ("v1", "Pod")) == []


def test_of_a_foreign_kind_only_metadata_is_checked() -> None:
    foreign = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"labels": {"a": 1}},
        "spec": {"x": 1},
    }
    assert texts(foreign, ("example.com/v1", "Thing")) == [
        f"json: cannot unmarshal number {GO} ObjectMeta.metadata.labels of type string"
    ]


def test_the_number_of_problems_is_bounded() -> None:
    assert len(texts(policy(**{f"field{i}": 1 for i in range(1000)}))) == MAX_PROBLEMS
    assert len(texts(policy(egress=[1] * 1000))) == MAX_PROBLEMS
    hidden = check_fields(policy(**{f"field{i}": 1 for i in range(1000)}, egress=1), *POLICY)
    assert [problem.path for problem in hidden if not problem.unknown] == [("spec", "egress")]


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert texts(policy(**{"\x1b[31mred": 1})) == ['unknown field "spec.\\x1b[31mred"']


def test_duplicate_keys_of_a_json_body() -> None:
    body = b'{"kind": "x", "spec": {"a": [{"b": 1, "b": 2}], "c": 1, "a": [{"b": 1, "b": 3, "b": 4}]}, "kind": "y"}'
    assert [p.message for p in duplicate_fields(body)] == [
        'duplicate field "kind"',
        'duplicate field "spec.a"',
        'duplicate field "spec.a[0].b"',
    ]
    assert duplicate_fields('{"a": {"b": 1}, "c": {"b": 1}}') == []
    with pytest.raises(ValueError, match="Expecting"):
        duplicate_fields("{")
    with pytest.raises(ValueError, match="nested too deeply"):
        duplicate_fields('{"a": 1, "a": ' * 5000 + "1" + "}" * 5000)
