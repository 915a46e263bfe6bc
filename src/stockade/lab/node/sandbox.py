# ruff: noqa: PTH101, PTH102, PTH106, PTH108, PTH112, PTH120, PTH211
# pathlib stays out of pid 1, which is forked for each process of the lab.
"""A container's view of the file system, built by the container's first process before it becomes the user's command.

Comes in: ``wire.Root`` (image directory, read-only host directories, files to write, volumes). Goes out: a process whose root is the
container's, with its own /proc, /dev, /sys and no way back to the host's files. Called by ``launch`` in the child, single-threaded,
in new mount and PID namespaces. Masked and read-only paths are those of runc's default specification.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Final

from stockade.lab.node import syscalls, wire
from stockade.lab.node.syscalls import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY

_OLD: Final = "/.stockade-old-root"
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS: Final = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_MASKED: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READ_ONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_SEALED: Final = MS_NOSUID | MS_NODEV | MS_NOEXEC


def enter(root: wire.Root) -> None:
    """After this call ``/`` is the container's root, and nothing of the old one can be reached."""
    syscalls.make_private()
    trees = [_tree(mount) for mount in root["mounts"]]
    new_root = _writable_root(root)
    os.mkdir(new_root + _OLD, 0o700)
    syscalls.pivot_root(new_root, new_root + _OLD)
    os.chdir("/")
    _mount_kernel_views()
    _mount_dev()
    for source, target in root["binds"]:
        _bind_read_only(_OLD + source, target)
    for path in _MASKED:
        _mask(path)
    for path in _READ_ONLY:
        if os.path.lexists(path):
            syscalls.bind(path, path, MS_RDONLY | _SEALED)
    for path, content in root["files"].items():
        _write(path, content)
    syscalls.umount(_OLD)
    os.rmdir(_OLD)
    # From here on no path leads to the host: whatever links the image and the volumes have, mount points are the container's own.
    for mount, tree in zip(root["mounts"], trees, strict=True):
        _attach(tree, mount)


def enter_nothing(mountpoint: str) -> None:
    """After this call ``/`` is empty and cannot be written, but for /proc, which shows the own PID namespace."""
    syscalls.make_private()
    syscalls.mount("tmpfs", mountpoint, "tmpfs", _SEALED, "size=64k,mode=0755")
    for name in ("proc", "old"):
        os.mkdir(f"{mountpoint}/{name}", 0o700)
    syscalls.pivot_root(mountpoint, f"{mountpoint}/old")
    os.chdir("/")
    syscalls.mount_proc()
    syscalls.umount("/old")
    syscalls.mount("", "/", flags=syscalls.MS_REMOUNT | syscalls.MS_BIND | MS_RDONLY | _SEALED)


def seal(root: wire.Root) -> None:
    """readOnlyRootFilesystem, once everything is in its place."""
    if root["read_only"]:
        syscalls.mount(
            "", "/", flags=syscalls.MS_REMOUNT | syscalls.MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV
        )


def _tree(mount: wire.Mount) -> int:
    """The volume, or a part of it, as a mount that is attached nowhere. What the descriptor shows cannot be swapped any more."""
    source = os.open(mount["source"], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if mount["subpath"]:
        resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_MAGICLINKS
        source = syscalls.openat2(source, mount["subpath"], os.O_PATH, resolve)
    return syscalls.open_tree(source)


def _attach(tree: int, mount: wire.Mount) -> None:
    target = _mount_point(mount["target"], is_directory=stat.S_ISDIR(os.fstat(tree).st_mode))
    syscalls.move_mount(tree, target)
    if mount["read_only"]:
        flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV
        syscalls.mount("", f"/proc/self/fd/{tree}", flags=flags)


def _mount_point(path: str, *, is_directory: bool) -> int:
    """What is at ``path`` in the container, links of the image followed; made where it is missing."""
    resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.suppress(FileNotFoundError):
        return syscalls.openat2(root, path, os.O_PATH, resolve)
    place, parts = root, [part for part in path.split("/") if part]
    for number, part in enumerate(parts, 1):
        here = "/".join(parts[:number])
        try:
            place, above = syscalls.openat2(root, here, os.O_PATH, resolve), place
        except FileNotFoundError:
            above = place
            if number < len(parts) or is_directory:
                os.mkdir(part, 0o755, dir_fd=above)
            else:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
                os.close(os.open(part, flags, 0o644, dir_fd=above))
            place = syscalls.openat2(root, here, os.O_PATH, resolve)
    return place


def _writable_root(root: wire.Root) -> str:
    """The image below, a private memory file system above; a copy where the kernel refuses overlay."""
    base = root["mountpoint"]
    syscalls.mount("tmpfs", base, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    upper, work, new_root = f"{base}/upper", f"{base}/work", f"{base}/root"
    for directory in (upper, work, new_root):
        os.mkdir(directory, 0o755)
    parent = os.path.dirname(root["lower"][0])
    os.chdir(parent)  # names of layers alone, as the kernel takes one page of options
    lower = ":".join(os.path.relpath(directory, parent) for directory in root["lower"])
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    try:
        _mount_overlay(new_root, options)
    except syscalls.SyscallError:
        for directory in reversed(root["lower"]):
            _lay_over(directory, new_root)
        syscalls.bind(new_root, new_root, MS_NODEV | MS_NOSUID)
    return new_root


def _lay_over(layer: str, root: str) -> None:
    """What overlayfs would show. Only on kernels without it."""
    import shutil  # noqa: PLC0415 - keeps the zygote small

    for entry in os.scandir(layer):
        place = os.path.join(root, entry.name)  # noqa: PTH118
        status = entry.stat(follow_symlinks=False)
        is_directory = stat.S_ISDIR(status.st_mode)
        if os.path.lexists(place) and not (is_directory and stat.S_ISDIR(os.lstat(place).st_mode)):
            (shutil.rmtree if stat.S_ISDIR(os.lstat(place).st_mode) else os.unlink)(place)
        if is_directory:
            with contextlib.suppress(FileExistsError):
                os.mkdir(place)
            _lay_over(entry.path, place)
        elif not stat.S_ISCHR(status.st_mode):
            shutil.copy2(entry.path, place, follow_symlinks=False)
            os.chown(place, status.st_uid, status.st_gid, follow_symlinks=False)
        if is_directory:
            os.chown(place, status.st_uid, status.st_gid)
            os.chmod(place, stat.S_IMODE(status.st_mode))


def _mount_overlay(target: str, options: str) -> None:
    """In a user namespace overlay keeps its notes in ``user.`` attributes: those of ``trusted.`` are refused to it there."""
    more = ",userxattr" if syscalls.in_user_namespace() else ""
    syscalls.mount("overlay", target, "overlay", MS_NODEV | MS_NOSUID, options + more)


def _real_directory(path: str) -> None:
    """An image may bring a symbolic link where a directory belongs: take it away rather than follow it."""
    current = ""
    for part in path.strip("/").split("/"):
        current += f"/{part}"
        try:
            if stat.S_ISDIR(os.lstat(current).st_mode):
                continue
            os.unlink(current)
        except FileNotFoundError:
            pass
        os.mkdir(current, 0o755)


def _mount_kernel_views() -> None:
    for path in ("/proc", "/sys", "/dev"):
        _real_directory(path)
    syscalls.mount_proc()
    try:
        syscalls.mount("sysfs", "/sys", "sysfs", _SEALED)
    except syscalls.SyscallError:  # a user namespace in a container that shows /sys in part, or read-only
        syscalls.mount("tmpfs", "/sys", "tmpfs", MS_RDONLY | _SEALED, "size=0")
        return
    # The sysfs superblock is shared inside a network namespace: only this mount may become read-only.
    syscalls.mount("", "/sys", flags=syscalls.MS_REMOUNT | syscalls.MS_BIND | MS_RDONLY | _SEALED)


def _mount_dev() -> None:
    syscalls.mount("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=0755,size=65536k")
    for name in _DEVICES:
        _touch(f"/dev/{name}")
        # The node is the host's own: read-only keeps its mode and owner out of reach; a device is written through it all the same.
        syscalls.bind(f"{_OLD}/dev/{name}", f"/dev/{name}", MS_RDONLY | MS_NOSUID | MS_NOEXEC)
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/pts", 0o755)
    _mount_terminals()
    os.mkdir("/dev/shm", 0o755)  # noqa: S108 - the container's own
    syscalls.mount("shm", "/dev/shm", "tmpfs", _SEALED, "mode=1777,size=65536k")  # noqa: S108


def _mount_terminals() -> None:
    options = "newinstance,ptmxmode=0666,mode=0620"
    flags = MS_NOSUID | MS_NOEXEC
    try:
        syscalls.mount("devpts", "/dev/pts", "devpts", flags, f"{options},gid=5")
    except syscalls.SyscallError:  # a user namespace without group 5, tty
        syscalls.mount("devpts", "/dev/pts", "devpts", flags, options)


def _bind_read_only(source: str, target: str) -> None:
    if os.path.isdir(source):
        _real_directory(target)
    else:
        _real_directory(os.path.dirname(target))
        _touch(target)
    syscalls.bind(source, target, MS_RDONLY | MS_NOSUID | MS_NODEV)


def _mask(path: str) -> None:
    try:
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if is_directory:
        syscalls.mount("tmpfs", path, "tmpfs", MS_RDONLY | _SEALED, "size=0")
    else:
        syscalls.mount("/dev/null", path, flags=syscalls.MS_BIND)


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644))


def _write(path: str, content: str) -> None:
    """Replaces what the image has there, links included."""
    _real_directory(os.path.dirname(path))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        os.write(fd, content.encode())
    finally:
        os.close(fd)
