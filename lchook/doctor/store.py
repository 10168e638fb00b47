"""Does the store keep a message, give it back, and forget it?"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from config import Settings
from lchook.core.delivery import Removal
from lchook.doctor.findings import Finding, quoted, within
from lchook.doctor.settings import without_secrets
from lchook.store import StoreError, UnknownFormatError
from lchook.store.files import ON_NETWORK, network_file_system
from lchook.store.from_url import file_of, store_from_url

_MAX_SECONDS = 10.0
_LITTLE_SPACE_BYTES = 100 * 1024 * 1024


def examine_store(settings: Settings, *, folder: Path) -> Iterator[Finding]:
    """:param folder: where `sqlite:` has its file."""
    parts = urlsplit(settings.store_url)
    if parts.scheme == "memory":
        yield Finding(
            "store",
            "warning",
            "messages are kept in memory: those that wait are lost when the process ends",
            "Set STORE_URL to sqlite: (one instance) or redis://… (several).",
        )
        return
    path = None
    if parts.scheme == "sqlite":
        path = file_of(settings.store_url, folder=folder, namespace=settings.namespace)
    where = f"the file {path}" if path else f"Redis at {without_secrets(settings.store_url)}"
    try:
        seconds = within(_MAX_SECONDS, lambda: _keep_and_remove(settings, folder))
    except UnknownFormatError as error:
        yield Finding("store", "problem", str(error), "Start the version that wrote it, or name another file in STORE_URL.")
        return
    except StoreError as error:
        yield Finding("store", "problem", f"it cannot be used: {quoted(error)}", _advice(path))
        return
    except TimeoutError:
        yield Finding("store", "problem", f"{where} did not answer within {_MAX_SECONDS:g} s", _advice(path))
        return
    yield Finding("store", "ok", f"{where} kept a message, gave it back and forgot it, in {seconds * 1000:.0f} ms")
    if path and (kind := network_file_system(path)):
        yield Finding("store", "warning", f"{path} {ON_NETWORK.format(kind=kind)}", "Move it, and name it in STORE_URL.")
    if path and (free := shutil.disk_usage(path.parent).free) < _LITTLE_SPACE_BYTES:
        yield Finding(
            "store",
            "warning",
            f"the disk of {path} has only {free // 1024} KiB left",
            "Make room: where it is full, webhooks are answered with 503.",
        )


def _keep_and_remove(settings: Settings, folder: Path) -> float:
    """Returns how many seconds it took.

    :raises StoreError: where it does not work. :raises UnknownFormatError: likewise.
    """
    store = store_from_url(
        settings.store_url,
        folder=folder,
        ttl_seconds=settings.mailbox_ttl_seconds,
        size=settings.mailbox_size,
        namespace=settings.namespace,
    )
    nobody, text = f"lch-doctor-{uuid.uuid4()}", '{"type":"text"}'
    started = time.monotonic()
    try:
        store.put(nobody, text, None)
        try:
            messages = store.fetch(nobody, 0, 10).messages
            store.remove([Removal(nobody, [message.number for message in messages], last=True)])
            if [message.text for message in messages] != [text] or store.fetch(nobody, 0, 10).messages:
                raise StoreError("it does not give back what it was given")
        finally:
            store.clear(nobody)
            store.release(nobody, waiting=False)
        return time.monotonic() - started
    finally:
        store.close()


def _advice(path: Path | None) -> str:
    if path is None:
        return (
            "Start Redis, and see that this machine reaches it, with the user and password in STORE_URL. "
            "Until then webhooks are answered with 503 and nothing is forwarded."
        )
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    user = f"user {os.geteuid()}" if hasattr(os, "geteuid") else "this user"
    if path.is_dir() or not folder.is_dir():
        return f"{path if path.is_dir() else folder} is not what it should be: STORE_URL must name a file in a folder."
    for place in (path, folder):
        if place.exists() and not os.access(place, os.W_OK):
            return f"{user} may not write to {place}: change its owner, or name another file in STORE_URL."
    free = shutil.disk_usage(folder).free
    return (
        f"The disk has {free // 1024} KiB left: make room. If that is plenty, look for a quota, a limit on file sizes, "
        f"a disk that is read-only, and whether {user} may write to {folder}. Until then webhooks are answered with 503."
    )
