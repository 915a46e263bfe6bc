"""A DNS process and its feed, on the loopback of this test: what clients see, what it says of itself, what it does not bear."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest

from stockade.lab.dns import replica
from stockade.lab.dns.feed import Feed
from stockade.lab.dns.records import Zone
from stockade.lab.dns.wire import Responder

NAME = "web.default.svc.cluster.local"


class Server:
    """One process; ``world`` is what its names come from."""

    def __init__(self):
        self.world = self.with_address("10.96.0.5")
        self.feed = Feed(lambda: self.world)
        sockets = replica.Sockets(
            self._bound(socket.SOCK_DGRAM),
            {
                port: self._bound(socket.SOCK_STREAM)
                for port in (replica.PORT, replica.HEALTH, replica.READY, replica.METRICS)
            },
        )
        self.udp = sockets.datagrams.getsockname()[1]
        self.ports = {port: each.getsockname()[1] for port, each in sockets.listeners.items()}
        line = self.feed.attach()
        self.pid = os.fork()
        if self.pid == 0:
            for each in self.feed.lines:  # as ``launch`` closes everything
                each.close()
            with Path(os.devnull).open("w") as sys.stdout:
                os._exit(replica.run(line, sockets))
        for each in (line, sockets.datagrams, *sockets.listeners.values()):
            each.close()

    def with_address(self, address):
        zone = Zone("cluster.local")
        zone.add(NAME, "A", address)
        for number in range(200):
            zone.add("many.cluster.local", "A", f"10.244.1.{number}")
        return Responder(zone)

    def _bound(self, kind):
        made = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
        made.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            made.listen(128)
        return made

    async def ask(self, name=NAME, **options):
        query = dns.message.make_query(name, "A", **options)
        return await dns.asyncquery.udp(query, "127.0.0.1", port=self.udp, timeout=5)

    async def page(self, port, path, method="GET"):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[port])
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        whole = (await asyncio.wait_for(reader.read(), 5)).decode()
        writer.close()
        return int(whole.split()[1]), whole.partition("\r\n\r\n")[2]

    async def end(self, number=signal.SIGTERM):
        os.kill(self.pid, number)
        _, status = await asyncio.wait_for(asyncio.to_thread(os.waitpid, self.pid, 0), 5)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)


@contextlib.asynccontextmanager
async def serving():
    server = Server()
    try:
        yield server
    finally:
        if server.pid:
            await server.end(signal.SIGKILL)


async def test_it_answers_what_the_world_is_now():
    async with serving() as server:
        assert (await server.ask()).answer[0][0].to_text() == "10.96.0.5"
        server.world = server.with_address("10.96.0.6")
        assert (await server.ask()).answer[0][0].to_text() == "10.96.0.6"
        server.feed.online = False
        server.world = server.with_address("10.96.0.7")
        assert (await server.ask()).answer[0][0].to_text() == "10.96.0.6"
        server.feed.online = True
        assert (await server.ask()).answer[0][0].to_text() == "10.96.0.7"
        assert (await server.ask("nosuch.cluster.local")).rcode() == dns.rcode.NXDOMAIN


async def test_what_is_too_long_for_udp_comes_by_tcp():
    async with serving() as server:
        cut = await server.ask("many.cluster.local")
        assert (bool(cut.flags & dns.flags.TC), cut.answer) == (True, [])
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports[53])
        for number in (1, 2, 3):  # one connection, three questions at once
            wire = dns.message.make_query("many.cluster.local", "A", id=number).to_wire()
            writer.write(len(wire).to_bytes(2, "big") + wire)
        for number in (1, 2, 3):
            size = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), 5), "big")
            answer = dns.message.from_wire(await reader.readexactly(size))
            assert (answer.id, len(answer.answer[0])) == (number, 200)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_it_says_how_it_is():
    async with serving() as server:
        await server.ask()
        await server.ask("nosuch.cluster.local")
        assert await server.page(replica.HEALTH, "/health") == (200, "OK")
        assert await server.page(replica.READY, "/ready", "HEAD") == (200, "")
        assert (await server.page(replica.READY, "/etc/passwd"))[0] == 404
        assert (await server.page(replica.HEALTH, "/health", "POST"))[0] == 405
        status, text = await server.page(replica.METRICS, "/metrics")
        assert status == 200
        assert 'rcode="NXDOMAIN"} 1' in text
        assert 'proto="udp",type="A"} 2' in text


async def test_asked_to_end_it_answers_on_for_a_moment():
    async with serving() as server:
        await server.ask()
        os.kill(server.pid, signal.SIGTERM)
        assert (await server.ask()).answer
        assert await server.end() == 0


async def test_without_the_daemon_it_ends():
    async with serving() as server:
        await server.ask()
        line = next(iter(server.feed.lines))
        asyncio.get_running_loop().remove_reader(line.fileno())
        line.close()
        _, status = await asyncio.wait_for(asyncio.to_thread(os.waitpid, server.pid, 0), 5)
        server.pid = 0
        assert os.waitstatus_to_exitcode(status) == 1


async def test_clients_that_send_rubbish_or_do_not_listen_harm_nobody():
    async with serving() as server:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rude:
            rude.setblocking(False)
            for number in range(300):
                await loop.sock_sendto(rude, os.urandom(number), ("127.0.0.1", server.udp))
        deaf = []
        for _ in range(replica._MOST_CONNECTIONS + 20):
            _, writer = await asyncio.open_connection("127.0.0.1", server.ports[53])
            deaf.append(writer)
        wire = dns.message.make_query("many.cluster.local", "A").to_wire()
        deaf[-1].write((len(wire).to_bytes(2, "big") + wire) * 2000)
        deaf[-2].write(os.urandom(100_000))
        assert (await server.ask()).answer
        assert await server.page(replica.READY, "/ready") == (200, "OK")
        for writer in deaf:
            writer.close()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\0\0\0\1",
        b"\0\0\0\1{}",
        b'\0\0\0\1[["a"],1,1,-1,0,true]',
        b'\0\0\0\1[["\xff"],1,1,-1,0,true,false]',
    ],
)
def test_a_process_that_says_something_else_is_not_understood(said):
    feed = Feed(lambda: Responder(Zone("cluster.local")))
    with pytest.raises(ValueError, match=None):
        feed.answer(said)


@pytest.mark.parametrize("labels", ['["' + "a" * 64 + '"]', '["", "a"]', '["\u0100"]'])
async def test_a_process_that_makes_up_names_loses_its_line(labels):
    feed = Feed(lambda: Responder(Zone("cluster.local")))
    line = feed.attach()
    line.send(b"\0\0\0\1" + f"[{labels},1,1,-1,0,true,false]".encode())
    line.setblocking(False)
    assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(line, 100), 5) == b""
    assert not feed.lines
    line.close()
