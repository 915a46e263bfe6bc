"""Images whose process is a part of the lab: the cluster's DNS server. A root without any file to execute, as the published image has.

In: a directory to build in. Out: ``Image`` values with ``program`` set. Called by the catalog.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from stockade.lab.images.image import Image, private_directory

PROGRAMS: Final = {"coredns": "dns"}
"""Last element of the image's name → program (``node.launch``)."""
_NOBODY: Final = 65532
_FILES: Final = {
    "etc/passwd": f"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{_NOBODY}:{_NOBODY}:nonroot:/:/sbin/nologin\n",
    "etc/group": f"root:x:0:\nnonroot:x:{_NOBODY}:\n",
}


def build(name: str, store: Path) -> Image:
    root = store / f"program-{name}"
    if not root.is_dir():
        _build_tree(root)
    return Image(
        reference=name,
        id=f"stockade.local/program/{name}",
        root=str(root),
        entrypoint=(f"/{name}",),
        command=(),
        uid=_NOBODY,
        gid=_NOBODY,
        program=PROGRAMS[name],
        note=f"built-in stand-in for {name}: a part of the lab, not the published image",
    )


def _build_tree(root: Path) -> None:
    """Built beside and renamed, so that a half-built tree is never used."""
    private_directory(root.parent)
    work = Path(tempfile.mkdtemp(dir=root.parent, prefix=".building-"))
    work.chmod(0o755)
    for name, text in _FILES.items():
        path = work / name
        path.parent.mkdir(mode=0o755, exist_ok=True)
        path.parent.chmod(0o755)
        path.write_text(text)
        path.chmod(0o644)
    try:
        work.rename(root)
    except OSError:  # another process was faster; the content is the same
        for path in sorted(work.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        work.rmdir()
