"""Certificates and kubeconfigs: complete, private, fresh for each lab."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from stockade.kube.config import load
from stockade.lab import credentials


def test_kubeconfig_is_what_a_client_needs(tmp_path: Path) -> None:
    made = credentials.make(tmp_path, ("admin", "agent"))
    text = made.kubeconfig(cluster="stockade-t1", user="admin", server="https://127.0.0.1:1234")
    document = yaml.safe_load(text)
    assert document["current-context"] == "stockade-t1"
    cluster = document["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]).startswith(b"-----BEGIN CERTIFICATE")
    (tmp_path / "kubeconfig").write_text(text)
    access = load(tmp_path / "kubeconfig")
    assert (access.server, access.token) == ("https://127.0.0.1:1234", made.tokens["admin"])


def test_every_user_and_every_lab_has_its_own_token(tmp_path: Path) -> None:
    first = credentials.make(tmp_path, ("admin", "agent"))
    second = credentials.make(tmp_path, ("admin", "agent"))
    tokens = [*first.tokens.values(), *second.tokens.values()]
    assert len(set(tokens)) == 4
    assert all(len(token) >= 43 for token in tokens)


def test_keys_are_private_and_serve_http_1_only(tmp_path: Path) -> None:
    made = credentials.make(tmp_path, ("admin",))
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    context = made.server_context()
    assert context.minimum_version.name == "TLSv1_2"


def test_a_lab_keeps_its_credentials(tmp_path: Path) -> None:
    first = credentials.load_or_make(tmp_path, ("admin", "agent"))
    assert credentials.load_or_make(tmp_path, ("admin", "agent")) == first
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()} == {0o600}
    first.server_context()


@pytest.mark.parametrize("damage", ["unlink", "half", "old", "users"])
def test_credentials_that_are_no_good_any_more(tmp_path: Path, damage: str) -> None:
    first = credentials.load_or_make(tmp_path, ("admin", "agent"))
    kept = tmp_path / credentials.KEPT
    if damage == "unlink":
        kept.unlink()
    elif damage == "half":
        kept.write_text(kept.read_text()[:100])
    elif damage == "old":
        held = json.loads(kept.read_text())
        kept.write_text(json.dumps({**held, "renew": "2020-01-01T00:00:00Z"}))
    users = ("admin", "viewer") if damage == "users" else ("admin", "agent")
    second = credentials.load_or_make(tmp_path, users)
    assert second.tokens["admin"] != first.tokens["admin"]
    assert set(second.tokens) == set(users)
    assert credentials.load_or_make(tmp_path, users) == second


def test_a_client_certificate_names_its_user(tmp_path: Path) -> None:
    made = credentials.make(tmp_path, ("admin", "viewer"))
    text = made.kubeconfig(cluster="c", user="viewer", server="https://127.0.0.1:1", certificate=True)
    [user] = yaml.safe_load(text)["users"]
    assert user["user"].keys() == {"client-certificate-data", "client-key-data"}
    found = x509.load_pem_x509_certificate(base64.b64decode(user["user"]["client-certificate-data"]))
    assert found.subject.rfc4514_string() == "CN=viewer"
    found.verify_directly_issued_by(x509.load_pem_x509_certificate(made.ca.encode()))
