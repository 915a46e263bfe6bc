"""The filter, interpreted: what the kernel would answer. (tests/kernel/node asks the kernel itself.)"""

from __future__ import annotations

import errno
import struct

import pytest

from stockade.lab.node import seccomp

ALLOWED = 0x7FFF0000
REFUSED = 0x00050000
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def answer(program: bytes, architecture: int, number: int, first: int = 0) -> int:
    data = struct.pack("IIQQ", number, architecture, 0, first)
    code = [struct.unpack_from("HBBI", program, at) for at in range(0, len(program), 8)]
    at = accumulator = 0
    while True:
        operation, if_true, if_false, value = code[at]
        at += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("I", data, value)
        elif operation == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[
                operation
            ]
            at += if_true if holds else if_false


@pytest.mark.parametrize(
    ("machine", "number", "first", "expected"),
    [
        ("x86_64", 0, 0, ALLOWED),  # read
        ("x86_64", 59, 0, ALLOWED),  # execve
        ("x86_64", 165, 0, REFUSED | errno.EPERM),  # mount
        ("x86_64", 56, 0x11, ALLOWED),  # clone: fork
        ("x86_64", 56, 0x10000011, REFUSED | errno.EPERM),  # clone: CLONE_NEWUSER
        ("x86_64", 272, 0x10000000, REFUSED | errno.EPERM),  # unshare: CLONE_NEWUSER
        ("x86_64", 272, 0x00000400, ALLOWED),
        ("x86_64", 435, 0, REFUSED | errno.ENOSYS),  # clone3
        ("x86_64", 0x40000000, 0, REFUSED | errno.ENOSYS),
        ("aarch64", 40, 0, REFUSED | errno.EPERM),  # mount
        ("aarch64", 165, 0, ALLOWED),  # getrusage
        ("aarch64", 97, 0x10000000, REFUSED | errno.EPERM),
    ],
)
def test_answers(machine, number, first, expected) -> None:
    assert answer(seccomp.assemble(machine), ARCHITECTURE[machine], number, first) == expected


def test_foreign_architecture_is_refused() -> None:
    assert answer(seccomp.assemble("x86_64"), 0x40000003, 0) == REFUSED | errno.ENOSYS


def test_unknown_machine_has_no_filter() -> None:
    assert seccomp.assemble("riscv64") == b""
