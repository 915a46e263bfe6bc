"""Which lab ``stockade up`` is to start: what was asked, beside what is there from before a crash, or runs.

In: the options as given, the lab's settings on disk. Out: ``Settings`` to start with, or a Failure that says what to do. Called by ``cli.up``.
Nodes and address families cannot change under objects that have addresses; the port and the agents' options can.
"""

from __future__ import annotations

import click
import msgspec

from stockade.cli.failure import Failure
from stockade.lab.paths import LabPaths
from stockade.lab.preflight import has_ipv6
from stockade.lab.settings import Settings, read


class Asked(msgspec.Struct, frozen=True):
    """The options that shape a lab, as far as given."""

    nodes: int | None = None
    ip_family: str | None = None
    port: int | None = None
    agent_options: list[str] | None = None

    def of_new(self) -> Settings:
        families = _families(self.ip_family or "auto")
        return Settings(self.nodes or 1, families, self.port or 0, self.agent_options or [])

    def like(self, paths: LabPaths, held: Settings) -> Settings:
        """A lab with the objects that are there."""
        if difference := self._difference(held):
            again = f"stockade up --name {paths.name}"
            text = (
                f"the objects of lab {paths.name!r} are of a lab {difference}; restore it with: {again}; "
                f"or start anew, without them: {again} --fresh"
            )
            raise Failure(text)
        port = held.port if self.port is None else self.port
        options = held.agent_options if self.agent_options is None else self.agent_options
        return Settings(held.nodes, held.families, port, options)

    def difference_to_running(self, held: Settings) -> str:
        """In words; empty when there is none."""
        if self.port not in (None, 0, held.port):
            return f"on port {held.port}"
        if self.agent_options not in (None, held.agent_options):
            return "with other --agent-options"
        return self._difference(held)

    def _difference(self, held: Settings) -> str:
        if self.nodes not in (None, held.nodes):
            return f"with {held.nodes} node{'s' if held.nodes > 1 else ''}"
        if self.ip_family in ("dual", "ipv4") and self.ip_family != held.families:
            return "with IPv4 alone" if held.families == "ipv4" else "with IPv4 and IPv6"
        return ""


def check_running(paths: LabPaths, asked: Asked, *, fresh: bool) -> None:
    """A lab that runs is what was wanted, unless it is another one."""
    if fresh:
        raise Failure(f"a lab named {paths.name!r} is running; {how_to_stop(paths)}")
    held = _read(paths)
    difference = asked.difference_to_running(held) if held is not None else ""
    if difference:
        raise Failure(f"a lab named {paths.name!r} is already running, {difference}; {how_to_stop(paths)}")


def how_to_stop(paths: LabPaths) -> str:
    return f"stop it with: stockade down --name {paths.name}"


def held_settings(paths: LabPaths) -> Settings | None:
    """How the lab was started whose objects are here; None when there are none."""
    if not paths.database.exists():
        return None
    held = _read(paths)
    if held is None:
        why = f"there are objects of a lab {paths.name!r} in {paths.directory}, but not how it was started"
        raise Failure(f"{why}; {_anew(paths)}")
    return held


def _read(paths: LabPaths) -> Settings | None:
    try:
        return read(paths)
    except ValueError as error:
        raise Failure(f"{error}; {_anew(paths)}") from error


def _anew(paths: LabPaths) -> str:
    return f"start anew, without its objects: stockade up --name {paths.name} --fresh"


def _families(wanted: str) -> str:
    if wanted == "ipv4" or has_ipv6():
        return "ipv4" if wanted == "ipv4" else "dual"
    if wanted == "dual":
        raise Failure("this machine's kernel has no IPv6; run: stockade up --ip-family ipv4")
    click.echo("this machine's kernel has no IPv6: the lab has IPv4 alone", err=True)
    return "ipv4"
