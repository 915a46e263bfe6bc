"""Labs of these tests are root's, who can also look at what a lab leaves on the host; a user without privileges has ``test_rootless.py``."""

from __future__ import annotations

import os

import pytest

OWN_WAY = "test_rootless.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason=f"needs root; without, {OWN_WAY} starts labs")
    for item in items:
        if item.get_closest_marker("lab") is not None and item.path.name != OWN_WAY:
            item.add_marker(skip)
