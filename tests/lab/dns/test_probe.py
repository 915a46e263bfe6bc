"""Whether DNS answers, as ``up`` asks."""

from __future__ import annotations

import asyncio
import sys

import dns.message
import dns.rrset
import pytest

from stockade.lab.dns.probe import answers

NAME = "kubernetes.default.svc.cluster.local."


class Server(asyncio.DatagramProtocol):
    def __init__(self, records, change=lambda reply: None):
        self.records, self.change = records, change

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        reply = dns.message.make_response(dns.message.from_wire(data))
        reply.answer = [dns.rrset.from_text(NAME, 5, "IN", "A", each) for each in self.records]
        self.change(reply)
        self.transport.sendto(reply.to_wire(), address)


async def asked(server: Server) -> bool:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    try:
        return await answers("127.0.0.1", NAME, transport.get_extra_info("sockname")[1])
    finally:
        transport.close()


@pytest.mark.parametrize(("records", "said"), [(["10.96.0.1"], True), ([], False)])
async def test_an_answer_with_and_without_an_address(records, said):
    assert await asked(Server(records)) is said


async def test_an_answer_to_another_question_is_none():
    assert not await asked(Server(["10.96.0.1"], lambda reply: setattr(reply, "id", reply.id ^ 1)))


async def test_nobody_there():
    assert not await answers("127.0.0.1", NAME, port=1)


async def test_no_http_client_is_imported_with_the_lab():
    code = "import sys, stockade.lab.cluster; print([m for m in sys.modules if m.startswith(('dns.query', 'httpcore', 'httpx'))])"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert (await child.communicate())[0] == b"[]\n"
