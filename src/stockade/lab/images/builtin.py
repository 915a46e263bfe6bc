"""Built-in stand-ins: small root file systems made of the host's busybox, for use without a registry.

In: a directory to build in. Out: an ``Image`` for each of ``stand_in.STAND_INS``. Called by the catalog, on first use of each.
A stand-in shows of the host: the busybox binary, the system's libraries, the lab's Python and what ``StandIn.host`` names, all read-only.
Debian's busybox has a ``wget`` without ``--timeout`` and an ``nc`` without ``-v`` (FEATURE_WGET_TIMEOUT and NC_110_COMPAT are off), so
``standins/wget.py`` and ``standins/nc.py`` take their places.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from stockade.lab.images.image import DEFAULT_PATH, Image, ImageError, private_directory
from stockade.lab.images.stand_in import SHELL_TOOLS, STAND_INS, StandIn

NAMES: Final = tuple(STAND_INS)
_PYTHON: Final = "/opt/stockade/python"
_SCRIPTS: Final = "/opt/stockade/standins"
_LIBRARIES: Final = ("lib", "lib32", "lib64")
_DIRECTORIES: Final = {
    "etc": 0o755,
    "home": 0o755,
    "mnt": 0o755,
    "opt/stockade/python": 0o755,
    "opt/stockade/standins": 0o755,
    "root": 0o700,
    "run": 0o755,
    "var/run/secrets/kubernetes.io/serviceaccount": 0o755,  # where every pod has its token: made once, not in each
    "srv": 0o755,
    "tmp": 0o1777,
    "usr/local/bin": 0o755,
    "var/log": 0o755,
    "var/tmp": 0o1777,
}
_USERS: Final = (
    "root:x:0:0:root:/root:/bin/sh\nnginx:x:101:101:nginx:/var/cache/nginx:/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/:/sbin/nologin\n"
)
_GROUP: Final = "root:x:0:root\ntty:x:5:\nnginx:x:101:nginx\nnobody:x:65534:\n"
_WORK: Final = ".building-"
_ABANDONED: Final = 600.0  # seconds


def build(name: str, store: Path) -> Image:
    """The stand-in ``name``, built below ``store`` unless an identical one is there already."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise ImageError(
            f"the stand-in for {name} needs busybox on this machine (Debian, Ubuntu: apt-get install busybox); "
            f"or load a root file system: stockade image load {name} PATH"
        )
    busybox = os.path.realpath(busybox)
    listing = subprocess.run([busybox, "--list-full"], capture_output=True, text=True, check=True).stdout
    stand_in = STAND_INS[name]
    host = _of_host(stand_in)
    digest = _digest(name, stand_in, [listing, sys.version, *host])
    root = store / f"{name}-{digest[:16]}"
    if not root.is_dir():
        _build_tree(name, root, listing.split(), {path for _, path in host})
    return Image(
        reference=name,
        id=f"stockade.local/stand-in/{name}@sha256:{digest}",
        root=str(root),
        binds=((busybox, "/bin/busybox"), *_library_binds(), *_python_binds(), *host),
        environment={"PATH": DEFAULT_PATH},
        entrypoint=stand_in.entrypoint,
        command=stand_in.command,
        working_directory=stand_in.working_directory,
        note=f"built-in stand-in for {name}: this machine's busybox, not the published image",
    )


def _of_host(stand_in: StandIn) -> list[tuple[str, str]]:
    """Programs that this machine has, and where the image shows them."""
    found = [(shutil.which(program), path) for path, program in stand_in.host.items()]
    return [(os.path.realpath(place), path) for place, path in found if place is not None]


def _script(name: str) -> Path:
    return Path(__file__).with_name("standins") / f"{name}.py"


def _programs(stand_in: StandIn) -> dict[str, str]:
    return SHELL_TOOLS | stand_in.programs


def _digest(name: str, stand_in: StandIn, others: Iterable[object]) -> str:
    """Of everything that a tree is made of: another content is another directory."""
    scripts = [_script(script).read_bytes() for script in _programs(stand_in).values()]
    recipe = [name.encode(), Path(__file__).read_bytes(), repr(stand_in).encode(), *scripts]
    return hashlib.sha256(b"\0".join([*recipe, *(repr(other).encode() for other in others)])).hexdigest()


def _build_tree(name: str, root: Path, applets: list[str], shown: set[str]) -> None:
    """Built beside and renamed, so that a half-built tree is never used. At ``shown`` a program of the host will be."""
    private_directory(root.parent)
    for other in root.parent.glob(f"{_WORK}*"):
        with contextlib.suppress(FileNotFoundError):  # another lab has just finished it
            if time.time() - other.stat().st_mtime > _ABANDONED:  # by a lab that was killed while it built
                shutil.rmtree(other, ignore_errors=True)
    work = Path(tempfile.mkdtemp(dir=root.parent, prefix=_WORK))
    for directory, mode in _DIRECTORIES.items():
        (work / directory).mkdir(parents=True)
        (work / directory).chmod(mode)
    for applet in applets:
        link = work / applet
        if link.parent == work:  # linuxrc
            continue
        link.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to("/bin/busybox")
    _link_libraries(work)
    _write(work / "etc/passwd", _USERS)
    _write(work / "etc/group", _GROUP)
    _write(work / "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    _write(work / "etc/shells", "/bin/sh\n/bin/ash\n")
    _write(
        work / "etc/os-release",
        f'NAME="Stockade stand-in for {name}"\nID={name}\nPRETTY_NAME="Stockade stand-in for {name}"\n',
    )
    _add(STAND_INS[name], work, shown)
    _open_to_all(work)
    try:
        work.rename(root)
    except OSError:  # another process was faster; the content is the same
        shutil.rmtree(work)


def _add(stand_in: StandIn, work: Path, shown: set[str]) -> None:
    (work / stand_in.working_directory.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for path, script in _programs(stand_in).items():
        compiled = f"{work}{_SCRIPTS}/{script}.pyc"
        py_compile.compile(str(_script(script)), cfile=compiled, dfile=script, doraise=True)
        run = f'LD_LIBRARY_PATH={_PYTHON}/lib exec {_PYTHON}/bin/python -ISE {_SCRIPTS}/{script}.pyc "$@"'
        _replace(work / path.lstrip("/"), f"#!/bin/sh\n{run}\n", 0o755)
        other = work / path.lstrip("/").removeprefix("usr/")
        if other.is_symlink():  # busybox has the name in /bin, too
            other.unlink()
            other.symlink_to(path)
    for path, text in stand_in.executables.items():
        if path not in shown:
            _replace(work / path.lstrip("/"), text, 0o755)
    for path, text in stand_in.files.items():
        _replace(work / path.lstrip("/"), text)


def _replace(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # a link to busybox must not be written through
    _write(path, text, mode)


def _open_to_all(root: Path) -> None:
    """Users of the container other than root read it too; the umask of the lab is 077."""
    for place, _, names in os.walk(root):
        inside = Path(place).relative_to(root)
        Path(place).chmod(_DIRECTORIES.get(str(inside), 0o755))
        for name in names:
            path = Path(place, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.write_text(text)
    path.chmod(mode)


def _link_libraries(root: Path) -> None:
    """/lib, /lib64 as on this machine: links into /usr, or mount points for directories."""
    for name in _LIBRARIES:
        host = Path("/") / name
        if host.is_symlink():
            (root / name).symlink_to(host.readlink())
        elif host.is_dir():
            (root / name).mkdir(exist_ok=True)
        if (Path("/usr") / name).is_dir():
            (root / "usr" / name).mkdir(exist_ok=True)


def _library_binds() -> list[tuple[str, str]]:
    found = [f"{parent}/{name}" for parent in ("", "/usr") for name in _LIBRARIES]
    return [(path, path) for path in found if Path(path).is_dir() and not Path(path).is_symlink()]


def _python_binds() -> list[tuple[str, str]]:
    """The interpreter that runs the lab, without its site-packages' environment. A Python of the system (/usr) brings only its
    binary: its library is in /usr/lib already."""
    binary = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    if sys.base_prefix == "/usr":
        return [(binary, f"{_PYTHON}/bin/{name}") for name in ("python", "python3")]
    return [(sys.base_prefix, _PYTHON)]
