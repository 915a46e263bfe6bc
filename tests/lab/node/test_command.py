"""command, args, user and rights of a container, as the Kubernetes API says."""

from __future__ import annotations

import msgspec
import pytest

from stockade.lab.images.image import Image
from stockade.lab.node import command, privileges
from stockade.lab.node.environment import ConfigError

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
    assert list(build(container).argv) == argv


def build(container: dict, **spec):
    declared = {entry["name"]: entry["value"] for entry in container.get("env") or []}
    return command.build({"name": "c", **container}, pod(**spec), IMAGE, "web", declared)


def test_environment_of_the_process() -> None:
    variables = build({"env": [{"name": "HOME", "value": "/x"}, {"name": "A", "value": "1"}]}).env
    assert (variables["HOME"], variables["A"], variables["HOSTNAME"]) == ("/x", "1", "web")
    assert variables["PATH"].endswith("/bin")
    assert build({"args": ["$(PATH)"]}).argv == ["/entry", "$(PATH)"], "only what the spec declares"


@pytest.mark.parametrize(
    ("container", "text"),
    [
        ({"securityContext": {"privileged": True}}, "privileged"),
        (
            {"securityContext": {"runAsNonRoot": True}},
            r'container has runAsNonRoot and image will run as root \(pod: "web_prod\(u1\)", container: c\)',
        ),
        (
            {"securityContext": {"runAsNonRoot": True, "runAsUser": 0}},
            r"container's runAsUser breaks non-root policy \(pod",
        ),
        ({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}, "capability SYS_ADMIN is not given"),
    ],
)
def test_what_cannot_be_given_is_said(container, text) -> None:
    with pytest.raises(ConfigError, match=text):
        build(container)


def test_security_context() -> None:
    container = {"securityContext": {"runAsUser": 7, "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}}
    built = build(container, securityContext={"runAsUser": 5, "runAsGroup": 6, "fsGroup": 9})
    assert (built.uid, built.gid, list(built.groups)) == (7, 6, [9])
    assert built.capabilities == 1 << 12
    zero = {"securityContext": {"runAsGroup": 0}}
    image = msgspec.structs.replace(IMAGE, uid=5, gid=5)
    assert command.build({"name": "c", **zero}, pod(), image, "web", {}).gid == 0


def test_a_debugger_starts_without_the_right_to_look_into_processes() -> None:
    container = {"securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}}}
    assert build(container).capabilities == privileges.mask()
    assert command.withheld(container) == ["capability SYS_PTRACE"]


def test_default_capabilities() -> None:
    names = {name for name, number in privileges.NUMBERS.items() if privileges.mask() >> number & 1}
    assert {"NET_RAW", "NET_BIND_SERVICE"} <= names
    assert "NET_ADMIN" not in names
    assert privileges.mask() & (1 << 21 | 1 << 27 | 1 << 16 | 1 << 19) == 0
    assert privileges.mask(drop=["cap_net_raw"]) == privileges.mask() & ~(1 << 13)
