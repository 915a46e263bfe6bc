"""What a kube-apiserver answers, row by row: (request, code, reason, message). One server for the whole table.

``{…}`` in a message stands for what differs each time (uids, addresses). Rows are played in order; those that change something say so by their names.
"""

from __future__ import annotations

import json
import re

import aiohttp
import pytest

from stockade.lab.apiserver.registry import ApiError
from stockade.lab.apiserver.store import ObjectStore

from .conftest import TOKEN

NS, APPS = "/api/v1/namespaces/default", "/apis/apps/v1/namespaces/default"
JOB, POLICIES = (
    "/apis/batch/v1/namespaces/default/jobs",
    "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
)
JSON, MERGE, APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"
STRATEGIC, PATCH = "application/strategic-merge-patch+json", "application/json-patch+json"
CONTAINER = {"name": "c", "image": "nginx:1"}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}}
OTHER = {"selector": {"matchLabels": {"a": "c"}}, "template": {"metadata": {"labels": {"a": "c"}}}}
SELECTOR = {"matchLabels": {"a": "b"}}
POD_FIELDS = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative){…}"
)
SET_FIELDS = (
    "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
FROZEN = "Forbidden: field is immutable when `immutable` is set"
KEY = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
    "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
LABEL = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def pod(name="z", **metadata):
    return {"metadata": {"name": name, **metadata}, "spec": {"containers": [CONTAINER]}}


def workload(**spec):
    return {"metadata": {"name": "w"}, "spec": {"template": TEMPLATE, **spec}}


SETUP = (
    (f"{NS}/pods", pod("p", labels={"a": "b"})),
    (f"{APPS}/deployments", workload(selector=SELECTOR)),
    (f"{APPS}/statefulsets", workload(selector=SELECTOR, serviceName="x")),
    (f"{APPS}/daemonsets", workload(selector=SELECTOR)),
    (f"{APPS}/replicasets", workload(selector=SELECTOR)),
    (JOB, workload(template={"spec": {"containers": [CONTAINER], "restartPolicy": "Never"}})),
    (
        f"{NS}/services",
        {"metadata": {"name": "w"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}},
    ),
    (f"{NS}/secrets", {"metadata": {"name": "w"}, "immutable": True, "data": {"a": "YQ=="}}),
    (f"{NS}/configmaps", {"metadata": {"name": "w"}, "data": {"a": "b"}}),
    (POLICIES, {"metadata": {"name": "w"}, "spec": {"podSelector": {}}}),
)
OPTIONS = '{}Options.meta.k8s.io "" is invalid: '
UNKNOWN_DRY_RUN = 'dryRun: Unsupported value: ["x"]: supported values: "All"'
VALIDATION = 'fieldValidation: Unsupported value: "x": supported values: "", "Ignore", "Strict", "Warn"'
RV_MATCH = "resourceVersionMatch: Forbidden: "
NOT_SERVED = (404, "NotFound", "the server could not find the requested resource")
NOT_ALLOWED = (405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def invalid(message):
    return (422, "Invalid", message)


def bad(message):
    return (400, "BadRequest", message)


# method, path, body, type of the body, answer
ROWS = [
    # what there is
    ("GET", f"{NS}/pods/x", None, "", (404, "NotFound", 'pods "x" not found')),
    ("GET", f"{POLICIES}/x", None, "", (404, "NotFound", 'networkpolicies.networking.k8s.io "x" not found')),
    ("GET", "/apis/apps/v1/nothing", None, "", NOT_SERVED),
    ("GET", "/apis/apps/v1beta1/deployments", None, "", NOT_SERVED),
    ("GET", f"{APPS}/daemonsets/w/scale", None, "", NOT_SERVED),
    ("PATCH", f"{NS}/pods/p/scale", {}, MERGE, NOT_SERVED),
    ("POST", f"{NS}/pods/p", {}, JSON, NOT_ALLOWED),
    ("PATCH", f"{NS}/pods", {}, MERGE, NOT_ALLOWED),
    ("PUT", f"{NS}/pods/p/log", {}, JSON, NOT_ALLOWED),
    ("POST", f"{NS}/pods/p/status", {}, JSON, NOT_ALLOWED),
    ("DELETE", "/api/v1/namespaces", None, "", NOT_ALLOWED),
    ("DELETE", "/api/v1/pods", None, "", NOT_ALLOWED),
    # POST
    ("POST", f"{NS}/pods", pod("p"), JSON, (409, "AlreadyExists", 'pods "p" already exists')),
    ("POST", "/api/v1/namespaces/nope/pods", pod(), JSON, (404, "NotFound", 'namespaces "nope" not found')),
    ("POST", f"{NS}/pods", pod(namespace="other"), JSON, bad("the namespace of the provided object does not match the namespace sent on the request")),
    ("POST", f"{NS}/pods", {**pod(), "metadata": {}}, JSON, invalid('Pod "" is invalid: metadata.name: Required value: name or generateName is required')),
    ("POST", f"{NS}/pods", b"x", "text/plain", (415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf")),
    ("POST", f"{NS}/pods?dryRun=x", pod(), JSON, invalid(OPTIONS.format("Create") + UNKNOWN_DRY_RUN)),
    ("POST", f"{NS}/pods?fieldValidation=x", pod(), JSON, invalid(OPTIONS.format("Create") + VALIDATION)),
    ("POST", f"{NS}/pods?fieldManager={'x' * 129}", pod(), JSON, invalid(OPTIONS.format("Create") + "fieldManager: Too long: may not be more than 128 bytes")),
    ("POST", f"{NS}/configmaps", {"metadata": {"name": "z"}, "data": {"a/b": "a"}}, JSON, invalid(f'ConfigMap "z" is invalid: data[a/b]: Invalid value: "a/b": {KEY}')),
    ("POST", f"{NS}/secrets", {"metadata": {"name": "z"}, "data": {"..": "YQ=="}}, JSON, invalid('Secret "z" is invalid: data[..]: Invalid value: "..": must not be \'..\'')),
    ("POST", f"{NS}/configmaps", {"metadata": {"name": "z"}, "data": {"a": "x" * 1048577}}, JSON, invalid('ConfigMap "z" is invalid: data: Too long: may not be more than 1048576 bytes')),
    ("POST", f"{APPS}/deployments", workload(), JSON, invalid('Deployment.apps "w" is invalid: [spec.selector: Required value, spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`]')),
    # PUT
    ("PUT", f"{NS}/configmaps/nope", {"metadata": {"name": "nope"}}, JSON, (404, "NotFound", 'configmaps "nope" not found')),
    ("PUT", f"{NS}/configmaps/w", {"metadata": {}}, JSON, bad("the name of the object (w based on URL) was undeterminable: name must be provided")),
    ("PUT", f"{NS}/configmaps/w", {"metadata": {"name": "v"}}, JSON, bad("the name of the object (v) does not match the name on the URL (w)")),
    ("PUT", f"{NS}/configmaps/w", {"metadata": {"name": "w", "namespace": "v"}}, JSON, bad("the namespace of the object (v) does not match the namespace on the request (default)")),
    ("PUT", f"{NS}/configmaps/w", {"metadata": {"name": "w", "resourceVersion": "1"}}, JSON, (409, "Conflict", f'Operation cannot be fulfilled on configmaps "w": {MODIFIED}')),
    ("PUT", f"{NS}/configmaps/w", {"metadata": {"name": "w", "uid": "1"}}, JSON, (409, "Conflict", 'Operation cannot be fulfilled on configmaps "w": Precondition failed: UID in precondition: 1, UID in object meta: {…}')),
    ("PUT", f"{NS}/configmaps/w?dryRun=All", {"metadata": {"name": "w"}}, JSON, (200, None, None)),
    # what may not change
    ("PATCH", f"{NS}/pods/p", {"spec": {"nodeName": "x"}}, MERGE, invalid(f'Pod "p" is invalid: spec: Forbidden: {POD_FIELDS}')),
    ("PATCH", f"{NS}/pods/p?dryRun=All", {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}}, STRATEGIC, (200, None, None)),
    ("PATCH", f"{APPS}/deployments/w", {"spec": OTHER}, MERGE, invalid('Deployment.apps "w" is invalid: spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable')),
    ("PATCH", f"{APPS}/daemonsets/w", {"spec": OTHER}, MERGE, invalid('DaemonSet.apps "w" is invalid: spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable')),
    ("PATCH", f"{APPS}/replicasets/w", {"spec": OTHER}, MERGE, invalid('ReplicaSet.apps "w" is invalid: spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable')),
    ("PATCH", f"{APPS}/statefulsets/w", {"spec": {"serviceName": "y"}}, MERGE, invalid(f'StatefulSet.apps "w" is invalid: {SET_FIELDS}')),
    ("PATCH", f"{JOB}/w", {"spec": {"completions": 3}}, MERGE, invalid('Job.batch "w" is invalid: spec.completions: Invalid value: 3: field is immutable')),
    ("PATCH", f"{JOB}/w", {"spec": {"template": {"metadata": {"labels": {"x": "y"}}}}}, MERGE, invalid('Job.batch "w" is invalid: spec.template: Invalid value: {…}: field is immutable')),
    ("PATCH", f"{NS}/services/w", {"spec": {"clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.77"]}}, MERGE, invalid('Service "w" is invalid: spec.clusterIPs[0]: Invalid value: ["10.96.0.77"]: may not change once set')),
    ("PATCH", f"{NS}/secrets/w", {"data": {"a": "Yg=="}}, MERGE, invalid(f'Secret "w" is invalid: data: {FROZEN}')),
    ("PATCH", f"{NS}/secrets/w", {"immutable": False}, MERGE, invalid(f'Secret "w" is invalid: immutable: {FROZEN}')),
    ("PATCH", f"{NS}/secrets/w", {"type": "x"}, MERGE, invalid('Secret "w" is invalid: type: Invalid value: "x": field is immutable')),
    # PATCH
    ("PATCH", f"{NS}/pods/x", {}, MERGE, (404, "NotFound", 'pods "x" not found')),
    ("PATCH", f"{NS}/pods/p", {"metadata": {"resourceVersion": "1"}}, MERGE, (409, "Conflict", f'Operation cannot be fulfilled on pods "p": {MODIFIED}')),
    ("PATCH", f"{NS}/pods/p", {}, JSON, (415, "UnsupportedMediaType", f"the body of the request was in an unknown format - accepted media types include: {PATCH}, {MERGE}, {STRATEGIC}, {APPLY}")),
    ("PATCH", f"{NS}/pods/p?force=true", {}, MERGE, invalid(OPTIONS.format("Patch") + "force: Forbidden: may not be specified for non-apply patch")),
    ("PATCH", f"{NS}/pods/p", {}, APPLY, invalid(OPTIONS.format("Patch") + "fieldManager: Required value: is required for apply patch")),
    ("PATCH", f"{NS}/pods/p?dryRun=x", {}, MERGE, invalid(OPTIONS.format("Patch") + UNKNOWN_DRY_RUN)),
    # DELETE
    ("DELETE", f"{NS}/pods/x", None, "", (404, "NotFound", 'pods "x" not found')),
    ("DELETE", f"{NS}/pods/p", {"preconditions": {"uid": "x"}}, JSON, (409, "Conflict", 'Operation cannot be fulfilled on pods "p": the UID in the precondition (x) does not match the UID in record ({…}). The object might have been deleted and then recreated')),
    ("DELETE", f"{NS}/pods/p", {"preconditions": {"resourceVersion": "x"}}, JSON, (409, "Conflict", 'Operation cannot be fulfilled on pods "p": the ResourceVersion in the precondition (x) does not match the ResourceVersion in record ({…}). The object might have been modified')),
    ("DELETE", f"{NS}/pods", {"preconditions": {"uid": "x"}}, JSON, (409, "Conflict", 'Operation cannot be fulfilled on pods "p": the UID in the precondition (x){…}')),
    ("DELETE", f"{NS}/pods/p", {"propagationPolicy": "x"}, JSON, invalid(OPTIONS.format("Delete") + 'propagationPolicy: Unsupported value: "x": supported values: "Foreground", "Background", "Orphan", "nil"')),
    ("DELETE", f"{NS}/pods/p", {"propagationPolicy": "Orphan", "orphanDependents": True}, JSON, invalid(OPTIONS.format("Delete") + 'propagationPolicy: Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set')),
    ("DELETE", f"{NS}/pods/p", {"dryRun": ["x"]}, JSON, invalid(OPTIONS.format("Delete") + UNKNOWN_DRY_RUN)),
    ("DELETE", f"{NS}/pods/p?dryRun=x", None, "", invalid(OPTIONS.format("Delete") + UNKNOWN_DRY_RUN)),
    ("DELETE", f"{NS}/pods/p", {"gracePeriodSeconds": "x"}, JSON, bad('DeleteOptions in version "v1" cannot be handled as a DeleteOptions: json: cannot unmarshal{…}')),
    ("DELETE", f"{NS}/pods/p?dryRun=All", None, "", (200, None, None)),
    ("DELETE", f"{NS}/pods?dryRun=All&labelSelector=a=b", None, "", (200, None, None)),
    ("DELETE", "/api/v1/namespaces/default", None, "", (403, "Forbidden", 'namespaces "default" is forbidden: this namespace may not be deleted')),
    # lists and watches
    ("GET", f"{NS}/pods?labelSelector=a+in+b", None, "", bad("unable to parse requirement: found 'b' expected: '('")),
    ("GET", f"{NS}/pods?labelSelector=a%3D-", None, "", bad(f'unable to parse requirement: values[0][a]: Invalid value: "-": {LABEL}')),
    ("GET", f"{NS}/pods?labelSelector=a+in+()", None, "", bad("unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty")),
    ("GET", f"{NS}/pods?labelSelector=a,", None, "", bad("found '', expected: identifier after ','")),
    ("GET", f"{NS}/pods?labelSelector=,", None, "", bad("found ',', expected: !, identifier, or 'end of string'")),
    ("GET", f"{NS}/pods?labelSelector=a%3Ex", None, "", bad("unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer")),
    ("GET", f"{NS}/pods?fieldSelector=spec.nope%3D1", None, "", bad("field label not supported: spec.nope")),
    ("GET", f"{NS}/configmaps?fieldSelector=spec.nope%3D1", None, "", bad('"spec.nope" is not a known field selector: only "metadata.name", "metadata.namespace"')),
    ("GET", f"{NS}/pods?fieldSelector=x", None, "", bad("invalid selector: 'x'; can't understand 'x'")),
    ("GET", f"{NS}/pods?limit=x", None, "", bad('strconv.ParseInt: parsing "x": invalid syntax')),
    ("GET", f"{NS}/pods?resourceVersion=x", None, "", bad('Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax')),
    ("GET", f"{NS}/pods?resourceVersionMatch=Exact", None, "", invalid(OPTIONS.format("List") + RV_MATCH + "resourceVersionMatch is forbidden unless resourceVersion is provided")),
    ("GET", f"{NS}/pods?resourceVersion=0&resourceVersionMatch=Exact", None, "", invalid(OPTIONS.format("List") + RV_MATCH + 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')),
    ("GET", f"{NS}/pods?resourceVersion=1&resourceVersionMatch=x", None, "", invalid(OPTIONS.format("List") + 'resourceVersionMatch: Unsupported value: "x": supported values: "Exact", "NotOlderThan", ""')),
    ("GET", f"{NS}/pods?sendInitialEvents=true", None, "", invalid(OPTIONS.format("List") + "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list")),
    ("GET", f"{NS}/pods?watch=1&sendInitialEvents=true", None, "", invalid(OPTIONS.format("List") + RV_MATCH + "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")),
    ("GET", f"{NS}/pods?watch=1&resourceVersionMatch=NotOlderThan", None, "", invalid(OPTIONS.format("List") + RV_MATCH + "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")),
    ("GET", "/api/v1/watch/namespaces/default/pods?timeoutSeconds=1&fieldSelector=x=y", None, "", bad("field label not supported: x")),
    # subresources
    ("PATCH", f"{APPS}/deployments/w/scale", {"spec": {"replicas": -1}}, MERGE, invalid('Scale.autoscaling "w" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0')),
    ("PUT", f"{APPS}/deployments/w/scale", {"metadata": {"name": "v"}, "spec": {}}, JSON, bad("the name of the object (v) does not match the name on the URL (w)")),
    ("PUT", f"{APPS}/statefulsets/w/scale", {"metadata": {"name": "w", "resourceVersion": "1"}, "spec": {}}, JSON, (409, "Conflict", f'Operation cannot be fulfilled on statefulsets.apps "w": {MODIFIED}')),
    ("PUT", f"{APPS}/replicasets/w/scale", {"spec": {"replicas": "x"}}, JSON, bad('Scale in version "v1" cannot be handled as a Scale: json: cannot unmarshal{…}')),
    ("POST", f"{NS}/pods/p/eviction", {"metadata": {"name": "x"}}, JSON, bad("name in URL does not match name in Eviction object")),
    ("POST", f"{NS}/pods/p/eviction?dryRun=All", {"metadata": {"name": "p"}}, JSON, (201, None, None)),
    ("POST", f"{NS}/pods/p/binding", {"target": {}}, JSON, invalid('Binding "p" is invalid: target.name: Required value')),
    ("POST", f"{NS}/pods/p/binding?dryRun=All", {"target": {"name": "n"}}, JSON, (201, None, None)),
    ("POST", f"{NS}/pods/p/binding", {"target": {"name": "n"}}, JSON, (201, None, None)),
    ("POST", f"{NS}/pods/p/binding", {"target": {"name": "n"}}, JSON, (409, "Conflict", 'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n"')),
    ("PUT", "/api/v1/namespaces/default/finalize", {"metadata": {"name": "x"}}, JSON, bad("the name of the object (x) does not match the name on the URL (default)")),
    ("PUT", "/api/v1/namespaces/default/finalize", {"metadata": {"name": "default"}, "spec": {"finalizers": ["x"]}}, JSON, invalid('Namespace "default" is invalid: spec.finalizers[0]: Invalid value: "x": name is neither a standard finalizer name nor is it fully qualified')),
]  # fmt: skip


def shape(message):
    return re.compile(re.escape(message).replace(re.escape("{…}"), ".*"), re.DOTALL)


async def test_every_row(plain):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    wrong = []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{plain.port}", headers=headers) as client:
        for path, body in SETUP:
            async with client.post(path, json=body) as response:
                assert response.status == 201, await response.text()
        for method, path, body, media, (code, reason, message) in ROWS:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body)
            sent = {"Content-Type": media} if media else {}
            async with client.request(method, path, data=data, headers=sent) as response:
                found = await response.json()
            same = response.status == code and (
                reason is None or (found["reason"] == reason and shape(message).fullmatch(found["message"]))
            )
            if not same or (code >= 400 and (found["kind"], found["code"]) != ("Status", code)):
                wrong.append((method, path, response.status, found))
    assert wrong == []


ACCEPTED = {
    "": "application/json",
    "*/*": "application/json",
    "application/*": "application/json",
    "application/vnd.kubernetes.protobuf,application/json": "application/json",
    "application/yaml": "application/yaml",
    "application/json;as=Table;v=v9;g=meta.k8s.io, application/json": "application/json",
    "application/vnd.kubernetes.protobuf": "",
    "text/html": "",
    "application/json;as=Table;v=v9;g=meta.k8s.io": "",
}


@pytest.mark.parametrize("accept", ACCEPTED)
async def test_the_form_of_the_answer(plain, store, accept):
    """406 comes before anything is done."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": accept}
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{plain.port}", headers=headers) as client,
        client.post(f"{NS}/configmaps", json={"metadata": {"name": "x"}, "data": {"a": "no"}}) as response,
    ):
        text = await response.text()
        if not ACCEPTED[accept]:
            assert (response.status, store.list("configmaps")) == (406, [])
            assert json.loads(text)["reason"] == "NotAcceptable"
        else:
            assert (response.status, response.content_type) == (201, ACCEPTED[accept])
            assert ("data:\n  a: 'no'\n" in text) is (accept == "application/yaml")


async def test_people_see_lines(plain):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{plain.port}", headers=headers) as client:
        for path, agent, lines in (
            ("", "x", 1),
            ("?pretty=true", "x", 8),
            ("", "curl/8", 8),
            ("?pretty=0", "curl/8", 1),
        ):
            async with client.get(f"{NS}/pods{path}", headers={"User-Agent": agent}) as response:
                assert len((await response.text()).splitlines()) == lines


REVIEWS = "/apis/authorization.k8s.io/v1"
WHO = [
    ("/apis/authentication.k8s.io/v1/tokenreviews", {"token": TOKEN}, {"authenticated": True, "user": {"username": "admin", "groups": ["system:masters", "system:authenticated"]}}),
    ("/apis/authentication.k8s.io/v1/tokenreviews", {"token": "x"}, {"user": {}}),
    (f"{REVIEWS}/subjectaccessreviews", {"user": "viewer", "resourceAttributes": {"verb": "get", "resource": "pods"}}, {"allowed": True}),
    (f"{REVIEWS}/namespaces/default/localsubjectaccessreviews", {"user": "x", "groups": ["system:masters"], "resourceAttributes": {"verb": "delete", "resource": "pods", "namespace": "default"}}, {"allowed": True}),
    (f"{REVIEWS}/subjectaccessreviews", {"user": "nobody", "nonResourceAttributes": {"verb": "get", "path": "/metrics"}}, {"allowed": False, "reason": 'User "nobody" cannot get path "/metrics"'}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "spec", "expected"), WHO, ids=range(len(WHO)))
async def test_reviews(plain, path, spec, expected):
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": JSON}
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{plain.port}", headers=headers) as client,
        client.post(path, data=json.dumps({"spec": spec})) as response,
    ):
        text = await response.text()
        assert (response.status, json.loads(text)["status"]) == (201, expected)
        assert "tokenreviews" not in path or TOKEN not in text


def test_the_store_is_never_filled():
    """What would not fit is refused as by a quota; what makes room is not."""
    small = ObjectStore(quota=5 << 20)
    small.create("namespaces", "", {"metadata": {"name": "default"}})
    big = "x" * 900_000
    for number in range(5):
        small.create("configmaps", "default", {"metadata": {"name": f"m{number}"}, "data": {"a": big}})
    with pytest.raises(ApiError, match="exceeded quota: stockade, requested: bytes=9") as refused:
        small.create("configmaps", "default", {"metadata": {"name": "m"}, "data": {"a": big}})
    assert refused.value.reason == "Forbidden"
    grown = [
        {"metadata": {"name": f"m{number}"}, "data": {"a": big, "b": "x" * 148_000}} for number in range(5)
    ]
    with pytest.raises(ApiError, match="exceeded quota"):
        [small.replace("configmaps", "default", each["metadata"]["name"], each) for each in grown]
    small.replace("configmaps", "default", "m0", {"metadata": {"name": "m0"}})
    small.create("configmaps", "default", {"metadata": {"name": "m"}, "data": {"a": "x" * 500_000}})
