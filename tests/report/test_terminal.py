"""What others wrote must not act on the reader's terminal."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from stockade.cli.failure import Failure
from stockade.cli.main import cli
from stockade.report.terminal import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "pod kube-system/kube-dns → 10.96.0.10:53 ✗ 名前",
            "pod kube-system/kube-dns → 10.96.0.10:53 ✗ 名前",
        ),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\r\nallowed", "a\\x0d\\x0aallowed"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),  # one-character CSI
        ("user\u202egnp.exe\u200b", "user\\u202egnp.exe\\u200b"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_visible(text, shown) -> None:
    assert visible(text) == shown


def test_a_failure_keeps_its_own_line_breaks_only(capsys) -> None:
    Failure("first\nsecond \x1b[2J").show()
    assert capsys.readouterr().err == "stockade: first\nsecond \\x1b[2J\n"


MANIFEST = """\
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: default}
spec: {containers: [{name: c, image: i}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: default, annotations: {"\\e]0;owned\\a": x}}
spec: {podSelector: {}, policyTypes: ["\\e[2J"], "\\e[8m": 1}
"""


def test_diagnostics(tmp_path) -> None:
    place = tmp_path / "evil\x1b[31m.yaml"
    place.write_text(MANIFEST)
    result = CliRunner().invoke(cli, ["check", "pod/a", "1.2.3.4:80", "-f", str(place)])
    assert result.exit_code == 2
    assert "evil\\x1b[31m.yaml" in result.output
    assert result.output.count("\n") >= 3  # several diagnostics
    assert all(letter.isprintable() or letter == "\n" for letter in result.output)
