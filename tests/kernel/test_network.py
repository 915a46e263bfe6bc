"""The lab's network on a real kernel: pods, Services, DNS, outside. What each scenario shows is written there."""

import subprocess
import sys
from pathlib import Path

import pytest

SCENARIOS = Path(__file__).with_name("network_scenarios.py")


@pytest.mark.kernel
@pytest.mark.parametrize(
    "name",
    [
        "pods",
        "pods_6",
        "nodes",
        "spoofing",
        "refusals",
        "services",
        "services_6",
        "dead_ends",
        "datagrams",
        "names",
        "outside",
    ],
)
def test_scenario(name):
    done = subprocess.run(
        [sys.executable, str(SCENARIOS), name], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
