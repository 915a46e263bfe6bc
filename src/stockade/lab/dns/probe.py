"""Does the cluster's DNS answer? One lookup, asked the way a pod asks. Called by ``lab.cluster`` before the lab is Ready.

By a plain socket: dnspython's own queries import an HTTP client where there is one, and ``up`` would wait for that.
"""

from __future__ import annotations

import asyncio
import socket

import dns.exception
import dns.message

PATIENCE = 0.3  # seconds
PORT = 53


async def answers(server: str, name: str, port: int = PORT) -> bool:
    """True when ``server`` answers a query for A records of ``name`` over UDP with at least one."""
    query = dns.message.make_query(name, "A")
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(PATIENCE):
                await loop.sock_connect(connection, (server, port))  # strangers' packets do not arrive
                await loop.sock_sendall(connection, query.to_wire())
                reply = dns.message.from_wire(await loop.sock_recv(connection, 4096))
        except (OSError, dns.exception.DNSException):
            return False
    return query.is_response(reply) and bool(reply.answer)
