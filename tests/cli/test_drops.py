"""``stockade drops``: what it prints, from Events as the agent writes them."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from stockade.agent.drop_events import follow_rows, list_complaints, list_rows
from stockade.cli.drops import Printer, SinceType, command
from stockade.kube.resources import EVENTS
from stockade.testing.kube_api import ScriptedApi, Watch, bookmark, listing, serving, status


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
    Printer("text", namespace="default").print_all(found)
    lines = [re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines()]
    peer = "10.244.0.2 (pod kube-system/kube-dns-x, Service kube-dns)"
    assert lines[0] == ["LAST SEEN", "COUNT", "POD", "DIRECTION", "PEER", "PORT", "ISOLATED BY"]
    assert lines[1][1:] == ["1", "bar", "egress", peer, "53/UDP", "foo-deny-egress"]
    assert lines[2][1:3] == ["3", "foo"]
    assert len(lines) == 3


async def test_json_and_one_pod(capsys):
    Printer("json", namespace="default", pod="foo").print_all(await rows(denied(), denied("b", "bar")))
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["pod"], row["count"], row["policies"]) == ("foo", 3, ["default/foo-deny-egress"])


async def test_nothing_is_said_on_stderr(capsys):
    Printer("text", namespace="default").print_all(await rows())
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "No denied packets seen in namespace default "
        "(a cluster keeps Events for about an hour; -A looks in every namespace).\n"
    )


async def test_an_empty_list_is_json_too(capsys):
    Printer("json").print_all(await rows())
    printed = capsys.readouterr()
    assert json.loads(printed.out) == []
    assert printed.err.startswith("No denied packets seen (")


async def test_json_is_as_documented(capsys):
    """docs/drops.md; programs read it."""
    Printer("json").print_all(await rows(denied()))
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {
        "namespace": "default",
        "pod": "foo",
        "direction": "egress",
        "peer": "10.244.0.2 (pod kube-system/kube-dns-x, Service kube-dns)",
        "peer_kind": "",
        "peers": 1,
        "port": "53",
        "ports": 1,
        "protocol": "UDP",
        "policies": ["default/foo-deny-egress"],
        "nearest": "",
        "count": 3,
        "first": "2020-01-01T00:00:00Z",
        "last": "2020-01-01T00:00:05Z",
        "message": "egress to …",
    }
    page = Path(__file__).parents[2] / "docs" / "drops.md"
    table = page.read_text().split("## JSON")[1].split("## Metrics")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert documented == set(row)


async def test_events_of_one_kind_are_one_row():
    early = denied("foo.0", count=4, last="2020-01-01T00:00:01Z") | {"firstTimestamp": "2019-12-31T00:00:00Z"}
    (row,) = await rows(denied(), early)
    assert (row.count, row.first, row.last) == (7, "2019-12-31T00:00:00Z", "2020-01-01T00:00:05Z")


def noted(event, **notes):
    event["metadata"]["annotations"] |= {f"stockade.dev/{key}": value for key, value in notes.items()}
    return event


async def test_scans_and_the_nearest_rule(capsys):
    scan = noted(denied("a"), port="", ports="57")
    crowd = noted(denied("b"), peer="", peers="1000", port="", protocol="")
    near = noted(denied("c"), nearest="default/web ingress[0]: because")
    junk = noted(denied("d", "bar"), ports="many")
    Printer("wide", namespace="default").print_all(await rows(scan, crowd, near, junk))
    lines = [re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0][-2:] == ["FIRST SEEN", "NEAREST RULE"]
    assert any("57 more/UDP" in line for line in lines)
    assert any("1000 more addresses" in line for line in lines)
    assert any(line[-1] == "default/web ingress[0]: because" for line in lines)
    assert sum("53/UDP" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("2d", 172800), ("2020-01-01T00:00:00Z", None)]
)
def test_since(text, seconds):
    moment = SinceType().convert(text, None, None)
    if seconds is None:
        assert moment == dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    else:
        assert abs((dt.datetime.now(dt.UTC) - moment).total_seconds() - seconds) < 5


@pytest.mark.parametrize("text", ["", "x", "5", "5x", "-5m", "5m ago", "9999999999d", "999999999d"])
def test_a_wrong_age_is_one_line_and_exit_2(text):
    result = CliRunner().invoke(command, ["--since", text])
    assert result.exit_code == 2
    assert "is neither an age such as" in result.stderr
    assert "Traceback" not in result.stderr


async def test_since_leaves_out_what_is_older(capsys):
    found = await rows(denied(), denied("n", "bar", last="2020-01-01T00:01:00Z"))
    since = dt.datetime(2020, 1, 1, 0, 0, 30, tzinfo=dt.UTC)
    Printer("json", since=since).print_all(found)
    assert [row["pod"] for row in json.loads(capsys.readouterr().out)] == ["bar"]


async def test_agents_that_cannot_read_their_log():
    def complaint(node, last):
        event = denied(node, reason="NetworkPolicyDropLogFailed", last=last)
        return event | {
            "involvedObject": {"kind": "Node", "name": node},
            "message": "denied packets are not reported: why",
        }

    now = dt.datetime(2020, 1, 1, 0, 1, tzinfo=dt.UTC)
    api = ScriptedApi()
    recent, old = complaint("n1", "2020-01-01T00:00:30Z"), complaint("n2", "2019-12-31T23:00:00Z")
    api.script(EVENTS.path("default"), listing(9, recent, old, complaint("n3", "never")))
    async with serving(api.handle) as client:
        assert await list_complaints(client, now) == ["node n1: denied packets are not reported: why"]


async def test_who_may_not_read_the_nodes_events_hears_nothing_of_them():
    api = ScriptedApi()
    api.script(EVENTS.path("default"), status(403, "Forbidden", "events is forbidden"))
    async with serving(api.handle) as client:
        assert await list_complaints(client, dt.datetime.now(dt.UTC)) == []


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
    Printer("text").print_all(await rows(event))
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 2
    assert all(letter.isprintable() or letter == "\n" for letter in printed)
    assert "foo\\x1b[2J\\x0dbar" in printed
