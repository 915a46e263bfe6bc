"""Options of ``stockade agent``: what they become, and one clear message for each that is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import threading

import click
import pytest
from click.testing import CliRunner

from stockade.agent.health import serve
from stockade.agent.metrics import Health
from stockade.agent.status import AgentStatus, Trouble
from stockade.cli import status as status_module
from stockade.cli import up
from stockade.cli.agent import command
from stockade.cli.agent_options import Choices, choices
from stockade.dataplane.settings import Options
from stockade.lab.paths import LabPaths


def chosen(*arguments: str) -> Choices:
    params = command.make_context("agent", list(arguments)).params
    return choices({key: params[key] for key in Choices.__struct_fields__})


def test_defaults_are_those_of_the_data_plane() -> None:
    assert chosen().options == Options()
    assert not chosen().keeps_flows
    assert chosen().backend == "netlink"


def test_every_option_arrives() -> None:
    made = chosen(
        *("--denied", "reject", "--live-flows", "keep", "--mark-mask", "0xff", "--log-rate", "7"),
        *("--log-group", "9", "--hook-priority", "-20", "--no-counters", "--own-table"),
        *("--pod-interface", "veth*", "--pod-interface", "eth1"),
    )
    assert made.options == Options(
        mark_mask=0xFF,
        log_group=9,
        log_rate=7,
        log_burst=14,
        priority=-20,
        pod_interfaces=("veth*", "eth1"),
        deny="reject",
        counters=False,
    )
    assert made.keeps_flows
    assert made.own_table


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--denied", "ignore"], "'ignore' is not one of 'drop', 'reject'"),
        (["--live-flows", "no"], "'no' is not one of 'cut', 'keep'"),
        (["--mark-mask", "many"], "'many' is not a mark mask such as 0xffff0000"),
        (["--mark-mask", "0x5"], "want contiguous bits of 32"),
        (["--mark-mask", "0"], "want contiguous bits of 32"),
        (["--mark-mask", "0x8"], "one bit cannot tell generations apart"),
        (["--mark-mask", "0x1ffffffff"], "want contiguous bits of 32"),
        (["--log-rate", "0"], "0 is not in the range"),
        (["--log-group", "70000"], "70000 is not in the range"),
        (["--hook-priority", "100"], "100 is not in the range"),
        (["--pod-interface", "a b"], "want a name of up to 15 characters"),
        (["--pod-interface", 'x"; drop'], "want a name of up to 15 characters"),
        (["--pod-cidr", "10.0.0.0/33"], "is not a CIDR block"),
        (["--backend", "iptables"], "'iptables' is not one of 'netlink', 'nft'"),
        (["--backend", "nft", "--own-table"], "--own-table needs --backend netlink"),
    ],
)
def test_a_wrong_value_is_one_clear_message(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(command, [*arguments, "--kubeconfig", "/nowhere"])
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--denied", "requires an argument"),
        ("--denied maybe", "'maybe' is not one of"),
        ("--gate /tmp/x", "the lab itself sets the agent's --gate"),
        ("--cleanup", "the lab itself sets the agent's --cleanup"),
        ("--node other", "the lab itself sets the agent's --node"),
        ("--backend nft --own-table", "needs --backend netlink"),
        ("'", "No closing quotation"),
        ("stray", "unexpected extra argument"),
    ],
)
def test_the_lab_checks_what_it_passes_on_before_it_starts(text: str, words: str) -> None:
    done = CliRunner().invoke(up.command, ["--agent-options", text])
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())


def test_what_the_lab_passes_on() -> None:
    assert up._agent_options("--denied reject --pod-interface 'veth*' -v") == [
        *("--denied", "reject", "--pod-interface", "veth*", "-v")
    ]
    assert up._agent_options("") == []
    with pytest.raises(click.BadParameter):
        up._agent_options("--kubeconfig x")


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    paths = LabPaths.of("t1")
    paths.make_parent()
    paths.make()
    paths.pid.write_text(f"{os.getpid()}\n")
    monkeypatch.setattr(status_module, "is_running", lambda _: True)
    return paths


def answering(paths, said: AgentStatus):
    """An agent that says ``said``, in a thread of its own; call what is returned to end it."""
    ready, over = threading.Event(), threading.Event()

    async def metrics() -> bytes:
        return b""

    async def work() -> None:
        async with serve(str(paths.health(1)), Health, metrics, lambda: said):
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    ready.wait(10)

    def end() -> None:
        over.set()
        thread.join()

    return end


def test_status_of_a_lab_says_that_policies_are_not_in_force(lab) -> None:
    trouble = Trouble("programming", "Error: no space\x1b[2J", 1.0, 7)
    said = AgentStatus(
        node="n",
        ready_problem="the kernel's rules cannot be changed: Error: no space\x1b[2J",
        troubles=[trouble],
        failures=7,
    )
    end = answering(lab, said)
    try:
        text = CliRunner().invoke(status_module.command, ["--name", "t1"]).output
        found = json.loads(CliRunner().invoke(status_module.command, ["--name", "t1", "-o", "json"]).output)
    finally:
        end()
    assert "not up to date: the kernel's rules cannot be changed: Error: no space\\x1b[2J" in text
    assert "failures:   7" in text
    assert found["nodes"][0]["enforcing"]["troubles"][0]["attempts"] == 7


def test_status_of_a_lab_whose_agent_is_away(lab) -> None:
    done = CliRunner().invoke(status_module.command, ["--name", "t1"])
    assert done.exit_code == 0
    assert "not running (restarted shortly" in done.output
    assert "enforcing" not in done.output
