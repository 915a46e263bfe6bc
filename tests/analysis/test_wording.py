"""One failure in the words of several clients; the C library's own words are this machine's."""

from __future__ import annotations

import errno
import os
import platform
import re
import socket
from pathlib import Path

import pytest

from stockade.analysis.path import trace
from stockade.analysis.steps import PathQuery
from stockade.analysis.wording import DROPPED_CONNECTION, DROPPED_LOOKUP, NO_SUCH_NAME, REFUSED, WORDS
from stockade.model.meta import ObjectRef
from stockade.store.state import ClusterState
from stockade.testing.build import service
from stockade.testing.worlds import recipe, recipe_objects

DOCS = Path(__file__).parents[2] / "docs/explain.md"


def words(state: ClusterState, target: str) -> dict[str, str]:
    return dict(trace(state, PathQuery(ObjectRef("default", "test"), target)).elsewhere)


def test_each_failure_has_its_own_words() -> None:
    denied = words(recipe("deny-all"), "http://web:80/")
    assert denied["curl"] == "curl: (6) Could not resolve host: web"
    assert denied["glibc"].startswith("Temporary failure in name resolution")
    timed_out = words(recipe("dns"), "http://web")
    assert timed_out["curl"] == "curl: (28) Failed to connect to web port 80 after N ms: Timeout was reached"
    assert timed_out["musl"].startswith("Operation timed out")
    assert words(recipe("none"), "http://nosuch/")["glibc"].startswith("Name or service not known")
    empty = service("empty", {"app": "nobody"}, "10.96.1.1", {"port": 80, "protocol": "TCP"})
    refused = words(ClusterState.of([*recipe_objects("none"), empty]), "http://empty:80/")
    assert (
        refused["curl"]
        == "curl: (7) Failed to connect to empty port 80 after N ms: Couldn't connect to server"
    )
    assert words(recipe("none"), "http://web:80/") == {}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_glibc_says_so_itself() -> None:
    def own(failure: str) -> str:
        return re.sub(r" \(E\w+\)$", "", WORDS[failure]["glibc"])

    assert own(DROPPED_CONNECTION) == os.strerror(errno.ETIMEDOUT)
    assert own(REFUSED) == os.strerror(errno.ECONNREFUSED)
    with pytest.raises(
        socket.gaierror
    ) as caught:  # never asks the network: no numeric host is written like this
        socket.getaddrinfo("not a number", 80, flags=socket.AI_NUMERICHOST)
    assert own(NO_SUCH_NAME) == caught.value.strerror


def test_the_page_shows_every_text() -> None:
    page = DOCS.read_text()
    for failure in (DROPPED_LOOKUP, NO_SUCH_NAME, REFUSED, DROPPED_CONNECTION):
        for text in WORDS[failure].values():
            assert text.format(name="web", port=80) in page, text
