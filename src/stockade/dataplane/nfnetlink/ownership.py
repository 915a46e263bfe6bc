"""The owner and persist flags of a table: nobody but us can change it, and it stays when we end. Called by ``backend``.

Owner alone would be fail-open: the table vanishes with the socket it belongs to. So nobody owns anything unless a table made for
the purpose has shown that on this kernel it stays (Linux 6.9 and later; reference dataplane 7).
"""

from __future__ import annotations

import secrets

from stockade.dataplane.netlink import (
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    Message,
    NetlinkError,
    NetlinkSocket,
    be32,
    encode,
    string,
)
from stockade.dataplane.nfnetlink import wire as w
from stockade.dataplane.nfnetlink.messages import TableFlags
from stockade.dataplane.nfnetlink.reading import TableState, table_state

OWNED = w.OWNER | w.PERSIST


def persists() -> bool:
    """Does an owned table survive its owner? Tried with a table of a random name, in the network namespace of this thread."""
    name = string(w.NAME_TABLE, f"stockade-probe-{secrets.token_hex(6)}")
    body = w.NFGEN + name
    with NetlinkSocket(NETLINK_NETFILTER) as heir:
        try:
            with NetlinkSocket(NETLINK_NETFILTER) as owner:
                _run(owner, w.Kind.NEWTABLE, NLM_F_CREATE, body + be32(w.TABLE_FLAGS, OWNED))
        except NetlinkError:
            return False  # a kernel that does not know the flags
        state = table_state(heir, name)
        if state is None:
            return False
        _run(heir, w.Kind.DELTABLE, 0, body)
        return state.is_orphan


def flags_for(state: TableState | None, *, own: bool, adding: bool = True) -> TableFlags:
    """The kernel takes an AddTable for a table that is there only with the flags it has, or to adopt an orphan. ``adding``: the
    batch begins with one of its own."""
    wanted = OWNED if own else 0
    if state is None or (own and state.is_orphan):
        return TableFlags(wanted, wanted, claim=state is not None and not adding)
    return TableFlags(state.flags, wanted)


def _run(socket: NetlinkSocket, kind: w.Kind, flags: int, body: bytes) -> None:
    """One message as a transaction of its own."""
    begin = Message(w.BATCH_BEGIN, NLM_F_REQUEST, 0, w.BATCH_NFGEN)
    end = Message(w.BATCH_END, NLM_F_REQUEST, 2, w.BATCH_NFGEN)
    only = Message(kind, NLM_F_REQUEST | NLM_F_ACK | flags, 1, body)
    socket.transmit(b"".join(map(encode, (begin, only, end))))
    socket.acknowledged("try a table with an owner")
