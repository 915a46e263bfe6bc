"""An image from a registry: by skopeo, which knows registries, their credentials and their certificates.

In: an image's name. Out: a docker-archive. Called by ``stockade image pull``.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from stockade.lab.images.image import ImageError, normalize

_SECONDS = 600


def fetch(reference: str, archive: Path) -> None:
    """Raises ImageError with what skopeo says."""
    full = normalize(reference)
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        raise ImageError(
            "pulling needs skopeo on this machine (Debian, Ubuntu: apt-get install skopeo); "
            "or save the image elsewhere (docker save) and load it here: stockade image load FILE"
        )
    # A reference with tag and digest is legal, and skopeo wants one of them.
    name, at, digest = full.partition("@")
    source = f"{name.rpartition(':')[0] if ':' in name.rpartition('/')[2] else name}@{digest}" if at else full
    command = [skopeo, "copy", "--quiet", f"docker://{source}", f"docker-archive:{archive}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"{reference}: skopeo did not end within {_SECONDS} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise ImageError(f"{reference}: {said[-1]}")
