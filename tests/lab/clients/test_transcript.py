"""The notation of the transcripts: what is read from them, and what counts as a difference."""

from __future__ import annotations

import pytest

from .transcript import Player, difference, parse

TEXT = """
# a comment
[1.24-] $ kubectl get pods
> | sort
NAME AGE
[-1.25] old {age}
[1.30] only
! Warning: told
? 1
$ kubectl version
"""


def test_a_transcript_is_read():
    first, second = parse(TEXT)
    assert (first.at, first.script.text, first.script.first, first.script.last) == (
        3,
        "kubectl get pods\n| sort",
        24,
        999,
    )
    assert [(line.text, line.first, line.last) for line in first.out] == [
        ("NAME AGE", 0, 999),
        ("old {age}", 0, 25),
        ("only", 30, 30),
    ]
    assert ([line.text for line in first.err], [line.text for line in first.code]) == (
        ["Warning: told"],
        ["1"],
    )
    assert (second.script.text, second.out) == ("kubectl version", [])


def test_output_without_a_command_is_refused():
    with pytest.raises(ValueError, match="line 1"):
        parse("output\n$ command")


@pytest.mark.parametrize(
    ("wanted", "text", "said"),
    [
        (["NAME   AGE", "web {age}"], "NAME  AGE\nweb   1m5s\n", ""),
        (["a", "..."], "a\nb\nc\n", ""),
        (["...", "c"], "a\nb\nc\n", ""),
        (["{ns} is {ip}"], "here is fd00:10:244::1\n", ""),
        ([], "\n\n", ""),
        ([], "more\n", "came unexpected: ['more']"),
        (["a", "b"], "b\na\n", "another order"),
        (["a"], "a\na\n", "another order or number"),
        (["web {age}"], "web soon\n", "did not come: ['web {age}']"),
        (["a.c"], "abc\n", "did not come"),
        (["a", "...", "z"], "a\nb\n", "did not come: ['z']"),
    ],
)
def test_what_differs(wanted, text, said):
    found = difference(wanted, text, {"{ns}": "here"})
    assert said in found
    assert bool(found) == bool(said)


def test_a_play_ends_at_the_first_difference(tmp_path):
    steps = parse(
        "$ touch a; echo $((6 * 7))\n42\n[1.30-] $ exit 9\n$ echo no >&2; exit 3\n! no\n? 4\n$ touch b\n"
    )
    player = Player(minor=29, namespace="ns", env={"PATH": "/usr/bin:/bin"}, folder=tmp_path)
    [wrong] = player.play(steps)
    assert "kubectl 1.29, line 4" in wrong
    assert "exit status 3, not 4" in wrong
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
