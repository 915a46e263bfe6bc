"""The bodies of messages that make and name tables, sets, maps, chains and counters. Called by ``messages``; pure.

The type numbers and the user data of sets mean nothing to the kernel: nft reads them to print elements in the right form.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from stockade.dataplane.ir import Chain, IdentityMap, KeyType, NamedSet, VerdictMap
from stockade.dataplane.names import GENERATIONS
from stockade.dataplane.netlink import attribute, be32, be64, string
from stockade.dataplane.nfnetlink import wire as w
from stockade.dataplane.nfnetlink.elements import key_size

_UD_KEY_ORDER, _UD_DATA_ORDER, _UD_DATA_INTERVAL = 0, 1, 6
_NO_ORDER, _HOST_ORDER, _BIG_ENDIAN = 0, 1, 2


def table(flags: int) -> bytes:
    return w.IN_TABLE + be32(w.TABLE_FLAGS, flags)


def new_set(each: NamedSet, number: int) -> bytes:
    """``number`` tells sets of one transaction apart; the kernel insists on one."""
    if each.interval and len(each.key) > 1:
        raise ValueError(f"set {each.name}: intervals of concatenations are not used")
    flags = w.SET_F_INTERVAL if each.interval else 0
    order = _order(each.key[0]) if len(each.key) == 1 else _NO_ORDER
    return _set(each.name, flags, each.key, be32(w.SET_ID, number), _userdata(_UD_KEY_ORDER, order))


def new_map(each: IdentityMap | VerdictMap, number: int) -> bytes:
    if isinstance(each, IdentityMap):
        key, order = each.key, _HOST_ORDER
        number_of, size = w.KEY_TYPES[KeyType.IDENTITY]
        data = be32(w.SET_DATA_TYPE, number_of) + be32(w.SET_DATA_LEN, size)
    else:
        key, order = KeyType.IDENTITY, _NO_ORDER
        data = be32(w.SET_DATA_TYPE, w.DATA_TYPE_VERDICT)
    userdata = _userdata(_UD_KEY_ORDER, _order(key), _UD_DATA_ORDER, order, _UD_DATA_INTERVAL, 0)
    return _set(each.name, w.SET_F_MAP, (key,), data + be32(w.SET_ID, number), userdata)


def new_generations(size: int, number: int) -> bytes:
    """The map from marks to accept."""
    key = (KeyType.MARK,)
    description = w.container(w.SET_DESC, be32(w.SET_DESC_SIZE, size))
    data = be32(w.SET_DATA_TYPE, w.DATA_TYPE_VERDICT)
    userdata = _userdata(_UD_KEY_ORDER, _HOST_ORDER, _UD_DATA_ORDER, _NO_ORDER, _UD_DATA_INTERVAL, 0)
    return _set(GENERATIONS, w.SET_F_MAP, key, data + description + be32(w.SET_ID, number), userdata)


def set_name(name: str) -> bytes:
    return w.IN_TABLE + string(w.SET_NAME, name)


@lru_cache(maxsize=1 << 14)
def elements_of(name: str) -> bytes:
    return w.IN_TABLE + string(w.ELEMENTS_SET, name)


def new_chain(chain: Chain) -> bytes:
    if chain.hook is None:
        return chain_name(chain.name)
    hook = w.container(
        w.CHAIN_HOOK,
        be32(w.HOOK_NUMBER, w.HOOKS[chain.hook.hook]),
        be32(w.HOOK_PRIORITY, chain.hook.priority & 0xFFFFFFFF),
    )
    policy = be32(w.CHAIN_POLICY, w.POLICY_ACCEPT)
    return chain_name(chain.name) + hook + policy + string(w.CHAIN_TYPE, "filter")


def chain_name(name: str) -> bytes:
    return w.IN_TABLE + string(w.CHAIN_NAME, name)


@lru_cache(maxsize=1 << 14)
def rules_of(chain: str) -> bytes:
    return w.IN_TABLE + string(w.RULE_CHAIN, chain)


def new_counter(name: str) -> bytes:
    zero = be64(w.COUNTER_BYTES, 0) + be64(w.COUNTER_PACKETS, 0)
    return counter_name(name) + w.container(w.OBJECT_DATA, zero)


def counter_name(name: str) -> bytes:
    return w.IN_TABLE + string(w.OBJECT_NAME, name) + be32(w.OBJECT_TYPE, w.OBJECT_COUNTER)


def type_number(key: tuple[KeyType, ...]) -> int:
    number = 0
    for kind in key:
        number = number << w.TYPE_BITS | w.KEY_TYPES[kind][0]
    return number


def key_types(number: int) -> tuple[KeyType, ...]:
    """The reverse of ``type_number``. Raises KeyError for a type that is not ours."""
    found: list[KeyType] = []
    while number:
        found.insert(0, _KINDS[number & ((1 << w.TYPE_BITS) - 1)])
        number >>= w.TYPE_BITS
    return tuple(found)


def _set(name: str, flags: int, key: tuple[KeyType, ...], *more: bytes) -> bytes:
    kind = be32(w.SET_KEY_TYPE, type_number(key)) + be32(w.SET_KEY_LEN, key_size(key))
    return set_name(name) + be32(w.SET_FLAGS, flags) + kind + b"".join(more)


def _userdata(*numbers: int) -> bytes:
    """nft's own type-length-value pairs: one byte each, then the number in host order."""
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return attribute(w.SET_USERDATA, b"".join(struct.pack("=BBI", kind, 4, value) for kind, value in pairs))


def _order(kind: KeyType) -> int:
    return _HOST_ORDER if kind in {KeyType.IDENTITY, KeyType.MARK} else _BIG_ENDIAN


_KINDS = {number: kind for kind, (number, _) in w.KEY_TYPES.items()}
