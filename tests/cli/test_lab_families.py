"""Which address families a lab gets, by what is asked and what the machine has."""

from __future__ import annotations

import pytest

from stockade.cli import lab_shape
from stockade.cli.failure import Failure


@pytest.mark.parametrize(
    ("wanted", "has_ipv6", "expected", "says"),
    [
        ("auto", True, "dual", ""),
        ("dual", True, "dual", ""),
        ("ipv4", True, "ipv4", ""),
        ("ipv4", False, "ipv4", ""),
        ("auto", False, "ipv4", "this machine's kernel has no IPv6: the lab has IPv4 alone\n"),
    ],
)
def test_families(monkeypatch, capsys, wanted, has_ipv6, expected, says) -> None:
    monkeypatch.setattr(lab_shape, "has_ipv6", lambda: has_ipv6)
    assert lab_shape._families(wanted) == expected
    assert capsys.readouterr().err == says


def test_what_cannot_be_had_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(lab_shape, "has_ipv6", lambda: False)
    with pytest.raises(Failure, match="no IPv6; run: stockade up --ip-family ipv4"):
        lab_shape._families("dual")
