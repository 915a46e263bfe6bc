"""How a lab was started: what ``stockade up`` needs to start the same one again after a crash.

In: the daemon writes it once the API's port is its own, before anything is stored. Out: ``up`` reads it. A lab that is to be
restored keeps its port (kubeconfigs name it), its nodes (pods are bound to them) and its address families.
"""

from __future__ import annotations

import msgspec

from stockade.lab.paths import LabPaths, write_private


class Settings(msgspec.Struct, frozen=True):
    """``families``: ``dual`` or ``ipv4``; ``agent_options``: for the command line of each agent."""

    nodes: int
    families: str
    port: int
    agent_options: list[str] = []


def write(paths: LabPaths, settings: Settings) -> None:
    write_private(paths.settings, msgspec.json.encode(settings).decode() + "\n")


def read(paths: LabPaths) -> Settings | None:
    """None: the lab never came so far as to store anything. Raises ValueError when the file does not say."""
    try:
        return msgspec.json.decode(paths.settings.read_bytes(), type=Settings)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ValueError(f"{paths.settings} cannot be read: {error}") from error
