"""Try a TCP connection from inside a pod: what the network really does.

In: an ApiClient, a running pod, a host and port. Out: a Probe. Called by ``stockade test --live``. The pod needs a shell and one
of nc, python3 or bash; nothing is installed, nothing is sent but the handshake. A refused connection was let through: the packet
and its answer travelled, and only nobody listens.
"""

from __future__ import annotations

import msgspec

from stockade.kube.client import ApiClient
from stockade.kube.errors import KubeError
from stockade.kube.exec import execute
from stockade.model.meta import ObjectRef

ALLOWED, DENIED, UNKNOWN = "allowed", "denied", ""
CONNECT_SECONDS = 3
# A lookup that nobody answers takes a resolver some time to give up.
WHOLE_SECONDS = 45
_NO_TOOL = 97
# $1 host, $2 port, $3 seconds. busybox' small nc has no -z, but runs a program once it is connected.
_SCRIPT = """
if command -v nc >/dev/null 2>&1; then
  case "$(nc -h 2>&1)" in
    *-z*) exec nc -v -z -w "$3" "$1" "$2" ;;
    *) exec nc -w "$3" "$1" "$2" -e /bin/true ;;
  esac
fi
if command -v python3 >/dev/null 2>&1; then
  exec python3 -c 'import socket, sys
try: socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close()
except OSError as error: sys.exit(str(error))' "$1" "$2" "$3"
fi
if command -v bash >/dev/null 2>&1 && command -v timeout >/dev/null 2>&1; then
  timeout "$3" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2"
  code=$?
  [ "$code" = 124 ] && echo "timed out"
  exit "$code"
fi
exit 97
"""
_ARRIVED = ("refused",)
_STOPPED = (
    "timed out",
    "timeout",
    "bad address",
    "not known",
    "name resolution",
    "no address associated",
    "unreachable",
    "no route",
    "not permitted",
)


class Probe(msgspec.Struct, frozen=True):
    """``observed`` is allowed, denied, or empty when nothing can be concluded; ``seen`` says why."""

    observed: str
    seen: str


async def probe(
    client: ApiClient, pod: ObjectRef, container: str, host: str, port: int, *, seconds: int = CONNECT_SECONDS
) -> Probe:
    """Never raises KubeError: a pod that cannot be asked gives no observation. ``seconds`` are for the connection alone."""
    command = ("/bin/sh", "-c", _SCRIPT, "probe", host, str(port), str(seconds))
    try:
        done = await execute(client, pod, container, command, seconds=WHOLE_SECONDS)
    except KubeError as error:
        return Probe(UNKNOWN, f"no program can be run in pod {pod}: {error}")
    except TimeoutError:
        return Probe(DENIED, f"no connection within {WHOLE_SECONDS} s")
    return conclude(done.code, done.output)


def conclude(code: int, output: str) -> Probe:
    """From what the program that tried has said."""
    said = " ".join(output.split())
    if code == 0:
        return Probe(ALLOWED, "connected")
    if code == _NO_TOOL:
        return Probe(UNKNOWN, "the pod has none of nc, python3, bash to connect with")
    lower = said.lower()
    if "usage:" in lower:  # an nc that we do not know; its options would read like results
        return Probe(UNKNOWN, "the pod's nc cannot be used")
    if any(word in lower for word in _ARRIVED):
        return Probe(ALLOWED, f"refused, so it arrived: {said}")
    if any(word in lower for word in _STOPPED):
        return Probe(DENIED, said)
    return Probe(UNKNOWN, f"exit status {code}: {said or 'no message'}")
