"""Durations as kubectl's tables write them (apimachinery ``duration.HumanDuration``)."""

from __future__ import annotations

from datetime import UTC, datetime

UNKNOWN = "<unknown>"
MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400
# below so many seconds: the unit, and the smaller unit shown beside it (0: none)
STEPS = (
    (2 * MINUTE, 1, "s", 0, ""),
    (10 * MINUTE, MINUTE, "m", 1, "s"),
    (3 * HOUR, MINUTE, "m", 0, ""),
    (8 * HOUR, HOUR, "h", MINUTE, "m"),
    (2 * DAY, HOUR, "h", 0, ""),
    (8 * DAY, DAY, "d", HOUR, "h"),
    (2 * YEAR, DAY, "d", 0, ""),
    (8 * YEAR, YEAR, "y", DAY, "d"),
)


def human_duration(seconds: int) -> str:
    """Precise where it is short, coarse where it is long: ``90s``, ``5m12s``, ``3h``, ``2d4h``, ``400d``."""
    if seconds < -1:
        return "<invalid>"
    seconds = max(seconds, 0)
    for below, large, large_unit, small, small_unit in STEPS:
        if seconds < below:
            return _pair(seconds // large, large_unit, seconds % large // small if small else 0, small_unit)
    return f"{seconds // YEAR}y"


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def age_of(stamp: str | None) -> str:
    """The time since an API timestamp."""
    return duration_between(stamp, None)


def duration_between(start: str | None, end: str | None) -> str:
    """Between two API timestamps; ``end`` None is now."""
    first, last = _moment(start), _moment(end) if end else datetime.now(UTC)
    if first is None or last is None:
        return UNKNOWN
    return human_duration(int((last - first).total_seconds()))


def _moment(stamp: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(stamp or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
