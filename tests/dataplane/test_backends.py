"""Which backend is opened, and what is said when one does not work."""

from __future__ import annotations

import logging

import pytest

from stockade.dataplane import backends
from stockade.dataplane.nft import Nft
from stockade.dataplane.programmer import ProgrammingError


def refuse(**_options: bool) -> None:
    raise ProgrammingError("read the generation id: Operation not permitted")


def test_the_program_stands_in_for_netlink_and_the_log_says_why(monkeypatch, caplog):
    monkeypatch.setattr(backends, "Netlink", refuse)
    monkeypatch.setattr(backends.shutil, "which", lambda name: f"/usr/sbin/{name}")
    with caplog.at_level(logging.WARNING):
        assert isinstance(backends.open_backend(), Nft)
    assert "Operation not permitted" in caplog.text
    caplog.clear()
    assert isinstance(backends.open_backend("nft"), Nft)
    assert not caplog.text


def test_netlink_stands_in_for_the_program(monkeypatch, caplog):
    made = object()
    monkeypatch.setattr(backends, "Netlink", lambda **_options: made)
    monkeypatch.setattr(backends.shutil, "which", lambda _name: None)
    assert backends.open_backend("nft") is made
    assert "install the package nftables" in caplog.text


def test_both_reasons_are_given_when_neither_works(monkeypatch):
    monkeypatch.setattr(backends, "Netlink", refuse)
    monkeypatch.setattr(backends.shutil, "which", lambda _name: None)
    with pytest.raises(ProgrammingError, match=r"netlink: .*not permitted; nft: .*install"):
        backends.open_backend()


def test_an_unknown_backend_is_named():
    with pytest.raises(ProgrammingError, match="iptables"):
        backends.open_backend("iptables")
