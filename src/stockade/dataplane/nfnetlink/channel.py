"""The socket that changes the table: one transaction at a time, and what the kernel answered. Called by ``backend``.

Netlink to the kernel is a function call: when ``transact`` has sent, the transaction is done or refused and every answer waits
in the socket. So it never waits, and the caller needs no time-out.
"""

from __future__ import annotations

import errno

from stockade.dataplane.netlink import (
    NETLINK_NETFILTER,
    NLMSG_ERROR,
    Answer,
    Message,
    NetlinkError,
    NetlinkSocket,
    Request,
    answer_of,
    attribute_map,
)
from stockade.dataplane.nfnetlink.messages import Encoded
from stockade.dataplane.nfnetlink.refusal import explain
from stockade.dataplane.nfnetlink.wire import GEN_ID, NFGEN, NFGEN_SIZE, Kind

_HEADROOM = 4096  # what the kernel adds to a datagram's size in its accounts


class GenerationMoved(Exception):  # noqa: N818 - a state of affairs, not a fault
    """Somebody changed the ruleset, ours or another table, since the generation id that the transaction names."""


class Channel:
    """Its port is who owns the table, if it is owned."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NETLINK_NETFILTER)

    @property
    def port(self) -> int:
        return self._socket.port

    def close(self) -> None:
        self._socket.close()

    def generation_id(self) -> int:
        for message in self._socket.ask(Request(Kind.GETGEN, NFGEN, purpose="read the generation id")):
            return int.from_bytes(attribute_map(message.body, NFGEN_SIZE)[GEN_ID], "big")
        raise NetlinkError("read the generation id", errno.ENODATA)

    def quiet_generation_id(self) -> int:
        """The id when nobody is in the middle of a transaction: all notifications up to it have been sent. An empty transaction
        waits for the kernel's lock and changes nothing; it is refused if the id is another by then."""
        while True:
            number = self.generation_id()
            try:
                self._send(Encoded(), number)
            except GenerationMoved:
                continue
            return number

    def transact(self, encoded: Encoded, generation_id: int) -> None:
        """Raises GenerationMoved, or NetlinkError with the operation that was refused first; nothing changed then."""
        if not self._send(encoded, generation_id):
            raise NetlinkError("change the table", errno.EPROTO, "the kernel did not answer")

    def _send(self, encoded: Encoded, generation_id: int) -> bool:
        """Was the last message acknowledged?"""
        data = encoded.datagram(generation_id)
        self._socket.reserve(send=2 * len(data) + _HEADROOM)
        self._socket.transmit(data)
        done = False
        for message in self._answers():
            answer = answer_of(message)
            if answer.number:
                raise _refused(encoded, message.sequence, answer)
            done = done or message.sequence == len(encoded.messages)
        return done

    def _answers(self) -> list[Message]:
        """All of them; a refusal for each of thousands of messages overflows the buffer, but the first ones are there."""
        found: list[Message] = []
        overflow = False
        while True:
            try:
                messages = self._socket.waiting()
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                overflow = True
                continue
            if not messages:
                break
            found += [message for message in messages if message.kind == NLMSG_ERROR]
        if overflow and not any(answer_of(message).number for message in found):
            raise NetlinkError("change the table", errno.ENOBUFS, "the kernel's answers were lost")
        return found


def _refused(encoded: Encoded, sequence: int, answer: Answer) -> Exception:
    if answer.number == errno.ERESTART:
        return GenerationMoved()
    return NetlinkError(explain(encoded, sequence, answer.offset), answer.number, answer.detail)
