"""kubeconfig files as kubectl reads them, and what is said about those that cannot be used."""

from __future__ import annotations

import base64
import json
import stat

import pytest
import yaml

from stockade.kube.auth import Credentials
from stockade.kube.config import Access, EnvVar, ExecPlugin, in_cluster, load
from stockade.kube.errors import ConfigError


def config(name="t", server="https://127.0.0.1:6443", current="t", *, user=None, cluster=None, context=None):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "clusters": [{"name": name, "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": name, "user": user or {"token": f"token-{name}"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, **(context or {})}}],
    }


@pytest.fixture
def write(tmp_path):
    def write(value, name="config"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(value if isinstance(value, str) else yaml.safe_dump(value))
        return path

    return write


def test_server_token_and_namespace(write):
    path = write(config(context={"namespace": "team"}))
    access = load(path, environ={})
    assert (access.server, access.token, access.namespace) == ("https://127.0.0.1:6443", "token-t", "team")
    assert access.origin == str(path)


def test_json_is_read_as_well(write):
    assert load(write(json.dumps(config())), environ={}).token == "token-t"


def test_the_context_can_be_chosen(write):
    one, two = config("one", current="one"), config("two", "https://two:1")
    for key in ("clusters", "users", "contexts"):
        one[key] += two[key]
    path = write(one)
    assert load(path, environ={}).token == "token-one"
    assert load(path, "two", environ={}).server == "https://two:1"


def test_of_several_files_the_first_that_sets_something_wins(write):
    first = write({**config("a", "https://first:1", current=""), "current-context": ""}, "one")
    second = write(config("a", "https://second:1", current="b") | {"current-context": "b"}, "two")
    third = write(config("b", "https://third:1", current="a"), "three")
    env = {"KUBECONFIG": f"{first}:/nowhere/at/all:{second}:{third}"}
    assert (
        load(environ=env).server == "https://third:1"
    )  # current-context of the second, defined in the third
    assert load(context="a", environ=env).server == "https://first:1"


def test_the_default_place_is_in_the_home_directory(write, tmp_path):
    write(config(), ".kube/config")
    assert load(environ={"HOME": str(tmp_path)}).token == "token-t"


def test_files_are_named_relative_to_the_kubeconfig(write, tmp_path):
    write("CA", "pki/ca.crt")
    write("CERT", "pki/client.crt")
    user = {"client-certificate": "pki/client.crt", "client-key-data": base64.b64encode(b"KEY").decode()}
    access = load(write(config(cluster={"certificate-authority": "pki/ca.crt"}, user=user)), environ={})
    assert (access.ca, access.certificate, access.key) == (b"CA", b"CERT", b"KEY")


async def test_a_token_file_is_read_again_each_time(write):
    token = write("old\n", "token")
    credentials = Credentials(load(write(config(user={"tokenFile": "token"})), environ={}))
    assert await credentials.headers() == {"Authorization": "Bearer old"}
    token.write_text("new")
    assert await credentials.headers() == {"Authorization": "Bearer new"}


async def test_an_exec_plugin_is_run_once_and_again_after_a_401(write, tmp_path):
    script = write(
        '#!/bin/sh\necho x >> "$COUNT"\n'
        'echo "{\\"kind\\":\\"ExecCredential\\",\\"status\\":{\\"token\\":\\"$WHO-$1\\"}}"\n',
        "plugin",
    )
    script.chmod(stat.S_IRWXU)
    count = tmp_path / "count"
    plugin = ExecPlugin(
        command=str(script), args=["arg"], env=[EnvVar("WHO", "me"), EnvVar("COUNT", str(count))]
    )
    credentials = Credentials(Access(server="https://x", origin="test", exec=plugin))
    assert await credentials.headers() == {"Authorization": "Bearer me-arg"}
    await credentials.headers()
    assert count.read_text() == "x\n"
    credentials.forget()
    await credentials.headers()
    assert count.read_text() == "x\nx\n"


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (ExecPlugin(command="/no/such/plugin", install_hint="install it"), "cannot run .*; install it"),
        (ExecPlugin(command="false"), "failed: exit status 1"),
        (ExecPlugin(command="true"), "printed no ExecCredential"),
    ],
)
async def test_an_exec_plugin_that_fails_is_named(plugin, message):
    with pytest.raises(ConfigError, match=message):
        await Credentials(Access(server="https://x", origin="test", exec=plugin)).headers()


def test_in_cluster(tmp_path):
    (tmp_path / "token").write_text("t")
    (tmp_path / "ca.crt").write_text("CA")
    (tmp_path / "namespace").write_text("stockade\n")
    env = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    access = in_cluster(env, tmp_path)
    assert access.server == "https://[fd00::1]:6443"
    assert (access.namespace, access.ca, access.token_file) == ("stockade", b"CA", str(tmp_path / "token"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [b", r"config:\d+:\d+: not YAML: "),
        ("- a list", "not a kubeconfig"),
        ({"current-context": ""}, "no current-context"),
        (config(current="other"), "no context 'other' .known: t."),
        ({**config(), "clusters": []}, "context 't' names cluster 't', which is not there"),
        ({**config(), "users": []}, "context 't' names user 't', which is not there"),
        (config(server="127.0.0.1"), "no usable server address"),
        (config(cluster={"certificate-authority-data": "%%"}), "not base64"),
        (config(cluster={"certificate-authority": "missing.crt"}), "missing.crt, which cannot be read"),
    ],
)
def test_what_is_wrong_is_said(write, content, message):
    with pytest.raises(ConfigError, match=message):
        load(write(content), environ={})


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"KUBECONFIG": "/nowhere/config"}, "no kubeconfig at /nowhere/config"),
        ({"HOME": "/nowhere"}, "KUBECONFIG is not set"),
    ],
)
def test_no_file_at_all(env, message):
    with pytest.raises(ConfigError, match=message):
        load(environ=env)
