"""ipFamilyPolicy and ipFamilies of Services, as kube-apiserver fills, keeps and refuses them (KEP-563)."""

from __future__ import annotations

import pytest

from stockade.lab.apiserver.registry import ApiError
from stockade.lab.apiserver.store import ObjectStore


def store_of(*families):
    made = ObjectStore(families=families or ("IPv4", "IPv6"))
    made.create("namespaces", "", {"metadata": {"name": "default"}})
    return made


def service(**spec):
    ports = [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    return {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports, **spec}}


def create(store, **spec):
    return store.create("services", "default", service(**spec))["spec"]


def shape(spec):
    """Policy, families, and which of the addresses are IPv6."""
    return spec["ipFamilyPolicy"], spec["ipFamilies"], [":" in address for address in spec["clusterIPs"]]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ("SingleStack", ["IPv4"], [False])),
        ({"ipFamilies": ["IPv6"]}, ("SingleStack", ["IPv6"], [True])),
        ({"ipFamilyPolicy": "PreferDualStack"}, ("PreferDualStack", ["IPv4", "IPv6"], [False, True])),
        ({"ipFamilyPolicy": "RequireDualStack"}, ("RequireDualStack", ["IPv4", "IPv6"], [False, True])),
        (
            {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]},
            ("RequireDualStack", ["IPv6", "IPv4"], [True, False]),
        ),
        ({"clusterIP": "fd00:10:96::77"}, ("SingleStack", ["IPv6"], [True])),
        (
            {"ipFamilyPolicy": "PreferDualStack", "clusterIPs": ["fd00:10:96::77"]},
            ("PreferDualStack", ["IPv6", "IPv4"], [True, False]),
        ),
    ],
)
def test_a_new_service(asked, expected):
    spec = create(store_of(), **asked)
    assert shape(spec) == expected
    assert spec["clusterIP"] == spec["clusterIPs"][0]


def test_headless_services():
    assert create(store_of(), clusterIP="None")["ipFamilies"] == ["IPv4"]
    bare = create(store_of("IPv4"), clusterIP="None", selector=None)
    assert (bare["ipFamilyPolicy"], bare["ipFamilies"]) == ("RequireDualStack", ["IPv4", "IPv6"])
    assert bare["clusterIPs"] == ["None"]


@pytest.mark.parametrize(
    ("families", "asked", "text"),
    [
        (
            ("IPv4",),
            {"ipFamilyPolicy": "RequireDualStack"},
            "this cluster is not configured for dual-stack services",
        ),
        (
            ("IPv4",),
            {"ipFamilies": ["IPv6"]},
            'ipFamilies\\[0\\]: Invalid value: "IPv6": not configured on this cluster',
        ),
        (("IPv4",), {"clusterIP": "fd00:10:96::7"}, "IPv6 is not configured on this cluster"),
        ((), {"ipFamilies": ["IPv4", "IPv6"]}, "'PreferDualStack' when multiple IP families are specified"),
        ((), {"clusterIPs": ["10.96.0.9", "fd00:10:96::9"]}, "when multiple cluster IPs are specified"),
        ((), {"ipFamilies": ["IPv5"]}, 'Unsupported value: "IPv5"'),
        ((), {"ipFamilies": ["IPv4", "IPv4"]}, 'ipFamilies\\[1\\]: Duplicate value: "IPv4"'),
        ((), {"ipFamilyPolicy": "DualStack"}, 'Unsupported value: "DualStack"'),
        ((), {"ipFamilies": ["IPv6"], "clusterIP": "10.96.0.9"}, "expected an IPv6 value as indicated by"),
        (
            (),
            {"clusterIPs": ["10.96.0.9", "10.96.0.8"]},
            "may specify no more than one IP for each IP family",
        ),
        ((), {"clusterIPs": ["10.96.0.9", "nonsense"]}, "must be a valid IP address"),
        ((), {"clusterIP": "fd00:9::9"}, "The range of valid IPs is fd00:10:96::/112"),
    ],
)
def test_refusals(families, asked, text):
    with pytest.raises(ApiError, match=text):
        create(store_of(*families), **asked)


def replace(store, **spec):
    return store.replace("services", "default", "web", service(**spec))["spec"]


def test_an_update_that_says_nothing_changes_nothing():
    store = store_of()
    before = create(store, ipFamilyPolicy="PreferDualStack")
    assert replace(store) == before


def test_a_second_address_is_given_and_taken_back_by_the_policy():
    store = store_of()
    first = create(store)["clusterIP"]
    wider = replace(store, ipFamilyPolicy="PreferDualStack")
    assert shape(wider) == ("PreferDualStack", ["IPv4", "IPv6"], [False, True])
    assert wider["clusterIP"] == first
    narrow = replace(store, ipFamilyPolicy="SingleStack", ipFamilies=["IPv4", "IPv6"])
    assert shape(narrow) == ("SingleStack", ["IPv4"], [False])
    assert narrow["clusterIP"] == first


def test_a_second_address_does_not_go_by_itself():
    store = store_of()
    spec = create(store, ipFamilyPolicy="RequireDualStack")
    with pytest.raises(ApiError, match="must be 'SingleStack' to release the secondary cluster IP"):
        replace(store, ipFamilyPolicy="RequireDualStack", clusterIPs=spec["clusterIPs"][:1])
    with pytest.raises(ApiError, match="must be 'SingleStack' to release the secondary IP family"):
        replace(store, ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv4"])
    with pytest.raises(ApiError, match="expected an IPv6 value as indicated by"):
        replace(store, ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv6", "IPv4"])


def test_the_first_family_of_a_headless_service_stays():
    store = store_of()
    create(store, clusterIP="None", ipFamilyPolicy="PreferDualStack")
    with pytest.raises(ApiError, match="may not change once set"):
        replace(store, clusterIP="None", ipFamilies=["IPv6", "IPv4"])
