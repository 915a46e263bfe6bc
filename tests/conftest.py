"""How tests are shared out to several workers (``pytest -n 2 --dist loadgroup``): what shares something with its file stays with its file.

A lab for a whole file would otherwise be started by each worker. All other tests go wherever there is room.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and _shares(item):
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


def _shares(item: pytest.Function) -> bool:
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    return any(fixture.scope == "module" for several in fixtures for fixture in several)
