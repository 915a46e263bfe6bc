"""The official Python client's streams: logs, exec, attach and port-forward."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

pytest.importorskip("kubernetes")
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream

pytestmark = pytest.mark.lab
SPACE = "default"


@pytest.fixture(scope="module")
def core(client_lab, sleeper) -> Iterator[client.CoreV1Api]:
    """Its own connection: ``stream`` changes the client that it is given."""
    with config.new_client_from_config(client_lab.kubeconfig) as connection:
        yield client.CoreV1Api(connection)


def test_logs(core):
    answer = core.read_namespaced_pod_log("sleeper", SPACE, follow=True, _preload_content=False)
    try:
        assert [next(answer) for _ in range(3)] == [b"tick\n"] * 3
    finally:
        answer.close()
    assert core.read_namespaced_pod_log("sleeper", SPACE, tail_lines=1) == "tick\n"
    stamped = core.read_namespaced_pod_log(
        "sleeper", SPACE, timestamps=True, limit_bytes=40, since_seconds=60
    )
    assert stamped.startswith("20")
    assert len(stamped) == 40
    with pytest.raises(ApiException) as caught:
        core.read_namespaced_pod_log("sleeper", SPACE, container="other")
    assert caught.value.status == 400
    assert "container other is not valid for pod sleeper" in caught.value.body


def test_logs_followed_by_a_watch(core):
    lines = watch.Watch().stream(core.read_namespaced_pod_log, "sleeper", SPACE)
    assert list(itertools.islice(lines, 2)) == ["tick", "tick"]


def test_exec_gives_the_output(core):
    command = ["sh", "-c", "echo out; echo err >&2"]
    found = stream(
        core.connect_get_namespaced_pod_exec, "sleeper", SPACE, command=command, stdout=True, stderr=True
    )
    assert sorted(found.split()) == ["err", "out"]


def test_exec_with_input_and_exit_code(core):
    talk = stream(
        core.connect_get_namespaced_pod_exec,
        "sleeper",
        SPACE,
        command=["sh", "-c", "read line; echo got $line; echo bad >&2; exit 3"],
        stdin=True,
        stdout=True,
        stderr=True,
        _preload_content=False,
    )
    talk.write_stdin("hello\n")
    talk.run_forever(timeout=10)
    assert talk.read_stdout() == "got hello\n"
    assert talk.read_stderr() == "bad\n"
    assert talk.returncode == 3


def test_exec_binary(core):
    talk = stream(
        core.connect_get_namespaced_pod_exec,
        "sleeper",
        SPACE,
        command=["printf", r"\377\000\001"],
        stdout=True,
        stderr=True,
        binary=True,
        _preload_content=False,
    )
    talk.run_forever(timeout=10)
    assert talk.read_stdout() == b"\xff\x00\x01"


def test_exec_in_a_pod_that_is_not_there(core):
    with pytest.raises(ApiException) as caught:
        stream(core.connect_get_namespaced_pod_exec, "nobody", SPACE, command=["true"], stdout=True)
    assert "404" in str(caught.value)


def test_attach(core):
    talk = stream(
        core.connect_get_namespaced_pod_attach, "sleeper", SPACE, stdout=True, _preload_content=False
    )
    try:
        talk.update(timeout=10)
        assert "tick" in talk.read_stdout(timeout=10)
    finally:
        talk.close()


def test_port_forward(core):
    forward = portforward(core.connect_get_namespaced_pod_portforward, "sleeper", SPACE, ports="80,81")
    web, nobody = forward.socket(80), forward.socket(81)
    for connection in (web, nobody):
        connection.settimeout(10)
    web.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
    assert web.recv(12) == b"HTTP/1.1 404"
    assert forward.error(80) is None
    assert nobody.recv(1) == b""
    assert "port 81" in forward.error(81)
    assert forward.error(81).endswith("connection refused")
    while web.recv(4096):  # what is left unread when it closes would break the client's own thread
        pass
    forward.close()
