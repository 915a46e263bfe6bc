"""Packets made by hand are what the specifications say, and carry their number there and back."""

from __future__ import annotations

import struct

import pytest

from stockade.testing.packets import Init, crc32c, echo_request, pack_init, read_echo, unpack_init


def test_checksum_of_the_specification() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 B.4


@pytest.mark.parametrize("answer", [False, True])
def test_init_there_and_back(answer: bool) -> None:
    init = Init(4711, 80, 123456, answer=answer)
    data = pack_init(init)
    assert unpack_init(data) == init
    assert struct.unpack("!HHI", data[:8]) == (4711, 80, 123456 if answer else 0)
    assert struct.unpack("<I", data[8:12])[0] == crc32c(data[:8] + bytes(4) + data[12:])
    assert unpack_init(data[:20]) is None
    assert unpack_init(data[:12] + b"\x07" + data[13:]) is None  # SHUTDOWN


@pytest.mark.parametrize("number", [1, 0xFFFF, 0x12345678])
def test_echo_carries_its_number(number: int) -> None:
    request = echo_request(4, number)
    total = sum(struct.unpack("!6H", request))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF  # RFC 1071
    header = bytes([0x45]) + bytes(19)
    assert read_echo(4, header + request) == (number, False)
    assert read_echo(4, header + b"\0" + request[1:]) == (number, True)
    assert read_echo(6, echo_request(6, number)) == (number, False)
    assert read_echo(4, header + request[:8]) is None
