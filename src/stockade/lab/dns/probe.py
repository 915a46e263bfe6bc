"""Does the cluster's DNS answer? One lookup, asked the way a pod asks. Called by ``lab.cluster`` before the lab is Ready."""

from __future__ import annotations

import dns.asyncquery
import dns.exception
import dns.message

PATIENCE = 0.3  # seconds


async def answers(server: str, name: str) -> bool:
    """True when ``server`` answers a query for A records of ``name`` over UDP with at least one."""
    query = dns.message.make_query(name, "A")
    try:
        reply = await dns.asyncquery.udp(query, server, timeout=PATIENCE)
    except (OSError, dns.exception.DNSException):
        return False
    return bool(reply.answer)
