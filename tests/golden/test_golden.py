"""Whole rulesets, as they are loaded: ``<case>/input.yaml`` lowered for node-1 must render as ``<case>/expected.nft``.

After a change that is meant: ``STOCKADE_GOLDEN=write pytest tests/golden``, then read the difference before committing it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stockade.dataplane.lower import NodeView, lower
from stockade.dataplane.render import render
from stockade.net.cidr import parse_address, parse_block
from stockade.testing.cluster import compile_text

HERE = Path(__file__).parent
CASES = sorted(path.parent.name for path in HERE.glob("*/input.yaml"))


def rendered(case: str) -> str:
    text = (HERE / case / "input.yaml").read_text()
    cidrs = [parse_block("10.244.0.0/24")]
    if "fd00:244" in text:
        cidrs.append(parse_block("fd00:244::/64"))
    node = NodeView("node-1", tuple(cidrs), (parse_address("172.30.0.1"),))
    return render(lower(compile_text(text), node), annotate=True)


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    expected = HERE / case / "expected.nft"
    text = rendered(case)
    if os.environ.get("STOCKADE_GOLDEN") == "write":
        expected.write_text(text)
    assert text == expected.read_text()


@pytest.mark.kernel
@pytest.mark.parametrize("case", CASES)
def test_golden_loads(case: str) -> None:
    if os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("unshare"):
        pytest.skip("needs root, nft and unshare")
    command = ["unshare", "-n", "nft", "-f", "-"]
    done = subprocess.run(
        command, input=(HERE / case / "expected.nft").read_bytes(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_there_are_cases() -> None:
    assert CASES
