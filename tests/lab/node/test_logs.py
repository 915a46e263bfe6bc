from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from stockade.lab.node.logs import ContainerLog
from stockade.lab.node.runtime import LogOptions


@pytest.fixture
async def log(tmp_path: Path) -> ContainerLog:
    return ContainerLog(tmp_path / "pod" / "web.0.log", half_limit=1000)


async def text(log: ContainerLog, **options) -> str:
    return b"".join([piece async for piece in log.read(LogOptions(**options))]).decode()


async def test_what_is_written_is_read_back(log, tmp_path) -> None:
    log.write(b"one\ntwo\n")
    log.write(b"par", "stderr")
    log.write(b"tial\n\nend \xff")
    assert await text_bytes(log) == b"one\ntwo\npartial\n\nend \xff"
    assert stat.S_IMODE((tmp_path / "pod" / "web.0.log").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "pod").stat().st_mode) == 0o700


async def text_bytes(log: ContainerLog) -> bytes:
    return b"".join([piece async for piece in log.read(LogOptions())])


async def test_tail_counts_lines_not_pieces(log) -> None:
    log.write(b"one\n")
    log.write(b"two")
    log.write(b" and a half\nthree")
    assert await text(log, tail_lines=2) == "two and a half\nthree"
    assert await text(log, tail_lines=0) == ""
    assert await text(log, tail_lines=99) == "one\ntwo and a half\nthree"


async def test_timestamps_at_line_starts_only(log) -> None:
    log.write(b"a")
    log.write(b"b\nc\n")
    lines = (await text(log, timestamps=True)).splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["ab", "c"]
    assert all(line[10] == "T" and line.split(" ")[0].endswith("Z") for line in lines)


async def test_limit_and_since(log) -> None:
    log.write(b"0123456789\n")
    assert await text(log, limit_bytes=4) == "0123"
    assert await text(log, since_seconds=60) == "0123456789\n"
    await asyncio.sleep(0.02)
    assert await text(log, since_seconds=0.01) == ""


async def test_bounded(log, tmp_path) -> None:
    for number in range(200):
        log.write(f"line {number}\n".encode())
    assert sum(file.stat().st_size for file in (tmp_path / "pod").iterdir()) <= 2000
    lines = (await text(log)).splitlines()
    assert lines[-1] == "line 199"
    assert lines == [f"line {number}" for number in range(200 - len(lines), 200)]


async def test_follow_until_closed_over_a_rotation(log) -> None:
    log.write(b"before\n")
    received = bytearray()

    async def follow() -> None:
        async for piece in log.read(LogOptions(follow=True, tail_lines=1)):
            received.extend(piece)

    follower = asyncio.create_task(follow())
    await asyncio.sleep(0)
    for number in range(60):
        log.write(f"{number}\n".encode())
        await asyncio.sleep(0)
    log.close()
    await asyncio.wait_for(follower, 5)
    assert received.decode().splitlines() == ["before", *map(str, range(60))]
    log.write(b"late\n")
    assert "late" not in await text(log)


async def test_numbers_beyond_reason_mean_everything(log) -> None:
    log.write(b"one\ntwo\n")
    assert await text(log, tail_lines=2**63 - 1) == "one\ntwo\n"
    assert await text(log, since_seconds=1e20) == "one\ntwo\n"


async def test_a_flood_stays_bounded_on_disk(log, tmp_path) -> None:
    for _ in range(200):
        log.write(b"\n" * 100)
    assert sum(file.stat().st_size for file in (tmp_path / "pod").iterdir()) <= 3 * 100 * 50 + 2 * 1000


async def test_a_link_where_the_log_should_be_is_not_followed(tmp_path) -> None:
    (tmp_path / "pod").mkdir()
    (tmp_path / "pod" / "web.0.log").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic link"):
        ContainerLog(tmp_path / "pod" / "web.0.log")
    assert not (tmp_path / "victim").exists()
