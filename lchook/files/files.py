"""All of files: puts the parts together, and is what the rest of LCH calls. Only made where `FILES_URL` is set."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config import Settings
from lchook.core import events
from lchook.core.fetch_rules import AttachmentHosts
from lchook.core.messages import MessageToCustomer
from lchook.core.rate_limiter import RateLimiter
from lchook.core.stored_files import FileKeys, Pending
from lchook.files import Bucket, Call, FilesError, Start
from lchook.files.agent_files import AgentFiles
from lchook.files.download import Downloads
from lchook.files.file_store import FileStore
from lchook.files.folder import FolderBucket
from lchook.files.scanner import Clamd
from lchook.files.spool import Spool
from lchook.files.uploads import UploadBounds, Uploads
from lchook.logs import Log

log = Log(__name__)

# How often is looked for what is over, and for what other processes have left.
_SWEEP_SECONDS = 300.0


class Files:
    """:ivar uploads: from customers. :ivar agent_files: from agents. :ivar store: where both are."""

    def __init__(
        self,
        settings: Settings,
        *,
        folder: Path,
        call: Call,
        start_task: Start,
        soon: Start | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Without touching disk or network.

        :param folder: the instance folder. :param call: makes calls that may block.
        :param soon: starts what the reading of a connection is not to wait for. If not given, it waits.
        """
        keys = FileKeys(settings.jwt_secret, clock=clock)
        own_folder = folder / "files"
        bucket = bucket_from_url(settings.files_url, folder=own_folder)
        # On the disk of a folder bucket a file only has to be renamed.
        spool = Spool((Path(bucket.place) if isinstance(bucket, FolderBucket) else own_folder) / ".incoming", call)
        self.is_scanned = bool(settings.clamd_url)
        scanner = Clamd(settings.clamd_url) if settings.clamd_url else None
        self.store = FileStore(bucket, spool, keys, scanner=scanner, call=call)
        self.uploads = Uploads(
            self.store,
            public_url=settings.public_url,
            ttl_seconds=settings.files_ttl_seconds,
            bounds=UploadBounds(
                max_bytes=settings.max_file_bytes, quota_bytes=settings.files_quota_bytes, quota_files=settings.files_quota
            ),
            rate_limiter=RateLimiter(settings.file_rate, clock=time.monotonic),
            clock=clock,
        )
        self.agent_files = AgentFiles(
            self.store,
            Downloads(AttachmentHosts(settings.attachment_hosts), max_bytes=settings.max_file_bytes),
            public_url=settings.public_url,
            ttl_seconds=settings.files_ttl_seconds,
            start_task=start_task,
        )
        self.soon = soon or (lambda task, *args: task(*args))
        self._next_sweep = 0.0
        self._own: Counter[str] = Counter()

    def counts(self) -> Counter[str]:
        """What happened, for the metrics."""
        return self.uploads.counts + self.agent_files.counts + self._own

    def count(self, event: str) -> None:
        self._own[event] += 1

    def of(self, connection: str) -> CustomerFiles:
        """Those of one connection to Pega, by its name; empty for the one that is there without others."""
        return CustomerFiles(self, connection, self.soon)

    def tick(self) -> None:
        """Delete what is over, and go on with what another process has left."""
        self.agent_files.tick()
        now = time.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_SECONDS
        try:
            deleted, pending = self.store.sweep()
        except FilesError as error:
            log.error(events.FILES_STORE_FAILED, reason=error)
            return
        if deleted:
            self._own["expired"] += deleted
            log.info(events.FILES_EXPIRED, files=deleted)
        self.agent_files.take_up(pending)


class CustomerFiles:
    """Files as a connection's customers have them: they never meet another connection's customers with equal ids."""

    def __init__(self, files: Files, connection: str, soon: Start) -> None:
        self._files = files
        self._connection = connection
        self._soon = soon

    def request(self, customer_id: str, asked: dict[Any, Any], answer: Callable[[dict[str, Any]], object]) -> None:
        """A customer asks to send a file; the answer comes in time."""
        owner = self._owner(customer_id)
        self._soon(lambda: answer(self._files.uploads.grant(customer_id, asked, owner=owner)))

    def replace_links(self, message: MessageToCustomer) -> tuple[MessageToCustomer, list[Pending]]:
        """A webhook's message with LCH's links, and what is to be fetched for them. Without I/O."""
        return self._files.agent_files.replace_links(message, self._owner(message.customer_id))

    def fetch(self, pending: list[Pending]) -> None:
        """The message is stored: fetch what it names."""
        self._files.agent_files.fetch(pending)

    def forget(self, customer_id: str) -> int:
        """Delete all files of a customer, of both sides; returns how many.

        :raises FilesError: where the bucket fails.
        """
        count = self._files.store.forget(self._owner(customer_id))
        log.info(events.FILES_FORGOTTEN, customer=customer_id, files=count)
        return count

    def _owner(self, customer_id: str) -> str:
        return self._files.store.keys.owner(self._connection, customer_id)


def bucket_from_url(url: str, *, folder: Path) -> Bucket:
    """The bucket that a `FILES_URL` names, without touching it.

    :param folder: where `file:` is.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        # Only those who use S3 pay for its client.
        from lchook.files.s3 import S3Bucket

        return S3Bucket(url)
    return FolderBucket(Path(parts.path) if parts.path else folder)
