"""Numbers and shapes of nf_tables messages (linux/netfilter/nf_tables.h), and the attributes that nearly all of them begin with.

Nested attributes are written without NLA_F_NESTED, as the kernel itself writes them when it lists: so what was sent and what is
read back can be compared byte for byte. All numbers are big-endian unless the name says otherwise.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from stockade.dataplane.ir import TABLE, KeyType
from stockade.dataplane.netlink import nested, string

FAMILY_INET = 1  # NFPROTO_INET
SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
BATCH_BEGIN, BATCH_END = 0x10, 0x11
BATCH_GENID = 1  # NFNL_BATCH_GENID: refuse with ERESTART unless this is the generation id in force
GROUP = 7  # NFNLGRP_NFTABLES


class Kind(IntEnum):
    """Message types: NFT_MSG_* with the subsystem in the high byte."""

    NEWTABLE = SUBSYSTEM << 8
    GETTABLE = NEWTABLE + 1
    DELTABLE = NEWTABLE + 2
    NEWCHAIN = NEWTABLE + 3
    GETCHAIN = NEWTABLE + 4
    DELCHAIN = NEWTABLE + 5
    NEWRULE = NEWTABLE + 6
    GETRULE = NEWTABLE + 7
    DELRULE = NEWTABLE + 8
    NEWSET = NEWTABLE + 9
    GETSET = NEWTABLE + 10
    DELSET = NEWTABLE + 11
    NEWSETELEM = NEWTABLE + 12
    GETSETELEM = NEWTABLE + 13
    DELSETELEM = NEWTABLE + 14
    NEWGEN = NEWTABLE + 15
    GETGEN = NEWTABLE + 16
    NEWOBJ = NEWTABLE + 18
    GETOBJ = NEWTABLE + 19
    DELOBJ = NEWTABLE + 20


NAME_TABLE = 1  # NFTA_*_TABLE: every object's first attribute, and NFTA_TABLE_NAME
TABLE_FLAGS, TABLE_OWNER = 2, 7
DORMANT, OWNER, PERSIST = 0x1, 0x2, 0x4

CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE = 3, 4, 5, 7
HOOK_NUMBER, HOOK_PRIORITY = 1, 2
HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}
POLICY_ACCEPT = 1

RULE_CHAIN, RULE_EXPRESSIONS = 2, 4

SET_NAME, SET_FLAGS, SET_KEY_TYPE, SET_KEY_LEN, SET_DATA_TYPE, SET_DATA_LEN = 2, 3, 4, 5, 6, 7
SET_DESC, SET_ID, SET_USERDATA = 9, 10, 13
SET_DESC_SIZE = 1
SET_F_INTERVAL, SET_F_MAP = 0x4, 0x8
DATA_TYPE_VERDICT = 0xFFFFFF00

ELEMENTS_SET, ELEMENTS_LIST = 2, 3
LIST_ELEMENT = 1
ELEMENT_KEY, ELEMENT_DATA, ELEMENT_FLAGS, ELEMENT_USERDATA = 1, 2, 3, 6
INTERVAL_END = 1
DATA_VALUE, DATA_VERDICT = 1, 2
VERDICT_CODE, VERDICT_CHAIN = 1, 2
VERDICT_DROP, VERDICT_ACCEPT, VERDICT_GOTO = 0, 1, -4

OBJECT_NAME, OBJECT_TYPE, OBJECT_DATA = 2, 3, 4
OBJECT_COUNTER = 1
COUNTER_BYTES, COUNTER_PACKETS = 1, 2

GEN_ID, GEN_PID, GEN_NAME = 1, 2, 3

ATTRIBUTE_LIMIT = 60_000  # an attribute's length has 16 bits; some room for what stands around it

NFGEN_SIZE = 4
NFGEN = struct.pack("!BBH", FAMILY_INET, 0, 0)
BATCH_NFGEN = struct.pack("!BBH", 0, 0, SUBSYSTEM)
OUR_TABLE = string(NAME_TABLE, TABLE)
IN_TABLE = NFGEN + OUR_TABLE  # the beginning of every message about an object of our table

# number of the data type in nft, size in bytes; nft keeps both in the kernel to read them back
KEY_TYPES = {
    KeyType.IPV4: (7, 4),
    KeyType.IPV6: (8, 16),
    KeyType.PROTOCOL: (12, 1),
    KeyType.SERVICE: (13, 2),
    KeyType.ICMPV6_TYPE: (29, 1),
    KeyType.IDENTITY: (23, 4),
    KeyType.MARK: (19, 4),
}
TYPE_BITS = 6  # nft numbers a concatenation by its parts' numbers, six bits each


def container(kind: int, *parts: bytes) -> bytes:
    """A nested attribute as the kernel lists it."""
    return nested(kind, *parts, flag=False)
