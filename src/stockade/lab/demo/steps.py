"""What a recipe is made of: what is typed, where, what must be printed and how it must end. Data only; ``play`` runs it.

Called by the recipes, one file each in ``recipes``. A ``prints`` lists the lines that must come, in any order (kubectl's versions
differ in it); ``...`` among them allows others beside. In a line ``{ip}`` stands for any IP address, ``{number}`` for a number, ``{from}``
for what newer kubectl adds to "deleted".
"""

from __future__ import annotations

import msgspec

Lines = tuple[str, ...]


class Check(msgspec.Struct, frozen=True):
    """One attempt to connect, a line of the closing table. ``by`` is the policy that decides, ``-`` without one."""

    stage: str
    tried: str
    allowed: bool
    by: str = "-"


class Run(msgspec.Struct, frozen=True):
    """A command on the host's prompt; ``why`` is one line on what happened. ``keep``: a variable that gets what it prints, once that is
    something. ``pictured``: it stands in the short picture, too; ``pictured_lines``: with so many lines of its output, 0 is all."""

    line: str
    why: str
    prints: Lines | None = None
    check: Check | None = None
    keep: str = ""
    head: int = 0  # show only so many lines of output; 0 is all
    pictured: bool = True
    pictured_lines: int = 0


class Save(msgspec.Struct, frozen=True):
    """A file that the recipe tells the reader to save."""

    name: str
    text: str
    why: str
    pictured: bool = True


class Shell(msgspec.Struct, frozen=True):
    """Open the interactive pod; its shell stays open for the ``Type`` steps."""

    line: str
    why: str
    pictured: bool = True


class Type(msgspec.Struct, frozen=True):
    """A line typed in the pod. ``interrupt_after``: press Ctrl-C after so many seconds (ping never ends by itself)."""

    line: str
    why: str
    check: Check
    prints: Lines | None = None
    head: int = 0
    interrupt_after: float = 0.0
    pictured: bool = True


class Leave(msgspec.Struct, frozen=True):
    """``exit`` in the pod."""

    why: str = "--rm deletes the pod"
    pictured: bool = False


Step = Run | Save | Shell | Type | Leave


class Recipe(msgspec.Struct, frozen=True):
    """``number`` and ``title`` are those of the well-known collection (kubernetes-network-policy-recipes), where it has the recipe.
    ``about`` (Markdown) is for the page: when to use it, what is worth knowing. ``table`` is the closing table's title."""

    number: str
    name: str
    title: str
    about: str
    table: str
    steps: tuple[Step, ...]


def policy(name: str, spec: str, namespace: str = "") -> str:
    """A NetworkPolicy's manifest."""
    where = f"  namespace: {namespace}\n" if namespace else ""
    return f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {name}\n{where}spec:\n{spec}"
