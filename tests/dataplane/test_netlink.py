"""The netlink codec, without a kernel."""

import errno
import struct

import pytest

from stockade.dataplane import netlink
from stockade.dataplane.netlink import Message, NetlinkError


@pytest.mark.parametrize("size", range(9))
def test_attributes_are_padded_and_read_back(size):
    payload = bytes(range(size))
    wire = netlink.attribute(7, payload) + netlink.be16(8, 0x1234)
    assert len(wire) % 4 == 0
    assert list(netlink.attributes(wire)) == [(7, payload), (8, b"\x12\x34")]


def test_nested_attributes_lose_their_flag_when_read():
    wire = netlink.nested(3, netlink.string(1, "eth0"), netlink.u8(2, 5))
    ((kind, inner),) = netlink.attributes(wire)
    assert struct.unpack_from("=HH", wire)[1] == 3 | netlink.NLA_F_NESTED
    assert kind == 3
    found = netlink.attribute_map(inner)
    assert netlink.text(found[1]) == "eth0"
    assert found[2] == b"\x05"


@pytest.mark.parametrize("cut", range(1, 12))
def test_attributes_cut_short_are_left_out(cut):
    whole = netlink.be32(1, 1) + netlink.be64(2, 2)
    assert list(netlink.attributes(whole[:-cut])) == [(1, b"\0\0\0\1")]


def test_a_length_below_the_header_ends_the_attributes():
    assert list(netlink.attributes(struct.pack("=HH", 0, 1) + netlink.u8(2, 1))) == []


def test_messages_round_trip_in_one_datagram():
    messages = [Message(16, 1, 5, b"abcde"), Message(3, 2, 6, b""), Message(2, 0, 7, b"\0" * 8)]
    wire = b"".join(map(netlink.encode, messages))
    assert len(wire) % 4 == 0
    assert list(netlink.decode(wire)) == messages
    assert list(netlink.decode(wire[:-1])) == messages[:2]


def request_header(length):
    return struct.pack("=IHHII", length, 16, 5, 1, 0)


def test_an_acknowledgement_is_errno_0():
    body = struct.pack("=i", 0) + request_header(40)
    assert netlink.error_of(Message(netlink.NLMSG_ERROR, 0x100, 1, body)) == (0, "")


@pytest.mark.parametrize("capped", [True, False])
def test_a_refusal_carries_the_kernels_words(capped):
    rest = b"" if capped else b"request body 1234567"
    body = struct.pack("=i", -errno.EEXIST) + request_header(16 + len(rest)) + rest
    body += netlink.string(1, "File exists here")
    flags = 0x200 | (0x100 if capped else 0)
    assert netlink.error_of(Message(netlink.NLMSG_ERROR, flags, 1, body)) == (
        errno.EEXIST,
        "File exists here",
    )


def test_the_errors_text_is_for_people():
    error = NetlinkError("create veth link web", errno.EEXIST, "name taken")
    assert error.errno == errno.EEXIST
    assert str(error) == "create veth link web: File exists (name taken)"


def test_a_refusal_may_say_where_it_stumbled():
    request = bytes(16)
    body = struct.pack("=i", -errno.ENOENT) + request + netlink.string(1, "no") + netlink.u32(2, 40)
    capped = 0x300
    answer = netlink.answer_of(Message(netlink.NLMSG_ERROR, capped, 1, body))
    assert answer == netlink.Answer(errno.ENOENT, "no", 40)
    assert netlink.answer_of(Message(netlink.NLMSG_ERROR, 0, 1, body)) == netlink.Answer(errno.ENOENT)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_map_of_attributes_stops_where_the_data_is_cut_short(cut):
    wire = netlink.be32(1, 1) + netlink.be32(2, 2)
    assert netlink.attribute_map(wire[:-cut]) == dict(netlink.attributes(wire[:-cut]))
    assert netlink.attribute_map(wire) == {1: b"\0\0\0\1", 2: b"\0\0\0\2"}
