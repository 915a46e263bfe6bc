"""RFC 7386 and RFC 6902 examples, and strategic merge patches as kubectl makes them."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockade.lab.apiserver.patch import PatchError, json_patch, merge_patch, strategic_merge_patch

RFC7386 = [  # appendix A
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC7386)
def test_merge_patch(target, patch, result):
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == result
    assert target == before


RFC6902 = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "q"}], {"foo": "bar", "baz": "q"}),
    ({"foo": ["a", "c"]}, [{"op": "add", "path": "/foo/1", "value": "b"}], {"foo": ["a", "b", "c"]}),
    ({"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": ["b"]}], {"foo": ["a", ["b"]]}),
    ({"foo": ["a", "b"]}, [{"op": "remove", "path": "/foo/0"}], {"foo": ["b"]}),
    ({"a": 1}, [{"op": "replace", "path": "/a", "value": 2}], {"a": 2}),
    ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
    ({"a": [1, 2, 3]}, [{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": [2, 3, 1]}),
    ({"a": 1}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1}),
    ({"a/b": {"m~n": 8}}, [{"op": "test", "path": "/a~1b/m~0n", "value": 8}], {"a/b": {"m~n": 8}}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
]


@pytest.mark.parametrize(("target", "ops", "result"), RFC6902)
def test_json_patch(target, ops, result):
    before = copy.deepcopy(target)
    assert json_patch(target, ops) == result
    assert target == before


@pytest.mark.parametrize(
    ("ops", "code", "text"),
    [
        ({"op": "add"}, 400, "list of operations"),
        ([{"op": "jump", "path": "/a"}], 422, "Unexpected kind: jump"),
        (
            [{"op": "remove", "path": "/x"}],
            422,
            r'remove operation does not apply: doc is missing path: "/x"',
        ),
        ([{"op": "replace", "path": "/x/y", "value": 1}], 422, r'replace operation .* "/x": missing value'),
        ([{"op": "add", "path": "/list/9", "value": 1}], 422, "Unable to access invalid index: 9"),
        ([{"op": "add", "path": "/list/01", "value": 1}], 422, "not an index"),
        ([{"op": "add", "path": "a", "value": 1}], 422, 'begins with "/"'),
        ([{"op": "test", "path": "/a", "value": 2}], 422, r"testing value /a failed: test failed"),
        ([{"op": "test", "path": "/one", "value": True}], 422, "test failed"),
        ([{"op": "move", "from": "/o", "path": "/o/p"}], 422, "into itself"),
    ],
)
def test_json_patch_that_does_not_apply(ops, code, text):
    with pytest.raises(PatchError, match=text) as caught:
        json_patch({"a": 1, "one": 1, "list": [1], "o": {}}, ops)
    assert caught.value.code == code


def deployment(*containers, **spec):
    return {"spec": {"template": {"spec": {"containers": list(containers)}}, **spec}}


WEB, SIDECAR = {"name": "web", "image": "nginx:1", "args": ["-v"]}, {"name": "side", "image": "busybox"}


def test_set_image_changes_one_container():
    patch = deployment({"name": "web", "image": "nginx:2"})
    patch["spec"]["template"]["spec"]["$setElementOrder/containers"] = [{"name": "web"}, {"name": "side"}]
    original = deployment(WEB, SIDECAR)
    result = strategic_merge_patch(original, patch)
    assert result == deployment({"name": "web", "image": "nginx:2", "args": ["-v"]}, SIDECAR)
    assert original == deployment(WEB, SIDECAR)


def test_element_order_moves_and_keeps_the_servers_own_in_place():
    server = deployment(*({"name": name} for name in ("a", "injected", "b")))
    patch = deployment({"name": "new"})
    patch["spec"]["template"]["spec"]["$setElementOrder/containers"] = [
        {"name": n} for n in ("b", "a", "new")
    ]
    names = [
        c["name"] for c in strategic_merge_patch(server, patch)["spec"]["template"]["spec"]["containers"]
    ]
    assert names.index("b") < names.index("a") < names.index("new")
    assert sorted(names) == ["a", "b", "injected", "new"]


def test_order_alone_reorders():
    patch = {
        "spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "side"}, {"name": "web"}]}}}
    }
    assert strategic_merge_patch(deployment(WEB, SIDECAR), patch) == deployment(SIDECAR, WEB)


def test_an_element_is_deleted_by_its_key():
    patch = deployment({"name": "web", "$patch": "delete"})
    assert strategic_merge_patch(deployment(WEB, SIDECAR), patch) == deployment(SIDECAR)


def test_a_list_is_replaced_on_demand():
    patch = deployment({"$patch": "replace"}, {"name": "only"})
    assert strategic_merge_patch(deployment(WEB, SIDECAR), patch) == deployment({"name": "only"})


def test_a_map_is_replaced_or_deleted_on_demand():
    original = {"metadata": {"labels": {"a": "1", "b": "2"}, "annotations": {"x": "y"}}}
    patch = {"metadata": {"labels": {"$patch": "replace", "c": "3"}, "annotations": {"$patch": "delete"}}}
    assert strategic_merge_patch(original, patch) == {"metadata": {"labels": {"c": "3"}, "annotations": {}}}


def test_null_removes_and_is_dropped_from_what_is_new():
    original = {"metadata": {"labels": {"a": "1"}}}
    patch = {"metadata": {"labels": {"a": None, "b": "2"}, "annotations": {"x": None, "y": "z"}}}
    assert strategic_merge_patch(original, patch) == {
        "metadata": {"labels": {"b": "2"}, "annotations": {"y": "z"}}
    }


def test_primitive_lists_merge_and_delete():
    original = {"metadata": {"finalizers": ["a", "b", "c"]}}
    patch = {"metadata": {"finalizers": ["d"], "$deleteFromPrimitiveList/finalizers": ["b"]}}
    assert strategic_merge_patch(original, patch) == {"metadata": {"finalizers": ["a", "c", "d"]}}


def test_retain_keys_clears_the_other_arm_of_a_union():
    original = deployment(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_merge_patch(original, patch)["spec"]["strategy"] == {"type": "Recreate"}


def test_ports_of_services_and_containers_have_different_keys():
    service = {"spec": {"ports": [{"port": 80, "targetPort": 80}, {"port": 81, "targetPort": 81}]}}
    assert strategic_merge_patch(service, {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}}) == {
        "spec": {"ports": [{"port": 80, "targetPort": 8080}, {"port": 81, "targetPort": 81}]}
    }
    pod = {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "http"}]}]}}
    patch = {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 81}]}]}}
    assert len(strategic_merge_patch(pod, patch)["spec"]["containers"][0]["ports"]) == 2


def test_network_policy_lists_are_replaced():
    policy = {
        "spec": {
            "podSelector": {"matchLabels": {"app": "foo"}},
            "egress": [{"ports": [{"port": 53}]}],
            "policyTypes": ["Egress"],
        }
    }
    patch = {"spec": {"egress": [{"ports": [{"port": 80}]}], "policyTypes": ["Ingress"]}}
    assert strategic_merge_patch(policy, patch)["spec"] == {
        "podSelector": {"matchLabels": {"app": "foo"}},
        "egress": [{"ports": [{"port": 80}]}],
        "policyTypes": ["Ingress"],
    }


def test_given_merge_keys_take_the_place_of_the_built_in_ones():
    original, patch = {"things": [{"id": 1, "a": 1}]}, {"things": [{"id": 1, "b": 2}]}
    assert strategic_merge_patch(original, patch, {("things",): "id"}) == {
        "things": [{"id": 1, "a": 1, "b": 2}]
    }
    assert strategic_merge_patch(original, patch, {}) == patch


@pytest.mark.parametrize(
    ("patch", "text"),
    [
        ([], "is an object"),
        ({"$patch": "explode"}, "unknown patch type found: explode"),
        (deployment({"image": "x"}), "does not contain declared merge key: name"),
        ({"spec": {"$retainKeys": "x"}}, "must be a list"),
        ({"spec": {"$retainKeys": ["a"], "b": 1}}, r"not in its \$retainKeys"),
        ({"spec": {"$setElementOrder/x": {}}}, "must be a list"),
    ],
)
def test_a_strategic_patch_that_makes_no_sense(patch, text):
    with pytest.raises(PatchError, match=text) as caught:
        strategic_merge_patch(deployment(WEB), patch)
    assert caught.value.code == 400


NAMES = st.sampled_from(["a", "b", "c", "d"])
CONTAINERS = st.lists(
    st.fixed_dictionaries({"name": NAMES}, optional={"image": NAMES, "args": st.lists(NAMES, max_size=2)}),
    unique_by=lambda container: container["name"],
    max_size=4,
)


@given(server=CONTAINERS, wanted=CONTAINERS)
def test_applied_twice_is_applied_once_and_the_order_is_the_given_one(server, wanted):
    order = [{"name": container["name"]} for container in wanted]
    patch = {"spec": {"containers": wanted, "$setElementOrder/containers": order}}
    once = strategic_merge_patch({"spec": {"containers": server}}, patch)
    assert strategic_merge_patch(once, patch) == once
    names = [container["name"] for container in once["spec"]["containers"]]
    assert sorted(names) == sorted({c["name"] for c in server} | {c["name"] for c in wanted})
    assert [name for name in names if {"name": name} in order] == [entry["name"] for entry in order]
