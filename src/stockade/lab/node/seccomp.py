"""System calls that no container of the lab needs, refused by the kernel (seccomp(2), classic BPF).

Containers run as the machine's root with few capabilities and no user namespace of their own. The filter closes what capabilities
leave open: a user namespace would give every capability back (inside itself), keyrings are not namespaced, and bpf, io_uring and the
mount calls are attack surface without use here. The list follows the default profile of container runtimes. On machines and kernels
without a known numbering the filter is left out; capabilities still hold.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Final

from stockade.lab.node import syscalls

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_X32: Final = 0x40000000  # numbers of the x32 interface of x86_64 start here

# linux/bpf_common.h
_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
# struct seccomp_data
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16

_AUDIT_ARCHITECTURE: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE3: Final = 435
_WITH_FLAGS: Final = {"x86_64": {"clone": 56, "unshare": 272}, "aarch64": {"clone": 220, "unshare": 97}}
_NEW_CALLS: Final = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
}
_REFUSED: Final = {
    "x86_64": {
        "pivot_root": 155,
        "acct": 163,
        "mount": 165,
        "umount2": 166,
        "swapon": 167,
        "swapoff": 168,
        "reboot": 169,
        "init_module": 175,
        "delete_module": 176,
        "quotactl": 179,
        "kexec_load": 246,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "perf_event_open": 298,
        "open_by_handle_at": 304,
        "setns": 308,
        "kcmp": 312,
        "finit_module": 313,
        "kexec_file_load": 320,
        "bpf": 321,
        "userfaultfd": 323,
    },
    "aarch64": {
        "umount2": 39,
        "mount": 40,
        "pivot_root": 41,
        "quotactl": 60,
        "acct": 89,
        "kexec_load": 104,
        "init_module": 105,
        "delete_module": 106,
        "reboot": 142,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "swapon": 224,
        "swapoff": 225,
        "perf_event_open": 241,
        "open_by_handle_at": 265,
        "setns": 268,
        "kcmp": 272,
        "finit_module": 273,
        "bpf": 280,
        "userfaultfd": 282,
        "kexec_file_load": 294,
    },
}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _refuse(number: int) -> bytes:
    return _instruction(_RETURN, _ERRNO | number)


def assemble(machine: str) -> bytes:
    """The filter as ``struct sock_filter[]``; empty where the numbering is not known. Each test skips the return after it."""
    if machine not in _REFUSED:
        return b""
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, _AUDIT_ARCHITECTURE[machine], 1, 0),
        _refuse(errno.ENOSYS),
        _instruction(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        program += [_instruction(_AT_LEAST, _X32, 0, 1), _refuse(errno.ENOSYS)]
    # The C library falls back to clone, whose flags a filter can read.
    program += [_instruction(_EQUAL, _CLONE3, 0, 1), _refuse(errno.ENOSYS)]
    for number in (*_REFUSED[machine].values(), *_NEW_CALLS.values()):
        program += [_instruction(_EQUAL, number, 0, 1), _refuse(errno.EPERM)]
    for number in _WITH_FLAGS[machine].values():
        program += [
            _instruction(_EQUAL, number, 0, 4),
            _instruction(_LOAD, _FIRST_ARGUMENT),  # both machines are little-endian: the low half
            _instruction(_ANY_BIT, syscalls.CLONE_NEWUSER, 0, 1),
            _refuse(errno.EPERM),
            _instruction(_RETURN, _ALLOW),
        ]
    program.append(_instruction(_RETURN, _ALLOW))
    return b"".join(program)


_FILTER: Final = assemble(os.uname().machine)


def install() -> None:
    """For the calling process and its children, for good. Needs no_new_privs."""
    if not _FILTER:
        return
    buffer = ctypes.create_string_buffer(_FILTER, len(_FILTER))
    program = _Program(len(_FILTER) // 8, ctypes.addressof(buffer))
    try:
        syscalls.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(program))
    except syscalls.SyscallError as error:
        if error.errno != errno.EINVAL:  # a kernel without seccomp
            raise
