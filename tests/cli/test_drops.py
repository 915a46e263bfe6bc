"""``stockade drops``: what it prints, from Events as the agent writes them."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from click.testing import CliRunner

from stockade.agent.drop_events import follow_rows, list_rows
from stockade.cli.drops import _Printer, command
from stockade.kube.resources import EVENTS
from stockade.testing.kube_api import ScriptedApi, Watch, bookmark, listing, serving


def denied(name="foo.1", pod="foo", count=3, reason="NetworkPolicyDenied", last="2020-01-01T00:00:05Z"):
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "resourceVersion": "5",
            "annotations": {
                "stockade.dev/direction": "egress",
                "stockade.dev/peer": "10.244.0.2 (pod kube-system/kube-dns-x, Service kube-dns)",
                "stockade.dev/port": "53",
                "stockade.dev/protocol": "UDP",
                "stockade.dev/policies": "default/foo-deny-egress",
            },
        },
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": pod},
        "reason": reason,
        "message": "egress to …",
        "count": count,
        "firstTimestamp": "2020-01-01T00:00:00Z",
        "lastTimestamp": last,
    }


async def rows(*events):
    api = ScriptedApi()
    api.script(EVENTS.path("default"), listing(9, *events))
    async with serving(api.handle) as client:
        found = await list_rows(client, "default")
    assert api.requests[0][2]["fieldSelector"] == "reason=NetworkPolicyDenied"
    return found


async def test_text(capsys):
    found = await rows(
        denied(), denied("x", reason="Pulled"), denied("bar.1", "bar", 1, last="2020-01-01T00:00:01Z")
    )
    _Printer("text", with_namespace=False, pod="").print_all(found, "default")
    lines = [re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines()]
    peer = "10.244.0.2 (pod kube-system/kube-dns-x, Service kube-dns)"
    assert lines[0] == ["LAST SEEN", "COUNT", "POD", "DIRECTION", "PEER", "PORT", "ISOLATED BY"]
    assert lines[1][1:] == ["1", "bar", "egress", peer, "53/UDP", "foo-deny-egress"]
    assert lines[2][1:3] == ["3", "foo"]
    assert len(lines) == 3


async def test_json_and_one_pod(capsys):
    _Printer("json", with_namespace=False, pod="foo").print_all(
        await rows(denied(), denied("b", "bar")), "default"
    )
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["pod"], row["count"], row["policies"]) == ("foo", 3, ["default/foo-deny-egress"])


async def test_nothing_is_said_on_stderr(capsys):
    _Printer("text", with_namespace=False, pod="").print_all(await rows(), "default")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "No denied packets seen in namespace default.\n"


async def test_following_tells_growth_only():
    again = {"type": "MODIFIED", "object": denied(count=3)}
    more = {"type": "MODIFIED", "object": denied(count=7)}
    api = ScriptedApi()
    start = {"type": "ADDED", "object": denied()}
    api.script(EVENTS.path("default"), Watch(start, bookmark(9, end=True), again, more, then="hang"))
    told, both = [], asyncio.Event()

    def tell(row):
        told.append(row.count)
        if len(told) == 2:
            both.set()

    async with serving(api.handle) as client:
        task = asyncio.create_task(follow_rows(client, "default", tell, pytest.fail))
        async with asyncio.timeout(10):
            await both.wait()
        task.cancel()
        await asyncio.wait({task})
    assert told == [3, 7]


def test_no_cluster_is_one_line_and_exit_2():
    result = CliRunner().invoke(command, ["--kubeconfig", "/nowhere/config"])
    assert result.exit_code == 2
    assert result.stderr == "stockade: no kubeconfig at /nowhere/config\n"


async def test_an_event_cannot_act_on_the_terminal(capsys):
    """Whoever may create Events chooses these texts."""
    event = denied(pod="foo\x1b[2J\rbar")
    event["metadata"]["annotations"] |= {
        "stockade.dev/peer": "\x1b]0;owned\x07",
        "stockade.dev/policies": "a\nFORGED LINE",
    }
    _Printer("text", with_namespace=True, pod="").print_all(await rows(event), "default")
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 2
    assert all(letter.isprintable() or letter == "\n" for letter in printed)
    assert "foo\\x1b[2J\\x0dbar" in printed
