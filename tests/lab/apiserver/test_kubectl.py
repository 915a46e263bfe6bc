"""What real kubectl prints when it talks to the lab's API server.

``kubectl.old`` tells the old client (1.20), which runs where it is installed.
"""

from __future__ import annotations

import asyncio
import re

import pytest

POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: foo-deny-egress
spec:
  podSelector:
    matchLabels:
      app: foo
  policyTypes:
  - Egress
  egress: []
"""
HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: foo\nspec:\n  podSelector: {}\n"
POLICIES = "networkpolicies.networking.k8s.io"


async def ok(kubectl, *arguments, stdin=""):
    result = await kubectl(*arguments, stdin=stdin)
    assert (result.code, result.err) == (0, ""), arguments
    return result.out


def table(text):
    """Rows of cells; cells are separated by two blanks or more."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.strip().splitlines()]


async def test_apply_get_describe_delete_policy(kubectl, store):
    apply = ("apply", "-f", "-")
    name = "networkpolicy.networking.k8s.io/foo-deny-egress"
    assert await ok(kubectl, *apply, stdin=POLICY) == f"{name} created\n"
    assert await ok(kubectl, *apply, stdin=POLICY) == f"{name} unchanged\n"
    assert store.get(POLICIES, "default", "foo-deny-egress")["metadata"]["generation"] == 1
    changed = POLICY.replace("egress: []", "egress:\n  - ports:\n    - {port: 53, protocol: UDP}")
    assert await ok(kubectl, *apply, stdin=changed) == f"{name} configured\n"
    stored = store.get(POLICIES, "default", "foo-deny-egress")
    assert stored["spec"]["egress"] == [{"ports": [{"port": 53, "protocol": "UDP"}]}]
    assert stored["metadata"]["generation"] == 2
    heads, row = table(await ok(kubectl, "get", "netpol"))
    assert heads == ["NAME", "POD-SELECTOR", "AGE"]
    assert row[:2] == ["foo-deny-egress", "app=foo"]
    described = await ok(kubectl, "describe", "networkpolicy", "foo-deny-egress")
    assert "To Port: 53/UDP" in described
    assert "Not affecting ingress traffic" in described
    gone = await ok(kubectl, "delete", "networkpolicy", "foo-deny-egress")
    assert gone.startswith('networkpolicy.networking.k8s.io "foo-deny-egress" deleted')
    empty = await kubectl("get", "netpol")
    assert (empty.code, empty.err) == (0, "No resources found in default namespace.\n")


async def test_run_with_expose(kubectl, store):
    out = await ok(kubectl, "run", "web", "--image=nginx", "--port", "80", "--expose", "--labels", "app=web")
    assert sorted(out.splitlines()) == ["pod/web created", "service/web created"]
    stored = store.get("pods", "default", "web")
    assert stored["metadata"]["labels"] == {"app": "web"}
    assert stored["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    address = store.get("services", "default", "web")["spec"]["clusterIP"]
    pods, services = (await ok(kubectl, "get", "pod,service", "-o", "wide")).split("\n\n")
    heads, row = table(pods)
    names = ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    assert heads == names
    assert row[:4] + row[5:] == ["pod/web", "0/1", "Pending", "0", "<none>", "<none>", "<none>", "<none>"]
    heads, row = table(services)
    assert heads == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"]
    assert row[:5] + row[6:] == ["service/web", "ClusterIP", address, "<none>", "80/TCP", "app=web"]
    assert re.search(r"^\s+Image:\s+nginx$", await ok(kubectl, "describe", "pod", "web"), re.MULTILINE)
    assert address in await ok(kubectl, "describe", "service", "web")
    gone = await ok(kubectl, "delete", "pod,service", "web")
    assert [line.split(" from ")[0] for line in gone.splitlines()] == [
        'pod "web" deleted',
        'service "web" deleted',
    ]
    assert store.list("pods") == store.list("services") == []


async def test_delete_waits_for_the_node(kubectl, store):
    await ok(kubectl, "run", "web", "--image=nginx")
    store.mutate("pods", "default", "web", lambda obj: obj["spec"].update(nodeName="node-1"))
    deletion = asyncio.create_task(kubectl("delete", "pod", "web"))
    async with asyncio.timeout(20):
        async for change in store.watch("pods"):
            if change.object["metadata"].get("deletionTimestamp"):
                break
        _, row = table(await ok(kubectl, "get", "pod"))
        assert row[2] == "Terminating"
        assert not deletion.done()
        store.remove("pods", "default", "web")
        assert (await deletion).code == 0


async def test_force_deletes_at_once(kubectl, store):
    await ok(kubectl, "run", "web", "--image=nginx")
    store.mutate("pods", "default", "web", lambda obj: obj["spec"].update(nodeName="node-1"))
    assert (await kubectl("delete", "pod", "web", "--force", "--grace-period=0")).code == 0
    assert store.list("pods") == []


REFUSED = {
    "lower case type": (
        HEAD + "  policyTypes: [egress]",
        'spec.policyTypes[0]: Unsupported value: "egress": supported values: "Ingress", "Egress"',
    ),
    "port": (
        HEAD + "  egress:\n  - ports:\n    - port: 70000",
        "spec.egress[0].ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
    ),
    "except": (
        HEAD + "  egress:\n  - to:\n    - ipBlock: {cidr: 10.0.0.0/8, except: [192.168.0.0/16]}",
        'spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "192.168.0.0/16": must be a strict subset of `cidr`',
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_invalid_policies_are_refused(kubectl, store, case):
    text, expected = REFUSED[case]
    result = await kubectl("apply", "-f", "-", stdin=text)
    assert (result.code, result.out) == (1, "")
    assert result.err == f'The NetworkPolicy "foo" is invalid: {expected}\n'
    assert store.list(POLICIES) == []


async def test_several_errors_stand_in_a_list(kubectl, store):
    text = HEAD + "  policyTypes: [egress]\n  egress:\n  - ports:\n    - port: 0"
    result = await kubectl("apply", "-f", "-", stdin=text)
    assert result.code == 1
    assert result.err == (
        'The NetworkPolicy "foo" is invalid: \n'
        "* spec.egress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive\n"
        '* spec.policyTypes[0]: Unsupported value: "egress": supported values: "Ingress", "Egress"\n'
    )
    assert store.list(POLICIES) == []


async def test_unknown_fields(kubectl, store):
    result = await kubectl("apply", "-f", "-", stdin=HEAD + "  ingres: []")
    assert result.code == 1
    if kubectl.old:  # it validates by itself, with OpenAPI v2
        assert result.err == (
            'error: error validating "STDIN": error validating data: ValidationError(NetworkPolicy.spec): unknown field '
            '"ingres" in io.k8s.api.networking.v1.NetworkPolicySpec; if you choose to ignore these errors, turn '
            "validation off with --validate=false\n"
        )
    else:
        assert result.err == (
            'Error from server (BadRequest): error when creating "STDIN": NetworkPolicy in version "v1" cannot be handled '
            'as a NetworkPolicy: strict decoding error: unknown field "spec.ingres"\n'
        )
    assert store.list(POLICIES) == []


async def test_unknown_fields_without_validation(kubectl, store):
    """Nobody refuses them then: the server warns and drops."""
    result = await kubectl("apply", "--validate=false", "-f", "-", stdin=HEAD + "  ingres: []")
    assert result.code == 0
    assert result.err == ('Warning: unknown field "spec.ingres"\n' if kubectl.old else "")
    assert "ingres" not in store.get(POLICIES, "default", "foo")["spec"]


async def test_yaml_errors_never_reach_the_server(kubectl, store):
    result = await kubectl("apply", "-f", "-", stdin=HEAD + "  policyTypes: [Egress")
    assert result.code == 1
    assert "error converting YAML to JSON" in result.err
    assert store.list(POLICIES) == []


async def test_deployments_and_namespaces(kubectl, store):
    """New clients send both as protobuf."""
    assert await ok(kubectl, "create", "namespace", "shop") == "namespace/shop created\n"
    create = ("create", "deployment", "web", "--image=nginx", "--replicas=2", "-n", "shop")
    assert await ok(kubectl, *create) == "deployment.apps/web created\n"
    stored = store.get("deployments.apps", "shop", "web")
    assert stored["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    heads, row = table(await ok(kubectl, "get", "deploy", "-n", "shop", "-o", "wide"))
    assert heads[:4] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE"]
    assert row[:4] == ["web", "0/2", "0", "0"]
    assert row[5:] == ["nginx", "nginx", "app=web"]
    assert (
        await ok(kubectl, "scale", "deploy/web", "--replicas=3", "-n", "shop")
        == "deployment.apps/web scaled\n"
    )
    await ok(kubectl, "set", "image", "deploy/web", "nginx=nginx:1.27", "-n", "shop")
    changed = store.get("deployments.apps", "shop", "web")["spec"]
    assert changed["replicas"] == 3
    assert [c["image"] for c in changed["template"]["spec"]["containers"]] == ["nginx:1.27"]
    assert "Active" in await ok(kubectl, "get", "namespace", "shop")
    assert (await ok(kubectl, "delete", "deployment", "web", "-n", "shop")).startswith(
        'deployment.apps "web" deleted'
    )
    await ok(kubectl, "delete", "namespace", "shop", "--wait=false")
    assert store.get("namespaces", "", "shop")["status"]["phase"] == "Terminating"


async def test_what_does_not_exist(kubectl):
    result = await kubectl("delete", "deployment", "web")
    assert (result.code, result.err) == (
        1,
        'Error from server (NotFound): deployments.apps "web" not found\n',
    )
    result = await kubectl("get", "networkpolicy", "x")
    expected = f'Error from server (NotFound): {POLICIES} "x" not found\n'
    assert (result.code, result.err) == (1, expected)
    result = await kubectl("run", "web", "--image=nginx", "-n", "nowhere")
    assert (result.code, result.err) == (1, 'Error from server (NotFound): namespaces "nowhere" not found\n')
    await kubectl("run", "web", "--image=nginx")
    result = await kubectl("run", "web", "--image=nginx")
    assert (result.code, result.err) == (1, 'Error from server (AlreadyExists): pods "web" already exists\n')


async def test_label_annotate_patch_replace(kubectl, store):
    await ok(kubectl, "run", "web", "--image=nginx")
    await ok(kubectl, "label", "pod", "web", "tier=front")
    await ok(kubectl, "annotate", "pod", "web", "why=test")
    await ok(kubectl, "patch", "pod", "web", "-p", '{"metadata":{"labels":{"a":"b"}}}')
    operation = '[{"op":"add","path":"/metadata/labels/c","value":"d"}]'
    await ok(kubectl, "patch", "pod", "web", "--type=json", "-p", operation)
    metadata = store.get("pods", "default", "web")["metadata"]
    assert metadata["labels"] == {"run": "web", "tier": "front", "a": "b", "c": "d"}
    assert metadata["annotations"] == {"why": "test"}
    assert "web" in await ok(kubectl, "get", "pod", "-l", "tier in (front,back),!none", "--show-labels")
    await ok(kubectl, "apply", "-f", "-", stdin=POLICY)
    changed = POLICY.replace("app: foo", "app: bar")
    assert "replaced" in await ok(kubectl, "replace", "-f", "-", stdin=changed)
    spec = store.get(POLICIES, "default", "foo-deny-egress")["spec"]
    assert spec["podSelector"] == {"matchLabels": {"app": "bar"}}


async def test_server_side_apply(kubectl, store):
    for verb in ("created", "again"):
        out = await ok(kubectl, "apply", "--server-side", "-f", "-", stdin=POLICY)
        assert out == "networkpolicy.networking.k8s.io/foo-deny-egress serverside-applied\n", verb
    assert store.get(POLICIES, "default", "foo-deny-egress")["spec"]["policyTypes"] == ["Egress"]


async def test_wait_and_watch_see_the_change(kubectl, store):
    await ok(kubectl, "run", "web", "--image=nginx")
    waiting = asyncio.create_task(kubectl("wait", "--for=condition=ready", "pod/web", "--timeout=20s"))
    await asyncio.sleep(0.3)
    ready = [{"type": "Ready", "status": "True"}]
    store.mutate("pods", "default", "web", lambda obj: obj["status"].update(conditions=ready), "status")
    result = await waiting
    assert (result.code, result.out) == (0, "pod/web condition met\n")


async def test_explain_and_dry_run(kubectl, store):
    out = await ok(kubectl, "explain", "networkpolicy.spec.egress.ports")
    assert "endPort\t<integer>" in out
    assert "FIELDS:" in await ok(kubectl, "explain", "deployment.spec.template.spec.containers")
    assert await ok(kubectl, "run", "web", "--image=nginx", "--dry-run=server", "-o", "name") == "pod/web\n"
    assert store.list("pods") == []
    difference = await kubectl("diff", "-f", "-", stdin=POLICY)
    assert difference.code == 1
    assert "+  policyTypes:" in difference.out
    assert store.list(POLICIES) == []


async def test_who_am_i(kubectl):
    assert await ok(kubectl, "auth", "can-i", "create", "pods") == "yes\n"
    assert "pods " in await ok(kubectl, "api-resources")
    if not kubectl.old:
        assert "admin" in await ok(kubectl, "auth", "whoami")


async def test_a_kind_that_nobody_serves(kubectl):
    """kubectl asks for custom resource definitions before it says so: they must be an empty list, not an unknown path."""
    text = "apiVersion: v1\nkind: Fruit\nmetadata:\n  name: x\n"
    result = await kubectl("apply", "-f", "-", stdin=text)
    assert result.code == 1
    assert 'no matches for kind "Fruit" in version "v1"' in result.err
    assert "failed to check CRD" not in result.err
