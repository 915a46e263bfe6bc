"""command, args, env and files of a container, as the Kubernetes API says."""

from __future__ import annotations

import pytest

from stockade.lab.images.image import Image
from stockade.lab.node import command, privileges

IMAGE = Image(reference="x", id="x", root="/", entrypoint=("/entry",), command=("default", "arg"))


def pod(**spec) -> dict:
    meta = {"name": "web", "namespace": "prod", "uid": "u1", "labels": {"app": "web"}}
    status = {"podIP": "10.244.0.2", "podIPs": [{"ip": "10.244.0.2"}], "hostIP": "172.30.0.1"}
    return {"metadata": meta, "spec": {"nodeName": "n1", **spec}, "status": status}


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        ({}, ["/entry", "default", "arg"]),
        ({"args": ["a"]}, ["/entry", "a"]),
        ({"command": ["c"]}, ["c"]),
        ({"command": ["c"], "args": ["a"]}, ["c", "a"]),
        (
            {"command": ["$(V)", "$$(V)", "$(NO)", "x$(V)y"], "env": [{"name": "V", "value": "v"}]},
            ["v", "$(V)", "$(NO)", "xvy"],
        ),
    ],
)
def test_argv(container, argv) -> None:
    assert list(command.build(container, pod(), IMAGE, "web").argv) == argv


def test_environment() -> None:
    fields = {
        "NAME": "metadata.name",
        "NS": "metadata.namespace",
        "IP": "status.podIP",
        "NODE": "spec.nodeName",
        "HOST": "status.hostIP",
        "APP": "metadata.labels['app']",
    }
    env = [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in fields.items()]
    env += [{"name": "BOTH", "value": "$(NAME)-$(IP)"}, {"name": "EMPTY"}]
    variables = command.build({"env": env}, pod(), IMAGE, "web").env
    assert {key: variables[key] for key in fields} == {
        "NAME": "web",
        "NS": "prod",
        "IP": "10.244.0.2",
        "NODE": "n1",
        "HOST": "172.30.0.1",
        "APP": "web",
    }
    assert variables["BOTH"] == "web-10.244.0.2"
    assert variables["EMPTY"] == ""
    assert variables["HOSTNAME"] == "web"
    assert variables["PATH"].endswith("/bin")


@pytest.mark.parametrize(
    ("container", "text"),
    [
        ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}, "env A"),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]},
            "unsupported fieldPath: spec.x",
        ),
        ({"envFrom": [{"configMapRef": {"name": "c"}}]}, "envFrom"),
        ({"securityContext": {"privileged": True}}, "privileged"),
        ({"securityContext": {"runAsNonRoot": True}}, "runAsNonRoot"),
        ({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}, "capability SYS_ADMIN is not given"),
    ],
)
def test_what_cannot_be_given_is_said(container, text) -> None:
    with pytest.raises(command.ConfigError, match=text):
        command.build(container, pod(), IMAGE, "web")


def test_security_context() -> None:
    container = {"securityContext": {"runAsUser": 7, "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}}
    built = command.build(
        container, pod(securityContext={"runAsUser": 5, "runAsGroup": 6, "fsGroup": 9}), IMAGE, "web"
    )
    assert (built.uid, built.gid, list(built.groups)) == (7, 6, [9])
    assert built.capabilities == 1 << 12


def test_default_capabilities() -> None:
    names = {name for name, number in privileges.NUMBERS.items() if privileges.mask() >> number & 1}
    assert {"NET_RAW", "NET_BIND_SERVICE"} <= names
    assert "NET_ADMIN" not in names
    assert privileges.mask() & (1 << 21 | 1 << 27 | 1 << 16 | 1 << 19) == 0
    assert privileges.mask(drop=["cap_net_raw"]) == privileges.mask() & ~(1 << 13)


def resolv(**spec) -> str:
    return command.files(pod(**spec), "web", "10.96.0.10", "nameserver 192.0.2.1\n")["/etc/resolv.conf"]


def test_resolv_conf() -> None:
    cluster = (
        "search prod.svc.cluster.local svc.cluster.local cluster.local\n"
        "nameserver 10.96.0.10\noptions ndots:5 timeout:1 attempts:2\n"
    )
    assert resolv() == cluster
    assert resolv(dnsPolicy="ClusterFirst", hostNetwork=True) == "nameserver 192.0.2.1\n"
    assert resolv(dnsPolicy="ClusterFirstWithHostNet", hostNetwork=True) == cluster
    assert resolv(dnsPolicy="Default") == "nameserver 192.0.2.1\n"
    own = {
        "nameservers": ["192.0.2.9"],
        "searches": ["a.example"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}],
    }
    assert (
        resolv(dnsPolicy="None", dnsConfig=own)
        == "search a.example\nnameserver 192.0.2.9\noptions ndots:2 rotate\n"
    )
    merged = resolv(dnsConfig=own)
    assert "nameserver 10.96.0.10\nnameserver 192.0.2.9\n" in merged
    assert "options ndots:2 timeout:1 attempts:2 rotate\n" in merged


def test_hostname_and_hosts() -> None:
    assert command.hostname(pod(), "n1") == "web"
    assert command.hostname(pod(hostname="db"), "n1") == "db"
    assert command.hostname(pod(hostNetwork=True), "n1") == "n1"
    aliases = [{"ip": "192.0.2.5", "hostnames": ["a", "b"]}]
    hosts = command.files(pod(subdomain="sub", hostAliases=aliases), "web", "x", "")["/etc/hosts"]
    assert "10.244.0.2\tweb.sub.prod.svc.cluster.local\tweb\n" in hosts
    assert hosts.endswith("192.0.2.5\ta\tb\n")
