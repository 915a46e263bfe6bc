"""Built-in stand-ins: small root file systems made of the host's busybox, for use without a registry.

In: a directory to build in. Out: ``Image`` values for alpine, busybox and nginx. Called by the catalog, on first use of each.
A stand-in shows of the host: the busybox binary, the system's libraries and the lab's Python, all read-only. Debian's busybox has a
``wget`` without ``--timeout`` (FEATURE_WGET_TIMEOUT is off), so ``standins/wget.py`` takes its place.
"""

from __future__ import annotations

import hashlib
import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from stockade.lab.images.image import DEFAULT_PATH, Image, ImageError, private_directory

NAMES: Final = ("alpine", "busybox", "nginx")
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
_NGINX_PAGE: Final = """<!DOCTYPE html>
<html>
<head>
<title>Welcome to nginx!</title>
<meta name="generator" content="Stockade stand-in for the nginx image">
</head>
<body>
<h1>Welcome to nginx!</h1>
<p>If you see this page, the nginx web server is successfully installed and
working. Further configuration is required.</p>
<p>For online documentation and support please refer to nginx.org.<br>
Commercial support is available at nginx.com.</p>
<p><em>Thank you for using nginx.</em></p>
</body>
</html>
"""
# As pid 1 httpd would ignore the signal that ends the pod; the shell does not.
_NGINX_ENTRYPOINT: Final = """#!/bin/sh
case "$1" in
nginx|nginx-debug)
  trap 'exit 0' TERM QUIT INT
  httpd -f -v -p 80 -h /usr/share/nginx/html &
  wait $!
  ;;
*) exec "$@" ;;
esac
"""
_WORK: Final = ".building-"
_ABANDONED: Final = 600.0  # seconds
_WGET: Final = f"""#!/bin/sh
LD_LIBRARY_PATH={_PYTHON}/lib exec {_PYTHON}/bin/python -ISE {_SCRIPTS}/wget.pyc "$@"
"""


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
    script = Path(__file__).with_name("standins") / "wget.py"
    recipe = [Path(__file__).read_bytes(), script.read_bytes(), listing.encode(), sys.version.encode()]
    digest = hashlib.sha256(b"\0".join([name.encode(), *recipe])).hexdigest()
    root = store / f"{name}-{digest[:16]}"
    if not root.is_dir():
        _build_tree(name, root, listing.split(), script)
    is_nginx = name == "nginx"
    return Image(
        reference=name,
        id=f"stockade.local/stand-in/{name}@sha256:{digest}",
        root=str(root),
        binds=((busybox, "/bin/busybox"), *_library_binds(), *_python_binds()),
        environment={"PATH": DEFAULT_PATH},
        entrypoint=("/docker-entrypoint.sh",) if is_nginx else (),
        command=("nginx", "-g", "daemon off;")
        if is_nginx
        else ("sh",)
        if name == "busybox"
        else ("/bin/sh",),
        note=f"built-in stand-in for {name}: this machine's busybox, not the published image",
    )


def _build_tree(name: str, root: Path, applets: list[str], script: Path) -> None:
    """Built beside and renamed, so that a half-built tree is never used."""
    private_directory(root.parent)
    for other in root.parent.glob(f"{_WORK}*"):
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
    py_compile.compile(str(script), cfile=f"{work}{_SCRIPTS}/wget.pyc", dfile="wget", doraise=True)
    (work / "usr/bin/wget").unlink(missing_ok=True)
    _write(work / "usr/bin/wget", _WGET, 0o755)
    if name == "nginx":
        (work / "usr/share/nginx/html").mkdir(parents=True)
        _write(work / "usr/share/nginx/html/index.html", _NGINX_PAGE)
        _write(work / "docker-entrypoint.sh", _NGINX_ENTRYPOINT, 0o755)
    _open_to_all(work)
    try:
        work.rename(root)
    except OSError:  # another process was faster; the content is the same
        shutil.rmtree(work)


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
