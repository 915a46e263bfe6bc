"""The messages between the daemon (spawner) and pid 1 of the lab (zygote): JSON over SOCK_SEQPACKET, file descriptors beside.

Request: SpawnRequest or KillRequest. Answers: ``{"id", "pid"}`` or ``{"id", "error"}``, and ``{"exit": pid, "status": n}`` for every
process that ended (n as by ``os.waitstatus_to_exitcode``, negative for a signal). The process itself answers on its ``status``
socket: ``{"tty": true}`` with the terminal's master beside, ``{"error", "not_found"}`` when it cannot start, end of file once it runs.
"""

from __future__ import annotations

from typing import Final, NotRequired, TypedDict

# A Unix datagram has to fit into the socket's send buffer (net.core.wmem_default, 208 kB by default).
MAX_MESSAGE: Final = 160_000
# Order of the passed descriptors is that of ``fds``; these names have a meaning.
STATUS: Final = "status"
STDIN: Final = "stdin"
STDOUT: Final = "stdout"
STDERR: Final = "stderr"
NETNS: Final = "netns"
FEED: Final = "feed"


class Mount(TypedDict):
    """``subpath`` of the directory or file ``source`` (of the lab's mount namespace), shown at ``target`` of the container's. What is below
    ``source`` may be the pod's work: links there are followed as far as they stay below it."""

    source: str
    subpath: str
    target: str
    read_only: bool


class Root(TypedDict):
    """A container's file system: the image's directories (never written, the uppermost first), the host's directories to show
    read-only, own files, volumes; ``read_only``: nothing but the volumes can be written."""

    mountpoint: str
    lower: list[str]
    binds: list[tuple[str, str]]
    files: dict[str, str]
    mounts: list[Mount]
    read_only: bool


class SpawnRequest(TypedDict):
    id: int
    kind: str  # "plain", "container", "exec", "pause"
    program: str  # of a container: one of the lab's own, run instead of argv (``launch``)
    argv: list[str]
    env: dict[str, str]
    cwd: str
    fds: list[str]
    tty: bool
    uid: int
    gid: int
    groups: list[int]
    capabilities: int
    hostname: NotRequired[str]
    cgroups: NotRequired[list[str]]  # files of the lab's mount namespace; writing 0 there is to enter
    root: NotRequired[Root]
    init: NotRequired[int]


class KillRequest(TypedDict):
    kill: int
    signal: int
    group: bool
