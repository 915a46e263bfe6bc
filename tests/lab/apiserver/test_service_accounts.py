"""Tokens of service accounts: whose they are, and when they are nobody's; what a new pod is given."""

from __future__ import annotations

import base64
import json
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from stockade.lab.apiserver import service_accounts, users
from stockade.lab.apiserver.pod_admission import MOUNT_PATH
from stockade.lab.apiserver.registry import ApiError
from stockade.lab.apiserver.service_accounts import ServiceAccountTokens

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "x"}, {"name": "d", "image": "x"}]},
}


@pytest.fixture
def tokens(store) -> ServiceAccountTokens:
    return ServiceAccountTokens(ec.generate_private_key(ec.SECP256R1()), store)


def make_account(store, name: str = "worker", **fields: object) -> dict:
    obj = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}, **fields}
    return store.create("serviceaccounts", "default", obj)


def make_pod(store, **spec: object) -> dict:
    return store.create("pods", "default", {**POD, "spec": {**POD["spec"], **spec}})


def claims(token: str) -> dict:
    text = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def test_a_token_is_its_accounts_as_long_as_account_and_pod_are_there(store, tokens) -> None:
    account = make_account(store)
    pod = make_pod(store, serviceAccountName="worker")
    bound, free = tokens.issue(account, 3607, bound=pod), tokens.issue(account, 600)
    user = tokens.verify(bound)
    assert user is not None
    assert user.name == "system:serviceaccount:default:worker"
    assert "system:serviceaccounts:default" in user.groups
    assert users.named(user.name) == user
    assert not users.may(user, users.Attributes("get", resource="pods", namespace="default"))
    assert claims(bound)["kubernetes.io"]["pod"]["uid"] == pod["metadata"]["uid"]
    assert claims(bound)["exp"] - claims(bound)["iat"] == 365 * 24 * 3600
    store.delete("pods", "default", "p", 0)
    assert tokens.verify(bound) is None
    assert tokens.verify(free) is not None
    make_pod(store, serviceAccountName="worker")
    assert tokens.verify(bound) is None, "another pod of that name"
    store.delete("serviceaccounts", "default", "worker")
    make_account(store)
    assert tokens.verify(free) is None, "another account of that name"


def test_what_is_no_token(store, tokens, monkeypatch) -> None:
    account = make_account(store)
    good = tokens.issue(account, 600)
    head, body, signature = good.split(".")
    other = ServiceAccountTokens(ec.generate_private_key(ec.SECP256R1()), store).issue(account, 600)
    forged = base64.urlsafe_b64encode(json.dumps({**claims(good), "sub": "x"}).encode()).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    bad = [other, f"{head}.{forged}.{signature}", f"{none}.{body}.", f"{head}.{body}.", f"{head}.{body}.AAAA"]
    bad += ["", "..", "a.b.c", "é.é.é", "x" * 10000, tokens.issue(account, 600, ["elsewhere"])]
    assert [tokens.verify(token) for token in bad] == [None] * len(bad)
    assert tokens.verify(good) is not None
    now = time.time()
    monkeypatch.setattr(service_accounts.time, "time", lambda: now + 601)
    assert tokens.verify(good) is None


def test_the_key_is_kept(tmp_path, store) -> None:
    account = make_account(store)
    first = ServiceAccountTokens(service_accounts.load_or_make_key(tmp_path), store)
    again = ServiceAccountTokens(service_accounts.load_or_make_key(tmp_path), store)
    assert again.verify(first.issue(account, 600)) is not None
    assert (tmp_path / service_accounts.KEY_FILE).stat().st_mode & 0o777 == 0o600


def mounts(pod: dict) -> list[list[str]]:
    return [[m["mountPath"] for m in each.get("volumeMounts") or []] for each in pod["spec"]["containers"]]


def test_a_pod_is_given_its_token(store) -> None:
    make_account(store)
    pod = make_pod(store, serviceAccountName="worker")
    assert mounts(pod) == [[MOUNT_PATH], [MOUNT_PATH]]
    (volume,) = pod["spec"]["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert [next(iter(source)) for source in volume["projected"]["sources"]] == [
        "serviceAccountToken",
        "configMap",
        "downwardAPI",
    ]


@pytest.mark.parametrize(
    ("account", "pod", "expected"),
    [
        (None, None, True),
        (False, None, False),
        (None, False, False),
        (False, True, True),
        (True, False, False),
    ],
)
def test_who_says_no_to_the_token(store, account, pod, expected) -> None:
    make_account(store, **({} if account is None else {"automountServiceAccountToken": account}))
    said = {} if pod is None else {"automountServiceAccountToken": pod}
    made = make_pod(store, serviceAccountName="worker", **said)
    assert (mounts(made)[0] == [MOUNT_PATH]) is expected


def test_an_own_mount_at_its_place_stays(store) -> None:
    own = {"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": MOUNT_PATH}]}
    pod = make_pod(store, containers=[own], volumes=[{"name": "v", "emptyDir": {}}])
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["v"]


def test_an_account_that_is_not_there(store) -> None:
    with pytest.raises(ApiError, match='serviceaccount "nosuch" not found') as refused:
        make_pod(store, serviceAccountName="nosuch")
    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
