"""The door to nft without a kernel: a missing program, a hanging one, one that talks nonsense; and reading tables back."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from stockade.dataplane import readback
from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.nft import Nft
from stockade.dataplane.programmer import ProgrammingError
from stockade.net.cidr import parse_address
from stockade.testing.cluster import compile_text


def program(tmp_path: Path, body: str) -> str:
    path = tmp_path / "nft"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def test_missing_program_says_what_to_install() -> None:
    with pytest.raises(ProgrammingError, match="install the package nftables"):
        await Nft("/nowhere/nft").load("")


async def test_error_text_is_that_of_nft(tmp_path: Path) -> None:
    path = program(tmp_path, "cat >/dev/null; echo '/dev/stdin:1:5-9: Error: syntax error' >&2; exit 1")
    with pytest.raises(ProgrammingError, match="Error: syntax error"):
        await Nft(path).load("nonsense")


async def test_silent_failure_names_the_status(tmp_path: Path) -> None:
    with pytest.raises(ProgrammingError, match="status 3"):
        await Nft(program(tmp_path, "cat >/dev/null; exit 3")).load("")


async def test_hanging_program_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ProgrammingError, match="did not finish within"):
        await Nft(program(tmp_path, "exec sleep 60"), timeout=0.1).load("")


async def test_no_table_has_no_generation_and_holds_nothing(tmp_path: Path) -> None:
    nft = Nft(program(tmp_path, "echo 'Error: No such file or directory' >&2; exit 1"))
    assert await nft.read() is None
    assert not await nft.holds(lower(compile_text(""), NodeView("n")), 1)


async def test_nonsense_instead_of_json(tmp_path: Path) -> None:
    with pytest.raises(ProgrammingError, match="something else than JSON"):
        await Nft(program(tmp_path, "echo hello")).read()


async def test_text_goes_in_over_stdin_untouched(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    text = 'add rule x y log prefix "$(touch /tmp/never) `id` %s"\n'
    await Nft(program(tmp_path, f'cat > {seen}; echo "$@" >> {seen}')).load(text)
    assert seen.read_text() == text + "-f -\n"


ASKS = {"vmap": {"key": {"&": [{"ct": {"key": "mark"}}, 0x00FFFF00]}, "data": "@gen"}}


def listed(rule: object, *marks: int) -> dict[str, object]:
    elements = [[mark, {"accept": None}] for mark in marks]
    table = [{"rule": {"chain": "fwd_hook", "expr": [rule]}}, {"map": {"name": "gen", "elem": elements}}]
    return {"nftables": [{"metainfo": {}}, *table]}


def test_generation_is_that_of_the_map_under_the_mask_of_the_hook() -> None:
    assert readback.generation(listed(ASKS, 0x00000700)) == (0x00FFFF00, 7)


@pytest.mark.parametrize(
    "listing", [listed({"accept": None}, 0x700), listed(ASKS), listed(ASKS, 0x700, 0x800)]
)
def test_generation_of_a_strange_table_is_unknown(listing: dict[str, object]) -> None:
    assert readback.generation(listing) is None


def test_elements_in_every_spelling_of_nft() -> None:
    table = [
        {"set": {"name": "plain", "elem": ["10.0.0.1", {"elem": {"val": "10.0.0.2", "timeout": 5}}]}},
        {
            "set": {
                "name": "blocks",
                "elem": [{"prefix": {"addr": "10.0.0.0", "len": 8}}, {"range": ["a", "b"]}],
            }
        },
        {"set": {"name": "ports", "elem": [{"concat": ["10.0.0.1", "tcp", 80]}]}},
        {"set": {"name": "empty"}},
        {"map": {"name": "id4", "elem": [["10.0.0.1", "1:a"]]}},
        {"map": {"name": "eg", "elem": [["1:a", {"goto": {"target": "e_1"}}]]}},
        {"counter": {"name": "c_1", "packets": 7}},
        {"chain": {"name": "e_1"}},
        {"rule": {"chain": "e_1"}},
        {"rule": {"chain": "e_1"}},
    ]
    found = readback.read({"nftables": table})
    assert found.sets["plain"] == {("10.0.0.1",), ("10.0.0.2",)}
    assert found.sets["blocks"] == {("10.0.0.0", "10.255.255.255"), ("a", "b")}
    assert found.sets["ports"] == {("10.0.0.1", "tcp", "80")}
    assert found.sets["empty"] == frozenset()
    assert found.maps == {"id4": {("10.0.0.1", "1:a")}, "eg": {("1:a", "e_1")}}
    assert found.counters == {"c_1"}
    assert found.chains == {"e_1": 2}


def test_expected_spells_as_nft_does() -> None:
    pod = "{kind: Pod, metadata: {name: a, namespace: b}, spec: {nodeName: n}, status: {podIP: '10.0.0.1'}}"
    wanted = readback.expected(lower(compile_text(pod), NodeView("n", (), (parse_address("10.0.0.9"),))))
    ((address, identity),) = wanted.maps["id4"]
    assert address == "10.0.0.1"
    assert wanted.maps["eg"] == {(identity, "ingress")}
    assert wanted.sets["self4"] == {("10.0.0.1", "10.0.0.1")}
    assert ("nd-redirect",) in wanted.sets["nd_types"]
    assert wanted.chains["fwd_hook"] == 2
