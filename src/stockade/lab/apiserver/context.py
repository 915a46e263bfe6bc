"""What every handler works with: the store, the node's runtime, who is asking."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar

import msgspec
from aiohttp import web

from stockade.lab.apiserver.service_accounts import ServiceAccountTokens
from stockade.lab.apiserver.store import ObjectStore
from stockade.lab.apiserver.users import User
from stockade.lab.node.runtime import Runtime


class Context(msgspec.Struct, frozen=True):
    """``streams`` are the open watches, to be ended at shutdown. Without ``accounts`` pods' tokens are nobody's."""

    store: ObjectStore
    runtime: Runtime | None
    tokens: Mapping[str, str]
    version: Mapping[str, str]
    accounts: ServiceAccountTokens | None = None
    streams: set[asyncio.Task[object]] = msgspec.field(default_factory=set)


CONTEXT = web.AppKey("context", Context)
USER: ContextVar[User] = ContextVar("user")  # whose request the current task answers


def context_of(request: web.Request) -> Context:
    return request.app[CONTEXT]
