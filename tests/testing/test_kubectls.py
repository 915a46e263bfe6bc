"""Which kubectl are wanted, and how one is taken out of its wheel; without a network."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile

import pytest

from stockade.testing import kubectls
from stockade.testing.kubectls import UnavailableError, binary_in, fetch, main, wanted

SCRIPT = b'#!/bin/sh\necho \'{"clientVersion": {"gitVersion": "v1.%d.3"}}\'\n'


def wheel(path, program):
    layer, packed = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(layer, "w") as archive:
        archive.writestr("helm/helm", b"other")
        archive.writestr("kubectl/kubectl", program)
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        archive.addfile(member, io.BytesIO(layer.getvalue()))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pkg/_jsii/pkg@1.jsii.tgz", packed.getvalue())
    return path


@pytest.fixture
def pip(monkeypatch, tmp_path):
    """pip that brings a wheel for 1.24, and nothing for the rest. Returns what it was asked for."""
    asked = []

    def download(pin, folder):
        asked.append(pin)
        if "v24" not in pin:
            raise UnavailableError("no network")
        return wheel(folder / "x.whl", SCRIPT % 24)

    monkeypatch.setattr(kubectls, "_download", download)
    monkeypatch.setattr(kubectls, "CACHE", tmp_path)
    return asked


def test_which_are_wanted(monkeypatch):
    monkeypatch.delenv("STOCKADE_KUBECTLS", raising=False)
    assert wanted() == kubectls.USUAL
    assert wanted(["1.30", "1.24", "1.24"]) == (24, 30)
    assert wanted(["all"]) == tuple(range(20, 38))
    monkeypatch.setenv("STOCKADE_KUBECTLS", "1.21, 1.22")
    assert wanted() == (21, 22)
    with pytest.raises(UnavailableError, match=r"1\.99: expected 'all' or minors from 1\.20 to 1\.37"):
        wanted(["1.99"])


def test_every_minor_between_has_one_pin():
    found = [int(pin["minor"]) for pin in kubectls.PIN.finditer(kubectls.PINS.read_text())]
    assert found == list(range(kubectls.OLDEST + 1, kubectls.NEWEST))


def test_it_is_fetched_once(pip):
    assert fetch(24) == "fetched v1.24.3"
    path = kubectls.path_of(24)
    assert subprocess.check_output([path]).startswith(b'{"clientVersion"')
    assert sorted(each.name for each in path.parent.iterdir()) == ["kubectl", "source"]
    assert fetch(24) == "there"
    assert len(pip) == 1
    (path.parent / "source").write_text("another pin")
    assert fetch(24) == "fetched v1.24.3"


def test_a_failure_is_told_and_the_others_are_fetched(pip, capsys):
    assert main(["1.23", "1.24"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == ["kubectl 1.23: not available: no network", "kubectl 1.24: fetched v1.24.3"]
    assert main(["1.24"]) == 0
    assert main(["2.0"]) == 2


def test_another_version_than_promised_is_refused(pip, tmp_path, monkeypatch):
    monkeypatch.setattr(kubectls, "_download", lambda _, folder: wheel(folder / "x.whl", SCRIPT % 25))
    with pytest.raises(UnavailableError, match=r"its package holds v1\.25\.3"):
        fetch(24)
    assert not kubectls.path_of(24).exists()


def test_a_wheel_packed_otherwise(tmp_path):
    path = tmp_path / "x.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("something", b"else")
    with pytest.raises(UnavailableError, match=r"x\.whl is not packed as expected"):
        binary_in(path)
