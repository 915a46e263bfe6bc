"""Netlink: encode and decode messages and attributes; a socket that sends requests and turns refusals into errors.

In: ``Request`` values (a message type, flags, a body built from a packed header and attributes). Out: ``Message`` values, or
``NetlinkError`` with the kernel's errno and its own explanation. Called by ``lab.node.links`` (routing netlink) and by the
readers and writers of nfnetlink (drop log, nftables). Formats: RFC 3549, linux/netlink.h. Nothing here knows a protocol family.

Attributes are type-length-value in host byte order, padded to four bytes; what they carry is up to the family (netfilter
numbers are big-endian, routing numbers host-endian: hence both ``u32`` and ``be32``).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

import msgspec

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

NLMSG_NOOP = 1
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_OVERRUN = 4

NLM_F_REQUEST = 0x1
NLM_F_MULTI = 0x2
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
_NLM_F_DUMP_INTR = 0x10
_NLM_F_CAPPED = 0x100
_NLM_F_ACK_TLVS = 0x200

NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF

_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NETLINK_DROP_MEMBERSHIP = 2
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NLMSGERR_ATTR_MSG = 1
_NLMSGERR_ATTR_OFFS = 2

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")
_RECEIVE_BYTES = 1 << 17
_KIND_OFFSET, _PORT_OFFSET = 4, 12  # in a message's header
_SO_ATTACH_FILTER = getattr(socket, "SO_ATTACH_FILTER", 26)
_BPF = struct.Struct("=HBBI")
_BPF_LOAD_WORD, _BPF_LOAD_HALF, _BPF_JUMP_IF_EQUAL, _BPF_RETURN = 0x20, 0x28, 0x15, 0x06
_SO_SNDBUFFORCE = getattr(socket, "SO_SNDBUFFORCE", 32)
_SO_RCVBUFFORCE = getattr(socket, "SO_RCVBUFFORCE", 33)


class Message(msgspec.Struct, frozen=True):
    """One netlink message. ``body`` starts with the family's own header; ``port`` is the socket whose request this answers, or
    whose change a notification tells of."""

    kind: int
    flags: int
    sequence: int
    body: bytes
    port: int = 0


class Request(msgspec.Struct, frozen=True):
    """What to ask; ``NLM_F_REQUEST`` is implied. ``purpose`` says in words what it is for: it begins the error's text."""

    kind: int
    body: bytes
    flags: int = 0
    purpose: str = "netlink request"


class NetlinkError(OSError):
    """The kernel refused: ``errno`` is its number, the text is the purpose, the errno's text and the kernel's own words."""

    def __init__(self, purpose: str, number: int, detail: str = "") -> None:
        words = os.strerror(number) + (f" ({detail})" if detail else "")
        super().__init__(number, f"{purpose}: {words}")
        self.purpose = purpose
        self.detail = detail

    def __str__(self) -> str:
        return str(self.strerror)


def attribute(kind: int, payload: bytes = b"") -> bytes:
    """One attribute, padded. Lengths above 65 531 bytes do not exist in netlink (struct.error)."""
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length % 4)


def nested(kind: int, *attributes: bytes, flag: bool = True) -> bytes:
    """An attribute made of attributes. Old routing code is indifferent to the flag, nfnetlink insists on it."""
    return attribute(kind | (NLA_F_NESTED if flag else 0), b"".join(attributes))


def string(kind: int, text: str) -> bytes:
    """A NUL-terminated string."""
    return attribute(kind, text.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=B", value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def be16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!H", value))


def be32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value))


def be64(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!Q", value))


def attributes(body: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Type (without flags) and payload of each attribute from ``offset`` on, in order; stops where the data is cut short."""
    end = len(body)
    while offset + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < _ATTRIBUTE.size or offset + length > end:
            return
        yield kind & _NLA_TYPE_MASK, body[offset + _ATTRIBUTE.size : offset + length]
        offset += length + (-length % 4)


def attribute_map(body: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes by type; a repeated type keeps its last value. Written out, for large tables have half a million."""
    found: dict[int, bytes] = {}
    end, unpack = len(body) - _ATTRIBUTE.size, _ATTRIBUTE.unpack_from
    while offset <= end:
        length, kind = unpack(body, offset)
        if length < 4 or offset + length > end + 4:
            break
        found[kind & _NLA_TYPE_MASK] = body[offset + 4 : offset + length]
        offset += length + 3 & ~3
    return found


def text(payload: bytes) -> str:
    """The payload of a string attribute."""
    return payload.split(b"\0", 1)[0].decode(errors="replace")


def encode(message: Message) -> bytes:
    """The wire form, padded, with port id 0 (the kernel fills in the sender)."""
    length = _HEADER.size + len(message.body)
    header = _HEADER.pack(length, message.kind, message.flags, message.sequence, 0)
    return header + message.body + b"\0" * (-length % 4)


def decode(data: bytes) -> Iterator[Message]:
    """The messages of one datagram; a message cut short ends the iteration."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            return
        yield Message(kind, flags, sequence, data[offset + _HEADER.size : offset + length], port)
        offset += length + (-length % 4)


class Answer(msgspec.Struct, frozen=True):
    """An NLMSG_ERROR: errno (0 is an acknowledgement), the kernel's words, and where in the request the attribute stands that it
    did not like; 0 when it does not say."""

    number: int
    detail: str = ""
    offset: int = 0


def answer_of(message: Message) -> Answer:
    number = -_ERRNO.unpack_from(message.body)[0]
    if not message.flags & _NLM_F_ACK_TLVS:
        return Answer(number)
    offset = _ERRNO.size + _HEADER.size
    if not message.flags & _NLM_F_CAPPED:  # the whole refused request stands before the explanation
        (request_length,) = struct.unpack_from("=I", message.body, _ERRNO.size)
        offset = _ERRNO.size + request_length + (-request_length % 4)
    found = attribute_map(message.body, offset)
    place = int.from_bytes(found.get(_NLMSGERR_ATTR_OFFS, b""), sys.byteorder)
    return Answer(number, text(found.get(_NLMSGERR_ATTR_MSG, b"")), place)


def error_of(message: Message) -> tuple[int, str]:
    """(errno, the kernel's words) of an NLMSG_ERROR; errno 0 is an acknowledgement."""
    answer = answer_of(message)
    return answer.number, answer.detail


class NetlinkSocket:
    """A netlink socket of the network namespace of the thread that opens it; it stays there, whatever thread uses it later.

    ``execute`` and ``dump`` are synchronous: the kernel has answered when ``send`` returns.
    """

    def __init__(self, protocol: int = NETLINK_ROUTE, *, receive_buffer: int = 0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    @property
    def port(self) -> int:
        """What the kernel calls this socket in notifications of what it changed."""
        return int(self._socket.getsockname()[0])

    def join(self, group: int) -> None:
        """Be told what happens. Needs the privilege to change it."""
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)

    def leave(self, group: int) -> None:
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_DROP_MEMBERSHIP, group)

    def ignore(self, ports: Iterable[int], *, but: int) -> None:
        """Drop notifications of what these sockets cause before they are queued here, except messages of kind ``but``: a filter in
        the kernel, which looks at the first message of a datagram."""
        refused = sorted(set(ports))
        last = len(refused) + 3  # place of the instruction that keeps the datagram; the next one drops it
        code = [
            _BPF.pack(_BPF_LOAD_HALF, 0, 0, _KIND_OFFSET),
            _BPF.pack(_BPF_JUMP_IF_EQUAL, last - 2, 0, _swapped("=H", but)),
            _BPF.pack(_BPF_LOAD_WORD, 0, 0, _PORT_OFFSET),
        ]
        for number, port in enumerate(refused):
            code.append(_BPF.pack(_BPF_JUMP_IF_EQUAL, len(refused) - number, 0, _swapped("=I", port)))
        code += [_BPF.pack(_BPF_RETURN, 0, 0, 0xFFFFFFFF), _BPF.pack(_BPF_RETURN, 0, 0, 0)]
        program = ctypes.create_string_buffer(b"".join(code))
        head = struct.pack("@HP", len(code), ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)

    def reserve(self, *, send: int = 0, receive: int = 0) -> None:
        """Buffers of at least so many bytes; what the system allows to whoever may not pass its limits."""
        for size, forced, asked in (
            (send, _SO_SNDBUFFORCE, socket.SO_SNDBUF),
            (receive, _SO_RCVBUFFORCE, socket.SO_RCVBUF),
        ):
            if size <= self._socket.getsockopt(socket.SOL_SOCKET, asked):
                continue
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, forced, size)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, asked, size)

    def transmit(self, datagram: bytes) -> None:
        """Messages made elsewhere, with their own sequence numbers. EMSGSIZE when the send buffer is too small for them."""
        self._socket.send(datagram)

    def acknowledged(self, purpose: str) -> None:
        """The first answer to what was transmitted: raises it if it is a refusal."""
        for message in self.receive():
            if message.kind == NLMSG_ERROR and error_of(message)[0]:
                raise NetlinkError(purpose, *error_of(message))

    def waiting(self) -> list[Message]:
        """One datagram that is there already; nothing when there is none. OSError ENOBUFS as ``receive``."""
        try:
            return list(decode(self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)))
        except BlockingIOError:
            return []

    def set_blocking(self, *, blocking: bool) -> None:
        """A listener (drop log, monitor) reads without blocking from an event loop."""
        self._socket.setblocking(blocking)

    def receive_bytes(self) -> bytes:
        """One datagram as it is; errors as in ``receive``."""
        return self._socket.recv(_RECEIVE_BYTES)

    def receive(self) -> list[Message]:
        """One datagram's messages. OSError ENOBUFS when the kernel had to drop some; BlockingIOError when there is none."""
        return list(decode(self.receive_bytes()))

    def send(self, requests: Iterable[Request], extra_flags: int = 0) -> range:
        """Send all in one datagram; the sequence numbers they got."""
        first = self._sequence + 1
        parts: list[bytes] = []
        for request in requests:
            self._sequence += 1
            flags = request.flags | NLM_F_REQUEST | extra_flags
            parts.append(encode(Message(request.kind, flags, self._sequence, request.body)))
        self._socket.send(b"".join(parts))
        return range(first, self._sequence + 1)

    def execute(self, *requests: Request) -> None:
        """Do all, in order, in one system call. The kernel goes on after a refusal; the first refusal is raised."""
        if not requests:
            return
        numbers = self.send(requests, NLM_F_ACK)
        waiting = set(numbers)
        failure: NetlinkError | None = None
        while waiting:
            for message in self.receive():
                if message.sequence not in waiting or message.kind != NLMSG_ERROR:
                    continue  # a notification, or the answer to an earlier, abandoned request
                waiting.discard(message.sequence)
                number, detail = error_of(message)
                if number and failure is None:
                    purpose = requests[message.sequence - numbers.start].purpose
                    failure = NetlinkError(purpose, number, detail)
        if failure is not None:
            raise failure

    def dump(self, request: Request, *, consistent: bool = False) -> list[Message]:
        """All objects the kernel lists for ``request`` (NLM_F_DUMP is implied). ``consistent``: EINTR if anything changed meanwhile,
        for the kernel goes on at the same place of a list that may be shorter by then."""
        (number,) = self.send([request], NLM_F_DUMP)
        found: list[Message] = []
        changed = False
        while True:
            for message in self.receive():
                if message.sequence != number:
                    continue
                changed = changed or bool(message.flags & _NLM_F_DUMP_INTR)
                if message.kind == NLMSG_DONE:
                    if changed and consistent:
                        raise NetlinkError(request.purpose, errno.EINTR, "it changed while it was listed")
                    return found
                if message.kind == NLMSG_ERROR:
                    raise _refusal(request, message)
                found.append(message)

    def ask(self, request: Request) -> Sequence[Message]:
        """The answer to a request that is not a dump (a GET of one object): its messages up to the acknowledgement."""
        (number,) = self.send([request], NLM_F_ACK)
        found: list[Message] = []
        while True:
            for message in self.receive():
                if message.sequence != number:
                    continue
                if message.kind != NLMSG_ERROR:
                    found.append(message)
                elif error_of(message)[0]:
                    raise _refusal(request, message)
                else:
                    return found


def _swapped(form: str, number: int) -> int:
    """As a socket filter sees a number of the host: it loads big-endian."""
    return int.from_bytes(struct.pack(form, number), "big")


def _refusal(request: Request, message: Message) -> NetlinkError:
    number, detail = error_of(message)
    return NetlinkError(request.purpose, number, detail)
