"""Where a store's file lies, and what hinders those who may not use it, in words. Opens nothing of the store's."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
# As /proc names them. Shared folders of virtual machines are of the same kind.
_NETWORK = re.compile(
    r"(?:fuse\.)?(?:nfs4?|cifs|smb\w*|9p|afs|ceph|glusterfs|lustre|gpfs|beegfs|orangefs|pvfs2|coda|ncpfs?|gfs2|ocfs2|davfs2?"
    r"|sshfs|s3fs|mount-s3|gcsfuse|goofys|rclone|blobfuse2?|juicefs|moosefs|seaweedfs|curlftpfs"
    r"|vboxsf|vmhgfs|vmhgfs-fuse|prl_fs|virtiofs|grpcfuse|osxfs)"
)
ON_NETWORK = (
    "lies on a network file system ({kind}): it may stall or lose its locks, and SQLite's write-ahead log does not work "
    "between hosts: use a local disk, or STORE_URL=redis://…"
)
_UNUSABLE = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, 0})


def network_file_system(path: Path, mounts: str | None = None) -> str:
    """The kind of the network file system that a file lies on or will lie on; empty where it is a local one, or unknown.

    :param mounts: as /proc/self/mountinfo has it, if not that.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text("utf-8", "surrogateescape")
        except OSError:
            return ""
    there = Path(os.path.realpath(path))
    longest, kind = -1, ""
    for line in mounts.splitlines():
        before, found, after = line.partition(" - ")
        fields = before.split(" ")
        if not found or len(fields) < 5:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
        # The later of two on one point hides the other.
        if there.is_relative_to(point) and len(point.parts) >= longest:
            longest, kind = len(point.parts), after.split(" ")[0]
    return kind if _NETWORK.fullmatch(kind) else ""


def what_hinders(path: Path, code: int) -> str:
    """What is to be added to SQLite's own words, which never name a reason outside of it.

    :param code: SQLite's, 0 where the system refused something.
    """
    if code == sqlite3.SQLITE_BUSY:
        return ": another process holds a lock on it"
    if code == sqlite3.SQLITE_NOTADB or code == sqlite3.SQLITE_CORRUPT:
        return ": move it and the files beside it away, and a new one is made"
    try:
        if code in _UNUSABLE:
            return _may_not_write(path)
        free = shutil.disk_usage(_existing(path)).free if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) else None
        return "" if free is None else f": the disk has {free // 1024} KiB left"
    except OSError as error:
        return f": {os.strerror(error.errno or errno.EIO)}"


def _may_not_write(path: Path) -> str:
    folder = _existing(path.parent)
    if path.is_dir() or not folder.is_dir():
        return f": {path if path.is_dir() else folder} is not what it should be, a {'file' if path.is_dir() else 'folder'}"
    places = {"it": path, "its -wal file": Path(f"{path}-wal"), "its -shm file": Path(f"{path}-shm")}
    # Short: the log cuts long fields.
    places["its folder" if folder == path.parent else str(folder)] = folder
    for name, place in places.items():
        if place.exists() and not os.access(place, os.W_OK):
            who = f"user {os.geteuid()}, group {os.getegid()}" if hasattr(os, "geteuid") else "this user"
            return f": {who} may not write to {name}"
    return ""


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
