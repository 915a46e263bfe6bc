"""What tests of the agent share."""

from __future__ import annotations

import asyncio

import pytest


@pytest.fixture
def one_thread(monkeypatch):
    """Nothing is computed beside the event loop: what a virtual clock sees is all there is."""

    async def to_thread(function, *arguments):
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
