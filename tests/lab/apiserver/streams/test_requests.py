"""Refusals, other clients' habits, and the end of sessions: what kubectl does not show."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from .conftest import pod, until

PATH = "/api/v1/namespaces/default/pods"


@pytest.fixture
async def http(cluster):
    async with aiohttp.ClientSession(cluster.url) as session:
        yield session


async def refusal(http, path):
    async with http.get(path) as response:
        return response.status, (await response.json())["message"]


async def test_a_container_must_be_named_when_there_are_several(cluster, http):
    await cluster.add(pod("two", "a", "b", running=["b"]), "sleep", "600")
    text = "a container name must be specified for pod two, choose one of: [a b]"
    assert await refusal(http, f"{PATH}/two/log") == (400, text)
    assert await refusal(http, f"{PATH}/two/exec?command=true&stdout=1") == (400, text)
    assert await refusal(http, f"{PATH}/two/log?container=c") == (400, "container c is not valid for pod two")


async def test_the_annotation_names_the_default_container(cluster, http):
    annotated = {"kubectl.kubernetes.io/default-container": "b"}
    await cluster.add(pod("two", "a", "b", running=["b"], annotations=annotated), "echo", "hello")
    await asyncio.sleep(0.1)
    async with http.get(f"{PATH}/two/log") as response:
        assert (response.status, await response.text()) == (200, "hello\n")
        assert response.content_type == "text/plain"


async def test_logs_before_the_start(cluster, http):
    await cluster.add(pod("web", "web"), "true")
    waiting = (400, 'container "web" in pod "web" is waiting to start: ContainerCreating')
    assert await refusal(http, f"{PATH}/web/log") == waiting

    def pull(obj):
        obj["status"]["containerStatuses"] = [
            {"name": "web", "state": {"waiting": {"reason": "ErrImagePull"}}}
        ]

    cluster.registry.mutate("pods", "default", "web", pull)
    assert (await refusal(http, f"{PATH}/web/log"))[1].endswith("waiting to start: ErrImagePull")
    previous = 'previous terminated container "web" in pod "web" not found'
    assert await refusal(http, f"{PATH}/web/log?previous=true") == (400, previous)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("tailLines=x", "invalid syntax"),
        ("tailLines=-3", "greater than or equal to 0"),
        ("sinceTime=noon", "RFC 3339"),
    ],
)
async def test_log_parameters_are_checked(cluster, http, query, text):
    await cluster.add(pod("web", "web", running=["web"]), "true")
    code, message = await refusal(http, f"{PATH}/web/log?{query}")
    assert code == 400
    assert text in message


async def test_a_pod_without_a_node(cluster, http):
    obj = pod("new", "a")
    del obj["spec"]["nodeName"]
    await cluster.add(obj, "true")
    assert await refusal(http, f"{PATH}/new/portforward") == (400, "pod new does not have a host assigned")
    assert await refusal(http, f"{PATH}/new/log") == (400, "pod new does not have a host assigned")
    assert (await refusal(http, f"{PATH}/none/log"))[0] == 404


async def test_a_plain_request_is_told_to_upgrade(cluster, http):
    await cluster.add(pod("web", "web", running=["web"]), "sleep", "600")
    query = "command=true&stdout=true"
    assert await refusal(http, f"{PATH}/web/exec?{query}") == (400, "Upgrade request required")
    assert (await refusal(http, f"{PATH}/web/exec?command=true"))[1].startswith(
        "you must specify at least 1 of"
    )
    assert (await refusal(http, f"{PATH}/web/exec?stdout=true"))[1].startswith(
        "you must specify at least one command"
    )


async def test_version_4_of_the_websocket_protocol_as_python_clients_use_it(cluster, http):
    await cluster.add(pod("web", "web", running=["web"]), "sleep", "600")
    query = "command=sh&command=-c&command=head -c 3; exit 2&stdin=True&stdout=1&stderr=True"
    url, offered = f"{PATH}/web/exec?{query}", ("v9.channel.k8s.io", "v4.channel.k8s.io")
    async with http.ws_connect(url, protocols=offered) as socket:
        assert socket.protocol == "v4.channel.k8s.io"
        await socket.send_str("\0abc")
        messages = [message.data async for message in socket]
    assert b"".join(m[1:] for m in messages if m[0] == 1) == b"abc"
    [status] = [json.loads(m[1:]) for m in messages if m[0] == 3]
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "2"}]
    assert socket.close_code == 1000


async def test_a_follower_that_leaves_is_let_go(cluster, http, monkeypatch):
    monkeypatch.setattr("stockade.lab.apiserver.streams.log._CHECK", 0.05)
    await cluster.add(pod("web", "web", running=["web"]), "sleep", "600")
    before = len(asyncio.all_tasks())
    async with http.get(f"{PATH}/web/log?follow=true") as response:
        assert response.status == 200
        response.close()
    async with asyncio.timeout(10):
        await until(lambda: len(asyncio.all_tasks()) <= before)


async def test_port_forward_by_channels(cluster, http):
    """Port i is on channels 2i (data) and 2i+1 (errors); each begins with the port's number."""
    await cluster.add(pod("web", "web", running=["web"]), "sleep", "600")

    async def answer(reader, writer):
        writer.write(b"you said " + await reader.read(4))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    spare = await asyncio.start_server(answer, "127.0.0.1", 0)
    closed = spare.sockets[0].getsockname()[1]
    spare.close()
    offered = ("v5.channel.k8s.io", "v4.channel.k8s.io")
    path = f"{PATH}/web/portforward?ports={port},{closed}"
    async with asyncio.timeout(10), http.ws_connect(path, protocols=offered) as socket:
        assert socket.protocol == "v4.channel.k8s.io"
        first = [await socket.receive_bytes() for _ in range(4)]
        numbers = [port.to_bytes(2, "little")] * 2 + [closed.to_bytes(2, "little")] * 2
        assert first == [bytes([at]) + number for at, number in enumerate(numbers)]
        refused = await socket.receive_bytes()
        assert refused[0] == 3
        assert refused.endswith(f"127.0.0.1:{closed}: connect: connection refused".encode())
        await socket.send_bytes(b"\x07nobody there")
        await socket.send_bytes(b"\x00ping")
        assert await socket.receive_bytes() == b"\x00you said ping"
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE  # the last connection has ended
    server.close()


@pytest.mark.parametrize("ports", ["", "ports=0", "ports=65536", "ports=http", "ports=1,,2", "ports=\u00b2"])
async def test_port_forward_by_channels_needs_ports(cluster, http, ports):
    await cluster.add(pod("web", "web", running=["web"]), "sleep", "600")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(f"{PATH}/web/portforward?{ports}", protocols=("v4.channel.k8s.io",))
    assert caught.value.status == 400


async def test_a_client_that_leaves_ends_its_connections(cluster, http):
    await cluster.add(pod("web", "web", running=["web"]), "sleep", "600")
    ended = asyncio.Event()

    async def hold(reader, writer):
        await reader.read()
        ended.set()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with http.ws_connect(f"{PATH}/web/portforward?ports={port}") as socket:
        await socket.receive_bytes()
    async with asyncio.timeout(10):
        await ended.wait()
    server.close()
