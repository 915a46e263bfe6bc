"""A matrix as the suites print it: sources as rows, destinations as columns, ``.`` connected, ``X`` denied, ``!`` not as expected.

In: cells with a letter each. Out: text. Called by ``run`` for a case that failed.
"""

from __future__ import annotations

from collections.abc import Mapping

from stockade.testing.conformance.matrix import Cell


def tables(letters: Mapping[Cell, str]) -> str:
    """One table for each protocol and port."""
    probes = dict.fromkeys(cell.probe for cell in letters)
    return "\n\n".join(
        _table(probe, {cell: letter for cell, letter in letters.items() if cell.probe == probe})
        for probe in probes
    )


def _table(title: str, letters: Mapping[Cell, str]) -> str:
    names = sorted({cell.destination for cell in letters} | {cell.source for cell in letters})
    heads = ["/".join(name) for name in names]
    wide = max(len(title), *map(len, heads))
    by_pair = {(cell.source, cell.destination): letter for cell, letter in letters.items()}
    lines = [f"{title:{wide}}  {'  '.join(heads)}"]
    for source, head in zip(names, heads, strict=True):
        row = [
            f"{by_pair.get((source, name), ' '):^{len(column)}}"
            for name, column in zip(names, heads, strict=True)
        ]
        lines.append(f"{head:{wide}}  {'  '.join(row)}".rstrip())
    return "\n".join(lines)
