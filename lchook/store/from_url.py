"""Which store a `STORE_URL` names."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lchook.store import Store
from lchook.store.group_commit import Aside, in_a_thread
from lchook.store.sqlite import SqliteStore

DEFAULT_FILE = "lchook.sqlite3"


def file_of(url: str, *, folder: Path, namespace: str = "") -> Path:
    """The file that a sqlite: URL names."""
    parts = urlsplit(url)
    path = Path(parts.path) if parts.path else folder / DEFAULT_FILE
    return path.with_name(f"{path.stem}@{namespace}{path.suffix}") if namespace else path


def store_from_url(
    url: str,
    *,
    folder: Path,
    ttl_seconds: float,
    size: int,
    max_queue_length: int = 100,
    outbox_size: int = 100_000,
    conversation_ttl_seconds: float = 0.0,
    conversation_size: int = 500,
    aside: Aside = in_a_thread,
    checkpoint_aside: Aside = in_a_thread,
    namespace: str = "",
) -> Store:
    """The store, not opened yet.

    :param url: memory:, sqlite: (a file in `folder`), sqlite:///path (absolute), redis:// or rediss://, checked before.
    :param aside: calls what may block on a file. :param checkpoint_aside: likewise, but neither waits for the other.
    :param namespace: keeps what is stored from that of others with the same URL: keys and files have it in their names.
    """
    parts = urlsplit(url)
    bounds: dict[str, Any] = {
        "size": size,
        "max_queue_length": max_queue_length,
        "outbox_size": outbox_size,
        "conversation_ttl_seconds": conversation_ttl_seconds,
        "conversation_size": conversation_size,
    }
    if parts.scheme in ("redis", "rediss"):
        # Only those who use Redis pay for its client.
        from lchook.store.redis import RedisStore

        prefix = {"prefix": f"lch@{namespace}:"} if namespace else {}
        return RedisStore(url, ttl_seconds=ttl_seconds, **bounds, **prefix)
    if parts.scheme == "memory":
        return SqliteStore(None, ttl_seconds=ttl_seconds, **bounds)
    path = file_of(url, folder=folder, namespace=namespace)
    synchronous = "full" if parts.query == "synchronous=full" else "normal"
    return SqliteStore(
        path,
        ttl_seconds=ttl_seconds,
        **bounds,
        synchronous=synchronous,
        aside=aside,
        checkpoint_aside=checkpoint_aside,
    )
