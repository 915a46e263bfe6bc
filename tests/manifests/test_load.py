"""Files to objects: what is kept, and for every mistake where it is, what it is and what to write instead."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockade.manifests.load import Loaded, load, load_text
from stockade.model.diagnostic import Severity
from stockade.model.netpol import NetworkPolicy
from stockade.model.objects import Pod, Service

HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n"
POLICY = HEAD + "spec: {policyTypes: [Egress]}\n"


def lines(loaded: Loaded) -> list[str]:
    return [str(diagnostic) for diagnostic in loaded.diagnostics]


def one(spec: str) -> list[str]:
    """Diagnostics for a policy with this spec, without the part that is always there."""
    return [
        line.removeprefix("f:").replace("NetworkPolicy p: ", "")
        for line in lines(load_text(HEAD + spec, "f"))
    ]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("spec: {policyTypes: [egress]}\n",
         '4:22: error: spec.policyTypes[0]: Unsupported value: "egress": supported values: "Ingress", "Egress" (write Egress)'),
        ("spec:\n  egress:\n  - ports:\n    - port: 70000\n",
         ("7:13: error: spec.egress[0].ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive "
         "(a port is 1..65535)")),
        ("spec:\n  egress:\n  - to:\n    - ipBlock:\n        cidr: 10.0.0.0/8\n        except:\n        - 11.0.0.0/8\n",
         ('10:11: error: spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "11.0.0.0/8": must be a strict subset of `cidr` '
         "(a block inside 10.0.0.0/8)")),
        ("spec:\n  podSelecter: {}\n", '5:3: error: spec.podSelecter: unknown field "podSelecter" (write podSelector)'),
        ("spec:\n  podselector: {}\n", '5:3: error: spec.podselector: unknown field "podselector" (write podSelector)'),
        ("policyTypes: [Egress]\n", '4:1: error: policyTypes: unknown field "policyTypes" (policyTypes belongs in spec)'),
        ("spec: {egress: [{to: [{podSelector: {}, ports: []}]}]}\n",
         '4:41: error: spec.egress[0].to[0].ports: unknown field "ports" (ports belongs in spec.egress[0])'),
        ("spec: {egress: [{from: []}]}\n", '4:18: error: spec.egress[0].from: unknown field "from" (known here: ports, to)'),
        ("spec: {egress: [{ports: [{port: 80, endPort: '90'}]}]}\n",
         '4:46: error: spec.egress[0].ports[0].endPort: must be a whole number, not the string "90" (write 90 without quotes)'),
        ("spec: {egress: [{ports: [{port: '80'}]}]}\n",
         ('4:33: error: spec.egress[0].ports[0].port: Invalid value: "80": must contain at least one letter (a-z) '
         "(a port number is written without quotes; a name has a letter)")),
        ("spec: {policyTypes: Egress}\n",
         '4:21: error: spec.policyTypes: must be a list, not the string "Egress" (write [Egress])'),
        ("spec: {podSelector: {matchLabels: {on: x y}}}\n", "4:40: error: spec.podSelector.matchLabels: Invalid value"),
        ("spec: {podSelector: {matchLabels: {app: yes}}}\n",
         "4:41: error: spec.podSelector.matchLabels.app: must be a string, not true (put it in quotes)"),
        ("spec: {podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}}\n",
         '4:60: error: spec.podSelector.matchExpressions[0].operator: Invalid value: "in": not a valid selector operator (write In)'),
        ("spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.1}}]}]}\n",
         ('4:43: error: spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.1": must be a valid CIDR value, '
         "(e.g. 10.9.8.0/24 or 2001:db8::/64) (write 10.0.0.1/32 for this one address)")),
        ("spec: {ingress: [{from: [{}]}]}\n",
         ("4:26: error: spec.ingress[0].from[0]: Required value: must specify a peer (give a podSelector, namespaceSelector or "
         "ipBlock, or leave the list out to mean everyone)")),
        ("spec: {ingress: [{ports: [{endPort: 90}]}]}\n",
         ("4:37: error: spec.ingress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is not specified "
         "(add port, the first port of the range)")),
    ],
)  # fmt: skip
def test_a_mistake_has_its_place_and_a_hint(spec, expected) -> None:
    found = one(spec)
    assert len(found) == 1
    assert found[0].startswith(expected) if expected.endswith("Invalid value") else found[0] == expected


def test_all_mistakes_of_a_document_come_at_once_and_nothing_is_kept() -> None:
    loaded = load_text(
        HEAD
        + "spec:\n  podSelecter: {}\n  policyTypes: [egress]\n  egress: [{ports: [{port: 0, endPort: x}, 53]}]\n",
        "f",
    )
    assert [(d.code, d.position.line) for d in loaded.diagnostics] == [
        ("unknown-field", 5),
        ("wrong-type", 7),
        ("wrong-type", 7),
        ("invalid-value", 7),
        ("unsupported-value", 6),
    ]
    assert loaded.objects == ()
    assert loaded.has_errors


def test_what_was_reported_is_not_reported_again_as_missing() -> None:
    assert len(one("spec: {ingress: [{from: [{ipBlock: {cidr: 10}}]}]}\n")) == 1
    assert len(one("spec: {ingress: [{from: [{ipBlock: {cdir: 10.0.0.0/8}}]}]}\n")) == 1
    assert len(one("spec: {ingress: [{from: [{podSelecter: {}}]}]}\n")) == 1


def test_a_syntax_error_is_one_diagnostic_and_the_rest_is_read() -> None:
    loaded = load_text(f"{POLICY}---\na: [1\nb: 2\n---\n{POLICY.replace('name: p', 'name: q')}", "f")
    (line,) = lines(loaded)
    assert line.startswith("f:7:2: error: YAML: did not find expected ',' or ']' (")
    assert [o.view.metadata.name for o in loaded.objects] == ["p", "q"]
    templated = lines(load_text("a: {{ .Values.x }}\n", "f"))
    assert templated == [
        "f:1:5: error: YAML: a key must be a scalar (this is a template: render it first (helm template) and give the result)"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\n", ("f:1:1: error: apiVersion: apiVersion is missing: not a Kubernetes object (for example apiVersion: "
                   "networking.k8s.io/v1)")),
        ("- a\n", "f:1:1: error: not a Kubernetes object: a mapping with apiVersion and kind is wanted"),
        ("apiVersion: v1\nkind: NetworkPolicy\n",
         'f:1:13: error: apiVersion: no kind "NetworkPolicy" in version "v1" (write apiVersion: networking.k8s.io/v1)'),
        ("apiVersion: extensions/v1beta1\nkind: NetworkPolicy\n",
         ('f:1:13: error: apiVersion: no kind "NetworkPolicy" in version "extensions/v1beta1" (write apiVersion: '
         "networking.k8s.io/v1)")),
        ("apiVersion: networking.k8s.io/v1\nkind: networkPolicy\n",
         'f:2:7: error: kind: no kind "networkPolicy" in version "networking.k8s.io/v1" (write NetworkPolicy)'),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: []}\n",
         "f:4:20: error: Pod p: spec.containers: Required value"),
    ],
)  # fmt: skip
def test_what_is_not_an_object_of_the_cluster(text, expected) -> None:
    assert lines(load_text(text, "f")) == [expected]


def test_foreign_kinds_are_kept_without_a_view() -> None:
    loaded = load_text("apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: x}\nspec: {a: 1}\n")
    assert [(o.kind, o.view) for o in loaded.objects] == [("Thing", None)]
    assert [(d.code, d.severity) for d in loaded.diagnostics] == [("foreign-kind", Severity.NOTE)]


def test_defaults_and_namespaces() -> None:
    (found,) = load_text(HEAD + "spec: {egress: [{ports: [{port: 53}]}], ingress: null}\n").objects
    assert isinstance(found.view, NetworkPolicy)
    assert found.raw["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert found.view.spec.egress[0].ports[0].protocol == "TCP"
    assert found.key == ("networking.k8s.io", "NetworkPolicy", "default", "p")
    text = POLICY.replace("{name: p}", "{name: p, namespace: own}")
    assert load_text(text, namespace="given").objects[0].view.metadata.namespace == "own"
    assert load_text(POLICY, namespace="given").objects[0].view.metadata.namespace == "given"
    assert load_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n").objects[0].key[2] == ""


def test_a_list_of_nothing() -> None:
    head = "apiVersion: v1\nkind: List\nmetadata: {x: 1}\n"
    for text in (head, f"{head}items:\n"):
        assert load_text(text).is_empty
        assert lines(load_text(text, "f")) == ["f:1:1: warning: no objects"]
    assert lines(load_text(f"{head}items: 1\n", "f")) == [
        "f:4:8: error: items: items must be a list of objects"
    ]


def test_unknown_metadata_of_a_foreign_kind() -> None:
    found = load_text("apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: x, spec: 1}\n", "f")
    assert lines(found) == ['f:3:21: error: Thing x: metadata.spec: unknown field "spec"']


def test_lists() -> None:
    item = "- {apiVersion: v1, kind: Service, metadata: {name: NAME}, spec: {ports: [{port: 80}]}}\n"
    text = "apiVersion: v1\nkind: List\nitems:\n" + item.replace("NAME", "a") + item.replace("NAME", "b")
    loaded = load_text(text, "f")
    assert [(o.view.metadata.name, str(o.position)) for o in loaded.objects] == [
        ("a", "f:4:3"),
        ("b", "f:5:3"),
    ]
    assert isinstance(loaded.objects[0].view, Service)
    typed = load_text(
        '{"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "x"}, "spec": {"x": 1}}]}',
        "f",
    )
    assert lines(typed)[0] == 'f:1:88: error: Pod x: spec.x: unknown field "x"'


WORKLOAD = """
apiVersion: {version}
kind: {kind}
metadata: {{name: web, namespace: ns}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: nginx, ports: [{{containerPort: 80, name: http}}]}}]}}
"""


@pytest.mark.parametrize(
    ("kind", "name"), [("Deployment", "web-deploy"), ("StatefulSet", "web-sts"), ("DaemonSet", "web-ds")]
)
def test_a_workload_stands_for_one_of_its_pods(kind, name) -> None:
    (found,) = load_text(WORKLOAD.format(version="apps/v1", kind=kind)).objects
    assert found.is_representative
    assert found.kind == kind
    assert isinstance(found.view, Pod)
    assert (found.view.metadata.namespace, found.view.metadata.name, found.view.labels) == (
        "ns",
        name,
        {"app": "web"},
    )
    assert [port.name for port in found.view.named_ports()] == ["http"]
    assert found.view.metadata.owner_references[0].kind == kind


def test_a_cron_job_keeps_its_template_deeper() -> None:
    (found,) = load_text(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec:\n  schedule: '* * * * *'\n  jobTemplate:\n    spec:\n"
        "      template:\n        metadata: {labels: {a: b}}\n"
        "        spec: {restartPolicy: Never, containers: [{name: a, image: i}]}\n"
    ).objects
    assert (found.view.metadata.name, found.view.labels) == ("c-cronjob", {"a": "b"})


def test_warnings_do_not_stop_an_object() -> None:
    loaded = load_text(
        HEAD + "spec: {podSelector: {}, podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.1.2.3/8}}]}]}\n",
        "f",
    )
    assert [(d.severity, d.code, d.position.column) for d in loaded.diagnostics] == [
        (Severity.WARNING, "duplicate-key", 25),
        (Severity.WARNING, "ambiguous-value", 74),
    ]
    assert len(loaded.objects) == 1
    assert not loaded.has_errors


def test_an_object_given_twice_keeps_its_last_form() -> None:
    loaded = load_text(f"{POLICY}---\n{POLICY.replace('Egress', 'Ingress')}", "f")
    assert [o.raw["spec"]["policyTypes"] for o in loaded.objects] == [["Ingress"]]
    assert lines(loaded) == [
        "f:6:1: warning: NetworkPolicy p: given before, at f:1:1; the last one counts (keep one of them, or rename it)"
    ]


def test_sources(tmp_path) -> None:
    inner = tmp_path / "b" / "c"
    inner.mkdir(parents=True)
    for path, name in (
        (tmp_path / "z.yaml", "z"),
        (inner / "a.json", "a"),
        (inner / "n.txt", "n"),
        (tmp_path / "a.yml", "first"),
    ):
        path.write_text(POLICY.replace("name: p", f"name: {name}"))
    loaded = load([str(tmp_path), "-"], io.StringIO(POLICY))
    assert [o.view.metadata.name for o in loaded.objects] == ["first", "a", "z", "p"]
    assert not loaded.diagnostics
    assert loaded.objects[-1].position.file == "<stdin>"


def test_unreadable_sources(tmp_path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling.yaml").symlink_to("nowhere")
    names = ["latin.yaml", "empty", "dangling.yaml", "missing.yaml"]
    found = lines(
        load([*(str(tmp_path / name) for name in names), "-", "https://example.com/x.yaml", "a\0b"])
    )
    assert found == [
        (
            f"{tmp_path}/latin.yaml:2:4: warning: not UTF-8 text; the cluster reads a replacement character (U+FFFD) here "
            "(save the file as UTF-8)"
        ),
        (
            f"{tmp_path}/latin.yaml:1:1: error: apiVersion: apiVersion is missing: not a Kubernetes object (for example "
            "apiVersion: networking.k8s.io/v1)"
        ),
        f"error: {tmp_path}/empty: no manifests in this directory (files end in .json, .yaml, .yml)",
        f"error: {tmp_path}/dangling.yaml: No such file or directory",
        f"error: {tmp_path}/missing.yaml: No such file or directory",
        "error: there is no standard input to read (give a file or a directory)",
        "error: https://example.com/x.yaml: URLs are not read (download it and give the file)",
        "error: a\0b: embedded null byte",
    ]


def test_a_byte_order_mark_is_no_content() -> None:
    assert len(load_text("\ufeff" + POLICY).objects) <= 1  # a file's mark is dropped when it is decoded


def test_damage_behind_a_byte_order_mark_has_its_place(tmp_path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(b"\xef\xbb\xbf# \xbf\n" + POLICY.encode())
    loaded = load([str(file)])
    assert len(loaded.objects) == 1
    assert [(d.code, d.position.line, d.position.column) for d in loaded.diagnostics] == [("not-utf8", 1, 3)]


def test_control_characters_do_not_reach_the_terminal() -> None:
    found = lines(load_text(HEAD + 'spec: {"\\e[31m": 1, policyTypes: ["\\e[2J"]}\n'))
    assert len(found) == 2
    assert all(line.isprintable() for line in found)


def test_a_flood_of_mistakes_is_bounded() -> None:
    fields = ", ".join(f"f{n}: 1" for n in range(5000))
    assert len(load_text(f"{HEAD}spec: {{{fields}, podSelector: 1, egress: 1}}\n").diagnostics) == 102
    mistyped = ", ".join(["1"] * 5000)
    assert len(load_text(f"{HEAD}spec: {{egress: [{mistyped}]}}\n").diagnostics) == 100


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("spec", "podSelector", "egress", "to", "ports", "port", "endPort", "protocol", "ipBlock", "cidr", "except",
          "matchLabels", "matchExpressions", "operator", "values", "key", "policyTypes", "template", "containers", "name",
          "image", "metadata", "labels", "clusterIP", "jobTemplate", "selector", "type", "namespace")  # fmt: skip
SHAPED = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=20,
)
KINDS = [("networking.k8s.io/v1", "NetworkPolicy"), ("v1", "Pod"), ("v1", "Service"), ("apps/v1", "Deployment"),
         ("batch/v1", "CronJob"), ("v1", "List"), ("v1", "Namespace"), ("example.com/v1", "Thing")]  # fmt: skip


@given(st.text(max_size=120))
@settings(max_examples=60, deadline=None)
def test_any_text_is_answered(text) -> None:
    load_text(text)


@given(st.text(alphabet=" \n-:{}[]&*<|>!'\"#%@,ab1?~\t", max_size=80))
@settings(max_examples=120, deadline=None)
def test_anything_like_yaml_is_answered(text) -> None:
    for diagnostic in load_text(HEAD + "spec:\n" + text).diagnostics:
        assert diagnostic.position is not None


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from((*FIELDS, "items")), SHAPED, max_size=4))
@settings(max_examples=200, deadline=None)
def test_any_object_is_answered(kind, fields) -> None:
    import json  # noqa: PLC0415

    loaded = load_text(json.dumps({"apiVersion": kind[0], "kind": kind[1], **fields}))
    for diagnostic in loaded.diagnostics:
        assert diagnostic.position is not None
        assert str(diagnostic).isprintable()


RECIPE = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: foo-deny-egress
spec:
  podSelector:
    matchLabels:
      app: foo
  policyTypes:
  - Egress
"""
DNS = "  egress:\n  # allow DNS resolution\n  - ports:\n    - port: 53\n      protocol: UDP\n    - port: 53\n      protocol: TCP\n"


@pytest.mark.parametrize(
    ("egress", "ports"), [("", None), ("  egress: []\n", None), (DNS, [("UDP", 53), ("TCP", 53)])]
)
def test_the_recipe_reads_as_printed(egress, ports) -> None:
    loaded = load_text(RECIPE + egress)
    assert not loaded.diagnostics
    (found,) = loaded.objects
    assert found.view.directions == {"Egress"}
    assert found.view.pod_selector.match_labels == {"app": "foo"}
    rules = found.view.spec.egress or []
    assert [[(port.protocol, port.port) for port in rule.ports] for rule in rules] == (
        [ports] if ports else []
    )
